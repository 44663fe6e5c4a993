"""A resolver that believes other resolvers: without validation, or trusting their AD bit.

The AD bit is worth something only over a path nobody can write to: a resolver on this machine, or one the site declared
trustworthy (RFC 4035 section 4.9.3). Without `trust_ad` every answer is insecure.

Standards: RFC 1035 section 7, RFC 6840 section 5.7 (asking for AD).
"""

from __future__ import annotations

from dataclasses import replace

from letterlock.errors import Malformed, PeerFault
from letterlock.formats.dns import message as messages
from letterlock.formats.dns import name as names
from letterlock.formats.dns import types
from letterlock.formats.dns.question import Answer, Outcome, Question, Security, Step
from letterlock.formats.dns.types import ExtendedError
from letterlock.host.resolver.upstream import Upstream
from letterlock.protocols.dns import client


class ForwardingResolver:
    """Passes questions on to other resolvers and believes what they say."""

    def __init__(self, upstream: Upstream, *, trust_ad: bool = False) -> None:
        self._upstream = upstream
        self._trust_ad = trust_ad

    async def ask(self, question: Question) -> Answer:
        """Return the resolvers' answer."""
        try:
            owner, number = names.to_wire(question.name), types.lookup_number(question.type)
        except Malformed as error:
            return client.failed(question, f"{question.name} {question.type}: {error}", ExtendedError.INVALID_DATA)
        query = client.query(0, owner, number, flags=messages.RD | messages.AD, dnssec_ok=False)
        try:
            response = await self._upstream.ask(query)
        except PeerFault as fault:
            reason = f"{question.name} {question.type}: {fault.problem}"
            return client.failed(question, reason, ExtendedError.NO_REACHABLE_AUTHORITY)
        secure = self._trust_ad and response.is_authentic
        answer = client.read_answer(question, response, Security.SECURE if secure else Security.INSECURE)
        if not secure or answer.outcome is Outcome.FAILED:
            return answer
        step = Step(
            f"{question.name}. {question.type}", "the resolver says that it validated this", "RFC 4035 section 3.2.3"
        )
        return replace(answer, evidence=(step,))
