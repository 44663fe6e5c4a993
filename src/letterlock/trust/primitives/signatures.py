"""Signatures over digests and messages: RSA (v1.5 and PSS), ECDSA, DSA, Ed25519 and Ed448.

A `Scheme` is what an AlgorithmIdentifier says, read once; `verify` raises NotAuthentic for whatever does not verify.

Standards: RFC 8017, RFC 4056 (PSS in CMS), RFC 5754, RFC 5480, RFC 8419, RFC 8410, RFC 3279 section 2.2.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from letterlock.errors import Malformed, NotAuthentic, OurFault
from letterlock.formats.asn1 import oids, reader, tags, writer
from letterlock.formats.asn1.reader import Fields
from letterlock.formats.x509.algorithm import NULL, AlgorithmIdentifier, PublicKeyInfo
from letterlock.trust.primitives import public_keys
from letterlock.trust.primitives.digests import digest, hash_algorithm
from letterlock.trust.primitives.key_pairs import PrivateKey


class Family(enum.Enum):
    """How the signature is made."""

    RSA = "RSA"
    PSS = "RSA-PSS"
    ECDSA = "ECDSA"
    DSA = "DSA"
    EDDSA = "EdDSA"


class Scheme(msgspec.Struct, frozen=True):
    """A signature algorithm with its digest; `mask_digest` and `salt_octets` are for PSS only."""

    family: Family
    digest: str
    mask_digest: str = ""
    salt_octets: int = 0

    @property
    def label(self) -> str:
        """The name people know it by."""
        return (
            self.family.value if self.family is Family.EDDSA else f"{self.family.value} with {oids.label(self.digest)}"
        )


_SCHEMES = {
    oids.MD5_RSA: Scheme(Family.RSA, oids.MD5),
    oids.SHA1_RSA: Scheme(Family.RSA, oids.SHA1),
    "1.3.14.3.2.29": Scheme(Family.RSA, oids.SHA1),
    oids.SHA224_RSA: Scheme(Family.RSA, oids.SHA224),
    oids.SHA256_RSA: Scheme(Family.RSA, oids.SHA256),
    oids.SHA384_RSA: Scheme(Family.RSA, oids.SHA384),
    oids.SHA512_RSA: Scheme(Family.RSA, oids.SHA512),
    oids.DSA_SHA1: Scheme(Family.DSA, oids.SHA1),
    oids.DSA_SHA224: Scheme(Family.DSA, oids.SHA224),
    oids.DSA_SHA256: Scheme(Family.DSA, oids.SHA256),
    oids.ECDSA_SHA1: Scheme(Family.ECDSA, oids.SHA1),
    oids.ECDSA_SHA224: Scheme(Family.ECDSA, oids.SHA224),
    oids.ECDSA_SHA256: Scheme(Family.ECDSA, oids.SHA256),
    oids.ECDSA_SHA384: Scheme(Family.ECDSA, oids.SHA384),
    oids.ECDSA_SHA512: Scheme(Family.ECDSA, oids.SHA512),
    oids.ED25519: Scheme(Family.EDDSA, oids.SHA512),
    oids.ED448: Scheme(Family.EDDSA, oids.SHAKE256),
}
_BY_DIGEST = {
    Family.RSA: {
        oids.MD5: oids.MD5_RSA,
        oids.SHA1: oids.SHA1_RSA,
        oids.SHA224: oids.SHA224_RSA,
        oids.SHA256: oids.SHA256_RSA,
        oids.SHA384: oids.SHA384_RSA,
        oids.SHA512: oids.SHA512_RSA,
    },
    Family.ECDSA: {
        oids.SHA1: oids.ECDSA_SHA1,
        oids.SHA224: oids.ECDSA_SHA224,
        oids.SHA256: oids.ECDSA_SHA256,
        oids.SHA384: oids.ECDSA_SHA384,
        oids.SHA512: oids.ECDSA_SHA512,
    },
    Family.DSA: {oids.SHA1: oids.DSA_SHA1, oids.SHA224: oids.DSA_SHA224, oids.SHA256: oids.DSA_SHA256},
}
_PKCS1V15 = padding.PKCS1v15()
_LIMITED_OIDS = (oids.RSA_PSS, oids.RSA_OAEP)
_KEY_OIDS = {oids.RSA: Family.RSA, oids.EC_PUBLIC_KEY: Family.ECDSA, oids.DSA: Family.DSA}


def scheme_of(algorithm: AlgorithmIdentifier, digest_oid: str = "") -> Scheme:
    """Return what `algorithm` means; `digest_oid` is the signer's digest where the algorithm names only a key kind.

    Raises Malformed for an algorithm not known here, or one whose digest is not the signer's.
    """
    if algorithm.oid in _KEY_OIDS and digest_oid:
        return Scheme(_KEY_OIDS[algorithm.oid], digest_oid)
    if algorithm.oid == oids.RSA_PSS:
        scheme = _parse_pss(algorithm)
    elif algorithm.oid in _SCHEMES:
        scheme = _SCHEMES[algorithm.oid]
    else:
        raise Malformed(f"a signature algorithm not known here: {algorithm.label}", clause="RFC 5652 section 10.1.2")
    if digest_oid and scheme.family is not Family.EDDSA and scheme.digest != digest_oid:
        # RFC 5652 section 5.3: the digest is the one the signature algorithm uses
        raise Malformed(
            f"signed with {scheme.label}, digested with {oids.label(digest_oid)}", clause="RFC 5652 section 5.3"
        )
    return scheme


def _parse_pss(algorithm: AlgorithmIdentifier) -> Scheme:
    digest_oid = mask = oids.SHA1
    salt = 20
    if algorithm.parameters is None:
        raise Malformed("RSASSA-PSS without parameters", clause="RFC 4056 section 3")
    fields = Fields(reader.parse(algorithm.parameters))
    if item := fields.optional(tags.context(0)):
        digest_oid = AlgorithmIdentifier.parse(item.only_child()).oid
    if item := fields.optional(tags.context(1)):
        generator = AlgorithmIdentifier.parse(item.only_child())
        if generator.oid != oids.MGF1 or generator.parameters is None:
            raise item.fault("a mask generation function that is not MGF1", "RFC 4056 section 3")
        mask = AlgorithmIdentifier.parse(reader.parse(generator.parameters)).oid
    if item := fields.optional(tags.context(2)):
        salt = item.only_child().integer()
    if item := fields.optional(tags.context(3)):
        item.only_child().integer()
    fields.finish()
    if not 0 <= salt <= 1024:
        raise Malformed("a PSS salt of an unreasonable length", clause="RFC 4056 section 3")
    return Scheme(Family.PSS, digest_oid, mask, salt)


def algorithm_of(scheme: Scheme) -> AlgorithmIdentifier:
    """Return the AlgorithmIdentifier that says `scheme`."""
    if scheme.family is Family.PSS:
        inner = AlgorithmIdentifier(scheme.digest)
        mask = AlgorithmIdentifier(oids.MGF1, AlgorithmIdentifier(scheme.mask_digest).encode())
        parameters = writer.sequence(
            writer.explicit(0, inner.encode()),
            writer.explicit(1, mask.encode()),
            writer.explicit(2, writer.integer(scheme.salt_octets)),
        )
        return AlgorithmIdentifier(oids.RSA_PSS, parameters)
    if scheme.family is Family.EDDSA:
        return AlgorithmIdentifier(oids.ED25519 if scheme.digest == oids.SHA512 else oids.ED448)
    oid = _BY_DIGEST[scheme.family].get(scheme.digest)
    if oid is None:
        raise OurFault(f"{scheme.family.value} does not go with {oids.label(scheme.digest)}")
    return AlgorithmIdentifier(oid, NULL if scheme.family is Family.RSA else None)


# RFC 5480 section 4: the digest is as strong as the curve, and some readers take no other
_DIGEST_OF_CURVE = {writer.oid(oids.P384): oids.SHA384, writer.oid(oids.P521): oids.SHA512}


def scheme_for(key: PublicKeyInfo, digest_oid: str = "", *, pss: bool = False) -> Scheme:
    """Return the scheme with which `key` signs; OurFault for a key that cannot.

    Without a digest it is SHA-256, and on P-384 and P-521 one of their strength; Ed25519 and Ed448 bring their own.
    """
    if not digest_oid:
        digest_oid = _DIGEST_OF_CURVE.get(key.algorithm.parameters or b"", oids.SHA256)
    match key.algorithm.oid:
        case oids.RSA if not pss:
            return Scheme(Family.RSA, digest_oid)
        case oids.RSA | oids.RSA_PSS:
            return Scheme(Family.PSS, digest_oid, digest_oid, hash_algorithm(digest_oid).digest_size)
        case oids.EC_PUBLIC_KEY:
            return Scheme(Family.ECDSA, digest_oid)
        case oids.DSA:
            return Scheme(Family.DSA, digest_oid)
        case oids.ED25519:
            return Scheme(Family.EDDSA, oids.SHA512)
        case oids.ED448:
            return Scheme(Family.EDDSA, oids.SHAKE256)
        case _:
            raise OurFault(f"a {public_keys.describe(key)} key cannot sign")


class Checker(msgspec.Struct, frozen=True, eq=False):
    """A key made ready to check signatures of one scheme: the library's function, and what it is told each time."""

    scheme: Scheme
    function: Callable[..., None]
    how: tuple[object, ...]

    def check(self, signature: bytes, octets: bytes, *, digested: bool = False) -> None:
        """Check `signature` over `octets`, or over what they are the digest of; raises NotAuthentic."""
        scheme = self.scheme
        if scheme.family is Family.EDDSA:
            if digested:
                raise NotAuthentic("EdDSA signs whole messages, not digests")
        elif not digested:
            octets = digest(scheme.digest, octets)
        try:
            self.function(signature, octets, *self.how)
        except InvalidSignature:
            raise NotAuthentic("the signature does not match") from None
        except (ValueError, UnsupportedAlgorithm) as error:
            raise NotAuthentic(f"the signature cannot be checked: {error}") from None


