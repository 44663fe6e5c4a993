"""Content keys encrypted to an RSA key: PKCS#1 v1.5 and OAEP.

The crypto library's PKCS#1 v1.5 decryption rejects implicitly (a wrong block gives random octets, in the same time);
`decrypt` completes that: a content key of the wrong length is replaced by a random one, so that every failure looks
like a content that does not decrypt.

Standards: RFC 8017 section 7, RFC 3370 section 4.2.1, RFC 3560 (OAEP), RFC 3218 section 2.3.2 (random filling).
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import padding, rsa

from letterlock.errors import Malformed, NotAuthentic, OurFault
from letterlock.formats.asn1 import oids, reader, tags, writer
from letterlock.formats.asn1.reader import Fields
from letterlock.formats.x509.algorithm import NULL, AlgorithmIdentifier, PublicKeyInfo
from letterlock.trust.primitives import public_keys
from letterlock.trust.primitives.ciphers import FAILED
from letterlock.trust.primitives.digests import hash_algorithm
from letterlock.trust.primitives.key_pairs import PrivateKey

_PKCS1 = AlgorithmIdentifier(oids.RSA, NULL)
_PKCS1V15 = padding.PKCS1v15()


@dataclass(frozen=True, slots=True)
class Oaep:
    """The digests of RSAES-OAEP; the label is empty in mail (RFC 3560 section 3)."""

    digest: str = oids.SHA256
    mask_digest: str = oids.SHA256
    label: bytes = b""

    @classmethod
    def parse(cls, algorithm: AlgorithmIdentifier) -> Oaep:
        """Read RSAES-OAEP-params; raises Malformed."""
        digest = mask = oids.SHA1
        label = b""
        if algorithm.parameters is None:
            return cls(digest, mask)
        fields = Fields(reader.parse(algorithm.parameters))
        if item := fields.optional(tags.context(0)):
            digest = AlgorithmIdentifier.parse(item.only_child()).oid
        if item := fields.optional(tags.context(1)):
            generator = AlgorithmIdentifier.parse(item.only_child())
            if generator.oid != oids.MGF1 or generator.parameters is None:
                raise item.fault("a mask generation function that is not MGF1", "RFC 3560 section 3")
            mask = AlgorithmIdentifier.parse(reader.parse(generator.parameters)).oid
        if item := fields.optional(tags.context(2)):
            source = AlgorithmIdentifier.parse(item.only_child())
            if source.oid != oids.P_SPECIFIED or source.parameters is None:
                raise item.fault("a label source that is not pSpecified", "RFC 3560 section 3")
            label = reader.parse(source.parameters).octet_string()
        fields.finish()
        return cls(digest, mask, label)

    def encode(self) -> AlgorithmIdentifier:
        """Return the AlgorithmIdentifier."""
        mask = AlgorithmIdentifier(oids.MGF1, AlgorithmIdentifier(self.mask_digest, NULL).encode())
        source = AlgorithmIdentifier(oids.P_SPECIFIED, writer.octet_string(self.label))
        parameters = writer.sequence(
            writer.explicit(0, AlgorithmIdentifier(self.digest, NULL).encode()),
            writer.explicit(1, mask.encode()),
            writer.explicit(2, source.encode()) if self.label else b"",
        )
        return AlgorithmIdentifier(oids.RSA_OAEP, parameters)

    def padding(self) -> padding.OAEP:
        """Return the crypto library's form."""
        mask = padding.MGF1(hash_algorithm(self.mask_digest))
        return padding.OAEP(mask, hash_algorithm(self.digest), self.label or None)


def encrypt(key: PublicKeyInfo, content_key: bytes, oaep: Oaep | None = None) -> tuple[AlgorithmIdentifier, bytes]:
    """Encrypt a content key; PKCS#1 v1.5 without `oaep`."""
    public = public_keys.load(key)
    if not isinstance(public, rsa.RSAPublicKey):
        raise OurFault(f"nothing can be encrypted to a key for {public_keys.describe(key)}: it only signs")
    if oaep is None:
        return _PKCS1, public.encrypt(content_key, _PKCS1V15)
    return oaep.encode(), public.encrypt(content_key, oaep.padding())


def decrypt(key: PrivateKey, algorithm: AlgorithmIdentifier, encrypted: bytes, content_key_octets: int) -> bytes:
    """Return the content key. A PKCS#1 v1.5 failure gives a random key; an OAEP failure raises NotAuthentic."""
    private = key.key
    if not isinstance(private, rsa.RSAPrivateKey):
        raise NotAuthentic(f"the key is {key.kind}, the message was encrypted to an RSA key")
    if algorithm.oid == oids.RSA_OAEP:
        try:
            return private.decrypt(encrypted, Oaep.parse(algorithm).padding())
        except ValueError:
            raise NotAuthentic(FAILED) from None
    if algorithm.oid != oids.RSA:
        raise Malformed(f"a key transport not known here: {algorithm.label}", clause="RFC 5652 section 6.2.1")
    substitute = os.urandom(content_key_octets)
    try:
        content_key = private.decrypt(encrypted, _PKCS1V15)
    except ValueError:
        return substitute
    return content_key if len(content_key) == content_key_octets else substitute
