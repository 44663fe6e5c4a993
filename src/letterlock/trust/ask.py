"""The shape of every decision: a generator that yields questions and returns a verdict.

A decision yields a tuple of questions and is sent a tuple of answers in the same order; whoever drives it may look them
up one after the other or all at once. It never learns which. The drivers stand in host/drive_decisions.py; tests use
`decide`, which takes the answers from a function.

    def spf_record(domain: str) -> Decision[str | None]:
        answer = yield from ask(Question(domain, "TXT"))
        ...
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Protocol, TypeVar

from letterlock.errors import OurFault
from letterlock.formats.dns.question import Answer, Question

T = TypeVar("T")
Q = TypeVar("Q")  # what is asked, and what is answered: of names here, of what lies on the web in pkix/retrieval
A = TypeVar("A")
Decision = Generator[tuple[Question, ...], tuple[Answer, ...], T]


def ask(question: Question) -> Decision[Answer]:
    """Ask one question; the answer is the value of `yield from`."""
    (answer,) = yield (question,)
    return answer


def ask_all(questions: tuple[Question, ...]) -> Decision[tuple[Answer, ...]]:
    """Ask several questions that do not depend on each other."""
    if not questions:
        return ()
    answers = yield questions
    return answers


def together(
    decisions: Sequence[Generator[tuple[Q, ...], tuple[A, ...], T]],
) -> Generator[tuple[Q, ...], tuple[A, ...], tuple[T, ...]]:
    """Take several decisions step by step at the same time; their questions are asked together, equal ones once."""
    results: dict[int, T] = {}
    waiting: dict[int, tuple[Q, ...]] = {}

    def advance(place: int, answers: tuple[A, ...] | None) -> None:
        try:
            decision = decisions[place]
            waiting[place] = next(decision) if answers is None else decision.send(answers)
        except StopIteration as stop:
            waiting.pop(place, None)
            results[place] = stop.value

    try:
        for place in range(len(decisions)):
            advance(place, None)
        while waiting:
            if len(waiting) == 1:  # the last one goes on alone, as long as it has one question at a time
                ((place, asked),) = waiting.items()
                if len(asked) == 1:
                    advance(place, (yield asked))
                    continue
            questions = tuple(dict.fromkeys(question for asked in waiting.values() for question in asked))
            answers = dict(zip(questions, (yield questions), strict=True))
            for place, asked in list(waiting.items()):
                advance(place, tuple(answers[question] for question in asked))
    finally:
        for decision in decisions:
            decision.close()
    return tuple(results[place] for place in range(len(decisions)))


def decide(decision: Decision[T], answer: Callable[[Question], Answer]) -> T:
    """Run a decision to its end with answers from a plain function, and return its verdict."""
    try:
        questions = next(decision)
        while True:
            questions = decision.send(tuple(answer(question) for question in questions))
    except StopIteration as stop:
        verdict: T = stop.value
        return verdict
    finally:
        decision.close()


class Asker(Protocol):
    """Whatever can look a question up, such as the resolver in host/resolver."""

    async def ask(self, question: Question) -> Answer:
        """Return the answer; a look-up that fails is an answer too."""
        ...


async def decide_with(resolver: Asker, decision: Decision[T]) -> T:
    """Run a decision to its end with answers of a resolver, one question after the other, and return its verdict.

    host/drive_decisions.py asks the questions of one step all at once.
    """
    try:
        questions = next(decision)
        while True:
            questions = decision.send(tuple([await resolver.ask(question) for question in questions]))
    except StopIteration as stop:
        verdict: T = stop.value
        return verdict
    finally:
        decision.close()


def never(question: Question) -> Answer:
    """Answer nothing: for decisions that must not ask."""
    raise OurFault(f"this decision may not ask for {question.name} {question.type}")
