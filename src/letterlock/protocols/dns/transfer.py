"""Zone transfer: the messages that carry a zone, or what changed in it, to a secondary.

Standards: RFC 5936 (AXFR), RFC 1995 (IXFR), RFC 1996 (NOTIFY).
Limits: messages of about 16 KiB; IXFR from the versions that `History` keeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from letterlock.formats.dns import message as messages
from letterlock.formats.dns import types
from letterlock.formats.dns.message import Message, Record
from letterlock.formats.dns.types import Opcode
from letterlock.formats.dns.zone import SOA, Zone

AXFR, IXFR = types.NUMBERS["AXFR"], types.NUMBERS["IXFR"]
_MESSAGE_OCTETS = 16_000
_VERSIONS = 16


@dataclass(frozen=True, slots=True)
class Change:
    """What one version of a zone changed, SOA records included."""

    old_soa: Record
    new_soa: Record
    removed: tuple[Record, ...]
    added: tuple[Record, ...]

    @property
    def old_serial(self) -> int:
        """The serial number before."""
        return serial_of(self.old_soa)


def serial_of(soa: Record) -> int:
    """Return the serial number in SOA data."""
    return int.from_bytes(soa.rdata[-20:-16], "big")


def is_newer(serial: int, than: int) -> bool:
    """Compare serial numbers as they wrap around (RFC 1982 section 3.2)."""
    return serial != than and (serial - than) % (1 << 32) < (1 << 31)


def change_between(old: Zone, new: Zone) -> Change:
    """Return what changed between two versions."""
    before, after = set(old.records()), set(new.records())
    soas = old.soa.records()[0], new.soa.records()[0]
    return Change(
        *soas,
        tuple(record for record in old.records() if record not in after and record != soas[0]),
        tuple(record for record in new.records() if record not in before and record != soas[1]),
    )


class History:
    """The last changes of the zones of one server."""

    def __init__(self) -> None:
        self._changes: dict[bytes, list[Change]] = {}

    def add(self, old: Zone, new: Zone) -> None:
        """Remember a change; one that does not count up makes the past useless."""
        kept = self._changes.setdefault(new.origin, [])
        if not is_newer(new.serial, old.serial):
            kept.clear()
            return
        kept.append(change_between(old, new))
        del kept[:-_VERSIONS]

    def since(self, zone: Zone, serial: int) -> list[Change] | None:
        """Return the changes from a serial number to now; None where they are not known any more."""
        kept = self._changes.get(zone.origin, [])
        for index, change in enumerate(kept):
            if change.old_serial == serial:
                return kept[index:]
        return None


def whole(zone: Zone, query: Message) -> Iterator[Message]:
    """Return the messages of a full transfer (RFC 5936 section 2.2)."""
    soa = zone.soa.records()
    return _messages(query, (*zone.records(), *soa))


def changes(zone: Zone, history: History, query: Message, *, tcp: bool) -> Iterator[Message]:
    """Return the messages of an incremental transfer (RFC 1995 section 4).

    The whole zone where the changes are not known; over UDP only the SOA record where they do not fit.
    """
    soa = zone.soa.records()[0]
    shown = next((record for record in query.authority if record.type == SOA and len(record.rdata) >= 22), None)
    if shown is None or not is_newer(zone.serial, serial_of(shown)):
        return _messages(query, (soa,))
    if not tcp:
        return _messages(query, (soa,))  # RFC 1995 section 2: the asker comes again over TCP
    known = history.since(zone, serial_of(shown))
    if known is None:
        return whole(zone, query)
    records: list[Record] = [soa]
    for change in known:
        records += (change.old_soa, *change.removed, change.new_soa, *change.added)
    return _messages(query, (*records, soa))


def _messages(query: Message, records: Iterable[Record]) -> Iterator[Message]:
    head = messages.response(query, 0, messages.AA)
    gathered: list[Record] = []
    size = 0
    for record in records:
        octets = len(record.owner) + 10 + len(record.rdata)
        if gathered and size + octets > _MESSAGE_OCTETS:
            yield replace(head, answer=tuple(gathered))
            gathered, size = [], 0
        gathered.append(record)
        size += octets
    yield replace(head, answer=tuple(gathered))


def notification(zone: Zone) -> Message:
    """Return the message that tells a secondary of a new version (RFC 1996 section 3.7); its id is the sender's."""
    question = ((zone.origin, SOA, types.IN),)
    return Message(0, messages.AA, Opcode.NOTIFY, question=question, answer=zone.soa.records())
