"""The example messages of RFC 4134, each with the verdict of today's rules."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import pytest

from letterlock.formats.asn1 import oids
from letterlock.formats.cms import content
from letterlock.formats.cms.signed import SignedData
from letterlock.formats.imf.header import read_header
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.crl import RevocationList
from letterlock.trust.pkix.path import Anchor
from letterlock.trust.policy import Standing
from letterlock.trust.primitives import key_pairs, signatures
from letterlock.trust.smime.decrypt import KeyRing, Own
from letterlock.trust.smime.proof import Proof, Trust, prove
from letterlock.trust.smime.unwrap import DigestLayer, EncryptedLayer, SignedLayer, unwrap, unwrap_cms

_FOLDER = Path(os.environ.get("LETTERLOCK_VECTORS", "../shared/vectors")) / "rfc4134"
_WHEN = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)


def _read(name: str) -> bytes:
    return (_FOLDER / name).read_bytes()


def _certificate(name: str) -> Certificate:
    return Certificate.parse(_read(f"{name}.cer"))


_ALL = tuple(
    _certificate(name)
    for name in ("AliceDSSSignByCarlNoInherit", "AliceRSASignByCarl", "BobRSASignByCarl", "CarlDSSSelf", "CarlRSASelf",
                 "DianeDSSSignByCarlInherit", "DianeRSASignByCarl")
)  # fmt: skip
_ANCHORS = (Anchor.of(_certificate("CarlDSSSelf")), Anchor.of(_certificate("CarlRSASelf")))


def _ring() -> KeyRing:
    bob = Own(key_pairs.load(_read("BobPrivRSAEncrypt.pri")), _certificate("BobRSASignByCarl"))
    diane = Own(key_pairs.load(_read("DianePrivRSASignEncrypt.pri")), _certificate("DianeRSASignByCarl"))
    return KeyRing((bob, diane))


def _prove(name: str, sender: str, detached: bytes | None = None, *, legacy: bool = True) -> Proof:
    unwrapped = unwrap_cms(_read(name), known=_ALL, detached=detached)
    header = read_header(f"From: {sender}\r\n\r\n".encode())
    return prove(header, unwrapped, Trust(_WHEN, _ANCHORS, _ALL, accept_legacy=legacy))


@pytest.mark.parametrize(
    ("name", "sender", "scheme", "detached"),
    [
        ("4.1.bin", "AliceDSS@example.com", "DSA with SHA-1", False),
        ("4.2.bin", "AliceRSA@example.com", "RSA with SHA-1", False),
        ("4.3.bin", "AliceDSS@example.com", "DSA with SHA-1", True),
        ("4.4.bin", "AliceDSS@example.com", "DSA with SHA-1", False),
        ("4.5.bin", "AliceRSA@example.com", "RSA with SHA-1", False),
        ("4.7.bin", "AliceDSS@example.com", "DSA with SHA-1", False),
        ("4.10.bin", "AliceDSS@example.com", "DSA with SHA-1", False),
    ],
)
def test_signed_data_holds_with_legacy_algorithms(name: str, sender: str, scheme: str, detached: bool) -> None:
    """Sections 4.1 to 4.10: good where legacy is accepted; without that, the reason is the age of the algorithms."""
    content_octets = _read("ExContent.bin") if detached else None
    proof = _prove(name, sender, content_octets)
    assert (proof.good, proof.faults) == (True, ())
    (signer,) = proof.signers
    assert (signer.signature, signer.address, signer.standing) == (scheme, sender, Standing.LEGACY)
    strict = _prove(name, sender, content_octets, legacy=False)
    assert not strict.good
    assert ["legacy" in fault for fault in strict.faults] == [True]


def test_content_is_that_of_the_examples() -> None:
    """Section 2.1: what is inside is the example content."""
    assert unwrap_cms(_read("4.1.bin"), known=_ALL).content == _read("ExContent.bin")


def test_two_signers_both_hold() -> None:
    """Section 4.6: one of them with a DSA key that inherits its parameters."""
    for sender in ("AliceDSS@example.com", "DianeDSS@example.com"):
        proof = _prove("4.6.bin", sender)
        assert proof.good, proof.faults
        assert len(proof.signers) == 2


def test_a_counter_signature_and_attributes_are_read() -> None:
    """Section 4.4: an unsigned content hint, and a counter-signature that holds."""
    layer = unwrap_cms(_read("4.4.bin"), known=_ALL).layers[0]
    assert isinstance(layer, SignedLayer)
    (check,) = layer.checks
    assert [counter.good for counter in check.counter_signatures] == [True]
    assert check.signer.unsigned.all(oids.CONTENT_HINTS)


@pytest.mark.parametrize("name", ["4.8.eml", "4.9.eml"])
def test_signed_messages(name: str) -> None:
    """Sections 4.8 (multipart/signed) and 4.9 (application/pkcs7-mime): the address is another domain's, and says so."""
    message = _read(name)
    unwrapped = unwrap(message, known=_ALL)
    layer = unwrapped.layers[0]
    assert isinstance(layer, SignedLayer)
    assert [check.good for check in layer.checks] == [True]
    assert layer.clear is (name == "4.8.eml")
    proof = prove(read_header(message), unwrapped, Trust(_WHEN, _ANCHORS, _ALL, accept_legacy=True))
    # From says aliceDss@examples.com, the certificate AliceDSS@example.com
    assert not proof.good
    assert any("the message says it is from" in fault for fault in proof.faults)


