"""Dynamic updates: the message that asks a server to change a zone.

Standards: RFC 2136 sections 2.4 (prerequisites) and 2.5 (updates).
"""

from __future__ import annotations

from collections.abc import Iterable

from letterlock.formats.dns import name as names
from letterlock.formats.dns import rdata_wire, types
from letterlock.formats.dns.message import Message, Record
from letterlock.formats.dns.rdata import Rdata
from letterlock.formats.dns.types import Opcode
from letterlock.formats.dns.zone import SOA


def update(origin: str, removed: Iterable[tuple[str, Rdata]], added: Iterable[tuple[str, Rdata, int]]) -> Message:
    """Return the update of a zone that removes single records (owner, data) and adds others (owner, data, TTL).

    Its id is the sender's. Raises Malformed for data that have no octets.
    """
    changes = [_record(owner, data, types.NONE, 0) for owner, data in removed]
    changes += [_record(owner, data, types.IN, ttl) for owner, data, ttl in added]
    question = ((names.to_wire(origin), SOA, types.IN),)
    return Message(0, 0, Opcode.UPDATE, question=question, authority=tuple(changes))


def _record(owner: str, data: Rdata, rdclass: int, ttl: int) -> Record:
    number = types.number(rdata_wire.type_of(data))
    return Record(names.to_wire(owner), number, rdclass, ttl, rdata_wire.write(data))
