"""What a server's TLS must show before it gets a password: its TLSA records where it has some, else a certificate.

    way = await find_way(server, settings, proving)
    stream = await way.first_proven(connect)         # `connect` is given each demand until one is met

With a resolver at hand (`Proving`), secure TLSA records at `_PORT._tcp.NAME` decide alone: DANE-EE and DANE-TA need no
root that we trust, PKIX-TA and PKIX-EE need one besides. A set that mixes both kinds is tried first without roots, then,
over a new connection, with them: any record that matches is enough. Without secure and usable records, or without a
resolver, the certificate must be for the name, under the roots we trust. A look-up that fails, or is bogus, is never
taken for "no records": nothing is connected to.

Standards: RFC 6698 section 4.1, RFC 7671 sections 5 to 7, RFC 7673 section 3.4 and 4.2 (names and ports of services).
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from letterlock.errors import Malformed
from letterlock.formats import domain as domains
from letterlock.host.clock import Clock
from letterlock.host.connect import ConnectionFailed
from letterlock.host.drive_decisions import drive
from letterlock.host.resolver.interface import Resolver
from letterlock.host.stream import Stream, TlsFailed
from letterlock.host.tls import TlsState, authenticated_client
from letterlock.mua.settings import MailServer, UserAgentSettings
from letterlock.trust.dane.authenticate import ALL_USAGES, authenticate
from letterlock.trust.dane.plan import Fate, Host, Plan, Requirement, plan_host
from letterlock.trust.dane.records import PKIX_EE, PKIX_TA
from letterlock.trust.primitives import peer_chain

T = TypeVar("T")
_WITH_ROOTS = frozenset({PKIX_TA, PKIX_EE})


def _tell_nobody(_sentence: str) -> None:
    """Keep it to ourselves."""


@dataclass(frozen=True, slots=True)
class Proving:
    """A validating resolver to look TLSA records up with; `tell` hears in a sentence how each server proved itself."""

    resolver: Resolver
    clock: Clock
    tell: Callable[[str], None] = _tell_nobody


@dataclass(frozen=True, slots=True)
class Demand:
    """What one handshake must show: `judge` returns how the server proved itself, or raises TlsFailed."""

    context: ssl.SSLContext
    server_name: str
    judge: Callable[[TlsState], str]
    tell: Callable[[str], None] = _tell_nobody

    async def begin_tls(self, stream: Stream) -> None:
        """Begin TLS on a stream and look at what it shows. Raises TlsFailed."""
        self.check(await stream.start_tls(self.context, server_side=False, server_name=self.server_name))

    def check(self, state: TlsState | None) -> None:
        """Judge a finished handshake. Raises TlsFailed."""
        if state is None:
            raise TlsFailed("there is no TLS")
        self.tell(self.judge(state))


@dataclass(frozen=True, slots=True)
class Way:
    """How to get to a server: its addresses, if the resolver gave them, and the demands of which it must meet one."""

    demands: tuple[Demand, ...]
    addresses: tuple[str, ...] = ()

    async def first_proven(self, connect: Callable[[Demand], Awaitable[T]]) -> T:
        """Return what `connect` makes with the first demand that is met. Raises TlsFailed with the reasons of all."""
        problems = []
        for demand in self.demands:
            try:
                return await connect(demand)
            except TlsFailed as failed:
                problems.append(failed.problem)
        raise TlsFailed("; ".join(problems))


async def find_way(server: MailServer, settings: UserAgentSettings, proving: Proving | None) -> Way:
    """Look up what a server must show. Raises ConnectionFailed where that cannot be known now."""
    if proving is None or _is_address(server.name):
        return Way((_by_name(server, settings, proving, "no TLSA records were looked up"),))
    plan = await drive(plan_host(_a_labels(server.name), server.port, ALL_USAGES), proving.resolver)
    if plan.fate is Fate.DEFER:
        raise ConnectionFailed(
            f"whether {server.name} must prove itself by DANE cannot be looked up, so nothing was sent to it: {plan.reason}"
        )
    return _way(server, settings, proving, plan)


def _way(server: MailServer, settings: UserAgentSettings, proving: Proving, plan: Plan) -> Way:
    if not plan.hosts:
        return Way((_by_name(server, settings, proving, plan.reason),))
    (host,) = plan.hosts
    addresses = host.addresses if server.host == server.name else ()
    if host.requirement is not Requirement.AUTHENTICATED:
        return Way((_by_name(server, settings, proving, host.reason),), addresses)
    # Without the roots first: whoever publishes both kinds means the same certificate as a rule.
    kinds = (ALL_USAGES - _WITH_ROOTS, _WITH_ROOTS)
    present = {record.usage for record in host.tlsa}
    demands = [_by_records(host, usages, settings, proving) for usages in kinds if usages & present]
    return Way(tuple(demands), addresses)


def _by_name(server: MailServer, settings: UserAgentSettings, proving: Proving | None, why: str) -> Demand:
    """Demand a certificate for the server's name under the roots we trust; the handshake sees to it."""
    sentence = f"{server.name} proved itself by a certificate under a trusted root ({why})"
    tell = _tell_nobody if proving is None else proving.tell
    return Demand(authenticated_client(settings.roots), server.name, lambda _state: sentence, tell)


def _by_records(host: Host, usages: frozenset[int], settings: UserAgentSettings, proving: Proving) -> Demand:
    """Demand a match with a TLSA record of these usages, which either all rest on roots or none."""
    context = authenticated_client(settings.roots)
    context.check_hostname = False  # `judge` does: RFC 7671 section 7 allows more names than the one that is sent
    if usages != _WITH_ROOTS:
        context.verify_mode = ssl.CERT_NONE
    refused = f"{host.name} does not prove itself by its TLSA records"

    def judge(state: TlsState) -> str:
        names = host.reference_names
        now = int(proving.clock.now())
        verdict = authenticate(host.tlsa, state.peer_chain, names, now, usages=usages, validated=state.validated_chain)
        if not verdict.is_authentic:
            raise TlsFailed(f"{refused}: {verdict.reason}")
        if usages == _WITH_ROOTS and not any(peer_chain.read(state.peer_chain[0]).is_for(name) for name in names):
            raise TlsFailed(f"{refused}: the certificate is not for {host.name}")
        return f"{host.name} proved itself by DANE: {verdict.reason}"

    return Demand(context, host.sni, judge, proving.tell)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _a_labels(name: str) -> str:
    try:
        return domains.to_ascii(name)
    except Malformed as fault:
        raise ConnectionFailed(f"{name} is no name of a host: {fault.problem}") from None