def test_certificates_and_lists_alone() -> None:
    """Section 4.11: a degenerate SignedData."""
    _type, element = content.parse(_read("4.11.bin"))
    signed = SignedData.parse(element)
    assert (len(signed.signers), len(signed.certificates), len(signed.crls)) == (0, 2, 1)
    assert len(RevocationList.parse(signed.crls[0]).entries) == 5


@pytest.mark.parametrize(("name", "cipher"), [("5.1.bin", "Triple-DES-CBC"), ("5.2.bin", "RC2-CBC/40")])
def test_enveloped_data_opens(name: str, cipher: str) -> None:
    """Sections 5.1 and 5.2: the example content, under ciphers only read today."""
    unwrapped = unwrap_cms(_read(name), _ring())
    (layer,) = unwrapped.layers
    assert isinstance(layer, EncryptedLayer)
    assert layer.opened is not None
    assert (unwrapped.content, layer.opened.cipher) == (_read("ExContent.bin"), cipher)
    assert not layer.opened.authenticated


def test_an_enveloped_message_opens() -> None:
    """Section 5.3, and not without a key."""
    assert unwrap(_read("5.3.eml"), _ring()).content == _read("ExContent.bin")
    assert "none of the keys" in unwrap(_read("5.3.eml")).fault


def test_digested_data_is_intact() -> None:
    """Section 6: the digest fits, and shows damage when it does not."""
    assert unwrap_cms(_read("6.0.bin")).layers == (DigestLayer(True),)
    damaged = _read("6.0.bin").replace(b"This is", b"That is")
    assert unwrap_cms(damaged).layers == (DigestLayer(False),)


_SECTION_7_KEY = bytes.fromhex("737c791f25ead0e04629254352f7dc6291e5cb26917ada32")


@pytest.mark.parametrize("name", ["7.1.bin", "7.2.bin"])
def test_encrypted_data_opens_with_the_key_of_the_text(name: str) -> None:
    """Section 7, without and with unprotected attributes: no recipients, the key comes by other ways, or not at all."""
    unwrapped = unwrap_cms(_read(name), KeyRing(content_keys=(bytes(24), _SECTION_7_KEY)))
    (layer,) = unwrapped.layers
    assert isinstance(layer, EncryptedLayer)
    assert layer.opened is not None
    assert (unwrapped.content, layer.opened.cipher) == (_read("ExContent.bin"), "Triple-DES-CBC")
    for ring in (_ring(), KeyRing(content_keys=(bytes(24), bytes(16), b""))):
        assert "none of the content keys" in unwrap_cms(_read(name), ring).fault


@pytest.mark.parametrize("name", ["4.1.bin", "4.2.bin", "4.4.bin", "4.6.bin"])
def test_a_changed_octet_is_noticed(name: str) -> None:
    """Whatever octet of the content is changed, no signature holds."""
    octets, inside = _read(name), _read("ExContent.bin")
    at = octets.index(inside)
    for offset in (0, len(inside) // 2, len(inside) - 1):
        changed = bytearray(octets)
        changed[at + offset] ^= 1
        layer = unwrap_cms(bytes(changed), known=_ALL).layers[0]
        assert isinstance(layer, SignedLayer)
        assert not any(check.good for check in layer.checks)


def test_a_list_of_the_examples_names_alice() -> None:
    """CarlRSACRLForAll revokes Alice's certificate, signed by Carl; in its own time that is known."""
    crl = RevocationList.parse(_read("CarlRSACRLForAll.crl"))
    alice = _certificate("AliceRSASignByCarl")
    assert alice.identifier in crl.entries
    signatures.verify(
        _certificate("CarlRSASelf").public_key, signatures.scheme_of(crl.signature_algorithm), crl.signature, crl.tbs
    )
