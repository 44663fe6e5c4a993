"""Whatever is changed in responses on their way, an answer that is called secure is the true one."""

import random
import time
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from letterlock.errors import Malformed
from letterlock.formats.dns import message as messages
from letterlock.formats.dns import name as names
from letterlock.formats.dns.message import Message
from letterlock.formats.dns.question import Answer, Outcome, Question, Security
from letterlock.formats.dns.types import Rcode
from letterlock.hostmaster.tree import anchors_of, sign_tree
from letterlock.lab import dns_tree
from letterlock.protocols.dns import client
from letterlock.protocols.dns.look_up import look_up
from letterlock.protocols.dns.server import Catalog
from letterlock.trust.dnssec.chain import Memory
from letterlock.trust.dnssec.fetch import Fetch, NoResponse
from letterlock.trust.dnssec.validate import validate

NOW = int(time.time())
CATALOG = Catalog(sign_tree([*dns_tree.parent_plans(), *dns_tree.test_plans()], NOW))
ANCHORS = anchors_of(CATALOG.zones[names.ROOT])
QUESTIONS = [
    Question(f"{name}.{child}.test", mnemonic)
    for child in ("good", "hashed", "signed.hashed", "insecure", "sub.good", "optout")
    for name, mnemonic in (
        ("www", "A"),
        ("none", "A"),
        ("www", "MX"),
        ("x.wild", "TXT"),
        ("alias", "A"),
        ("a.old", "TXT"),
        ("outcast", "A"),
        ("y.z", "A"),
    )
]


def _respond(fetch: Fetch) -> Message:
    zone = CATALOG.zone_of(fetch.owner, fetch.type)
    assert zone is not None
    return look_up(zone, client.query(1, fetch.owner, fetch.type))


def _validate(question: Question, lie: int, spoil) -> Answer:  # type: ignore[no-untyped-def]
    """Validate with the response number `lie` spoilt."""
    validation = validate(question, Memory(ANCHORS), NOW)
    fetch = next(validation)
    number = 0
    while True:
        response: Message | NoResponse = _respond(fetch)
        if number == lie:
            response = spoil(response)
        number += 1
        try:
            fetch = validation.send(response)
        except StopIteration as stop:
            answer: Answer = stop.value
            return answer


TRUTH = {question: _validate(question, -1, None) for question in QUESTIONS}


def _check(question: Question, answer: Answer) -> None:
    truth = TRUTH[question]
    if answer.security is Security.SECURE and answer.outcome is not Outcome.FAILED:
        assert (answer.outcome, set(answer.records), answer.security) == (
            truth.outcome,
            set(truth.records),
            truth.security,
        ), answer
    if truth.security is Security.SECURE:
        # Nothing a liar does makes a signed zone look unsigned.
        assert answer.security is not Security.INSECURE, answer
        assert answer.security is Security.SECURE or answer.outcome is Outcome.FAILED
    assert answer.reason or answer.outcome is Outcome.FOUND


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(QUESTIONS), st.integers(0, 8), st.randoms(use_true_random=False))
def test_changed_octets_never_make_a_lie_secure(question: Question, lie: int, chance: random.Random) -> None:
    """One to four octets of one response are changed."""

    def spoil(response: Message) -> Message | NoResponse:
        octets = bytearray(messages.write(response))
        for _ in range(chance.randint(1, 4)):
            octets[chance.randrange(2, len(octets))] = chance.randrange(256)
        try:
            return messages.read(bytes(octets))
        except Malformed as error:
            return NoResponse(str(error))

    _check(question, _validate(question, lie, spoil))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(QUESTIONS), st.integers(0, 8), st.randoms(use_true_random=False))
def test_records_left_out_or_put_elsewhere_never_make_a_lie_secure(
    question: Question, lie: int, chance: random.Random
) -> None:
    """Well-signed records of other answers are put in the place of the right ones, or some are missing."""

    def spoil(response: Message) -> Message:
        other = _respond(
            Fetch(names.to_wire(TRUTH_NAMES[chance.randrange(len(TRUTH_NAMES))]), chance.choice([1, 16, 43, 48]))
        )
        answer = [record for record in (*response.answer, *other.answer) if chance.random() < 0.7]
        authority = [record for record in (*response.authority, *other.authority) if chance.random() < 0.7]
        rcode = chance.choice([Rcode.NOERROR, Rcode.NXDOMAIN, response.rcode])
        return replace(response, rcode=rcode, answer=tuple(answer), authority=tuple(authority))

    _check(question, _validate(question, lie, spoil))


TRUTH_NAMES = sorted(
    {question.name for question in QUESTIONS} | {"good.test", "test", "", "insecure.test", "hashed.test"}
)
