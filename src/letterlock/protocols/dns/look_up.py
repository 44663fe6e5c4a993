"""What an authoritative server answers to a question, from the data of the zone.

Standards: RFC 1034 section 4.3.2, RFC 4592 (wildcards), RFC 6672 section 3.2 (DNAME), RFC 2308 section 3 (absence),
RFC 4035 section 3.1 and RFC 5155 section 7.2 (what proves absence), RFC 8482 (ANY).
Limits: 16 aliases in a chain.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from letterlock.errors import Malformed
from letterlock.formats.dns import message as messages
from letterlock.formats.dns import name as names
from letterlock.formats.dns import types
from letterlock.formats.dns.message import Message, Record
from letterlock.formats.dns.types import Rcode
from letterlock.formats.dns.zone import CNAME, DS, NS, NSEC, RRSIG, Node, RecordSet, Zone

DNAME, ANY, A, AAAA = (types.NUMBERS[mnemonic] for mnemonic in ("DNAME", "ANY", "A", "AAAA"))
_TARGETS = {NS: 0, types.NUMBERS["MX"]: 2, types.NUMBERS["SRV"]: 6}
_MAX_ALIASES = 16


@dataclass(slots=True)
class _Reply:
    """What gathers while the answer is looked for."""

    zone: Zone
    signed: bool
    rcode: int = Rcode.NOERROR
    authoritative: bool = True
    answer: list[Record] = field(default_factory=list)
    authority: list[Record] = field(default_factory=list)
    additional: list[Record] = field(default_factory=list)

    def prove(self, *sets: RecordSet | None) -> None:
        for record_set in sets:
            if record_set is not None:
                records = record_set.records(signed=True)
                if records[0] not in self.authority:
                    self.authority += records


def look_up(zone: Zone, query: Message) -> Message:
    """Return the response to a query whose name lies within the zone."""
    owner, number, _ = query.question[0]
    reply = _Reply(zone, query.edns is not None and query.edns.dnssec_ok and zone.is_signed)
    seen: set[bytes] = set()
    while owner not in seen and len(seen) < _MAX_ALIASES:
        seen.add(owner)
        target = _step(reply, owner, number)
        if target is None or not names.is_within(target, zone.origin):
            break
        owner = target
    return Message(
        query.id,
        messages.response(query).flags | (messages.AA if reply.authoritative else 0),
        query.opcode,
        reply.rcode,
        query.question,
        tuple(reply.answer),
        tuple(reply.authority),
        tuple(reply.additional),
    )


def _step(reply: _Reply, owner: bytes, number: int) -> bytes | None:
    """Answer for one name; return the name an alias leads to."""
    zone = reply.zone
    cut = zone.cut_above(owner)
    if cut is not None and not (cut.owner == owner and number == DS):
        _refer(reply, cut)
        return None
    if (dname := _dname_above(zone, owner)) is not None:
        return _redirect(reply, dname, owner)
    node = zone.nodes.get(owner)
    if node is not None or owner in zone.exists:
        return _answer_node(reply, owner, node or {}, number)
    encloser = owner
    while encloser not in zone.exists:
        encloser = names.parent(encloser)
    return _answer_beside(reply, owner, encloser, number)


def _answer_beside(reply: _Reply, owner: bytes, encloser: bytes, number: int) -> bytes | None:
    """Answer for a name that does not exist: from the wildcard of its closest encloser, or not at all."""
    zone = reply.zone
    wild = names.wildcard(encloser)
    next_closer = _next_closer(owner, encloser)
    if wild not in zone.exists:
        reply.rcode = Rcode.NXDOMAIN
        _deny(reply)
        if reply.signed:
            reply.prove(zone.covering_nsec(owner), zone.covering_nsec(wild))
            reply.prove(zone.matching_nsec3(encloser), zone.covering_nsec3(next_closer), zone.covering_nsec3(wild))
        return None
    node = zone.nodes.get(wild, {})
    had = len(reply.answer)
    target = _answer_node(reply, owner, node, number)
    if reply.signed:
        # RFC 4035 section 3.1.3.3, RFC 5155 section 7.2.6: the name itself must be shown not to exist.
        reply.prove(zone.covering_nsec(owner), zone.covering_nsec3(next_closer))
        if len(reply.answer) == had:
            reply.prove(zone.covering_nsec(wild), zone.matching_nsec3(encloser), zone.matching_nsec3(wild))
    return target


def _answer_node(reply: _Reply, owner: bytes, node: Node, number: int) -> bytes | None:
    """Answer from the sets of a node, under the name that was asked for."""
    alias = node.get(CNAME)
    if alias is not None and number not in (CNAME, ANY, NSEC, RRSIG):
        reply.answer += alias.records(signed=reply.signed, owner=owner)
        return alias.rdatas[0]
    if number in (ANY, RRSIG) and node:
        # RFC 8482 section 4.1: one set is answer enough.
        found = next((kept for kept in node.values() if kept.signatures), next(iter(node.values())))
        reply.answer += [
            record for record in found.records(signed=True, owner=owner) if number == ANY or record.type == RRSIG
        ]
        if reply.answer:
            return None
    elif (record_set := node.get(number)) is not None:
        reply.answer += record_set.records(signed=reply.signed, owner=owner)
        _add_addresses(reply, record_set)
        return None
    _deny(reply)
    if reply.signed and (owner in reply.zone.exists):
        zone = reply.zone
        nsec3 = zone.matching_nsec3(owner)
        reply.prove(zone.covering_nsec(owner), nsec3)
        if nsec3 is None and zone.hashing is not None:
            _prove_opted_out(reply, owner)
    return None


def _deny(reply: _Reply) -> None:
    """Put the SOA record into the authority section, with the TTL of absence (RFC 2308 section 3)."""
    zone = reply.zone
    ttl = zone.negative_ttl
    records = zone.soa.records(signed=reply.signed)
    reply.authority += [Record(record.owner, record.type, record.rdclass, ttl, record.rdata) for record in records]


def _refer(reply: _Reply, cut: RecordSet) -> None:
    """Refer to the servers of a child zone (RFC 4035 section 3.1.4, RFC 5155 section 7.2.7)."""
    zone = reply.zone
    reply.authoritative = bool(reply.answer)
    reply.authority += cut.records()
    if reply.signed:
        ds = zone.nodes[cut.owner].get(DS)
        nsec3 = None if ds else zone.matching_nsec3(cut.owner)
        if ds is not None:
            reply.prove(ds)
        elif zone.hashing is None:
            reply.prove(zone.nodes[cut.owner].get(NSEC))
        elif nsec3 is not None:
            reply.prove(nsec3)
        else:
            _prove_opted_out(reply, cut.owner)
    _add_addresses(reply, cut)


def _prove_opted_out(reply: _Reply, owner: bytes) -> None:
    """Prove that an unsigned delegation may be there: closest provable encloser and opt-out span."""
    zone = reply.zone
    encloser = names.parent(owner)
    next_closer = owner
    while zone.matching_nsec3(encloser) is None and encloser != zone.origin:
        encloser, next_closer = names.parent(encloser), encloser
    reply.prove(zone.matching_nsec3(encloser), zone.covering_nsec3(next_closer))


def _dname_above(zone: Zone, owner: bytes) -> RecordSet | None:
    while owner != zone.origin:
        owner = names.parent(owner)
        node = zone.nodes.get(owner)
        if node is not None and DNAME in node:
            return node[DNAME]
    return None


def _redirect(reply: _Reply, dname: RecordSet, owner: bytes) -> bytes | None:
    """Answer with a DNAME and the CNAME it makes (RFC 6672 section 3.1)."""
    reply.answer += dname.records(signed=reply.signed)
    try:
        target = redirected(owner, dname.owner, dname.rdatas[0])
    except Malformed:
        reply.rcode = Rcode.YXDOMAIN
        return None
    reply.answer.append(Record(owner, CNAME, types.IN, dname.ttl, target))
    return target


def redirected(owner: bytes, dname_owner: bytes, target: bytes) -> bytes:
    """Return the name a DNAME leads to; raises Malformed where it would be too long (RFC 6672 section 2.2)."""
    made = owner[: len(owner) - len(dname_owner)] + target
    if len(made) > 255:
        raise Malformed("a DNAME that leads to a name of more than 255 octets", clause="RFC 6672 section 2.2")
    return made


def _next_closer(owner: bytes, encloser: bytes) -> bytes:
    while (above := names.parent(owner)) != encloser:
        owner = above
    return owner


def _add_addresses(reply: _Reply, record_set: RecordSet) -> None:
    """Add the addresses of the hosts that NS, MX and SRV records name, glue included."""
    skip = _TARGETS.get(record_set.type)
    if skip is None:
        return
    for rdata in record_set.rdatas:
        node = reply.zone.nodes.get(rdata[skip:], {})
        for number in (A, AAAA):
            if number in node:
                reply.additional += node[number].records(signed=reply.signed and reply.authoritative)
