"""What a filter sends over the milter protocol: a judgement or PeerFault, and changes that keep the body where it is."""

from __future__ import annotations

import struct

from letterlock.errors import PeerFault
from letterlock.protocols.milter.client import Packet, PacketReader, Subject, apply_changes, consult

_CONTENT = b"From: a@b.test\r\nSubject: x\r\n y\r\n\r\nbody\r\n"
_AGREED = Packet("O", struct.pack("!III", 6, 0x31, 0x7F)).octets
SEEDS = (
    _AGREED + Packet("c").octets + Packet("h", b"X\0y\0").octets + Packet("c").octets,
    _AGREED
    + Packet("i", b"\0\0\0\0X\0y\n z\0").octets
    + Packet("m", b"\0\0\0\1Subject\0\0").octets
    + Packet("a").octets,
    _AGREED + Packet("y", b"550 5.7.1 no\0").octets,
)


def fuzz(octets: bytes) -> None:
    """A whole consultation answered by these octets."""
    reader = PacketReader()
    reader.receive(octets)
    consultation = consult(Subject("x", "192.0.2.1", 1, "a@b.test", ("c@d.test",), _CONTENT))
    try:
        _, awaited = next(consultation)
        while True:
            if not awaited:
                _, awaited = next(consultation)
                continue
            packet = reader.next_packet()
            if packet is None:
                return
            _, awaited = consultation.send(packet)
    except PeerFault:
        return
    except StopIteration as stop:
        judgement = stop.value
    try:
        changed = apply_changes(_CONTENT, judgement.changes)
    except PeerFault:
        return
    assert changed.endswith(b"\r\nbody\r\n")
