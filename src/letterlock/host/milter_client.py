"""A filter asked over a socket: `inet:host:port` by IP address, or `unix:path`.

Standards: the milter protocol as libmilter speaks it; see protocols/milter/client.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from letterlock.errors import PeerFault, SettingsFault
from letterlock.host.connect import connect, connect_unix
from letterlock.host.stream import Endpoint, Stream
from letterlock.protocols.milter.client import Judgement, Packet, PacketReader, Subject, consult


@dataclass(frozen=True, slots=True)
class FilterSettings:
    """Where a filter listens and how long it may take, in seconds."""

    address: str
    connect_seconds: float = 10
    answer_seconds: float = 60


async def ask_filter(settings: FilterSettings, subject: Subject) -> Judgement:
    """Show a message to a filter and return what it wants. Raises PeerFault where it cannot be asked."""
    stream = await _open(settings)
    reader = PacketReader()
    consultation = consult(subject)
    try:
        octets, awaited = next(consultation)
        while True:
            stream.expect_within(settings.answer_seconds)
            await stream.send(octets)
            if not awaited:
                octets, awaited = next(consultation)
                continue
            packet = await _next(stream, reader, settings)
            octets, awaited = consultation.send(packet)
    except StopIteration as stop:
        judgement: Judgement = stop.value
        stream.write(b"\0\0\0\1Q")
        return judgement
    finally:
        consultation.close()
        stream.hang_up()


async def _next(stream: Stream, reader: PacketReader, settings: FilterSettings) -> Packet:
    while True:
        packet = reader.next_packet()
        if packet is None:
            octets = await stream.read()
            if not octets:
                raise PeerFault(f"the filter {settings.address} closed without an answer")
            reader.receive(octets)
        elif packet.letter == "p":  # it is still at work
            stream.expect_within(settings.answer_seconds)
        else:
            return packet


async def _open(settings: FilterSettings) -> Stream:
    kind, _, place = settings.address.partition(":")
    if kind == "unix" and place:
        return await connect_unix(Path(place), within_seconds=settings.connect_seconds)
    host, colon, port = place.rpartition(":")
    if kind != "inet" or not colon or not port.isdigit():
        raise SettingsFault((f"{settings.address}: write inet:ADDRESS:PORT or unix:PATH",))
    return await connect(Endpoint(host.strip("[]"), int(port)), within_seconds=settings.connect_seconds)
