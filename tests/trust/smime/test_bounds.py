"""What hostile messages can make us do: the work is counted, in calls and in operations with public keys."""

from __future__ import annotations

import datetime
import os
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import msgspec
import pytest

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats.asn1 import oids, writer
from letterlock.formats.cms import content, enveloped
from letterlock.formats.cms.attributes import Attribute, Attributes
from letterlock.formats.cms.enveloped import EnvelopedData
from letterlock.formats.cms.recipients import Password
from letterlock.formats.cms.signed import SignedData
from letterlock.formats.imf.header import read_header
from letterlock.formats.x509.algorithm import NULL, AlgorithmIdentifier, PublicKeyInfo
from letterlock.formats.x509.certificate import Certificate, Unsigned
from letterlock.formats.x509.name import Name
from letterlock.trust.pkix.path import Anchor
from letterlock.trust.primitives import key_pairs, passwords, public_keys, signatures
from letterlock.trust.smime import compress, decrypt, protect, stream, unwrap
from letterlock.trust.smime import encrypt as sealing
from letterlock.trust.smime.decrypt import KeyRing
from letterlock.trust.smime.entities import wrap
from letterlock.trust.smime.proof import Trust, prove
from letterlock.trust.smime.sign import Signer, countersign, sign
from letterlock.trust.smime.verify import verify

HEAD = b"From: ada@rosewood.test\r\nMIME-Version: 1.0\r\n"


@contextmanager
def _counted() -> Iterator[Counter[str]]:
    """Count all calls of functions, by name."""
    calls: Counter[str] = Counter()

    def note(frame: FrameType, event: str, function: object) -> None:
        if event == "c_call":
            calls[getattr(function, "__name__", "")] += 1
        elif event == "call":
            calls[frame.f_code.co_name] += 1

    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def _nested(kind: str, depth: int) -> bytes:
    """Return a message of so many parts inside each other, text in 8 bits innermost."""
    if kind == "message/rfc822":
        opening = b"Content-Type: message/rfc822\r\n\r\n" * depth
        return HEAD + opening + b"Content-Type: text/plain\r\n\r\n\xc3\xbc \r\n"
    parts = [HEAD]
    signature = b""
    if kind == "multipart/signed":
        signature = b"Content-Type: application/pkcs7-signature\r\nContent-Transfer-Encoding: base64\r\n\r\nMIAG\r\n"
    for level in range(depth):
        protocol = 'protocol="application/pkcs7-signature"; ' if signature else ""
        parts.append(f"Content-Type: {kind}; {protocol}boundary=b{level}\r\n\r\n--b{level}\r\n".encode())
    parts.append(b"Content-Type: text/plain\r\n\r\n\xc3\xbc \r\n")
    for level in reversed(range(depth)):
        if signature:
            parts.append(b"\r\n--b%d\r\n" % level + signature)
        parts.append(b"\r\n--b%d--\r\n" % level)
    return b"".join(parts)


@pytest.mark.parametrize("kind", ["multipart/mixed", "multipart/signed", "message/rfc822"])
def test_nested_parts(people, kind: str) -> None:
    """2,000 and 10,000 parts inside each other are signed, read and judged, in time that grows with their number."""
    signer = people.named("ada").signer
    trust = Trust(people.now, (Anchor.of(people.named("ada").certificate),))

    def work(message: bytes) -> None:
        made = protect.sign_message(message, (signer,), people.now, token="tok")
        for octets in (message, made):
            found = unwrap.unwrap(octets)
            prove(read_header(octets), found, trust)
        assert len(found.layers) == 1
        assert found.layers[0].checks[0].good  # type: ignore[union-attr]

    counts = []
    for depth in (400, 800):
        message = _nested(kind, depth)
        with _counted() as calls:
            work(message)
        counts.append(calls.total())
    assert counts[1] < 3 * counts[0]
    for depth in (2000, 10_000):
        work(_nested(kind, depth))


def _signed_data(certificates: list[bytes], signers: list[bytes]) -> bytes:
    """Return a ContentInfo with a SignedData of these, without asking whether so many are allowed."""
    body = writer.sequence(
        writer.integer(1),
        writer.set_of([AlgorithmIdentifier(oids.SHA256).encode()]),
        writer.sequence(writer.oid(oids.DATA), writer.explicit(0, writer.octet_string(b"content"))),
        writer.implicit(0, writer.set_of(certificates)) if certificates else b"",
        writer.set_of(signers),
    )
    return content.encode(oids.SIGNED_DATA, body)


