"""What the TLS with one host must be: DANE first, then MTA-STS, then as good as the host offers.

DANE's word is never loosened by another policy. Where a domain's MTA-STS policy is enforced, a host it does not name is
not used, and one it names must show a certificate for its own name under the roots we trust; where it is tested, the same
is looked at and reported, and the mail goes on. A message can ask for more (REQUIRETLS: the host's name must come from
signed DNS or the policy, and its certificate must prove it) or for less (`TLS-Required: No`: no policy holds it back).

Standards: RFC 7672 section 2.2, RFC 8461 section 2 and 5, RFC 8689 section 4.2.1 and 4.2.2, RFC 7435 (opportunistic
security), RFC 8460 section 4.3 (what of it is reported).
"""

from __future__ import annotations

import enum
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from letterlock.errors import NotAuthentic
from letterlock.formats import mta_sts
from letterlock.formats.dns import rdata_text
from letterlock.formats.envelope import Envelope
from letterlock.formats.mta_sts import Mode, Policy
from letterlock.host.clock import Clock
from letterlock.host.tls import TlsState, opportunistic_client
from letterlock.mta.route import Hop
from letterlock.mta.sts_policies import StsPolicies
from letterlock.mta.tls_results import FAILED, TLSA_INVALID, AppliedPolicy
from letterlock.trust.dane.authenticate import authenticate
from letterlock.trust.dane.plan import Requirement

_TLS_OPTIONAL = re.compile(rb"(?:^|\n)tls-required:\s*no[ \t]*(?:\r?\n(?![ \t])|$)", re.IGNORECASE)


class Wish(enum.Enum):
    """What a message asks of the connections it takes."""

    REQUIRED = "REQUIRETLS"
    AS_PUBLISHED = "what the policies say"
    OPTIONAL = "TLS-Required: No"


def wish_of(envelope: Envelope, content: bytes) -> Wish:
    """Return what a message asks for (RFC 8689 section 4.1: REQUIRETLS in the envelope outdoes the header)."""
    if envelope.require_tls:
        return Wish.REQUIRED
    header, _, _ = content.partition(b"\r\n\r\n")
    # Nearly none has it, and looking for words is thirty times as fast as looking for lines.
    is_optional = b"tls-required" in header.lower() and _TLS_OPTIONAL.search(header + b"\r\n") is not None
    return Wish.OPTIONAL if is_optional else Wish.AS_PUBLISHED


@dataclass(frozen=True, slots=True)
class TlsDemand:
    """What the TLS with one host must be, and on whose word.

    `judge` raises NotAuthentic if the handshake does not show what is demanded; `authenticates` says that it, or the
    context, tells who the host is. `label` names the policy for the log and the outcome ("dane", "sts", "may"). Results are
    reported under `policy`, if any; `otherwise` is what to demand where this fails and is not mandatory.
    """

    label: str
    is_mandatory: bool
    server_name: str
    context: ssl.SSLContext
    authenticates: bool = False
    judge: Callable[[TlsState], None] | None = None
    policy: AppliedPolicy | None = None
    otherwise: TlsDemand | None = None


class HostNotAllowed(NotAuthentic):
    """A policy, or the message, keeps a host from being used at all; reported under `policy`, if any."""

    def __init__(self, problem: str, policy: AppliedPolicy | None = None) -> None:
        self.policy = policy
        super().__init__(problem)


# Given the recipients' domain, the host, and the message's wish. Raises HostNotAllowed.
Demand = Callable[[str, Hop, Wish], Awaitable[TlsDemand]]


