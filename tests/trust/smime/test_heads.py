"""A usual SignedData is recognised at once and says what the reader of everything says; what is not usual is left to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import msgspec
import pytest
from tests.trust.smime.conftest import People

from letterlock.errors import Malformed
from letterlock.formats.asn1 import oids, writer
from letterlock.formats.cms import content, forms, heads
from letterlock.formats.cms.signed import SignedData
from letterlock.trust.smime import stream
from letterlock.trust.smime.sign import sign

INSIDE = b"At noon, by the old gate.\r\n" * 12
Make = Callable[[People], bytes]


def _der(people: People, *, detached: bool = False) -> bytes:
    return sign(INSIDE, (people.named("ada", "rsa2048").signer,), people.now, detached=detached)


def _open(people: People, *, detached: bool = False) -> bytes:
    pieces = (INSIDE[:100], INSIDE[100:], b"x" * 300)
    return b"".join(stream.sign(pieces, (people.named("ada", "rsa2048").signer,), people.now, detached=detached))


def _one_segment(people: People) -> bytes:
    return b"".join(stream.sign((INSIDE,), (people.named("ada", "rsa2048").signer,), people.now))


USUAL: dict[str, Make] = {
    "der": _der,
    "der, detached": partial(_der, detached=True),
    "open": _open,
    "open, one segment": _one_segment,
    "open, detached": partial(_open, detached=True),
}


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    forms.forget()
    yield
    forms.forget()


def _said(signed: SignedData) -> object:
    plain = [msgspec.structs.asdict(signer) | {"like": None} for signer in signed.signers]
    inside = None if signed.content is None else b"".join(signed.pieces())
    others = signed.content_type, signed.digest_algorithms, signed.certificates, signed.crls, signed.ocsp_responses
    return inside, others, plain


def _general(octets: bytes) -> object:
    """Return what the reader of everything says."""
    try:
        content_type, element = content.parse(octets)
        return _said(SignedData.parse(element)) if content_type == oids.SIGNED_DATA else "other"
    except Malformed:
        return "malformed"


def _agrees(octets: bytes) -> bool:
    """Whether what is recognised, if anything is, is what the reader of everything says."""
    found = SignedData.recognise(octets)
    if found is None:
        return True
    try:
        return _said(found) == _general(octets)
    except Malformed:  # a segment that cannot be read is found when the content is asked for
        return _general(octets) == "malformed"


@pytest.mark.parametrize("make", USUAL.values(), ids=USUAL)
def test_usual_messages_are_recognised(people: People, make: Make) -> None:
    """In DER and in BER, with the content and without, of an unknown signer and of a known one."""
    octets = make(people)
    for _ in range(3):
        found = SignedData.recognise(octets)
        assert found is not None
        assert _said(found) == _general(octets)
    assert found.signers[0].like is not None
    assert SignedData.read(octets).signers[0].like is not None


@pytest.mark.parametrize("make", USUAL.values(), ids=USUAL)
def test_every_changed_octet(people: People, make: Make) -> None:
    """Whatever octet changes, both readers agree, with a form remembered and without."""
    octets = make(people)
    for _ in range(3):
        SignedData.read(octets)
    for at in range(len(octets)):
        for other in {octets[at] ^ bit for bit in (1, 2, 0x20, 0x80)} | {0, 4, 0x30, 0x80, 0x81, 0xFF} - {octets[at]}:
            changed = octets[:at] + bytes((other,)) + octets[at + 1 :]
            assert _agrees(changed), (at, other)


@pytest.mark.parametrize("make", USUAL.values(), ids=USUAL)
def test_every_length(people: People, make: Make) -> None:
    """Cut anywhere, or with octets behind it, both readers agree."""
    octets = make(people)
    for end in range(len(octets)):
        assert _agrees(octets[:end])
        assert _agrees(octets[:end] + octets[end + 1 :])
    for behind in (b"\r\n", b"\0", b"\0\0", bytes(6), b"\0\0" + octets):
        assert _agrees(octets + behind)
        assert SignedData.recognise(octets + behind) is None


@pytest.mark.parametrize(
    "segments",
    [b"", b"\x04\x00", b"\x04\x01a" * 50, b"\x04\x81\x01a", b"\x04\x88" + bytes(7) + b"\x01a", b"\x04\x80", b"\x04\xff",
     b"\x04\x89" + bytes(8) + b"\x01a", b"\x24\x03\x04\x01a", b"\x24\x80\x04\x01a\0\0", b"\x04\x84\xff\xff\xff\xff",
     b"\x44\x01a"],
)  # fmt: skip
def test_odd_segments(people: People, segments: bytes) -> None:
    """Segments in other forms of BER, and such as are none: both readers agree."""
    made = _open(people)
    at, end = made.index(b"\x24\x80") + 2, made.index(b"x" * 300) + 300
    octets = made[:at] + segments + made[end:]
    assert _agrees(octets)


def test_sizes_around_the_limit(people: People) -> None:
    """Lengths of two octets are recognised, to the last; longer and shorter ones are read all the same."""
    signer = (people.named("ada", "rsa2048").signer,)
    around = len(sign(b"a" * 1000, signer, people.now)) - 1000
    for size in (0, 1, 127, 128, 255, 256, 65_535 - around, 65_536 - around, 65_537 - around, 65_540 - around, 70_000):
        octets = sign(b"a" * size, signer, people.now)
        assert b"".join(SignedData.read(octets).pieces()) == b"a" * size
        assert _agrees(octets)
        assert (heads.recognise(octets) is not None) == (size >= 256 and len(octets) <= heads.MAX_DER_OCTETS)


def test_other_contents_are_left_alone(people: People) -> None:
    """A content type other than data, and anything that is no SignedData, are not for this."""
    receipt = sign(INSIDE, (people.named("ada", "rsa2048").signer,), people.now, content_type=oids.RECEIPT)
    assert SignedData.recognise(receipt) is None
    assert SignedData.read(receipt).content_type == oids.RECEIPT
    for octets in (b"", b"\x30", b"\x30\x80", content.encode(oids.DATA, writer.octet_string(b"a" * 300))):
        assert SignedData.recognise(octets) is None
        with pytest.raises(Malformed):
            SignedData.read(octets)
