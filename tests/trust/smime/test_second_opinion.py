"""X25519 recipients and keys bound to their cipher, worked out a second time from the standards' text.

No peer at hand knows either in CMS (OpenSSL 3.0, Bouncy Castle 1.72, gpgsm 2.2, NSS), so that ours alone would agree with
itself. Here nothing of ours derives a key: the octets are written down, and the crypto library is asked directly.

Standards: RFC 8418 sections 2 and 2.1, RFC 5753 section 7.2, RFC 9709 section 2, RFC 5084 section 3.2.
"""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

from letterlock.formats.asn1 import oids
from letterlock.formats.cms import content
from letterlock.formats.cms.enveloped import EnvelopedData
from letterlock.formats.cms.recipients import KeyAgreement
from letterlock.trust.smime.encrypt import To, encrypt
from trust.smime.conftest import People

OCTETS = b"Content-Type: text/plain\r\n\r\nThe garden at nine.\r\n"
# ECC-CMS-SharedInfo: id-aes256-wrap without parameters, no entityUInfo, 256 bits in [2]
SHARED_INFO = bytes.fromhex("3015300b060960864801650304012da206040400000100")
# GCM parameters within AlgorithmIdentifier: id-aes256-GCM, SEQUENCE { nonce of 12 octets, tag of 16 }
GCM = bytes.fromhex("301e060960864801650304012e3011040c") + b"%b" + bytes.fromhex("020110")


@pytest.mark.parametrize("bind_key", [False, True])
def test_an_x25519_recipient(bind_key: bool) -> None:
    """The key agreed upon, the key wrapped with it and the content are what the standards' formulas give."""
    bob = People().named("bob", "x25519")
    made = encrypt(OCTETS, (To(bob.certificate),), bind_key=bind_key)
    kind, element = content.parse(made)
    assert kind == oids.AUTH_ENVELOPED_DATA
    enveloped = EnvelopedData.parse(kind, element)
    (info,) = enveloped.recipients
    assert isinstance(info, KeyAgreement)
    assert info.algorithm.oid == "1.2.840.113549.1.9.16.3.19"  # dhSinglePass-stdDH-hkdf-sha256-scheme
    private = bob.key.key
    assert isinstance(private, X25519PrivateKey)
    ephemeral = X25519PublicKey.from_public_bytes(info.originator.key)  # type: ignore[union-attr]
    wrapping = HKDF(hashes.SHA256(), 32, None, SHARED_INFO).derive(private.exchange(ephemeral))
    ((_identifier, wrapped),) = info.encrypted_keys
    key = aes_key_unwrap(wrapping, wrapped)
    algorithm = enveloped.algorithm.encode()
    nonce = algorithm[-15:-3]
    named = GCM % nonce
    if bind_key:
        # id-alg-cek-hkdf-sha256 around the cipher's identifier, whose DER is the info
        assert algorithm == bytes.fromhex("302d060b2a864886f70d010910031f") + named
        key = HKDF(hashes.SHA256(), len(key), b"The Cryptographic Message Syntax", named).derive(key)
    else:
        assert algorithm == named
    sealed = b"".join(map(bytes, enveloped.pieces()))
    assert AESGCM(key).decrypt(nonce, sealed + enveloped.tag, b"") == OCTETS
