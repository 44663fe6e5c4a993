"""The shape of decisions."""

from letterlock.formats.dns.question import Answer, Outcome, Question
from letterlock.formats.dns.rdata import A, Rdata
from letterlock.trust.ask import Decision, ask, ask_all, decide, together


def _addresses(*names: str) -> Decision[list[Rdata]]:
    first = yield from ask(Question(names[0], "A"))
    rest = yield from ask_all(tuple(Question(name, "A") for name in names[1:]))
    return [record for answer in (first, *rest) for record in answer.records]


def test_a_decision_is_answered_in_order() -> None:
    """Answers come back in the order of the questions, and the verdict is the generator's value."""

    def answer(question: Question) -> Answer:
        return Answer(question, Outcome.FOUND, (A(question.name),))

    assert decide(_addresses("1", "2", "3"), answer) == [A("1"), A("2"), A("3")]


def test_decisions_run_together() -> None:
    """Several decisions share each round of questions, an equal question is asked once, results keep their order."""
    rounds = []

    def run(decision: Decision[tuple[list[Rdata], ...]]) -> tuple[list[Rdata], ...]:
        try:
            questions = next(decision)
            while True:
                rounds.append([question.name for question in questions])
                answers = tuple(Answer(question, Outcome.FOUND, (A(question.name),)) for question in questions)
                questions = decision.send(answers)
        except StopIteration as stop:
            result: tuple[list[Rdata], ...] = stop.value
            return result

    results = run(together((_addresses("1", "2", "3"), _addresses("1"), _addresses("4", "2"))))
    assert results == ([A("1"), A("2"), A("3")], [A("1")], [A("4"), A("2")])
    assert rounds == [["1", "4"], ["2", "3"]]
    assert run(together(())) == ()
