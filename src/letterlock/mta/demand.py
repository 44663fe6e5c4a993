"""What the TLS with one host must be: DANE first, then MTA-STS, then as good as the host offers.

DANE's word is never loosened by another policy. Where a domain's MTA-STS policy is enforced, a host it does not name is
not used, and one it names must show a certificate for its own name under the roots we trust. REQUIRETLS makes encrypted
and authenticated TLS a condition of the message, whoever publishes what.

Standards: RFC 7672 section 2.2, RFC 8461 section 2 and 4, RFC 8689 section 4.2.1, RFC 7435 (opportunistic security).
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from letterlock.errors import NotAuthentic
from letterlock.formats.mta_sts import Mode
from letterlock.host.clock import Clock
from letterlock.host.tls import TlsState, opportunistic_client
from letterlock.mta.route import Hop
from letterlock.mta.sts_policies import StsPolicies
from letterlock.trust.dane.authenticate import authenticate
from letterlock.trust.dane.plan import Requirement


@dataclass(frozen=True, slots=True)
class TlsDemand:
    """What the TLS with one host must be, and on whose word.

    `judge` raises NotAuthentic if the handshake does not show what is demanded; `authenticates` says that it, or the
    context, tells who the host is. `label` names the policy for the log and the outcome ("dane", "sts", "may").
    """

    label: str
    is_mandatory: bool
    server_name: str
    context: ssl.SSLContext
    authenticates: bool = False
    judge: Callable[[TlsState], None] | None = None


# Given the recipients' domain, the host, and whether the message demands REQUIRETLS. Raises NotAuthentic where the host may
# not be used at all.
Demand = Callable[[str, Hop, bool], Awaitable[TlsDemand]]


class Demands:
    """Decides by the policies there are. `authenticated` verifies names under the roots we trust."""

    def __init__(self, *, clock: Clock, authenticated: ssl.SSLContext, policies: StsPolicies | None = None) -> None:
        self._clock = clock
        self._policies = policies
        self._authenticated = authenticated
        self._any = opportunistic_client()

    async def __call__(self, domain: str, hop: Hop, require_tls: bool) -> TlsDemand:
        """Return what is demanded of `hop` for mail to `domain`."""
        demand = self._by_dane(hop)
        if not demand.is_mandatory and hop.relay is None and self._policies is not None:
            demand = await self._by_sts(domain, hop, demand)
        if require_tls and not demand.authenticates:
            return replace(self._by_name(hop, "requiretls"), judge=demand.judge)
        if hop.relay is not None and hop.relay.user and not demand.authenticates:
            return self._by_name(hop, "relay")  # a password is for one host only
        return demand

    def _by_dane(self, hop: Hop) -> TlsDemand:
        host = hop.host
        name = host.sni or host.name

        def judge(state: TlsState) -> None:
            verdict = authenticate(host.tlsa, state.peer_chain, host.reference_names, int(self._clock.now()))
            if not verdict.is_authentic:
                raise NotAuthentic(f"the certificate of {host.name} does not match its TLSA records: {verdict.reason}")

        match host.requirement:
            case Requirement.AUTHENTICATED:
                return TlsDemand("dane", True, name, self._any, authenticates=True, judge=judge)
            case Requirement.ENCRYPTED:
                return TlsDemand("encrypt", True, name, self._any)
            case Requirement.OPPORTUNISTIC:
                return TlsDemand("may", False, name, self._any)

    async def _by_sts(self, domain: str, hop: Hop, otherwise: TlsDemand) -> TlsDemand:
        assert self._policies is not None
        policy = await self._policies.policy(domain)
        if policy is None or policy.mode is not Mode.ENFORCE:
            return otherwise
        if not policy.allows(hop.host.name):
            raise NotAuthentic(f"the MTA-STS policy of {domain} does not name {hop.host.name}")
        return self._by_name(hop, "sts")

    def _by_name(self, hop: Hop, label: str) -> TlsDemand:
        return TlsDemand(label, True, hop.host.name, self._authenticated, authenticates=True)
