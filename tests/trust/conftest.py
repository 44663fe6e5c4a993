"""A DNS of a few lines for decisions."""

from collections.abc import Callable, Mapping, Sequence

import pytest

from letterlock.formats.dns.question import Answer, Outcome, Question
from letterlock.formats.dns.rdata import A, Aaaa, Mx, Ptr, Rdata, Txt

Entry = str | Rdata
Zone = Mapping[str, Entry | Sequence[Entry] | None]
Answering = Callable[[Question], Answer]


def _type(record: Rdata) -> str:
    match record:
        case A():
            return "A"
        case Aaaa():
            return "AAAA"
        case Mx():
            return "MX"
        case Ptr():
            return "PTR"
        case Txt():
            return "TXT"
        case _:
            raise AssertionError(record)


def answering(zone: Zone) -> Answering:
    """Answer from names: text is TXT, None is a name whose servers do not answer; names not there do not exist."""

    def answer(question: Question) -> Answer:
        if question.name not in zone:
            above = any(name.endswith("." + question.name) for name in zone)
            return Answer(question, Outcome.NO_DATA if above else Outcome.NO_NAME, reason=f"no {question.name}")
        entry = zone[question.name]
        if entry is None:
            return Answer(question, Outcome.FAILED, reason="SERVFAIL")
        entries = [entry] if isinstance(entry, str) or not isinstance(entry, Sequence) else entry
        records = [Txt((one.encode(),)) if isinstance(one, str) else one for one in entries]
        found = tuple(record for record in records if _type(record) == question.type)
        return Answer(question, Outcome.FOUND if found else Outcome.NO_DATA, found, reason="" if found else "no data")

    return answer


@pytest.fixture
def dns() -> Callable[[Zone], Answering]:
    """Return what makes an answer function of a zone."""
    return answering
