"""The DNS tree walk: which policy records stand at a name and above it, and where its organization begins.

Standards: RFC 9989 section 4.10 (the walk), section 4.10.2 (the Organizational Domain).
Limits: eight questions a walk, asked all at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from letterlock.formats.dns.question import Answer, Outcome, Question
from letterlock.trust.ask import Decision, ask_all
from letterlock.trust.dmarc import record
from letterlock.trust.dmarc.record import Record

LONGEST_WALK = 8


@dataclass(frozen=True, slots=True)
class Walk:
    """A finished walk from `start`: the names with one record each, from the longest to the shortest.

    `failed` says which look-up failed before the walk could end, or is empty; `problems` names what was discarded.
    """

    start: str
    found: tuple[tuple[str, Record], ...]
    failed: str = ""
    problems: tuple[str, ...] = ()

    @property
    def organizational_domain(self) -> str:
        """The domain at the top of the same administration (RFC 9989 section 4.10.2); meaningless if `failed`."""
        for name, found in self.found:
            if found.psd == "n":
                return name
            if found.psd == "y" and name != self.start:
                labels = self.start.split(".")
                return ".".join(labels[len(labels) - name.count(".") - 2 :])
        return self.found[-1][0] if self.found else self.start

    def at(self, name: str) -> Record | None:
        """Return the record found at a name."""
        return next((found for domain, found in self.found if domain == name), None)

    @property
    def public_suffix(self) -> tuple[str, Record] | None:
        """The record of a public suffix domain (psd=y) at whose name the walk ended, if any."""
        return next(((name, found) for name, found in self.found if found.psd == "y"), None)


def names(start: str) -> tuple[str, ...]:
    """Return the names a walk looks at, at most eight (RFC 9989 section 4.10)."""
    labels = start.split(".")
    rest = labels[1:] if len(labels) < LONGEST_WALK else labels[-(LONGEST_WALK - 1) :]
    return (start, *(".".join(rest[place:]) for place in range(len(rest))))


def walk_all(starts: tuple[str, ...]) -> Decision[dict[str, Walk]]:
    """Walk from several names, each name in between asked for once."""
    wanted = dict.fromkeys(name for start in starts for name in names(start))
    answers = yield from ask_all(tuple(Question(f"_dmarc.{name}", "TXT") for name in wanted))
    by_name = dict(zip(wanted, answers, strict=True))
    return {start: _walk(start, by_name) for start in starts}


def _walk(start: str, answers: dict[str, Answer]) -> Walk:
    found: list[tuple[str, Record]] = []
    problems: list[str] = []
    for name in names(start):
        answer = answers[name]
        if answer.outcome is Outcome.FAILED:
            problem = f"the policy record of {name} could not be looked up: {answer.reason}"
            return Walk(start, tuple(found), problem, tuple(problems))
        texts = record.select(answer.records)
        if len(texts) > 1:
            problems.append(f"{name} publishes {len(texts)} DMARC records, so none of them counts")
        elif texts:
            parsed = record.parse(texts[0])
            found.append((name, parsed))
            if parsed.psd in ("y", "n"):
                break
    return Walk(start, tuple(found), "", tuple(problems))
