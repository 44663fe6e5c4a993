"""The primitives S/MIME calls, against published vectors and against keys and values made to deceive."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import cryptography_vectors
import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.errors import Malformed, NotAuthentic, OurFault
from letterlock.formats.asn1 import oids, writer
from letterlock.formats.x509.algorithm import NULL, AlgorithmIdentifier, PublicKeyInfo
from letterlock.trust.primitives import ciphers, key_agreement, key_pairs, key_transport, key_wrap, pkcs8, public_keys
from letterlock.trust.primitives.rc2 import Rc2
from letterlock.trust.primitives.signatures import Family, Scheme, algorithm_of, scheme_for, sign, verify

_FOLDER = Path(cryptography_vectors.__file__).parent
_DIGESTS = {
    "SHA1": oids.SHA1,
    "SHA224": oids.SHA224,
    "SHA256": oids.SHA256,
    "SHA384": oids.SHA384,
    "SHA512": oids.SHA512,
}
_FIELD = re.compile(r"^(\w+) ?= ?(\S*)")


def _records(path: str, last: str) -> Iterator[dict[str, str]]:
    """Yield the fields of a NIST response file each time the field `last` (or FAIL) has been read."""
    fields: dict[str, str] = {}
    for line in (_FOLDER / path).read_text(errors="replace").splitlines():
        if line.startswith("["):
            found = re.findall(r"[\w-]+", line)
            fields[found[0]] = found[-1]
        match = _FIELD.match(line)
        if match:
            fields[match[1]] = match[2]
        if line == "FAIL" or (match and match[1] == last):
            yield {**fields, "FAIL": "FAIL" if line == "FAIL" else ""}


def _rsa(n: str, e: str) -> PublicKeyInfo:
    key = writer.sequence(writer.integer(int(n, 16)), writer.integer(int(e, 16)))
    return PublicKeyInfo.make(AlgorithmIdentifier(oids.RSA, NULL), key)


def test_rsa_signatures_with_malformed_encodings() -> None:
    """NIST's PKCS#1 v1.5 vectors with hash moved, trailer wrong or padding short: not one verifies."""
    count = 0
    for fields in _records("asymmetric/RSA/SigVer15EMTest.txt", "Result"):
        key = _rsa(fields["n"], fields["e"])
        scheme = Scheme(Family.RSA, _DIGESTS[fields["SHAAlg"]])
        arguments = (key, scheme, bytes.fromhex(fields["S"]), bytes.fromhex(fields["Msg"]))
        assert fields["Result"] == "F"
        with pytest.raises(NotAuthentic):
            verify(*arguments)
        count += 1
    assert count == 150


@pytest.mark.parametrize(("bits", "oid"), [(128, oids.WRAP_AES128), (192, oids.WRAP_AES192), (256, oids.WRAP_AES256)])
def test_key_unwrap(bits: int, oid: str) -> None:
    """NIST SP 800-38F: what unwraps, and what must not."""
    good = bad = 0
    for fields in _records(f"keywrap/kwtestvectors/KW_AD_{bits}.txt", "P"):
        key, wrapped = bytes.fromhex(fields["K"]), bytes.fromhex(fields["C"])
        if fields["FAIL"]:
            bad += 1
            with pytest.raises(NotAuthentic):
                key_wrap.unwrap(oid, key, wrapped)
        else:
            good += 1
            assert key_wrap.unwrap(oid, key, wrapped).hex() == fields["P"]
            assert key_wrap.wrap(oid, key, bytes.fromhex(fields["P"])) == wrapped
    assert min(good, bad) >= 100


