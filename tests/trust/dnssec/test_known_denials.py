"""Denials that are known answer later questions without asking, and never deny what exists."""

import time

import pytest

from letterlock.formats.dns import message as messages
from letterlock.formats.dns.nsec3 import Hashing
from letterlock.formats.dns.question import Answer, Outcome, Question, Security
from letterlock.formats.dns.zone import Zone
from letterlock.hostmaster.tree import anchors_of
from letterlock.protocols.dns import client
from letterlock.protocols.dns.look_up import look_up
from letterlock.trust.dnssec.chain import Memory
from letterlock.trust.dnssec.sign import Denial, SigningKey, sign_zone
from letterlock.trust.dnssec.validate import validate

NOW = int(time.time())
TEXT = """@ 300 IN SOA ns hostmaster 1 1 1 1 60
@ IN NS ns
ns IN A 127.0.0.1
www IN A 127.0.0.1
x.y IN A 127.0.0.1
*.wild IN TXT "any"
child IN NS ns.child
ns.child IN A 127.0.0.2
"""
EXISTING = [("ns", "A"), ("www", "A"), ("x.y", "A"), ("q.wild", "TXT"), ("", "SOA")]


class _World:
    def __init__(self, denial: Denial) -> None:
        zone = Zone.parse(TEXT, "rosewood.test")
        self.zone = sign_zone(zone, [SigningKey.generate()], NOW - 60, NOW + 86400, denial)
        self.memory = Memory(anchors_of(self.zone))
        self.fetched = 0

    def ask(self, name: str, mnemonic: str, now: int = NOW) -> Answer:
        question = Question(f"{name}.rosewood.test".removeprefix("."), mnemonic)
        validation = validate(question, self.memory, now)
        fetch = next_fetch = None
        try:
            fetch = next(validation)
            while True:
                self.fetched += 1
                next_fetch = look_up(self.zone, client.query(1, fetch.owner, fetch.type))
                fetch = validation.send(messages.read(messages.write(next_fetch)))
        except StopIteration as stop:
            answer: Answer = stop.value
            return answer


@pytest.mark.parametrize("denial", [Denial(), Denial(Hashing()), Denial(Hashing(3, b"s"))])
def test_what_is_known_to_be_absent_is_not_asked_again(denial: Denial) -> None:
    """Every absence is proved once more from memory, and what exists is still found."""
    world = _World(denial)
    absent = [("none", "A"), ("none2", "A"), ("zz", "MX"), ("aa", "TXT"), ("www", "MX"), ("y", "A"), ("ns", "TXT")]
    first = [world.ask(name, kind) for name, kind in absent]
    fetched = world.fetched
    again = [world.ask(name, kind) for name, kind in absent]
    assert world.fetched == fetched
    assert [(answer.outcome, answer.security) for answer in again] == [
        (answer.outcome, Security.SECURE) for answer in first
    ]
    for name, kind in EXISTING:
        answer = world.ask(name, kind)
        assert (answer.outcome, answer.security) == (Outcome.FOUND, Security.SECURE), (name, answer)


def test_a_span_denies_names_never_asked_for() -> None:
    """RFC 8198 section 5.1: one NSEC record denies all that it covers, as long as its TTL lasts."""
    world = _World(Denial())
    world.ask("none", "A")
    fetched = world.fetched
    answer = world.ask("nonf", "TXT")
    assert (answer.outcome, world.fetched) == (Outcome.NO_NAME, fetched)
    assert "RFC 8198 section 5" in {step.clause for step in answer.evidence}
    assert world.ask("nonf", "TXT", NOW + 61).outcome is Outcome.NO_NAME
    assert world.fetched > fetched


def test_a_delegation_denies_nothing_below_it() -> None:
    """RFC 6840 section 4.1: the parent's record at a zone cut does not speak for the child."""
    world = _World(Denial())
    for name in ("child", "chile", "cat"):
        world.ask(name, "DS")
    fetched = world.fetched
    world.ask("www.child", "A")
    assert world.fetched > fetched


def test_opt_out_denies_nothing_from_memory() -> None:
    world = _World(Denial(Hashing(), opt_out=True))
    world.ask("none", "A")
    fetched = world.fetched
    world.ask("none", "A")
    assert world.fetched > fetched
