"""Responses from the authoritative servers themselves, found by walking down from the root.

Each server learns only as much of the name as it needs. Delegations are remembered. Only what a server may speak for
(names within the zone it was asked about) is taken from its responses.

Standards: RFC 1034 section 5.3.3, RFC 9156 (QNAME minimisation), RFC 2181 section 5.4.1 (whom to believe),
RFC 4035 section 4.2 (DS is asked of the parent).
Limits: 64 queries a fetch; 10 minimised queries; 3 name servers without glue a zone, 4 levels deep; 13 servers a zone;
delegations are kept for a day at most.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from letterlock.errors import PeerFault
from letterlock.formats.dns import name as names
from letterlock.formats.dns import types
from letterlock.formats.dns.message import Message, Record
from letterlock.formats.dns.types import Rcode
from letterlock.host.resolver.exchange import Exchange, Server
from letterlock.protocols.dns import client

A, AAAA, NS, SOA, DS = (types.NUMBERS[mnemonic] for mnemonic in ("A", "AAAA", "NS", "SOA", "DS"))
_MAX_QUERIES = 64
_MAX_TOLD = 3  # servers that failed, in a reason that people read
_MAX_MINIMISED = 10  # RFC 9156 section 2.3, MAX_MINIMISE_COUNT
_MAX_SERVERS = 13
_MAX_GLUELESS = 3
_MAX_DEPTH = 4
_MAX_SECONDS = 86400
_QUERY_SECONDS = 1.5
_REST_SECONDS = 30.0

# The root servers, from https://www.iana.org/domains/root/servers.
ROOT_SERVERS = tuple(
    Server(address)
    for address in (
        "198.41.0.4", "170.247.170.2", "192.33.4.12", "199.7.91.13", "192.203.230.10", "192.5.5.241", "192.112.36.4",
        "198.97.190.53", "192.36.148.17", "192.58.128.30", "193.0.14.129", "199.7.83.42", "202.12.27.33",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Delegation:
    """A zone and the servers that were named for it."""

    zone: bytes
    servers: tuple[Server, ...]
    expires: float = float("inf")


@dataclass(slots=True)
class _Budget:
    """What is left for one fetch, shared by everything it causes."""

    queries: int = _MAX_QUERIES

    def spend(self) -> None:
        self.queries -= 1
        if self.queries < 0:
            raise PeerFault(f"more than {_MAX_QUERIES} queries did not lead to an answer")


class IterativeSource:
    """Walks down from the root servers. `port` is where servers that delegations name listen."""

    def __init__(
        self,
        exchange: Exchange,
        hints: Iterable[Server] = ROOT_SERVERS,
        *,
        port: int = 53,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._exchange = exchange
        self._port = port
        self._clock = clock
        self._known = {names.ROOT: _Delegation(names.ROOT, tuple(hints))}
        self._failed_at: dict[Server, float] = {}

    async def fetch(self, owner: bytes, number: int) -> Message:
        """Return the authoritative response; raises PeerFault."""
        return await self._walk(owner, number, _Budget(), 0)

    async def _walk(self, owner: bytes, number: int, budget: _Budget, depth: int) -> Message:
        delegation = self._deepest(owner, number)
        labels = names.count_labels(delegation.zone) + 1
        minimised = 0
        while True:
            partial = _cut_to(owner, labels)
            final = partial == owner or minimised >= _MAX_MINIMISED
            asked, asked_type = (owner, number) if final else (partial, A)
            response = await self._ask(delegation, asked, asked_type, budget)
            referred = self._referral(response, delegation, owner, number)
            if referred is not None:
                delegation = await self._follow(delegation, referred, response, budget, depth)
                labels = names.count_labels(delegation.zone) + 1
            elif final:
                return _within(response, delegation.zone)
            elif response.rcode == Rcode.NOERROR:
                labels += 1
            else:
                minimised = _MAX_MINIMISED  # RFC 9156 section 3: some servers err about names in between
            minimised += 1

    def _deepest(self, owner: bytes, number: int) -> _Delegation:
        start = names.parent(owner) if number == DS and owner != names.ROOT else owner
        now = self._clock()
        for above in names.ancestors(start):
            known = self._known.get(above)
            if known is not None and now < known.expires:
                return known
        raise PeerFault("no root servers are configured")

    async def _ask(self, delegation: _Delegation, owner: bytes, number: int, budget: _Budget) -> Message:
        """Ask the servers of a zone in turn until one answers."""
        problems = []
        query = client.query(0, owner, number, flags=0)
        now = self._clock()
        rested = sorted(delegation.servers, key=lambda server: now - self._failed_at.get(server, -1e9) < _REST_SECONDS)
        for server in rested:
            budget.spend()
            try:
                response = await self._exchange.ask(server, query, _QUERY_SECONDS)
            except PeerFault as fault:
                problems.append(fault.problem)
                self._failed_at[server] = now
                continue
            if response.rcode in (Rcode.NOERROR, Rcode.NXDOMAIN) and not _is_lame(response, delegation.zone):
                return response
            problems.append(f"{server} answered {types.rcode_text(response.rcode)} without authority")
        zone = names.to_text(delegation.zone) or "the root"
        told = problems[:_MAX_TOLD]
        if len(problems) > _MAX_TOLD:
            told.append(f"{len(problems) - _MAX_TOLD} more like these")
        raise PeerFault(f"no server of {zone} answers: " + ("; ".join(told) or "none has an address"))

    def _referral(
        self, response: Message, delegation: _Delegation, owner: bytes, number: int
    ) -> tuple[Record, ...] | None:
        """Return the NS records of a referral that leads closer to the name."""
        if response.is_authoritative or response.rcode != Rcode.NOERROR or response.answer:
            return None
        found = tuple(record for record in response.authority if record.type == NS)
        if not found:
            return None
        zone = found[0].owner
        closer = zone != delegation.zone and names.is_within(zone, delegation.zone) and names.is_within(owner, zone)
        return tuple(record for record in found if record.owner == zone) if closer else None

    async def _follow(
        self, parent: _Delegation, referred: tuple[Record, ...], response: Message, budget: _Budget, depth: int
    ) -> _Delegation:
        zone = referred[0].owner
        hosts = [record.rdata for record in referred[:_MAX_SERVERS]]
        servers: list[Server] = []
        without: list[bytes] = []
        for host in hosts:
            glue = [
                _server(record, self._port)
                for record in response.additional
                if record.owner == host and _is_address(record) and names.is_within(host, parent.zone)
            ]
            servers += glue
            if not glue:
                without.append(host)
        if not servers:
            for host in without[:_MAX_GLUELESS]:
                servers += await self._addresses(host, zone, budget, depth)
                if servers:
                    break
        seconds = min(_MAX_SECONDS, *(record.ttl for record in referred))
        delegation = _Delegation(zone, tuple(servers), self._clock() + seconds)
        if servers:
            self._known[zone] = delegation
        if len(self._known) > 10_000:
            self._known = {names.ROOT: self._known[names.ROOT], zone: delegation}
        return delegation

    async def _addresses(self, host: bytes, zone: bytes, budget: _Budget, depth: int) -> list[Server]:
        if depth >= _MAX_DEPTH or names.is_within(host, zone):
            return []  # a server whose address only it could tell
        found: list[Server] = []
        for number in (A, AAAA):
            try:
                response = await self._walk(host, number, budget, depth + 1)
            except PeerFault:
                continue
            found += [_server(record, self._port) for record in response.answer if _is_address(record)]
            if found:
                break
        return found


def _cut_to(owner: bytes, labels: int) -> bytes:
    above = names.ancestors(owner)
    return above[max(len(above) - 1 - labels, 0)]


def _is_lame(response: Message, zone: bytes) -> bool:
    """Whether a server neither answers nor refers below its zone: it is not what the delegation says."""
    if response.is_authoritative or response.answer:
        return False
    return not any(
        record.type in (NS, SOA) and record.owner != zone and names.is_within(record.owner, zone)
        for record in response.authority
    )


def _within(response: Message, zone: bytes) -> Message:
    """Return the response without what its server may not speak for (RFC 2181 section 5.4.1)."""
    return replace(
        response,
        answer=tuple(record for record in response.answer if names.is_within(record.owner, zone)),
        authority=tuple(record for record in response.authority if names.is_within(record.owner, zone)),
        additional=(),
    )


def _is_address(record: Record) -> bool:
    return (record.type, len(record.rdata)) in ((A, 4), (AAAA, 16))


def _server(record: Record, port: int) -> Server:
    return Server(str(ipaddress.ip_address(record.rdata)), port)
