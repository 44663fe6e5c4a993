"""What every resolver offers: a question, or several at once, and an answer for each; the network never makes it raise.

A look-up that fails is an Answer with the outcome FAILED and its reason. Back ends: `forward.ForwardingResolver` (no
validation), `validate.ValidatingResolver` (the default), `zone_file.ZoneTable` (answers from zone text, for tests and
for work offline).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from letterlock.formats.dns.question import Answer, Question


class Resolver(Protocol):
    """Answers questions."""

    async def ask(self, question: Question) -> Answer:
        """Return the answer to one question."""
        ...


class Remembering(Resolver, Protocol):
    """A resolver that knows some answers without asking anybody."""

    def recall(self, question: Question) -> Answer | None:
        """Return the answer where it is at hand."""
        ...


async def ask_all(resolver: Resolver | Remembering, questions: tuple[Question, ...]) -> tuple[Answer, ...]:
    """Return the answers to several questions in their order, asked at the same time."""
    recall: Callable[[Question], Answer | None] | None = getattr(resolver, "recall", None)
    if recall is not None:
        known = [answer for question in questions if (answer := recall(question)) is not None]
        if len(known) == len(questions):
            return tuple(known)
    if len(questions) == 1:
        return (await resolver.ask(questions[0]),)
    return tuple(await asyncio.gather(*(resolver.ask(question) for question in questions)))