@functools.lru_cache(maxsize=1024)
def checker(key: PublicKeyInfo, scheme: Scheme) -> Checker:
    """Return what checks signatures of `scheme` made with `key`.

    Raises NotAuthentic if the two do not go together, Malformed if the key or the algorithm are not usable.
    """
    public = public_keys.load(key)
    if key.algorithm.oid in _LIMITED_OIDS:
        _check_limits(key, scheme)
    match scheme.family, public:
        case Family.RSA | Family.PSS, rsa.RSAPublicKey():
            return Checker(scheme, public.verify, (_padding(scheme), _prehashed(scheme.digest)))
        case Family.ECDSA, ec.EllipticCurvePublicKey():
            return Checker(scheme, public.verify, (ec.ECDSA(_prehashed(scheme.digest)),))
        case Family.DSA, dsa.DSAPublicKey():
            return Checker(scheme, public.verify, (_prehashed(scheme.digest),))
        case Family.EDDSA, ed25519.Ed25519PublicKey() if scheme.digest == oids.SHA512:
            return Checker(scheme, public.verify, ())
        case Family.EDDSA, ed448.Ed448PublicKey() if scheme.digest == oids.SHAKE256:
            return Checker(scheme, public.verify, ())
        case _:
            raise NotAuthentic(f"the key is {public_keys.describe(key)}, the signature {scheme.label}")


