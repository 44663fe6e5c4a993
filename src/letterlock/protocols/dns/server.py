"""The name server's conversation: the octets of a query in, the octets of the response out.

Standards: RFC 1035 section 4, RFC 6891 section 6.1.3 (versions) and 6.2.5 (sizes), RFC 9619 (one question),
RFC 9715 section 3.2 (1232 octets over UDP).
Limits: UDP responses of 1232 octets at most, and never more than the asker announced.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from letterlock.errors import Malformed
from letterlock.formats.dns import message as messages
from letterlock.formats.dns import name as names
from letterlock.formats.dns import types
from letterlock.formats.dns.message import Edns, Message
from letterlock.formats.dns.types import Opcode, Rcode
from letterlock.formats.dns.zone import DS, Zone
from letterlock.protocols.dns.look_up import look_up

_MAX_UDP = 1232
_META = range(128, 255)  # RFC 6895 section 3.1: types that only questions have, but for ANY


class Catalog:
    """The zones of one server by origin."""

    def __init__(self, zones: Iterable[Zone] = ()) -> None:
        self.zones = {zone.origin: zone for zone in zones}

    def put(self, zone: Zone) -> None:
        """Serve a zone, in the place of its former version if there is one."""
        self.zones[zone.origin] = zone

    def zone_of(self, name: bytes, number: int) -> Zone | None:
        """Return the zone that answers for a name: the deepest; for DS the one above (RFC 4035 section 3.1.4.1)."""
        found = [self.zones[above] for above in names.ancestors(name) if above in self.zones]
        if not found:
            return None
        return found[1] if number == DS and found[0].origin == name and len(found) > 1 else found[0]


def respond(catalog: Catalog, octets: bytes, *, tcp: bool) -> bytes | None:
    """Return the response to a query; nothing for what deserves none."""
    try:
        query = messages.read(octets)
    except Malformed:
        return _form_error(octets)
    if query.is_response:
        return None
    response = _answer(catalog, query)
    limit = 65535
    if not tcp:
        limit = min(max(query.edns.payload_size, 512), _MAX_UDP) if query.edns else 512
    return messages.write(response, limit)


def _form_error(octets: bytes) -> bytes | None:
    if len(octets) < 12 or octets[2] & 0x80:
        return None
    id, opcode = int.from_bytes(octets[:2], "big"), (octets[2] >> 3) & 15
    return messages.write(Message(id, messages.QR, opcode, Rcode.FORMERR))


def _answer(catalog: Catalog, query: Message) -> Message:
    edns = Edns(_MAX_UDP, query.edns.dnssec_ok) if query.edns else None
    return replace(_decide(catalog, query), edns=edns)


def _decide(catalog: Catalog, query: Message) -> Message:
    if query.edns is not None and query.edns.version > 0:
        return messages.response(query, Rcode.BADVERS)
    if query.opcode != Opcode.QUERY:
        return messages.response(query, Rcode.NOTIMP)
    if len(query.question) != 1:
        return messages.response(query, Rcode.FORMERR)
    owner, number, rdclass = query.question[0]
    if rdclass != types.IN or number in _META or number == 0:
        return messages.response(query, Rcode.NOTIMP if number in _META else Rcode.REFUSED)
    zone = catalog.zone_of(owner, number)
    if zone is None:
        return messages.response(query, Rcode.REFUSED)
    return look_up(zone, query)
