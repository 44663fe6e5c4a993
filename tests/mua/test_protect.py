"""Signing and encrypting what goes out, from a key store, and opening what came in."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import functools
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from fakes.certified_site import certified_site
from letterlock.cli import smime_mail, smime_sealing
from letterlock.cli.online import Online
from letterlock.cli.smime_sealing import About, Sealing
from letterlock.errors import OurFault
from letterlock.formats.asn1 import oids
from letterlock.formats.cms import content, signed
from letterlock.formats.cms.attributes import Attributes
from letterlock.formats.cms.capabilities import Capability
from letterlock.formats.cms.signed import SignedData
from letterlock.formats.imf.header import read_header
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.crl import RevocationList, Revoked
from letterlock.formats.x509.name import Name
from letterlock.host.clock import SetClock
from letterlock.host.entropy import SeededEntropy
from letterlock.mua.compose import Composed, Draft, compose
from letterlock.mua.protect import Ciphers
from letterlock.registrar import key_store, usable
from letterlock.registrar.key_store import KeyStore
from letterlock.trust.pkix import issue
from letterlock.trust.primitives import key_pairs, signatures
from letterlock.trust.smime import protect
from letterlock.trust.smime.capabilities import Remembered, UsedCipher
from letterlock.trust.smime.encrypt import To
from letterlock.trust.smime.entities import split_prepared, wrap
from letterlock.trust.smime.proof import Trust
from letterlock.trust.smime.sign import Signer, sign
from letterlock.trust.smime.unwrap import EncryptedLayer, unwrap

NOW = datetime.datetime.now(datetime.UTC)


@functools.cache
def _authority() -> issue.Authority:
    return issue.found(key_pairs.generate("p256"), Name.make(CN="CA"), NOW, 100, 1)


@pytest.fixture
def stores(tmp_path: Path) -> dict[str, KeyStore]:
    """Ada and Bob, each with a key store that trusts one authority; Ada knows Bob's certificate."""
    authority = _authority()
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


ADA, BOB = "ada@rosewood.test", "bob@rosewood.test"


def _signed(store: KeyStore, composed: Composed, author: str = ADA) -> Composed:
    return smime_mail.signed(store, composed, author)


def _sealed(store: KeyStore, composed: Composed, author: str = ADA) -> Composed:
    (message,) = smime_sealing.sealed(store, composed, author, Sealing()).messages
    return message


def _draft(to: str = "bob@rosewood.test") -> Composed:
    draft = Draft("ada@rosewood.test", (to,), "The plan", "Tonight at nine.\n")
    return compose(draft, clock=SetClock(), entropy=SeededEntropy())


def _one_use(name: str, serial: int, *, signing: bool) -> tuple[key_pairs.PrivateKey, Certificate]:
    key = key_pairs.generate("p256")
    usages = issue.usages_of(key.public, signing=signing, encryption=not signing)
    names = (Name.make(CN=name), (f"{name}@rosewood.test",), usages)
    return key, issue.certify(_authority(), key.public, *names, when=NOW, days=30, serial=serial)


@pytest.fixture
def two_keys(tmp_path: Path) -> KeyStore:
    """Ada's key store with one key to sign with and another to decrypt with."""
    store = KeyStore(tmp_path / "two.db", b"tulip")
    for serial, signing in ((31, True), (32, False)):
        key, certificate = _one_use("ada", serial, signing=signing)
        store.add_key(key, NOW)
        store.add_certificate(certificate, "own", NOW)
    store.add_certificate(_authority().certificate, "anchor", NOW, anchor=True)
    return store


def test_a_second_key_to_encrypt_to_is_told_with_each_signature(
    stores: dict[str, KeyStore], two_keys: KeyStore
) -> None:
    """RFC 8551 section 2.5.3: Bob learns it from a signature of the first, and his answer opens with it."""
    smime_mail.opened(stores["bob"], _signed(two_keys, _draft()).content)
    learned = stores["bob"].certificates(ADA)
    assert {each.certificate.serial for each in learned} == {31, 32}
    answer = compose(Draft(BOB, (ADA,), "Re", "Yes.\n"), clock=SetClock(), entropy=SeededEntropy())
    assert b"Yes." in smime_mail.opened(two_keys, _sealed(stores["bob"], answer, BOB).content).content


def test_nobody_gets_mail_that_is_another_s(stores: dict[str, KeyStore]) -> None:
    """Eve signs as herself and names a certificate for Ada, or for both, as that to encrypt to: it is not learned."""
    key, own = _one_use("eve", 41, signing=True)
    _, foreign = _one_use("ada", 42, signing=False)
    signer = Signer(key, own, encryption=foreign)
    eve = compose(Draft("eve@rosewood.test", (BOB,), "Hi", "Hi.\n"), clock=SetClock(), entropy=SeededEntropy())
    sent = protect.sign_message(eve.content, (signer,), NOW, token="t")
    assert smime_mail.opened(stores["bob"], sent).proof.good
    assert stores["bob"].certificates(ADA) == []
    assert [each.certificate.serial for each in stores["bob"].certificates("eve@rosewood.test")] == [41]