def test_x963_derivation() -> None:
    """ANS X9.63, which ECDH recipients use (RFC 5753 section 7.1.4)."""
    count = 0
    digest = ""
    for line in (_FOLDER / "KDF/ansx963_2001.txt").read_text().splitlines():
        if line.startswith("[SHA"):
            digest = line.strip("[]").replace("-", "")
        name, _, value = line.partition(" = ")
        if name == "Z":
            secret = bytes.fromhex(value)
        elif name == "SharedInfo":
            info = bytes.fromhex(value)
        elif name == "key_data":
            derived = key_agreement.derive_x963(_DIGESTS[digest], secret, info, len(value) // 2)
            assert derived.hex() == value
            count += 1
    assert count > 50


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_gcm(bits: int) -> None:
    """NIST's GCM vectors with 96-bit nonces and 128-bit tags: plain text, or nothing."""
    oid = {128: oids.AES128_GCM, 192: oids.AES192_GCM, 256: oids.AES256_GCM}[bits]
    good = bad = 0
    for number, fields in enumerate(_records(f"ciphers/AES/GCM/gcmDecrypt{bits}.rsp", "PT")):
        if fields["IVlen"] != "96" or fields["Taglen"] != "128" or number % 5:
            continue
        cipher = ciphers.ContentCipher(oid, bytes.fromhex(fields["IV"]), bits // 8, 16)
        arguments = (cipher, bytes.fromhex(fields["Key"]), (bytes.fromhex(fields["CT"]),), bytes.fromhex(fields["Tag"]))
        if fields["FAIL"]:
            bad += 1
            with pytest.raises(NotAuthentic, match=ciphers.FAILED):
                ciphers.open_whole(*arguments, bytes.fromhex(fields["AAD"]))
        else:
            good += 1
            assert ciphers.open_whole(*arguments, bytes.fromhex(fields["AAD"])).hex() == fields["PT"]
    assert min(good, bad) > 10


@pytest.mark.parametrize(
    ("key", "bits", "plain", "expected"),
    [
        ("0000000000000000", 63, "0000000000000000", "ebb773f993278eff"),
        ("ffffffffffffffff", 64, "ffffffffffffffff", "278b27e42e2f0d49"),
        ("3000000000000000", 64, "1000000000000001", "30649edf9be7d2c2"),
        ("88", 64, "0000000000000000", "61a8a244adacccf0"),
        ("88bca90e90875a", 64, "0000000000000000", "6ccf4308974c267f"),
        ("88bca90e90875a7f0f79c384627bafb2", 64, "0000000000000000", "1a807d272bbe5db1"),
        ("88bca90e90875a7f0f79c384627bafb2", 128, "0000000000000000", "2269552ab0f85ca6"),
        ("88bca90e90875a7f0f79c384627bafb216f80a6f85920584c42fceb0be255daf1e", 129, "0000000000000000",
         "5b78d3a43dfff1f1"),
    ],
)  # fmt: skip
def test_rc2(key: str, bits: int, plain: str, expected: str) -> None:
    """RFC 2268 section 5, all eight."""
    made = Rc2(bytes.fromhex(key), bits, bytes(8)).encrypt(bytes.fromhex(plain))
    assert made.hex() == expected
    assert Rc2(bytes.fromhex(key), bits, bytes(8)).decrypt(made).hex() == plain


def _ecdsa(r: int, s: int) -> bytes:
    return writer.sequence(writer.integer(r), writer.integer(s))


@pytest.mark.parametrize("kind", ["p256", "p384", "p521", "dsa2048"])
def test_signatures_of_two_numbers_made_to_deceive(kind: str) -> None:
    """Zeros, ones, negative and huge numbers, BER, trailing octets: none verifies, none crashes."""
    key = key_pairs.generate(kind, legacy=True)
    scheme = scheme_for(key.public)
    good = sign(key, scheme, b"text")
    verify(key.public, scheme, good, b"text")
    order = 1 << 521
    bad = [_ecdsa(r, s) for r in (0, 1, -1, order) for s in (0, 1, -1, order)]
    bad += [
        b"",
        b"\0",
        b"\x30\0",
        good + b"\0",
        b"\x30\x80" + good[2:] + b"\0\0",
        good[:-1],
        bytes(len(good)),
        good[::-1],
    ]
    for signature in bad:
        with pytest.raises(NotAuthentic):
            verify(key.public, scheme, signature, b"text")


@pytest.mark.parametrize("kind", ["ed25519", "ed448", "rsa2048"])
def test_signatures_changed_anywhere(kind: str) -> None:
    """Each octet of a signature counts, and so does its length."""
    key = key_pairs.generate(kind)
    scheme = scheme_for(key.public)
    good = sign(key, scheme, b"text")
    for at in range(0, len(good), 7):
        changed = bytearray(good)
        changed[at] ^= 0x40
        with pytest.raises(NotAuthentic):
            verify(key.public, scheme, bytes(changed), b"text")
    for signature in (b"", good[:-1], good + b"\0", b"\0" + good, bytes(len(good)), b"\xff" * len(good)):
        with pytest.raises(NotAuthentic):
            verify(key.public, scheme, signature, b"text")


def test_a_key_for_pss_makes_nothing_else() -> None:
    """RFC 4056 section 2.1: id-RSASSA-PSS limits the key, its parameters limit it further; RSAES-OAEP never signs."""
    key = key_pairs.generate("rsa2048")
    schemes = {
        "plain": Scheme(Family.RSA, oids.SHA256),
        "other": Scheme(Family.PSS, oids.SHA384, oids.SHA384, 48),
        **{f"salt {size}": Scheme(Family.PSS, oids.SHA256, oids.SHA256, size) for size in (0, 32, 40)},
    }
    limits = algorithm_of(schemes["salt 32"]).parameters
    for oid, parameters, good in (
        (oids.RSA, NULL, {"plain", "other", "salt 0", "salt 32", "salt 40"}),
        (oids.RSA_PSS, None, {"other", "salt 0", "salt 32", "salt 40"}),
        (oids.RSA_PSS, limits, {"salt 32", "salt 40"}),
        (oids.RSA_OAEP, None, set()),
    ):
        limited = PublicKeyInfo.make(AlgorithmIdentifier(oid, parameters), key.public.key)
        taken = set()
        for name, scheme in schemes.items():
            with contextlib.suppress(NotAuthentic):
                verify(limited, scheme, sign(key, scheme, b"text"), b"text")
                taken.add(name)
        assert taken == good, oid


def test_keys_and_schemes_must_fit() -> None:
    """An RSA signature with an EC key, a digest where a message belongs."""
    key = key_pairs.generate("p256")
    for scheme in (Scheme(Family.RSA, oids.SHA256), Scheme(Family.DSA, oids.SHA256), Scheme(Family.EDDSA, oids.SHA512)):
        with pytest.raises(NotAuthentic):
            verify(key.public, scheme, b"", b"text")
    edwards = key_pairs.generate("ed25519")
    with pytest.raises(NotAuthentic):
        verify(edwards.public, scheme_for(edwards.public), bytes(64), bytes(32), digested=True)


@pytest.mark.parametrize(
    "info",
    [
        _rsa("05" * 64, "03"),  # 512 bits
        _rsa("f5" * 128, "ff" * 9),  # an exponent of 72 bits
        _rsa("f5" * 2112, "03"),  # 16,896 bits
        _rsa("f5" * 128, "02"),
        _rsa("00", "00"),
        PublicKeyInfo.make(AlgorithmIdentifier(oids.EC_PUBLIC_KEY, writer.oid(oids.P256)), b"\x04" + bytes(63) + b"\1"),
        PublicKeyInfo.make(AlgorithmIdentifier(oids.EC_PUBLIC_KEY, writer.oid(oids.P256)), b"\0"),
        PublicKeyInfo.make(AlgorithmIdentifier(oids.EC_PUBLIC_KEY, writer.oid("1.2.3")), bytes(65)),
        PublicKeyInfo.make(AlgorithmIdentifier(oids.ED25519), bytes(31)),
        PublicKeyInfo.make(AlgorithmIdentifier(oids.DSA), writer.integer(5)),
        PublicKeyInfo.make(AlgorithmIdentifier("1.2.3"), b""),
    ],
)
def test_keys_that_are_none(info: PublicKeyInfo) -> None:
    """Too short, too long, not on the curve: refused when loaded."""
    with pytest.raises((Malformed, NotAuthentic)):
        public_keys.load(info)


_LOW_ORDER = (
    bytes(32),
    b"\1" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
)


@pytest.mark.parametrize("point", _LOW_ORDER)
def test_points_of_low_order_are_refused(point: bytes) -> None:
    """An ephemeral X25519 key that makes every secret zero agrees on nothing (RFC 8418 section 9)."""
    key = key_pairs.generate("x25519")
    algorithm = AlgorithmIdentifier(oids.ECDH_HKDF_SHA256, AlgorithmIdentifier(oids.WRAP_AES128).encode())
    public = PublicKeyInfo.make(AlgorithmIdentifier(oids.X25519), point)
    with pytest.raises(NotAuthentic):
        key_agreement.key_encryption_key(key, public, algorithm, None)


@pytest.mark.parametrize("y", [0, 1, 2, -1, key_pairs.MODP_2048[0] - 1, key_pairs.MODP_2048[0], 7])
def test_numbers_outside_the_group_are_refused(y: int) -> None:
    """Finite-field Diffie-Hellman checks range and subgroup (RFC 2631 section 2.1.5)."""
    key = key_pairs.generate("dh2048", legacy=True)
    algorithm = AlgorithmIdentifier(oids.ESDH, AlgorithmIdentifier(oids.WRAP_AES128).encode())
    public = PublicKeyInfo.make(key.public.algorithm, writer.integer(y))
    p, _g, q = key_pairs.MODP_2048
    if 2 <= y <= p - 2 and pow(y, q, p) == 1:
        key_agreement.key_encryption_key(key, public, algorithm, None)
    else:
        with pytest.raises(NotAuthentic):
            key_agreement.key_encryption_key(key, public, algorithm, None)


def test_broken_key_transport_gives_a_random_key() -> None:
    """PKCS#1 v1.5: no error tells a wrong block from a right one (RFC 3218 section 2.3.2)."""
    key = key_pairs.generate("rsa2048")
    algorithm, encrypted = key_transport.encrypt(key.public, bytes(32))
    assert key_transport.decrypt(key, algorithm, encrypted, 32) == bytes(32)
    _algorithm, short = key_transport.encrypt(key.public, bytes(16))
    for wrong in (bytes(256), encrypted[::-1], b"\xff" * 256, b"", short):
        got = key_transport.decrypt(key, algorithm, wrong, 32)
        assert len(got) == 32
        assert got != bytes(32)
    with pytest.raises(NotAuthentic):
        key_transport.decrypt(key, key_transport.Oaep().encode(), encrypted, 32)


@pytest.mark.parametrize("oid", [oids.AES128_CBC, oids.AES256_CBC, oids.DES3_CBC, oids.RC2_CBC])
@pytest.mark.parametrize("size", [0, 1, 7, 8, 15, 16, 17, 100])
def test_cbc_padding(oid: str, size: int) -> None:
    """Every length pads and unpads; every wrong padding gives the one same answer."""
    cipher = ciphers.fresh(oid, bytes(range(16)))
    key = bytes(range(cipher.key_octets))
    (sealed, last), tag = ciphers.seal_whole(cipher, key, bytes(size))
    whole = bytes(sealed) + bytes(last)
    assert tag == b""
    assert ciphers.open_whole(cipher, key, (whole,)) == bytes(size)
    pieces = tuple(whole[at : at + 5] for at in range(0, len(whole), 5))
    assert ciphers.open_whole(cipher, key, pieces) == bytes(size)
    for wrong in (
        whole[:-1],
        whole + b"\0",
        b"",
        whole[: -ciphers.block_octets(cipher)] + bytes(ciphers.block_octets(cipher)),
    ):
        with pytest.raises(NotAuthentic, match=ciphers.FAILED):
            ciphers.open_whole(cipher, key, (wrong,))


@pytest.mark.parametrize("oid", [oids.AES128_CBC, oids.AES256_CBC, oids.AES128_GCM, oids.AES256_GCM])
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 100])
def test_sealing_in_place(oid: str, size: int) -> None:
    """Cipher text made in room foreseen for it is that made apart, of the size foretold, with the same tag."""
    cipher = ciphers.fresh(oid, bytes(range(16)))
    key = bytes(range(cipher.key_octets))
    apart, tag = ciphers.seal_whole(cipher, key, bytes(size), b"more")
    place = bytearray(ciphers.sealed_octets(cipher, size))
    assert ciphers.seal_into(cipher, key, bytes(size), memoryview(place), b"more") == tag
    assert bytes(place) == b"".join(apart)


