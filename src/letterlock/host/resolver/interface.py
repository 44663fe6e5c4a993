"""What every resolver offers: a question, or several at once, and an answer for each; the network never makes it raise.

A look-up that fails is an Answer with the outcome FAILED and its reason. Back ends: `forward.ForwardingResolver` (no
validation), `validate.ValidatingResolver` (the default), `zone_file.ZoneTable` (answers from zone text, for tests and
for work offline).
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from letterlock.formats.dns.question import Answer, Question


class Resolver(Protocol):
    """Answers questions."""

    async def ask(self, question: Question) -> Answer:
        """Return the answer to one question."""
        ...


async def ask_all(resolver: Resolver, questions: tuple[Question, ...]) -> tuple[Answer, ...]:
    """Return the answers to several questions in their order, asked at the same time."""
    if len(questions) == 1:
        return (await resolver.ask(questions[0]),)
    return tuple(await asyncio.gather(*(resolver.ask(question) for question in questions)))