def test_signed_and_encrypted_there_and_back(stores: dict[str, KeyStore]) -> None:
    """Bob opens it, sees the subject and the proof, and from then on knows Ada's certificate and what she reads."""
    sent = _sealed(stores["ada"], _signed(stores["ada"], _draft()))
    assert b"The plan" not in sent.content
    assert b"Tonight" not in sent.content
    assert stores["bob"].certificates("ada@rosewood.test") == []
    opened = smime_mail.opened(stores["bob"], sent.content)
    assert (opened.proof.good, opened.protected, opened.fault) == (True, True, "")
    assert not [note for note in opened.proof.warnings if "Subject" in note]  # which was left out on purpose
    assert read_header(opened.content).text("subject") == "The plan"
    assert b"Tonight at nine." in opened.content
    (learned,) = stores["bob"].certificates("ada@rosewood.test")
    assert learned.source == "signed mail"
    assert stores["bob"].remembered("ada@rosewood.test") is not None
    answer = compose(
        Draft("bob@rosewood.test", ("ada@rosewood.test",), "Re", "Yes.\n"), clock=SetClock(), entropy=SeededEntropy()
    )
    back = _sealed(stores["bob"], answer, "bob@rosewood.test")
    read = smime_mail.opened(stores["ada"], back.content)
    assert b"Yes." in read.content
    assert not read.proof.good
    assert b"Yes." in smime_mail.opened(stores["bob"], back.content).content  # the copy that is kept


def test_a_forged_message_teaches_nothing(stores: dict[str, KeyStore]) -> None:
    """What does not prove good leaves no certificate and no capabilities."""
    sent = _signed(stores["ada"], _draft())
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
        _sealed(stores["ada"], _signed(stores["ada"], _draft(to), author), author)


def test_signatures_are_logged_when_switched_on(stores: dict[str, KeyStore]) -> None:
    """Sent and received, found by address and message, and still good over the content."""
    for store in stores.values():
        store.signatures.switch(True)
    sent = _sealed(stores["ada"], _signed(stores["ada"], _draft()))
    smime_mail.opened(stores["bob"], sent.content)
    (one,) = stores["ada"].signatures.search(message_id=sent.message_id)
    (other,) = stores["bob"].signatures.search(address="ada@rosewood.test")
    assert (one.sent, other.sent, one.cms) == (True, False, other.cms)
    assert "signed all of this message, its header included" in other.verdict


HOUR = datetime.timedelta(hours=1)


def _signed_without_capabilities(signer: Signer, message: bytes, when: datetime.datetime) -> bytes:
    """A message signed as programs do that announce nothing."""
    parts = split_prepared(message)
    made = SignedData.parse(content.parse(sign(parts.inner, (signer,), when))[1])
    (info,) = made.signers
    kept = Attributes(tuple(each for each in info.signed.items if each.type != oids.SMIME_CAPABILITIES))
    covered = kept.encode()
    info = msgspec.structs.replace(
        info, signed=kept, signed_octets=covered, signature=signatures.sign(signer.key, signer.scheme, covered)
    )
    return wrap(parts.outer, signed.encode(oids.DATA, parts.inner, (info,), made.certificates), "signed-data")


def _from_bob(stores: dict[str, KeyStore], cipher: str, when: datetime.datetime, *, good: bool = True) -> bytes:
    """A letter of Bob's to Ada under a cipher, which announces nothing."""
    signer = smime_mail.signer_of(stores["bob"], BOB)
    letter = b"From: %s\r\nTo: ada@rosewood.test\r\nSubject: x\r\n\r\nHello.\r\n" % (BOB if good else ADA).encode()
    inside = _signed_without_capabilities(signer, letter, when)
    (own,) = stores["ada"].certificates(ADA)
    return protect.encrypt_message(inside, (To(own.certificate),), cipher=cipher, legacy=True)