@given(st.binary(max_size=100), st.binary(min_size=1, max_size=70), st.sampled_from([oids.AES128_GCM, oids.AES256_GCM]))
def test_associated_data_that_comes_late(octets: bytes, associated: bytes, oid: str) -> None:
    """Known only at the end, it is checked as strictly as that known in the beginning."""
    cipher = ciphers.fresh(oid, bytes(range(16)))
    key = bytes(range(cipher.key_octets))
    sealed, tag = ciphers.seal_whole(cipher, key, octets, associated)
    engine = ciphers.Opening(cipher, key)
    assert b"".join(engine.update(piece) for piece in sealed) + engine.finish(tag, associated) == octets
    for wrong in (associated + b"\0", associated[:-1] or b"\0\0", b""):
        engine = ciphers.Opening(cipher, key)
        for piece in sealed:
            engine.update(piece)
        with pytest.raises(NotAuthentic, match=ciphers.FAILED):
            engine.finish(tag, wrong)


def test_parameters_of_ciphers_round_trip() -> None:
    """What is written is read the same, and what is out of range is Malformed."""
    for oid in sorted(oids.CONTENT_CIPHERS - {oids.DES_CBC}):
        cipher = ciphers.fresh(oid, bytes(range(16)))
        assert ciphers.ContentCipher.parse(cipher.encode()) == cipher
    for version, bits in ((160, 40), (120, 64), (58, 128), (256, 256)):
        parameters = writer.sequence(writer.integer(version), writer.octet_string(bytes(8)))
        assert ciphers.ContentCipher.parse(AlgorithmIdentifier(oids.RC2_CBC, parameters)).rc2_bits == bits
    for oid, parameters in (
        (oids.AES128_CBC, writer.octet_string(bytes(8))), (oids.AES128_CBC, None), (oids.DES_CBC, writer.null()),
        (oids.AES128_GCM, writer.sequence(writer.octet_string(bytes(12)), writer.integer(4))),
        (oids.RC2_CBC, writer.sequence(writer.integer(1), writer.octet_string(bytes(8)))),
    ):  # fmt: skip
        with pytest.raises(Malformed):
            ciphers.ContentCipher.parse(AlgorithmIdentifier(oid, parameters))


