"""Certificates in the DNS (RFC 8162)."""

from __future__ import annotations

import datetime
import hashlib

import pytest

from letterlock.formats.address import Address
from letterlock.formats.dns.question import Answer, Outcome, Question, Security
from letterlock.formats.dns.rdata import Smimea
from letterlock.trust.ask import decide
from letterlock.trust.dane.owner_names import smimea_name
from letterlock.trust.smime.look_up import Found, find_certificates

ADDRESS = Address("ada", "rosewood.test")


def _find(
    people, *records: Smimea, security=Security.SECURE, outcome=Outcome.FOUND, known=(), anchors=(), days=0
) -> Found:
    def answer(question: Question) -> Answer:
        assert question == Question(smimea_name(ADDRESS), "SMIMEA")
        return Answer(question, outcome, records, security, reason="timeout")

    return decide(find_certificates(ADDRESS, people.now + datetime.timedelta(days=days), known, anchors), answer)


def test_what_the_domain_vouches_for(people) -> None:
    """The whole certificate, its digest, its key's digest, and the authority above it."""
    ada, authority = people.named("ada").certificate, people.authority.certificate
    digest, key_digest = hashlib.sha256(ada.octets).digest(), hashlib.sha512(ada.public_key.encoded).digest()
    assert _find(people, Smimea(3, 0, 0, ada.octets)).certificates == (ada,)
    assert _find(people, Smimea(3, 0, 1, digest), known=(ada,)).certificates == (ada,)
    for usage, anchors, expected in ((1, (), ()), (1, (people.anchor,), (ada,)), (7, (people.anchor,), ())):
        record = Smimea(usage, 1, 2, key_digest)
        assert _find(people, record, known=(ada,), anchors=anchors).certificates == expected
    ca_record = Smimea(0, 0, 0, authority.octets)
    assert _find(people, ca_record, known=(ada,), anchors=(people.anchor,)).certificates == (ada,)
    assert _find(people, ca_record, known=(ada,)).certificates == ()
    above = Smimea(2, 0, 1, hashlib.sha256(authority.octets).digest())
    assert _find(people, above, known=(ada, authority)).certificates == (ada,)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"security": Security.INSECURE}, "not secure"),
        ({"outcome": Outcome.FAILED, "empty": True}, "could not look up"),
        ({"outcome": Outcome.NO_NAME, "empty": True}, "publishes no certificate"),
        ({"days": 9999}, "expired"),
        ({"name": "bob"}, "it is for bob@rosewood.test"),
        ({"kind": "ed25519"}, "not for encryption"),
        ({"octets": b"\x30\x03garbage"}, "holds a usable certificate"),
    ],
)
def test_what_is_not_used(people, options: dict, reason: str) -> None:
    """Insecure answers, failures, certificates for others, for signing alone, or run out."""
    options = dict(options)
    certificate = people.named(options.pop("name", "ada"), options.pop("kind", "p256")).certificate
    record = Smimea(3, 0, 0, options.pop("octets", certificate.octets))
    found = _find(people, *(() if options.pop("empty", False) else (record,)), **options)
    assert found.certificates == ()
    assert reason in found.reason