class Demands:
    """Decides by the policies there are. `authenticated` verifies names under the roots we trust."""

    def __init__(self, *, clock: Clock, authenticated: ssl.SSLContext, policies: StsPolicies | None = None) -> None:
        self._clock = clock
        self._policies = policies
        self._authenticated = authenticated
        self._any = opportunistic_client()

    async def __call__(self, domain: str, hop: Hop, wish: Wish = Wish.AS_PUBLISHED) -> TlsDemand:
        """Return what is demanded of `hop` for mail to `domain`. Raises HostNotAllowed."""
        demand = self._by_dane(domain, hop)
        sts: Policy | None = None
        if hop.relay is not None:
            demand = replace(demand, policy=None)  # a relay of ours is not the recipients' domain, and no news to it
        if not demand.is_mandatory and hop.relay is None and self._policies is not None:
            sts = await self._policies.policy(domain)
            if sts is not None and sts.mode is not Mode.NONE:
                demand = self._by_sts(domain, hop, sts, demand, wish)
            elif trouble := self._policies.trouble(domain):
                demand = replace(demand, policy=AppliedPolicy(domain, "sts", trouble=trouble))
        if hop.relay is not None and hop.relay.user and not demand.authenticates:
            return self._by_name(hop, "relay")  # a password is for one host only
        match wish:
            case Wish.REQUIRED:
                return self._required(domain, hop, sts, demand)
            case Wish.OPTIONAL if demand.is_mandatory and hop.relay is None:
                # RFC 8689 section 4.2.2: follow the policy, but do not fail where that does not succeed.
                loose = TlsDemand("may", False, demand.server_name, self._any)
                return replace(demand, label="may", is_mandatory=False, otherwise=loose)
        return demand

    def _by_dane(self, domain: str, hop: Hop) -> TlsDemand:
        host = hop.host
        name = host.sni or host.name

        def judge(state: TlsState) -> None:
            verdict = authenticate(host.tlsa, state.peer_chain, host.reference_names, int(self._clock.now()))
            if not verdict.is_authentic:
                raise NotAuthentic(f"the certificate of {host.name} does not match its TLSA records: {verdict.reason}")

        strings = tuple(rdata_text.write(record) for record in host.tlsa)
        match host.requirement:
            case Requirement.AUTHENTICATED:
                policy = AppliedPolicy(domain, "tlsa", strings, (host.name,))
                return TlsDemand("dane", True, name, self._any, authenticates=True, judge=judge, policy=policy)
            case Requirement.ENCRYPTED:
                policy = AppliedPolicy(domain, "tlsa", strings, (host.name,), trouble=TLSA_INVALID)
                return TlsDemand("encrypt", True, name, self._any, policy=policy)
            case Requirement.OPPORTUNISTIC:
                return TlsDemand("may", False, name, self._any, policy=AppliedPolicy(domain))

    def _by_sts(self, domain: str, hop: Hop, sts: Policy, otherwise: TlsDemand, wish: Wish) -> TlsDemand:
        lines = tuple(mta_sts.write_policy(sts).decode().splitlines())
        policy = AppliedPolicy(domain, "sts", lines, sts.patterns)
        is_enforced = sts.mode is Mode.ENFORCE
        if not sts.allows(hop.host.name):
            if is_enforced and wish is not Wish.OPTIONAL:
                raise HostNotAllowed(f"the MTA-STS policy of {domain} does not name {hop.host.name}", policy)
            return replace(otherwise, policy=replace(policy, trouble=FAILED))
        demand = replace(self._by_name(hop, "sts"), policy=policy)
        if is_enforced:
            return demand
        # RFC 8461 section 5: a policy that is tested never holds mail back.
        return replace(
            demand, label="may", is_mandatory=False, authenticates=False, otherwise=replace(otherwise, policy=None)
        )

    def _required(self, domain: str, hop: Hop, sts: Policy | None, demand: TlsDemand) -> TlsDemand:
        # RFC 8689 section 4.2.1, step 2.
        if not hop.is_name_secure and not (sts is not None and sts.mode is not Mode.NONE and sts.allows(hop.host.name)):
            raise HostNotAllowed(
                f"REQUIRETLS: neither DNSSEC nor an MTA-STS policy of {domain} vouches for {hop.host.name}"
            )
        if demand.authenticates:
            return demand
        return replace(self._by_name(hop, "requiretls"), judge=demand.judge, policy=demand.policy)

    def _by_name(self, hop: Hop, label: str) -> TlsDemand:
        return TlsDemand(label, True, hop.host.name, self._authenticated, authenticates=True)
