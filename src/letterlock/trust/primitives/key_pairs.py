"""Private keys: generated, read from PKCS#8, PEM and PKCS#12, written encrypted.

Generation uses the system's random source. RSA below 2,048 bits is not generated; DSA and Diffie-Hellman pairs are
legacy and made only when asked for by that name. Diffie-Hellman (RFC 2631) keys are kept as numbers, because the
crypto library no longer serves them.

Standards: RFC 5958, RFC 5208 (PKCS#8), RFC 7292 (PKCS#12), RFC 8410, RFC 2631 section 2.2.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x448, x25519
from cryptography.hazmat.primitives.serialization import pkcs12

from letterlock.errors import Malformed, NotAuthentic, OurFault
from letterlock.formats.asn1 import oids, reader, tags, writer
from letterlock.formats.asn1.reader import Fields
from letterlock.formats.x509 import pem
from letterlock.formats.x509.algorithm import AlgorithmIdentifier, PublicKeyInfo
from letterlock.formats.x509.certificate import Certificate
from letterlock.trust.primitives import pkcs8, public_keys

_CLAUSE = "RFC 5958 section 2"


@dataclass(frozen=True, slots=True)
class DhKey:
    """An X9.42 Diffie-Hellman private key as numbers; `q` is the order of the subgroup."""

    p: int
    g: int
    q: int
    x: int


Key = (
    rsa.RSAPrivateKey
    | dsa.DSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | x25519.X25519PrivateKey
    | x448.X448PrivateKey
    | DhKey
)


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A private key with the public one that belongs to it. It compares by the public key, and never shows itself."""

    key: Key = field(repr=False, compare=False)
    public: PublicKeyInfo

    @property
    def kind(self) -> str:
        """What it is, for people."""
        return public_keys.describe(self.public)


KINDS = ("rsa2048", "rsa3072", "rsa4096", "p256", "p384", "p521", "ed25519", "ed448", "x25519", "x448")
LEGACY_KINDS = ("dsa2048", "dh2048")


def generate(kind: str, *, legacy: bool = False) -> PrivateKey:
    """Make a key pair of one of KINDS, or of LEGACY_KINDS when `legacy`; OurFault with the reason otherwise."""
    match kind:
        case "rsa2048" | "rsa3072" | "rsa4096":
            return wrap(rsa.generate_private_key(65537, int(kind[3:])))
        case "p256" | "p384" | "p521":
            curve = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}[kind]
            return wrap(ec.generate_private_key(curve))
        case "ed25519":
            return wrap(ed25519.Ed25519PrivateKey.generate())
        case "ed448":
            return wrap(ed448.Ed448PrivateKey.generate())
        case "x25519":
            return wrap(x25519.X25519PrivateKey.generate())
        case "x448":
            return wrap(x448.X448PrivateKey.generate())
        case "dsa2048" if legacy:
            return wrap(dsa.generate_private_key(2048))
        case "dh2048" if legacy:
            return generate_dh(*MODP_2048)
        case "dsa2048" | "dh2048":
            raise OurFault(f"{kind} keys are legacy and are made only with the legacy setting")
    if kind.startswith("rsa") and kind[3:].isdigit() and int(kind[3:]) < 2048:
        raise OurFault(f"an RSA key of {kind[3:]} bits is too short: RFC 8551 asks for 2048 or more")
    raise OurFault(f"no key kind {kind!r}; there are {', '.join(KINDS + LEGACY_KINDS)}")


