"""The examples of RFC 4134 written by us: equal in meaning to those of its text, made with the same keys.

What is not written, and why: DigestedData and EncryptedData (6, 7; no service of S/MIME uses them).
"""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

import pytest

from letterlock.formats.asn1 import oids, reader, writer
from letterlock.formats.cms import content, signed
from letterlock.formats.cms.ess.labels import SecurityLabel
from letterlock.formats.cms.signed import SignedData
from letterlock.formats.mime.entity import parse
from letterlock.formats.x509.certificate import Certificate
from letterlock.trust.primitives import key_pairs
from letterlock.trust.primitives.signatures import scheme_of
from letterlock.trust.smime import protect
from letterlock.trust.smime.decrypt import KeyRing, Own
from letterlock.trust.smime.encrypt import To, encrypt
from letterlock.trust.smime.sign import Signer, certs_only, countersign, sign
from letterlock.trust.smime.unwrap import EncryptedLayer, SignedLayer, unwrap, unwrap_cms

_FOLDER = Path(os.environ.get("LETTERLOCK_VECTORS", "../shared/vectors")) / "rfc4134"
_WHEN = datetime.datetime(2005, 7, 1, tzinfo=datetime.UTC)


def _read(name: str) -> bytes:
    return (_FOLDER / name).read_bytes()


def _certificate(name: str) -> Certificate:
    return Certificate.parse(_read(f"{name}.cer"))


INSIDE = _read("ExContent.bin")
ALICE, ALICE_RSA = _certificate("AliceDSSSignByCarlNoInherit"), _certificate("AliceRSASignByCarl")
BOB, DIANE = _certificate("BobRSASignByCarl"), _certificate("DianeDSSSignByCarlInherit")
CARL, CARL_RSA = _certificate("CarlDSSSelf"), _certificate("CarlRSASelf")
KNOWN = (ALICE, ALICE_RSA, BOB, DIANE, CARL, CARL_RSA)


def _signer(key: str, certificate: Certificate, **options: Any) -> Signer:
    return Signer(key_pairs.load(_read(f"{key}.pri")), certificate, oids.SHA1, **options)


def _bare(key: str, certificate: Certificate, **options: Any) -> Signer:
    return _signer(key, certificate, with_attributes=False, **options)


_DSA, _RSA = ("AlicePrivDSSSign", ALICE), ("AlicePrivRSASign", ALICE_RSA)


def _meaning(cms: bytes) -> dict[str, Any]:
    """Return what a SignedData says, whatever its encoding; signatures themselves are random with DSA."""
    kind, element = content.parse(cms)
    assert kind == oids.SIGNED_DATA
    parsed = SignedData.parse(element)
    inside = None if parsed.content is None else b"".join(parsed.pieces())
    who = {(str(i.identifier), scheme_of(i.signature_algorithm, i.digest_algorithm.oid)) for i in parsed.signers}
    return {
        "content type": parsed.content_type, "content": inside, "signers": who, "crls": set(parsed.crls),
        "certificates": set(parsed.certificates), "attributes": [bool(i.signed.items) for i in parsed.signers],
        "counter-signatures": [len(i.unsigned.all(oids.COUNTER_SIGNATURE)) for i in parsed.signers],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "signers", "options"),
    [
        ("4.1", [_bare(*_DSA)], {}),
        ("4.2", [_bare(*_RSA)], {}),
        ("4.3", [_bare(*_DSA)], {"detached": True}),
        ("4.5", [_bare(*_RSA)], {"certificates": (ALICE_RSA, CARL_RSA)}),
        ("4.6", [_bare(*_DSA), _bare("DianePrivDSSSign", DIANE)], {}),
        ("4.7", [_bare(*_DSA, by_key_id=True)], {}),
    ],
)
def test_signed_data(name: str, signers: list[Signer], options: dict[str, Any]) -> None:
    """Sections 4.1 to 4.7 but 4.4: who signed how, over what, with which certificates."""
    options = {"certificates": tuple(each.certificate for each in signers), **options}
    ours = sign(INSIDE, tuple(signers), _WHEN, **options)
    theirs = _read(f"{name}.bin")
    assert _meaning(ours) == _meaning(theirs)
    layer = unwrap_cms(ours, known=KNOWN, detached=INSIDE if "detached" in options else None).layers[0]
    assert isinstance(layer, SignedLayer)
    assert all(check.good for check in layer.checks)
    if name in ("4.2", "4.5"):  # PKCS #1 v1.5 leaves nothing to chance: the same octets
        made, given = (SignedData.parse(content.parse(each)[1]).signers[0].signature for each in (ours, theirs))
        assert made == given