def test_what_a_correspondent_used_last_is_used_to_answer(stores: dict[str, KeyStore]) -> None:
    """The second of the four rules: remembered of mail with a trusted signature, by its time, and told with its evidence."""
    ada = stores["ada"]
    assert (
        smime_sealing.sealed(ada, _draft(), ADA, Sealing()).groups[0].cipher == oids.AES256_GCM
    )  # for an elliptic key
    smime_mail.opened(ada, _from_bob(stores, oids.AES192_CBC, NOW - HOUR))
    found = smime_sealing.sealed(ada, _draft(), ADA, Sealing())
    assert found.value[0] | {"certificate": "", "revocation_reason": ""} == {
        "address": BOB,
        "certificate": "",
        "cipher": "AES-192-CBC",
        "rule": 2,
        "rule_name": "known-use",
        "reason": f"{BOB} announced nothing, and wrote in it last, in mail signed on {NOW - HOUR:%Y-%m-%d}",
        "revocation": "could not tell",
        "revocation_reason": "",
        "copy": 1,
    }
    (layer,) = unwrap(found.messages[0].content).layers
    assert isinstance(layer, EncryptedLayer)
    assert layer.enveloped.algorithm.oid == oids.AES192_CBC
    for cipher, when, good in (
        (oids.AES256_CBC, NOW - 2 * HOUR, True),  # older
        (oids.AES256_CBC, NOW + 48 * HOUR, True),  # from the future
        (oids.AES256_CBC, NOW, False),  # somebody else's
    ):
        smime_mail.opened(ada, _from_bob(stores, cipher, when, good=good))
        used = ada.used(BOB)
        assert used is not None
        assert used.cipher == oids.AES192_CBC
    smime_mail.opened(ada, _from_bob(stores, oids.AES256_CBC, NOW))
    assert smime_sealing.sealed(ada, _draft(), ADA, Sealing()).groups[0].cipher == oids.AES256_CBC


def test_weak_ciphers_that_somebody_used_are_not_used_to_answer(stores: dict[str, KeyStore]) -> None:
    """Only with the legacy setting, and when the author accepts it."""
    ada = stores["ada"]
    smime_mail.opened(ada, _from_bob(stores, oids.DES3_CBC, NOW))
    used = ada.used(BOB)
    assert used is not None
    assert used.cipher == oids.DES3_CBC
    assert smime_sealing.sealed(ada, _draft(), ADA, Sealing()).groups[0].cipher == oids.AES256_GCM
    with pytest.raises(OurFault, match="would get a copy in Triple-DES-CBC, which is weaker"):
        smime_sealing.sealed(ada, _draft(), ADA, Sealing(Ciphers(legacy=True)))
    found = smime_sealing.sealed(ada, _draft(), ADA, Sealing(Ciphers(legacy=True, accept_weaker=True)))
    assert (found.groups[0].cipher, found.value[0]["rule"]) == (oids.DES3_CBC, 4)


def test_who_has_no_cipher_in_common_gets_copies_apart(stores: dict[str, KeyStore], tmp_path: Path) -> None:
    """RFC 8551 section 2.7.3: only when the author accepts it; each copy goes to its readers and can be kept by the author."""
    ada = stores["ada"]
    carol = _certified("carol", 9)
    ada.add_certificate(carol, "file", NOW)
    ada.remember(Remembered(BOB, (Capability(oids.AES256_GCM),), NOW))
    ada.remember(Remembered("carol@rosewood.test", (Capability(oids.AES128_CBC),), NOW))
    draft = Draft(ADA, (BOB, "carol@rosewood.test"), "The plan", "Tonight at nine.\n")
    composed = compose(draft, clock=SetClock(), entropy=SeededEntropy())
    with pytest.raises(OurFault, match="carol@rosewood.test would get a copy in AES-128-CBC"):
        smime_sealing.sealed(ada, composed, ADA, Sealing())
    found = smime_sealing.sealed(ada, composed, ADA, Sealing(Ciphers(accept_weaker=True)))
    reached = [[str(each.forward_path) for each in one.envelope.recipients] for one in found.messages]
    assert reached == [[BOB], ["carol@rosewood.test"]]
    assert any("got a copy in AES-128-CBC" in note for note in found.notes)
    for message in found.messages:
        assert b"Tonight" in smime_mail.opened(ada, message.content).content
    assert b"Tonight" in smime_mail.opened(stores["bob"], found.messages[0].content).content
    assert smime_mail.opened(stores["bob"], found.messages[1].content).fault


