"""What is remembered of a signer's messages changes nothing: read from memory or for the first time, they say the same."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator

import msgspec
import pytest
from tests.trust.smime.conftest import People

from letterlock.errors import Malformed
from letterlock.formats.cms import content, forms
from letterlock.formats.cms.signed import SignedData
from letterlock.trust.smime import stream, verify
from letterlock.trust.smime.sign import sign
from letterlock.trust.smime.verify import Check

INSIDE = b"At noon.\r\n"


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    forms.forget()
    yield
    forms.forget()


def _read(octets: bytes) -> tuple[SignedData, tuple[Check, ...]] | str:
    try:
        signed = SignedData.parse(content.parse(octets)[1])
        return signed, verify.verify(signed)
    except Malformed as error:
        return str(error)


def _said(octets: bytes) -> object:
    """Everything that reading and checking gives, without what tells that it was remembered."""
    found = _read(octets)
    if isinstance(found, str):
        return found
    signed, checks = found
    facts = [
        (check.fault, check.scheme, check.digest, check.signing_time, check.names_certificate, check.certificate)
        for check in checks
    ]
    plain = [msgspec.structs.asdict(signer) | {"like": None} for signer in signed.signers]
    return facts, plain, signed.certificates, signed.crls, signed.ocsp_responses, signed.content_type


def _learn(octets: bytes) -> None:
    """Read a message twice: its form is learnt when it comes again."""
    assert not _is_remembered(octets)
    assert not _is_remembered(octets)


def _is_remembered(octets: bytes) -> bool:
    found = _read(octets)
    return not isinstance(found, str) and found[0].signers[0].like is not None


def test_the_third_message_of_a_signer_is_a_form(people: People) -> None:
    """Another content at another time is the same form, and says what it says itself."""
    ada = people.named("ada", "rsa2048")
    first = sign(INSIDE, (ada.signer,), people.now)
    second = sign(b"At one.\r\n", (ada.signer,), people.now + datetime.timedelta(hours=1))
    apart = _said(second)
    forms.forget()
    _learn(first)
    assert _is_remembered(second)
    assert _said(second) == apart
    found = _read(second)
    assert not isinstance(found, str)
    (check,) = found[1]
    assert check.good
    assert check.signing_time == people.now + datetime.timedelta(hours=1)
    assert check.certificate == ada.certificate


def test_no_changed_octet_hides_in_memory(people: People) -> None:
    """One bit turned over, at every octet in turn: a form that was learnt changes nothing of what is found."""
    ada = people.named("ada", "rsa2048")
    whole = sign(INSIDE, (ada.signer,), people.now)
    for at in range(len(whole)):
        changed = whole[:at] + bytes((whole[at] ^ 1 << at % 8,)) + whole[at + 1 :]
        forms.forget()
        apart = _said(changed)
        forms.forget()
        _learn(whole)
        assert _said(changed) == apart


def test_a_form_learnt_from_a_changed_message_serves_nobody_else(people: People) -> None:
    """What a changed message has taught does not change how the true one is read, at every octet in turn."""
    ada = people.named("ada", "rsa2048")
    whole = sign(INSIDE, (ada.signer,), people.now)
    apart = _said(whole)
    for at in range(len(whole)):
        changed = whole[:at] + bytes((whole[at] ^ 1 << at % 8,)) + whole[at + 1 :]
        forms.forget()
        _read(changed)
        _read(changed)
        assert _said(whole) == apart


def test_of_streamed_content(people: People) -> None:
    """The tail of a message in BER is the form of one in DER."""
    ada = people.named("ada", "rsa2048")
    _learn(sign(INSIDE, (ada.signer,), people.now))
    assert _is_remembered(b"".join(stream.sign([INSIDE], (ada.signer,), people.now)))


def test_what_has_no_form(people: People) -> None:
    """Several signers, and signatures without attributes, are read anew each time."""
    ada, bob = people.named("ada", "rsa2048").signer, people.named("bob", "p256").signer
    for signers in ((ada, bob), (dataclasses.replace(ada, with_attributes=False),)):
        whole = sign(INSIDE, signers, people.now)
        _learn(whole)
        assert not _is_remembered(whole)


def test_memory_is_bounded(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more forms are kept than the limit says, the latest of them, and none of a large tail."""
    monkeypatch.setattr(forms, "MAX_FORMS", 2)
    for name in ("ada", "bob", "carol"):
        whole = sign(INSIDE, (people.named(name, "rsa2048").signer,), people.now)
        _learn(whole)
        assert _is_remembered(whole)
    assert len(forms._forms) == 2
    bob, ada = (sign(INSIDE, (people.named(name, "rsa2048").signer,), people.now) for name in ("bob", "ada"))
    assert _is_remembered(bob)
    assert not _is_remembered(ada)  # the oldest went
    monkeypatch.setattr(forms, "MAX_OCTETS", 100)
    forms.forget()
    _learn(whole)
    assert not _is_remembered(whole)
