"""The name server's conversation: the octets of a query in, the octets of the response out.

Standards: RFC 1035 section 4, RFC 6891 section 6.1.3 (versions) and 6.2.5 (sizes), RFC 9619 (one question),
RFC 9715 section 3.2 (1232 octets over UDP), RFC 5936 section 5 (who may transfer), RFC 8945 section 5.2 (TSIG).
Limits: UDP responses of 1232 octets at most, and never more than the asker announced.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from letterlock.errors import Malformed
from letterlock.formats.dns import message as messages
from letterlock.formats.dns import name as names
from letterlock.formats.dns import types
from letterlock.formats.dns.message import Edns, Message
from letterlock.formats.dns.types import Opcode, Rcode
from letterlock.formats.dns.zone import DS, Zone
from letterlock.protocols.dns import tsig
from letterlock.protocols.dns.look_up import look_up
from letterlock.protocols.dns.transfer import AXFR, IXFR, History, changes, whole
from letterlock.protocols.dns.tsig import Signed, TsigFault, TsigKey

_MAX_UDP = 1232
_META = range(128, 255)  # RFC 6895 section 3.1: types that only questions have, but for ANY


@dataclass(frozen=True, slots=True)
class Access:
    """Who may transfer zones: holders of `keys` (by name in wire form), and anyone at `addresses`."""

    keys: dict[bytes, TsigKey] = field(default_factory=dict)
    addresses: frozenset[str] = frozenset()


class Catalog:
    """The zones of one server by origin, what changed in them, and who may transfer them."""

    def __init__(self, zones: Iterable[Zone] = (), access: Access | None = None) -> None:
        self.zones = {zone.origin: zone for zone in zones}
        self.history = History()
        self.access = access or Access()

    def put(self, zone: Zone) -> None:
        """Serve a zone, in the place of its former version if there is one."""
        former = self.zones.get(zone.origin)
        if former is not None and former is not zone:
            self.history.add(former, zone)
        self.zones[zone.origin] = zone

    def zone_of(self, name: bytes, number: int) -> Zone | None:
        """Return the zone that answers for a name: the deepest; for DS the one above (RFC 4035 section 3.1.4.1)."""
        found = [self.zones[above] for above in names.ancestors(name) if above in self.zones]
        if not found:
            return None
        return found[1] if number == DS and found[0].origin == name and len(found) > 1 else found[0]


@dataclass(frozen=True, slots=True)
class _Asker:
    """Who asks, when, and how."""

    address: str
    now: int
    tcp: bool
    signed: Signed | None = None


def respond(catalog: Catalog, octets: bytes, *, tcp: bool, address: str = "", now: int = 0) -> Iterator[bytes]:
    """Return the messages that answer a query; none for what deserves none, several only for a transfer.

    `now` is the time in seconds since 1970, for TSIG.
    """
    try:
        query = messages.read(octets)
    except Malformed:
        yield from _form_error(octets)
        return
    if query.is_response:
        return
    asker = _Asker(address, now, tcp)
    if tsig.is_signed(query):
        try:
            signed = tsig.verify(octets, query, catalog.access.keys, now)
        except TsigFault as fault:
            plain = messages.write(messages.response(query, Rcode.NOTAUTH))
            yield tsig.refuse(plain, query, fault, now)
            return
        except Malformed:
            yield from _form_error(octets)
            return
        asker = replace(asker, signed=signed)
    yield from _write(_decide(catalog, query, asker), query, asker)


def _write(responses: Iterable[Message], query: Message, asker: _Asker) -> Iterator[bytes]:
    limit = 65535
    if not asker.tcp:
        limit = min(max(query.edns.payload_size, 512), _MAX_UDP) if query.edns else 512
    edns = Edns(_MAX_UDP, query.edns.dnssec_ok) if query.edns else None
    if asker.signed is None:
        for response in responses:
            yield messages.write(replace(response, edns=edns), limit)
        return
    key, previous = asker.signed.key, asker.signed.mac
    for number, response in enumerate(responses):
        octets = messages.write(replace(response, edns=edns), limit - 200)
        signed, previous = tsig.sign(octets, key, asker.now, previous=previous, later=number > 0)
        yield signed


def _form_error(octets: bytes) -> Iterator[bytes]:
    if len(octets) >= 12 and not octets[2] & 0x80:
        id, opcode = int.from_bytes(octets[:2], "big"), (octets[2] >> 3) & 15
        yield messages.write(Message(id, messages.QR, opcode, Rcode.FORMERR))


def _decide(catalog: Catalog, query: Message, asker: _Asker) -> Iterator[Message]:
    if query.edns is not None and query.edns.version > 0:
        yield messages.response(query, Rcode.BADVERS)
    elif query.opcode != Opcode.QUERY:
        yield messages.response(query, Rcode.NOTIMP)
    elif len(query.question) != 1:
        yield messages.response(query, Rcode.FORMERR)
    elif query.question[0][1] in (AXFR, IXFR):
        yield from _transfer(catalog, query, asker)
    else:
        yield _answer(catalog, query)


def _answer(catalog: Catalog, query: Message) -> Message:
    owner, number, rdclass = query.question[0]
    if number in _META or number == 0:
        return messages.response(query, Rcode.NOTIMP)
    zone = catalog.zone_of(owner, number)
    if zone is None or rdclass != types.IN:
        return messages.response(query, Rcode.REFUSED)
    return look_up(zone, query)


def _transfer(catalog: Catalog, query: Message, asker: _Asker) -> Iterator[Message]:
    owner, number, _ = query.question[0]
    zone = catalog.zones.get(owner)
    if asker.signed is None and asker.address not in catalog.access.addresses:
        return iter((messages.response(query, Rcode.REFUSED),))
    if zone is None:
        return iter((messages.response(query, Rcode.NOTAUTH),))
    if number == IXFR:
        return changes(zone, catalog.history, query, tcp=asker.tcp)
    if not asker.tcp:
        return iter((messages.response(query, Rcode.FORMERR),))  # RFC 5936 section 4.2
    return whole(zone, query)