def verify(key: PublicKeyInfo, scheme: Scheme, signature: bytes, octets: bytes, *, digested: bool = False) -> None:
    """Check `signature` over `octets`, or over what `octets` are the digest of when `digested`.

    Raises NotAuthentic if it does not hold, Malformed if the key or the algorithm are not usable.
    """
    checker(key, scheme).check(signature, octets, digested=digested)


def _check_limits(key: PublicKeyInfo, scheme: Scheme) -> None:
    """Hold a scheme against what an RSA-PSS or RSA-OAEP key is limited to by its identifier (RFC 4056 section 2.1)."""
    if key.algorithm.oid == oids.RSA_OAEP:
        raise NotAuthentic("the key is for encryption (RSA-OAEP) and signs nothing")
    if scheme.family is not Family.PSS:
        raise NotAuthentic(f"the key is for RSA-PSS alone, the signature is {scheme.label}")
    if key.algorithm.parameters is None:
        return
    limit = _parse_pss(key.algorithm)
    if (
        msgspec.structs.replace(scheme, salt_octets=limit.salt_octets) != limit
        or scheme.salt_octets < limit.salt_octets
    ):
        raise NotAuthentic(f"the key is limited to {limit.label} and a salt of {limit.salt_octets} octets or more")


@functools.cache
def _prehashed(digest_oid: str) -> Prehashed:
    return Prehashed(hash_algorithm(digest_oid))


def _padding(scheme: Scheme) -> padding.AsymmetricPadding:
    if scheme.family is Family.RSA:
        return _PKCS1V15
    return padding.PSS(padding.MGF1(hash_algorithm(scheme.mask_digest)), scheme.salt_octets)


def sign(key: PrivateKey, scheme: Scheme, octets: bytes, *, digested: bool = False) -> bytes:
    """Return the signature over `octets`, or over what they are the digest of; OurFault if the key does not fit."""
    private = key.key
    if scheme.family is Family.EDDSA:
        if digested or not isinstance(private, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
            raise OurFault("EdDSA signs whole messages with a key of its own kind")
        return private.sign(octets)
    if not digested:
        octets = digest(scheme.digest, octets)
    hashed = _prehashed(scheme.digest)
    if isinstance(private, rsa.RSAPrivateKey) and scheme.family in (Family.RSA, Family.PSS):
        return private.sign(octets, _padding(scheme), hashed)
    if isinstance(private, ec.EllipticCurvePrivateKey) and scheme.family is Family.ECDSA:
        return private.sign(octets, ec.ECDSA(hashed))
    if isinstance(private, dsa.DSAPrivateKey) and scheme.family is Family.DSA:
        return private.sign(octets, hashed)
    raise OurFault(f"a {key.kind} key does not sign with {scheme.label}")