def test_a_bag_of_certificates() -> None:
    """5,000 certificates are refused when the 257th is reached, and before one of them is read."""
    made = _signed_data([writer.sequence(writer.integer(number)) for number in range(5000)], [])
    with _counted() as calls:
        found = unwrap.unwrap_cms(made)
    assert "more than 256 certificates" in found.fault
    assert calls.total() < 5000
    with pytest.raises(Malformed, match="more than 256 certificates"):
        stream.verify([made], lambda _piece: None)


def test_large_certificates() -> None:
    """Few certificates, but of megabytes."""
    made = _signed_data([writer.sequence(writer.octet_string(bytes(60_000 + number))) for number in range(40)], [])
    with _counted() as calls:
        found = unwrap.unwrap_cms(made)
    assert "certificates of more than" in found.fault
    assert calls.total() < 500


def test_a_thousand_signers(people) -> None:
    """They are refused before a signature is checked."""
    ada = people.named("ada")
    one = SignedData.parse(content.parse(sign(b"content", (ada.signer,), people.now))[1]).signers[0].encode()
    made = _signed_data([ada.certificate.octets], [one] * 1000)
    with _counted() as calls:
        found = unwrap.unwrap_cms(made)
    assert "more than 64 signers" in found.fault
    assert calls["verify"] == 0
    assert calls.total() < 20_000


def test_counter_signatures_of_many_signers(people) -> None:
    """64 signers with 16 counter-signatures each: 64 counter-signatures of all are looked at."""
    ada = people.named("ada", "ed25519")
    (info,) = SignedData.parse(content.parse(sign(b"content", (ada.signer,), people.now))[1]).signers
    for _ in range(16):
        info = countersign(info, ada.signer, people.now)
    parsed = SignedData.parse(content.parse(_signed_data([ada.certificate.octets], [info.encode()] * 64))[1])
    with _counted() as calls:
        checks = verify(parsed)
    assert all(check.good for check in checks)
    assert sum(len(check.counter_signatures) for check in checks) == 64
    assert calls["check"] == 128


@pytest.mark.parametrize(("modulus_bits", "exponent_bits"), [(1_000_000, 17), (16_400, 17), (2048, 65), (2048, 16_000),
                                                            (8192, 33)])  # fmt: skip
