"""The shape of decisions."""

from letterlock.formats.dns.question import Answer, Outcome, Question
from letterlock.formats.dns.rdata import A, Rdata
from letterlock.trust.ask import Decision, ask, ask_all, decide


def _addresses(*names: str) -> Decision[list[Rdata]]:
    first = yield from ask(Question(names[0], "A"))
    rest = yield from ask_all(tuple(Question(name, "A") for name in names[1:]))
    return [record for answer in (first, *rest) for record in answer.records]


def test_a_decision_is_answered_in_order() -> None:
    """Answers come back in the order of the questions, and the verdict is the generator's value."""

    def answer(question: Question) -> Answer:
        return Answer(question, Outcome.FOUND, (A(question.name),))

    assert decide(_addresses("1", "2", "3"), answer) == [A("1"), A("2"), A("3")]