def test_no_more_than_so_many_correspondents_are_remembered(
    stores: dict[str, KeyStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest go first."""
    monkeypatch.setattr(key_store, "MOST_CORRESPONDENTS", 3)
    store = stores["ada"]
    for number in range(6):
        store.remember_used(UsedCipher(f"{number}@x.test", oids.AES128_CBC, NOW + number * HOUR))
        store.remember(Remembered(f"{number}@x.test", (Capability(oids.AES128_CBC),), NOW + number * HOUR))
    assert [store.used(f"{number}@x.test") is not None for number in range(6)] == [False] * 3 + [True] * 3
    assert [store.remembered(f"{number}@x.test") is not None for number in range(6)] == [False] * 3 + [True] * 3


def _certified(name: str, serial: int, *, begins: datetime.datetime = NOW, days: int = 30) -> Certificate:
    key = key_pairs.generate("p256")
    return issue.certify(
        _authority(), key.public, Name.make(CN=name), (f"{name}@rosewood.test",), issue.usages_of(key.public),
        when=begins, days=days, serial=serial,
    )  # fmt: skip


def _list(*serials: int, at: datetime.datetime = NOW) -> RevocationList:
    entries = tuple(Revoked(each, at - HOUR) for each in serials)
    return issue.revocation_list(_authority(), entries, 1, at - HOUR, at + HOUR)


def _knowing(*lists: RevocationList) -> Sealing:
    """What asks an authority that publishes these lists."""

    def ask(certificates: Sequence[Certificate], trust: Trust) -> About:
        return dict.fromkeys(certificates, dataclasses.replace(trust, crls=lists))

    return Sealing(ask=ask)


@pytest.mark.parametrize(
    ("sealing", "reason"),
    [
        (_knowing(_list(3)), f"the certificate for CN=bob was revoked on {NOW - HOUR:%Y-%m-%d} \\(unspecified\\)"),
        (
            Sealing(require_revocation=True),
            "it may have been revoked, which could not be told: no current revocation list",
        ),
    ],
)
def test_who_may_have_been_revoked_is_not_encrypted_to(
    stores: dict[str, KeyStore], sealing: Sealing, reason: str
) -> None:
    """Revoked: never. Not known: only where that is not required, and the author is told."""
    with pytest.raises(OurFault, match=reason):
        smime_sealing.sealed(stores["ada"], _draft(), ADA, sealing)


def test_what_is_known_of_a_recipients_revocation_is_told(stores: dict[str, KeyStore]) -> None:
    """By which list it is known, or that it is not."""
    good = smime_sealing.sealed(
        stores["ada"], _draft(), ADA, dataclasses.replace(_knowing(_list(77)), require_revocation=True)
    )
    assert (good.value[0]["revocation"], good.notes) == ("not revoked", [])
    assert "says the revocation list of" in str(good.value[0]["revocation_reason"])
    unknown = smime_sealing.sealed(stores["ada"], _draft(), ADA, Sealing())
    (note,) = unknown.notes
    assert note.startswith(f"the certificate of {BOB} may have been revoked, which could not be told: no current")


def test_a_newer_certificate_is_used_where_one_was_revoked(stores: dict[str, KeyStore]) -> None:
    """And one that has run out is named as the reason where there is no other."""
    ada = stores["ada"]
    fresh = _certified("bob", 12)
    ada.add_certificate(fresh, "file", NOW - HOUR)  # known before the other, which was revoked
    found = smime_sealing.sealed(ada, _draft(), ADA, _knowing(_list(3)))
    assert found.found[BOB].recipient.certificate == fresh
    ended = _certified("carol", 13, begins=NOW - 40 * 24 * HOUR)
    ada.add_certificate(ended, "file", NOW)
    with pytest.raises(OurFault, match=r"no usable certificate for carol@rosewood\.test: .*expired on"):
        smime_sealing.sealed(ada, _draft("carol@rosewood.test"), ADA, Sealing())
    assert usable.candidates(ada, "carol@rosewood.test", NOW) == ()


async def test_authorities_are_asked_about_recipients_and_what_they_say_is_kept(tmp_path: Path) -> None:
    """Good, and still known when nobody may be asked; revoked; and what was never asked is not known."""
    kept = tmp_path / "kept"

    def note(store: KeyStore, *, asks: bool, file: Path | None = kept) -> tuple[str, str]:
        online = Online(asks, nonce=False, zone=None, private=True, seconds=30)
        sealing = Sealing(ask=lambda certificates, trust: online.about(certificates, trust, None, file))
        (told,) = smime_sealing.sealed(store, _draft(), "bob@rosewood.test", sealing).value
        return str(told["revocation"]), str(told["revocation_reason"])

    async with certified_site() as site:
        world = dataclasses.replace(site.world, address=BOB)
        store = KeyStore(tmp_path / "store", b"tulip")
        store.add_certificate(world.root.certificate, "anchor", NOW, anchor=True)
        for certificate in (world.middle.certificate, world.person):
            store.add_certificate(certificate, "told", NOW)
        found = await asyncio.to_thread(note, store, asks=False)
        assert found[0] == "could not tell"
        found = await asyncio.to_thread(note, store, asks=True)
        assert (found[0], found[1][:22]) == ("not revoked", "says an OCSP answer of")
        asked = len(site.asked)
        assert await asyncio.to_thread(note, store, asks=False) == found
        assert len(site.asked) == asked
        site.revoked.add(3)
        with pytest.raises(OurFault, match="was revoked on"):
            await asyncio.to_thread(note, store, asks=True, file=None)
        kept.unlink()
        store.close()