# RFC 5114 section 2.2 has parameters with a small subgroup; the safe prime of RFC 3526 section 3 has q = (p - 1) / 2
_MODP_2048_P = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B"
    "302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE6"
    "49286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB9ED529077096966D"
    "670C354E4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF695581718"
    "3995497CEA956AE515D2261898FA051015728E5A8AACAA68FFFFFFFFFFFFFFFF",
    16,
)
MODP_2048 = (_MODP_2048_P, 4, (_MODP_2048_P - 1) // 2)  # 4 generates the subgroup of order q


def generate_dh(p: int, g: int, q: int) -> PrivateKey:
    """Make a Diffie-Hellman pair in the group given."""
    return _wrap_dh(DhKey(p, g, q, 2 + int.from_bytes(os.urandom((q.bit_length() + 7) // 8 + 8), "big") % (q - 3)))


def _wrap_dh(key: DhKey) -> PrivateKey:
    parameters = writer.sequence(writer.integer(key.p), writer.integer(key.g), writer.integer(key.q))
    algorithm = AlgorithmIdentifier(oids.DH_PUBLIC_NUMBER, parameters)
    return PrivateKey(key, PublicKeyInfo.make(algorithm, writer.integer(pow(key.g, key.x, key.p))))


def wrap(key: Key) -> PrivateKey:
    """Return a key of the crypto library with its public half."""
    if isinstance(key, DhKey):
        return _wrap_dh(key)
    return PrivateKey(key, public_keys.info_of(key.public_key()))


def load(octets: bytes, password: bytes | None = None) -> PrivateKey:
    """Read a key in PEM or DER (PKCS#8, encrypted or not, or the older forms).

    Raises Malformed for what is no key, NotAuthentic where the password does not open it.
    """
    try:
        if octets.lstrip()[:10] != b"-----BEGIN":
            return _load_der(octets, password)
        if b"-----BEGIN PRIVATE KEY-----" in octets or b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in octets:
            return _load_der(pem.decode(octets, b"PRIVATE KEY", b"ENCRYPTED PRIVATE KEY")[0], password)
        return _accept(serialization.load_pem_private_key(octets, password))
    except UnsupportedAlgorithm as error:
        raise Malformed(f"a private key of a kind not used here: {error}", clause=_CLAUSE) from None
    except TypeError:
        if password is not None:  # one that the key does not need: it stands open
            return load(octets)
        raise NotAuthentic("this key is encrypted and needs its password") from None
    except ValueError as error:
        if password is not None:
            raise NotAuthentic("the password does not open this key") from None
        raise Malformed("neither PKCS#8 nor an older form of a key", clause=_CLAUSE) from error


def _load_der(octets: bytes, password: bytes | None) -> PrivateKey:
    if password is not None and (opened := pkcs8.unseal(octets, password)) is not None:
        octets, password = opened, None
    root = Fields(reader.parse(octets))
    first = root.any()
    second = root.optional(tags.SEQUENCE) if first.tag == tags.INTEGER else None
    if second is not None:
        algorithm = AlgorithmIdentifier.parse(second)
        inner = root.take(tags.OCTET_STRING).octet_string()
        if algorithm.oid in (oids.DSA, oids.DH_PUBLIC_NUMBER) and algorithm.parameters:
            return _from_numbers(algorithm.oid, algorithm.parameters, reader.parse(inner).integer())
        # attributes behind the key (RFC 5958 section 2) do not concern the crypto library
        octets = writer.sequence(writer.integer(0), algorithm.encode(), writer.octet_string(inner))
    return _accept(serialization.load_der_private_key(octets, password))


def _from_numbers(oid: str, parameters: bytes, x: int) -> PrivateKey:
    fields = Fields(reader.parse(parameters))
    first, second, third = (fields.take(tags.INTEGER).integer() for _ in range(3))
    if oid == oids.DH_PUBLIC_NUMBER:
        if not 1 < second < first or not 0 < x < first or first.bit_length() > 8192:
            raise Malformed("a Diffie-Hellman key outside its group", clause="RFC 2631 section 2.2")
        return _wrap_dh(DhKey(first, second, third, x))
    if not 1 < third < first or first.bit_length() > 4096 or x < 1:
        raise Malformed("a DSA key outside its group", clause="RFC 3279 section 2.3.2")
    public = dsa.DSAPublicNumbers(pow(third, x, first), dsa.DSAParameterNumbers(first, second, third))
    return wrap(dsa.DSAPrivateNumbers(x, public).private_key())


def _accept(key: object) -> PrivateKey:
    if not isinstance(key, Key):
        raise Malformed(f"a private key of a kind not used here: {type(key).__name__}", clause=_CLAUSE)
    return wrap(key)


def dump(key: PrivateKey, password: bytes | None) -> bytes:
    """Write a key as PKCS#8 in PEM, encrypted with AES-256 under `password`; None leaves it open. Raises OurFault."""
    if password is not None:
        _demand_password(password)
    if isinstance(key.key, DhKey):
        return _dump_dh(key.key, key.public.algorithm, password)
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password)
    return key.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def _demand_password(password: bytes) -> None:
    if not password:
        raise OurFault("an empty password protects no key; write one into the first line of the password file")


def _dump_dh(key: DhKey, algorithm: AlgorithmIdentifier, password: bytes | None) -> bytes:
    inner = writer.octet_string(writer.integer(key.x))
    octets = writer.sequence(writer.integer(0), algorithm.encode(), inner)
    if password is None:
        return pem.encode("PRIVATE KEY", octets)
    return pem.encode("ENCRYPTED PRIVATE KEY", pkcs8.seal(octets, password))


def load_pkcs12(octets: bytes, password: bytes | None) -> tuple[PrivateKey | None, tuple[Certificate, ...]]:
    """Read a PKCS#12 store: the key, and the certificates with the key's own first."""
    try:
        store = pkcs12.load_pkcs12(octets, password)
    except ValueError as error:
        raise NotAuthentic(f"the password does not open this PKCS#12 file, or it is none: {error}") from None
    found = [item for item in (store.cert, *store.additional_certs) if item is not None]
    certificates = tuple(Certificate.parse(item.certificate.public_bytes(serialization.Encoding.DER)) for item in found)
    return (None if store.key is None else _accept(store.key)), certificates


def dump_pkcs12(key: PrivateKey, certificates: tuple[Certificate, ...], password: bytes, name: str = "") -> bytes:
    """Write a PKCS#12 store, AES-256 under `password`: the key, its certificate (the first) and the rest."""
    if isinstance(key.key, DhKey | x25519.X25519PrivateKey | x448.X448PrivateKey):
        raise OurFault(f"a {key.kind} key does not go into a PKCS#12 file")
    _demand_password(password)
    own, *others = [x509.load_der_x509_certificate(each.octets) for each in certificates]
    encryption = serialization.BestAvailableEncryption(password)
    with contextlib.suppress(ValueError):
        return pkcs12.serialize_key_and_certificates(name.encode() or None, key.key, own, others, encryption)
    raise OurFault("the first certificate is not for this key")