def test_a_counter_signature() -> None:
    """Section 4.4: attributes, a counter-signature, three certificates and a list."""
    theirs = _read("4.4.bin")
    given = SignedData.parse(content.parse(theirs)[1])
    first = SignedData.parse(content.parse(sign(INSIDE, (_signer(*_DSA),), _WHEN))[1]).signers[0]
    countered = countersign(first, _signer(*_RSA), _WHEN)
    ours = signed.encode(oids.DATA, INSIDE, (countered,), given.certificates, given.crls)
    assert _meaning(ours) == _meaning(theirs)
    layer = unwrap_cms(ours, known=KNOWN).layers[0]
    assert isinstance(layer, SignedLayer)
    assert [each.fault for each in (*layer.checks, *layer.checks[0].counter_signatures)] == ["", ""]


def test_attributes() -> None:
    """Section 4.10: every attribute of the example, unknown and of RFC 2634, signed anew and with the same value."""
    theirs = SignedData.parse(content.parse(_read("4.10.bin"))[1]).signers[0]
    standing = {oids.CONTENT_TYPE, oids.MESSAGE_DIGEST, oids.SMIME_CAPABILITIES}
    more = tuple(item for item in theirs.signed.items if item.type not in standing)
    assert len(more) == 7
    ours = sign(INSIDE, (_signer(*_DSA, attributes=more),), _WHEN)
    (info,) = SignedData.parse(content.parse(ours)[1]).signers
    assert {item.type for item in theirs.signed.items} <= {item.type for item in info.signed.items}
    for item in more:
        assert info.signed.all(item.type) == theirs.signed.all(item.type)
    layer = unwrap_cms(ours, known=KNOWN).layers[0]
    assert isinstance(layer, SignedLayer)
    assert layer.checks[0].fault == ""


def test_a_label_is_written_as_it_was() -> None:
    """Section 4.10: the security label, read and written."""
    theirs = SignedData.parse(content.parse(_read("4.10.bin"))[1]).signers[0]
    element = theirs.signed.first(oids.SECURITY_LABEL)
    assert element is not None
    assert SecurityLabel.parse(reader.parse(SecurityLabel.parse(element).encode())) == SecurityLabel.parse(element)


@pytest.mark.parametrize("opaque", [False, True])
def test_signed_messages(opaque: bool) -> None:
    """Sections 4.8 and 4.9: the same header, entity and structure."""
    theirs = _read("4.9.eml" if opaque else "4.8.eml")
    given = unwrap(theirs, known=KNOWN)
    letter = b"MIME-Version: 1.0\r\nFrom: aliceDss@examples.com\r\n" + given.content
    ours = protect.sign_message(letter, (_bare(*_DSA),), _WHEN, opaque=opaque, token="t")
    made = unwrap(ours, known=KNOWN)
    assert made.content == given.content
    for each in (given, made):
        (layer,) = each.layers
        assert isinstance(layer, SignedLayer)
        assert (layer.clear, [check.good for check in layer.checks]) == (not opaque, [True])
    assert parse(ours).content_type.full == parse(theirs).content_type.full


def test_certificates_alone() -> None:
    """Section 4.11."""
    theirs = SignedData.parse(content.parse(_read("4.11.bin"))[1])
    ours = certs_only(tuple(map(Certificate.parse, theirs.certificates)), theirs.crls)
    assert _meaning(ours) == _meaning(_read("4.11.bin"))


@pytest.mark.parametrize(("name", "cipher", "label"), [
    ("5.1", oids.DES3_CBC, "Triple-DES-CBC"), ("5.2", f"{oids.RC2_CBC}/40", "RC2-CBC/40"),
    ("5.3", oids.DES3_CBC, "Triple-DES-CBC"),
])  # fmt: skip
def test_enveloped_data(name: str, cipher: str, label: str) -> None:
    """Sections 5.1 to 5.3: the same content for the same recipient, under the same cipher."""
    ring = KeyRing((Own(key_pairs.load(_read("BobPrivRSAEncrypt.pri")), BOB),))
    if name == "5.3":
        given = unwrap(_read("5.3.eml"), ring)
        head = b"MIME-Version: 1.0\r\nFrom: a@b.test\r\n"
        ours = unwrap(protect.encrypt_message(head + INSIDE, (To(BOB),), cipher=cipher, legacy=True), ring)
        assert ours.content.endswith(given.content)
    else:
        given = unwrap_cms(_read(f"{name}.bin"), ring)
        ours = unwrap_cms(encrypt(INSIDE, (To(BOB),), cipher=cipher, legacy=True), ring)
        assert ours.content == given.content == INSIDE
    for each in (given, ours):
        (layer,) = each.layers
        assert isinstance(layer, EncryptedLayer)
        assert layer.opened is not None
        assert (layer.opened.certificate, layer.opened.key_management) == (BOB, "RSA PKCS#1 v1.5")
        assert layer.opened.cipher == label
        assert layer.enveloped.content_info_type == oids.ENVELOPED_DATA


def test_plain_data() -> None:
    """Sections 3.1 (BER) and 3.2 (DER): both read, and the DER written octet for octet."""
    text = unwrap_cms(_read("3.2.bin")).content
    assert unwrap_cms(_read("3.1.bin")).content == text == b"This is some sample content."
    assert content.encode(oids.DATA, writer.octet_string(text)) == _read("3.2.bin")
