"""Signing and encrypting what goes out, from a key store, and opening what came in."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from letterlock.cli import smime_mail
from letterlock.errors import OurFault
from letterlock.formats.imf.header import read_header
from letterlock.formats.x509.name import Name
from letterlock.host.clock import SetClock
from letterlock.host.entropy import SeededEntropy
from letterlock.mua.compose import Composed, Draft, compose
from letterlock.registrar.key_store import KeyStore
from letterlock.trust.pkix import issue
from letterlock.trust.primitives import key_pairs

NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture
def stores(tmp_path: Path) -> dict[str, KeyStore]:
    """Ada and Bob, each with a key store that trusts one authority; Ada knows Bob's certificate."""
    authority = issue.found(key_pairs.generate("p256"), Name.make(CN="CA"), NOW, 100, 1)
    made = {}
    certificates = {}
    for number, name in enumerate(("ada", "bob"), 2):
        store = KeyStore(tmp_path / f"{name}.db", b"tulip")
        key = key_pairs.generate("p256")
        certificate = issue.certify(
            authority, key.public, Name.make(CN=name), (f"{name}@rosewood.test",), issue.usages_of(key.public),
            when=NOW, days=30, serial=number,
        )  # fmt: skip
        store.add_key(key, NOW)
        store.add_certificate(certificate, "own", NOW)
        store.add_certificate(authority.certificate, "anchor", NOW, anchor=True)
        made[name], certificates[name] = store, certificate
    made["ada"].add_certificate(certificates["bob"], "file", NOW)
    return made


def _draft(to: str = "bob@rosewood.test") -> Composed:
    draft = Draft("ada@rosewood.test", (to,), "The plan", "Tonight at nine.\n")
    return compose(draft, clock=SetClock(), entropy=SeededEntropy())


def test_signed_and_encrypted_there_and_back(stores: dict[str, KeyStore]) -> None:
    """Bob opens it, sees the subject and the proof, and from then on knows Ada's certificate and what she reads."""
    sent = smime_mail.protected(stores["ada"], _draft(), "ada@rosewood.test", sign=True, encrypt=True)
    assert b"The plan" not in sent.content
    assert b"Tonight" not in sent.content
    assert stores["bob"].certificates("ada@rosewood.test") == []
    opened = smime_mail.opened(stores["bob"], sent.content)
    assert (opened.proof.good, opened.protected, opened.fault) == (True, True, "")
    assert read_header(opened.content).text("subject") == "The plan"
    assert b"Tonight at nine." in opened.content
    (learned,) = stores["bob"].certificates("ada@rosewood.test")
    assert learned.source == "signed mail"
    assert stores["bob"].remembered("ada@rosewood.test") is not None
    answer = compose(
        Draft("bob@rosewood.test", ("ada@rosewood.test",), "Re", "Yes.\n"), clock=SetClock(), entropy=SeededEntropy()
    )
    back = smime_mail.protected(stores["bob"], answer, "bob@rosewood.test", sign=False, encrypt=True)
    read = smime_mail.opened(stores["ada"], back.content)
    assert b"Yes." in read.content
    assert not read.proof.good
    assert b"Yes." in smime_mail.opened(stores["bob"], back.content).content  # the copy that is kept


def test_a_forged_message_teaches_nothing(stores: dict[str, KeyStore]) -> None:
    """What does not prove good leaves no certificate and no capabilities."""
    sent = smime_mail.protected(stores["ada"], _draft(), "ada@rosewood.test", sign=True, encrypt=False)
    forged = sent.content.replace(b"From: ada@", b"From: eve@")
    opened = smime_mail.opened(stores["bob"], forged)
    assert not opened.proof.good
    assert stores["bob"].certificates("ada@rosewood.test") == []
    plain = smime_mail.opened(stores["bob"], _draft().content)
    assert (plain.content, plain.protected) == (_draft().content, False)


@pytest.mark.parametrize(
    ("author", "to", "reason"),
    [
        ("eve@rosewood.test", "bob@rosewood.test", "no key with a certificate for eve"),
        ("ada@rosewood.test", "carol@rosewood.test", "no certificate for carol"),
    ],
)
def test_what_is_missing_is_said(stores: dict[str, KeyStore], author: str, to: str, reason: str) -> None:
    """Nothing goes out less protected than was asked."""
    with pytest.raises(OurFault, match=reason):
        smime_mail.protected(stores["ada"], _draft(to), author, sign=True, encrypt=True)


def test_signatures_are_logged_when_switched_on(stores: dict[str, KeyStore]) -> None:
    """Sent and received, found by address and message, and still good over the content."""
    for store in stores.values():
        store.signatures.switch(True)
    sent = smime_mail.protected(stores["ada"], _draft(), "ada@rosewood.test", sign=True, encrypt=True)
    smime_mail.opened(stores["bob"], sent.content)
    (one,) = stores["ada"].signatures.search(message_id=sent.message_id)
    (other,) = stores["bob"].signatures.search(address="ada@rosewood.test")
    assert (one.sent, other.sent, one.cms) == (True, False, other.cms)
    assert "signed all of this message, its header included" in other.verdict