def test_unreasonable_rsa_keys(modulus_bits: int, exponent_bits: int) -> None:
    """Keys whose use would take long are refused before they are used."""
    numbers = writer.sequence(writer.integer((1 << modulus_bits) - 1), writer.integer((1 << exponent_bits) - 1))
    key = PublicKeyInfo.make(AlgorithmIdentifier(oids.RSA, NULL), numbers)
    scheme = signatures.Scheme(signatures.Family.RSA, oids.SHA256)
    with _counted() as calls, pytest.raises(Malformed):
        signatures.verify(key, scheme, bytes(modulus_bits // 8), b"octets")
    assert calls["verify"] == 1  # ours alone, not the crypto library's
    assert calls["public_key"] == 0


def test_unreasonable_dsa_and_dh_keys() -> None:
    """So are others with giant numbers."""
    giant = (1 << 16_000) - 1
    parameters = writer.sequence(*(writer.integer(number) for number in (giant, giant >> 1, 5)))
    for oid in (oids.DSA, oids.DH_PUBLIC_NUMBER):
        key = PublicKeyInfo.make(AlgorithmIdentifier(oid, parameters), writer.integer(giant >> 2))
        with _counted() as calls, pytest.raises(Malformed):
            public_keys.load(key)
        assert calls["verify"] == calls["pow"] == 0


def test_bombs_inside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """What all layers of compression expand to together is bounded, not only each."""
    monkeypatch.setattr(unwrap, "MAX_EXPANDED_OCTETS", 1_000_000)
    entity = b"Content-Type: application/x\r\n\r\n" + os.urandom(600_000)
    once = wrap(HEAD, compress.compress(entity), "compressed-data")
    assert unwrap.unwrap(once).content == entity
    inner = wrap(b"", compress.compress(entity), "compressed-data")
    twice = unwrap.unwrap(wrap(HEAD, compress.compress(inner), "compressed-data"))
    assert len(twice.layers) == 1
    assert "expands to more than" in twice.fault


@pytest.mark.parametrize(("depth", "fault"), [(15, ""), (17, "levels of constructed strings"), (5000, "levels of")])
def test_strings_inside_strings(people, depth: int, fault: str) -> None:
    """Content in strings inside strings is read to a depth, and not one level further."""
    octets = writer.octet_string(b"content")
    for _ in range(depth):
        octets = writer.element(0x24, octets)
    made = sign(b"content", (people.named("ada").signer,), people.now)
    body = writer.sequence(writer.oid(oids.DATA), writer.explicit(0, writer.octet_string(b"content")))
    nested = writer.sequence(writer.oid(oids.DATA), writer.explicit(0, octets))
    inner = bytes(content.parse(made)[1].encoded)
    head = inner.index(body)
    fields = inner[:head].removeprefix(inner[: len(inner) - len(content.parse(made)[1].value)])
    rebuilt = content.encode(oids.SIGNED_DATA, writer.sequence(fields, nested, inner[head + len(body) :]))
    found = unwrap.unwrap_cms(rebuilt)
    assert fault in found.fault
    assert bool(found.fault) is bool(fault)
    assert bool(found.layers and found.layers[0].checks[0].good) is not bool(fault)  # type: ignore[union-attr]


def test_passwords_made_to_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """All password recipients of a message together ask for no more than one of them may."""
    monkeypatch.setattr(passwords, "MAX_ROUNDS", 1000)
    monkeypatch.setattr(sealing, "PASSWORD_ROUNDS", 400)
    sealed = EnvelopedData.parse(*content.parse(sealing.encrypt(b"octets", (sealing.ToPassword(b"tulip"),))))
    (right,) = sealed.recipients
    assert isinstance(right, Password)
    wrong = msgspec.structs.replace(right, encrypted_key=bytes(len(right.encrypted_key)))
    for recipients, opens in (((right,), True), ((wrong, right), True), ((wrong, wrong, right), False)):
        with _counted() as calls:
            if opens:
                changed = msgspec.structs.replace(sealed, recipients=recipients)
                assert decrypt.decrypt(changed, KeyRing(passwords=(b"tulip",))).content == b"octets"
            else:
                many = msgspec.structs.replace(sealed, recipients=recipients * 20)
                with pytest.raises(NotAuthentic):
                    decrypt.decrypt(many, KeyRing(passwords=(b"tulip",)))
        assert 0 < calls["pbkdf2_hmac"] <= 2


def test_a_derivation_not_known_leaves_the_other_recipients(people) -> None:
    """A password recipient in a way we do not know does not keep us from opening what is ours."""
    bob = people.named("bob")
    key = bytes(32)
    strange = Password(AlgorithmIdentifier("1.2.3.4"), AlgorithmIdentifier(oids.PWRI_KEK, NULL), bytes(48))
    cipher = sealing.prepare(oids.AES256_CBC, legacy=False, entropy=os.urandom)[0]
    sealed, _tag = sealing.ciphers.seal_whole(cipher, key, b"octets")
    infos = (strange, *sealing.recipient_infos((sealing.To(bob.certificate),), key))
    made = enveloped.encode(oids.ENVELOPED_DATA, infos, oids.DATA, cipher.encode(), sealed)
    ring = KeyRing(bob.ring.own, passwords=(b"tulip",))
    assert decrypt.decrypt(EnvelopedData.parse(*content.parse(made)), ring).content == b"octets"


def test_attributes_too_large_to_authenticate_late(people) -> None:
    """Authenticated attributes of 100 KB behind content in pieces are refused, since each octet of them costs."""
    bob = people.named("bob", "rsa2048")
    large = Attributes((Attribute.of("1.2.3", writer.octet_string(bytes(100_000))),)).encode()
    source = EnvelopedData.parse(*content.parse(sealing.encrypt(b"octets", (sealing.To(bob.certificate),))))
    made = enveloped.encode(
        oids.AUTH_ENVELOPED_DATA, source.recipients, oids.DATA, source.algorithm, tuple(source.pieces()),
        authenticated=large, tag=source.tag,
    )  # fmt: skip
    with pytest.raises(Malformed, match="attributes too large"):
        stream.decrypt([made], bob.ring, lambda _piece: None)


def _same_names(count: int, now: datetime.datetime) -> tuple[key_pairs.PrivateKey, tuple[Certificate, ...]]:
    """Return certificates that each may have been issued by any of the others."""
    key = key_pairs.generate("ed25519")
    scheme = signatures.scheme_for(key.public)
    algorithm = signatures.algorithm_of(scheme)
    name = Name.make(CN="Everybody")
    day = datetime.timedelta(days=1)
    unsigned = (Unsigned(number, name, now - day, now + day, name, key.public) for number in range(1, count + 1))
    make: Callable[[bytes], bytes] = lambda octets: signatures.sign(key, scheme, octets)  # noqa: E731
    return key, tuple(each.sign(algorithm, make) for each in unsigned)


def test_a_maze_of_issuers(people) -> None:
    """Hundreds of certificates that all may have issued each other: the search for a path ends."""
    key, certificates = _same_names(200, people.now)
    trust = Trust(people.now, (Anchor.of(people.named("ada").certificate),))
    counts = []
    for signers in (1, 8):
        made = protect.sign_message(
            HEAD + b"\r\nHello\r\n", tuple(Signer(key, each) for each in certificates[:signers]),
            people.now - datetime.timedelta(hours=1), certificates=certificates, token="tok",
        )  # fmt: skip
        found = unwrap.unwrap(made)
        with _counted() as calls:
            proof = prove(read_header(made), found, trust)
        assert not proof.good
        assert calls["_verify_eddsa"] == 0
        counts.append(calls.total())
    assert counts[0] < 60_000
    assert counts[1] < 8 * counts[0]


def test_a_maze_below_an_anchor(people) -> None:
    """So it does when all of them claim an anchor that signed none: as many signatures are checked as paths tried."""
    key, certificates = _same_names(200, people.now)
    stranger = key_pairs.generate("ed25519")
    trust = Trust(people.now, (Anchor(certificates[0].issuer, stranger.public),))
    made = protect.sign_message(HEAD + b"\r\nHello\r\n", (Signer(key, certificates[0]),), people.now,
                                certificates=certificates, token="tok")  # fmt: skip
    found = unwrap.unwrap(made)
    with _counted() as calls:
        assert not prove(read_header(made), found, trust).good
    assert calls["_verify_eddsa"] <= 64


def test_what_is_remembered_is_small(people) -> None:
    """Certificates of an ordinary size are read once; large ones are not kept, nor are keys with large parameters."""
    small = people.named("ada").certificate.octets
    assert Certificate.parse(small) is Certificate.parse(bytes(bytearray(small)))
    key, (certificate,) = _same_names(1, people.now)
    scheme = signatures.scheme_for(key.public)
    filling = writer.sequence(writer.oid("1.2.3.4"), writer.octet_string(writer.octet_string(bytes(10_000))))
    unsigned = Unsigned(1, certificate.issuer, people.now, people.now, certificate.issuer, key.public, (filling,))
    large = unsigned.sign(signatures.algorithm_of(scheme), lambda octets: signatures.sign(key, scheme, octets)).octets
    assert Certificate.parse(large) is not Certificate.parse(large)
    assert Certificate.parse(large) == Certificate.parse(large)
    parameters = AlgorithmIdentifier(oids.RSA, writer.octet_string(bytes(9000)))
    with pytest.raises(Malformed, match="unreasonable size"):
        public_keys.load(PublicKeyInfo.make(parameters, people.named("ada", "rsa2048").key.public.key))


@pytest.mark.parametrize("header", [b"\x04\x01", b"\x04\x81\x01", b"\x04\x82\x00\x01"])
def test_millions_of_small_segments(people, header: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A content of segments of one octet costs a few times its size, not a few hundred times, whole or in pieces."""
    signed = b"".join(stream.sign([b"a" * 20_000], (people.named("ada", "p256").signer,), people.now))
    at, end = signed.index(b"\x24\x80") + 2, signed.rindex(b"aaaa") + 4
    message = wrap(b"From: ada@rosewood.test\r\n", signed[:at] + (header + b"a") * 20_000 + signed[end:], "signed-data")
    for large in (0, len(message) + 1):
        monkeypatch.setattr(unwrap, "LARGE_OCTETS", large)
        tracemalloc.start()
        found = unwrap.unwrap(message)
        _now, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert found.content == b"a" * 20_000
        assert [check.good for check in found.layers[0].checks] == [True]
        assert most < 4 * len(message) + (1 << 21)  # a run of them besides
