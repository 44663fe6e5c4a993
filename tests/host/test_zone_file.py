"""The resolver that answers from zone text, and the driver of decisions."""

import pytest

from letterlock.errors import Malformed
from letterlock.formats.dns.question import Answer, Outcome, Question, Security
from letterlock.formats.dns.rdata import A, Mx, Txt
from letterlock.host.drive_decisions import drive, drive_blocking
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.trust.ask import Decision, ask_all

TABLE = """
    $TTL 600
    rosewood.test.            IN MX 10 mx.rosewood.test.
    mx.rosewood.test.         IN A  127.0.1.1
    alias.rosewood.test.      IN CNAME mx.rosewood.test.
    *.wild.test.              IN TXT "a" "b"
    loop.test.                IN CNAME loop.test.
    $SECURE rosewood.test
    $BOGUS bad.test
    $TIMEOUT dead.test
    $SERVFAIL half.test MX
    half.test.                IN A 127.0.1.2
"""


@pytest.mark.parametrize(
    ("name", "mnemonic", "outcome", "records", "security"),
    [
        ("rosewood.test", "MX", Outcome.FOUND, (Mx(10, "mx.rosewood.test"),), Security.SECURE),
        ("alias.rosewood.test", "A", Outcome.FOUND, (A("127.0.1.1"),), Security.SECURE),
        ("rosewood.test", "TXT", Outcome.NO_DATA, (), Security.SECURE),
        ("none.rosewood.test", "TXT", Outcome.NO_NAME, (), Security.SECURE),
        ("any.wild.test", "TXT", Outcome.FOUND, (Txt((b"a", b"b")),), Security.INSECURE),
        ("any.wild.test", "MX", Outcome.NO_DATA, (), Security.INSECURE),
        ("wild.test", "TXT", Outcome.NO_DATA, (), Security.INSECURE),
        ("dead.test", "A", Outcome.FAILED, (), Security.INDETERMINATE),
        ("half.test", "MX", Outcome.FAILED, (), Security.INDETERMINATE),
        ("half.test", "A", Outcome.FOUND, (A("127.0.1.2"),), Security.INSECURE),
        ("x.bad.test", "A", Outcome.FAILED, (), Security.BOGUS),
        ("loop.test", "A", Outcome.FAILED, (), Security.INDETERMINATE),
    ],
)
def test_zone_text_answers(
    name: str, mnemonic: str, outcome: Outcome, records: tuple[object, ...], security: Security
) -> None:
    """Zone text gives what an authoritative server would, and the faults it names."""
    answer = ZoneTable.parse(TABLE).answer(Question(name, mnemonic))
    assert (answer.outcome, answer.records, answer.security) == (outcome, records, security)
    assert bool(answer.reason) == (outcome is not Outcome.FOUND)


def test_zone_text_that_is_none_is_refused() -> None:
    with pytest.raises(Malformed):
        ZoneTable.parse("a.test. IN MX ten mx.test.")


def _both() -> Decision[tuple[Answer, ...]]:
    answers = yield from ask_all((Question("rosewood.test", "MX"), Question("mx.rosewood.test", "A")))
    return answers


async def test_a_decision_is_driven_by_a_resolver() -> None:
    """Answers come in the order of the questions."""
    answers = await drive(_both(), ZoneTable.parse(TABLE))
    assert [answer.records for answer in answers] == [(Mx(10, "mx.rosewood.test"),), (A("127.0.1.1"),)]


def test_a_decision_is_driven_without_a_loop() -> None:
    assert [answer.outcome for answer in drive_blocking(_both(), ZoneTable.parse(TABLE))] == [Outcome.FOUND] * 2