@pytest.mark.parametrize("kind", [*key_pairs.KINDS, "dh2048"])
def test_keys_are_written_and_read(kind: str) -> None:
    """PKCS#8 in PEM, open and encrypted; the wrong password is told apart from garbage."""
    if kind in ("rsa3072", "rsa4096"):
        kind = "p256"
    key = key_pairs.generate(kind, legacy=True)
    assert key_pairs.load(key_pairs.dump(key, None)) == key
    assert key_pairs.load(key_pairs.dump(key, None), b"tulip") == key
    with pytest.raises(OurFault):
        key_pairs.dump(key, b"")
    sealed = key_pairs.dump(key, b"tulip")
    assert key_pairs.load(sealed, b"tulip") == key
    for password in (b"rose", None):
        with pytest.raises(NotAuthentic):
            key_pairs.load(sealed, password)
    for garbage in (b"", b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n", b"\x30\0", b"\x30\x80"):
        with pytest.raises(Malformed):
            key_pairs.load(garbage)


def test_wrong_passwords_whose_padding_looks_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """One in 256 decrypts to padding: it is told to be wrong like all others, not taken for a broken key."""
    monkeypatch.setattr(pkcs8, "ROUNDS", 1)
    sealed = pkcs8.seal(b"\x30\x03\x02\x01\x00", b"tulip")
    assert pkcs8.unseal(sealed, b"tulip") == b"\x30\x03\x02\x01\x00"
    for number in range(2000):
        with pytest.raises(NotAuthentic):
            pkcs8.unseal(sealed, b"rose%d" % number)
