"""How mail to an address would go, step by step, up to the answer to RCPT; nothing is sent.

    async for step in Probe(...).steps(address): print(step)

Every host of the route is tried under the demand that a real delivery would make, its addresses in a race as there.

Standards: RFC 5321 section 5.1, RFC 7672, RFC 8461; see mta/route.py and mta/demand.py, whose decisions are shown.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import TypeVar

from letterlock.errors import NotAuthentic, PeerFault
from letterlock.formats.address import Address
from letterlock.formats.dns import rdata_text
from letterlock.formats.dns.question import Answer, Outcome, Question
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.host.drive_decisions import drive
from letterlock.host.entropy import Entropy
from letterlock.host.logs import Log
from letterlock.host.resolver.interface import Resolver
from letterlock.host.smtp_client import ClientPatience, SmtpClient
from letterlock.host.stream import TlsFailed
from letterlock.mta.demand import Demands, TlsDemand
from letterlock.mta.opening import Opener, Race
from letterlock.mta.route import Hop, RoutingSettings, find_route
from letterlock.mta.sts_policies import StsPolicies
from letterlock.mta.tls_results import record_nothing

T = TypeVar("T")
_MOST_SHOWN = 4
_PATIENCE = ClientPatience(connect_seconds=10, greeting_seconds=30, command_seconds=30)


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what was done at which `host` ("" for the domain), what it showed, how long it took.

    `fine` is None where a step only informs. `code` is that of the reply to RCPT, 0 elsewhere.
    """

    host: str
    what: str
    finding: str
    milliseconds: float = 0.0
    fine: bool | None = True
    code: int = 0


@dataclass(frozen=True, slots=True)
class Probe:
    """Tries; `name` is what we call ourselves, `reverse_path` who would be sending."""

    name: str
    reverse_path: Address | None
    routing: RoutingSettings
    resolver: Resolver
    demands: Demands
    policies: StsPolicies
    entropy: Entropy
    local_address: str | None = None

    async def steps(self, address: Address) -> AsyncIterator[Step]:
        """Yield each step when it is done."""
        watched = _Watched(self.resolver)
        route, took = await _timed(drive(find_route(address.domain, self.routing, self.entropy), watched))
        for step in watched.steps:
            yield step
        if route.hindrance is not None:
            hindrance = route.hindrance
            yield Step("", "route", f"{hindrance.status} {hindrance.reason}", took, fine=False)
            return
        names = ", ".join(f"{hop.host.name} ({hop.host.preference})" for hop in route.hops)
        yield Step("", "route", f"{names}; MX records {route.mx_security.value}", took)
        policy, took = await _timed(self.policies.policy(address.domain))
        found = f"{policy.mode.value}: {', '.join(policy.patterns)}" if policy is not None else "no policy"
        yield Step("", "MTA-STS", found, took, fine=None)
        for hop in route.hops:
            async for step in self._try(address, hop):
                yield step

    async def _try(self, address: Address, hop: Hop) -> AsyncIterator[Step]:
        host = hop.host.name
        yield Step(host, "DANE", hop.host.reason, fine=None)
        try:
            demand = await self.demands(address.domain, hop)
            race = Race()
            client, took = await _timed(self._opener().connect(hop, hop.endpoints, race))
        except (PeerFault, NotAuthentic) as fault:
            yield Step(host, "TCP" if isinstance(fault, PeerFault) else "policy", _problem(fault), fine=False)
            return
        for problem in race.failures.values():
            yield Step(host, "TCP", problem, fine=None)
        yield Step(host, "TCP", str(race.winner), took)
        try:
            if hop.relay is not None and hop.relay.implicit_tls:
                state, took = await _timed(client.handshake(demand.context, server_name=demand.server_name))
                yield Step(host, "TLS", f"{state.version} {state.cipher}", took)
            async for step in self._talk(host, client, demand, address):
                yield step
        except (PeerFault, NotAuthentic) as fault:
            yield Step(
                host, "TLS" if isinstance(fault, NotAuthentic | TlsFailed) else "reply", _problem(fault), fine=False
            )
        finally:
            await client.quit()

    def _opener(self) -> Opener:
        return Opener(self.name, _PATIENCE, self.local_address, self.entropy, Log("cli"), record_nothing)

    async def _talk(self, host: str, client: SmtpClient, demand: TlsDemand, address: Address) -> AsyncIterator[Step]:
        _, took = await _timed(client.greet())
        yield Step(host, "banner", client.greeting, took)
        offer, took = await _timed(client.hello())
        yield Step(host, "EHLO", " ".join(offer.keywords), took)
        async for step in self._tls(host, client, demand):
            yield step
        envelope = Envelope(self.reverse_path, (Recipient(address),))
        answer, took = await _timed(client.try_recipient(envelope))
        yield Step(host, "RCPT", str(answer), took, fine=answer.is_positive, code=answer.code)

    async def _tls(self, host: str, client: SmtpClient, demand: TlsDemand) -> AsyncIterator[Step]:
        if client.tls is not None:
            if demand.judge is not None:
                demand.judge(client.tls)
            return
        if "STARTTLS" not in client.offer:
            finding = "STARTTLS is not offered"
            yield Step(host, "TLS", finding, fine=False if demand.is_mandatory else None)
            if demand.is_mandatory:
                raise NotAuthentic(f"{demand.label} demands TLS: mail would wait")
            return
        state, took = await _timed(client.start_tls(demand.context, server_name=demand.server_name))
        yield Step(host, "TLS", f"{state.version} {state.cipher}", took)
        if demand.judge is not None:
            demand.judge(state)
        finding = f"accepted under {demand.label}" if demand.authenticates else "not examined: any certificate will do"
        yield Step(host, "certificate", finding, fine=True if demand.authenticates else None)
        await client.hello()


class _Watched:
    """A resolver that takes down what was asked, what came, and how long it took."""

    def __init__(self, inner: Resolver) -> None:
        self._inner = inner
        self.steps: list[Step] = []

    async def ask(self, question: Question) -> Answer:
        """Ask, and take it down."""
        answer, took = await _timed(self._inner.ask(question))
        found = ", ".join(rdata_text.write(record) for record in answer.records[:_MOST_SHOWN]) or answer.outcome.value
        more = f" and {len(answer.records) - _MOST_SHOWN} more" if len(answer.records) > _MOST_SHOWN else ""
        failed = answer.outcome is Outcome.FAILED
        finding = f"{question.name}: {answer.reason if failed else found}{more} ({answer.security.value})"
        fine = False if failed else True if answer.outcome is Outcome.FOUND else None
        self.steps.append(Step("", question.type, finding, took, fine=fine))
        return answer


async def _timed(work: Awaitable[T]) -> tuple[T, float]:
    started = time.perf_counter()
    result = await work
    return result, (time.perf_counter() - started) * 1000


def _problem(fault: PeerFault | NotAuthentic) -> str:
    return fault.problem if isinstance(fault, PeerFault) else str(fault)
