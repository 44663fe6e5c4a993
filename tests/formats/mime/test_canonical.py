"""Canonical form and preparation for signing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.errors import Malformed
from letterlock.formats.mime.canonical import (
    canonical,
    canonical_lines,
    has_canonical_lines,
    native,
    native_entity,
    seven_bit,
)
from letterlock.formats.mime.entity import parse

MIXED = (
    "Content-Type: multipart/mixed; boundary=a\n\npre\n--a\nContent-Type: text/plain; charset=utf-8\n"
    "Content-Transfer-Encoding: 8bit\n\nGrüße \nFrom me\n--a\nContent-Type: image/png\n"
    "Content-Transfer-Encoding: binary\n\n"
).encode() + b"\x00\n\xff\r\n--a\nContent-Type: text/plain\n\nplain\n--a--\n"


def test_lines() -> None:
    """RFC 2049 section 4 (2): every line end becomes CRLF, and back."""
    assert canonical_lines(b"a\nb\r\nc\rd\r\r\n") == b"a\r\nb\r\nc\r\nd\r\n\r\n"
    assert native(b"a\r\nb") == b"a\nb"


@given(st.text("ab\r\n\N{SNOWMAN}", max_size=30))
def test_canonical_lines_are_recognised(text: str) -> None:
    """A line end that is not CRLF is found wherever it stands, at the end of a piece too."""
    octets = text.encode()
    pairs = octets.count(b"\r\n")
    expected = pairs == octets.count(b"\r") == octets.count(b"\n")
    assert has_canonical_lines(octets) is expected
    filling = bytes(0x10000 - len(octets) // 2)
    assert has_canonical_lines(filling + octets) is expected


def test_binary_content_is_left_alone() -> None:
    """Only the body of a part that says binary keeps its octets."""
    tree = parse(canonical(MIXED))
    assert [child.content() for child in tree.children] == [
        "Grüße \r\nFrom me".encode(), b"\x00\n\xff", b"plain",
    ]  # fmt: skip
    assert canonical(canonical(MIXED)) == canonical(MIXED)
    assert native_entity(canonical(MIXED)) == MIXED.replace(b"\xff\r\n", b"\xff\n")


def test_preparing_re_encodes_what_needs_it() -> None:
    """RFC 8551 section 3.1.2: 7-bit, no trailing space, no 'From ' at the start of a line, contents unchanged."""
    prepared = seven_bit(MIXED)
    assert prepared.isascii()
    assert b" \r\n" not in prepared
    assert b"\nFrom " not in prepared
    tree = parse(prepared)
    assert [child.encoding for child in tree.children] == ["quoted-printable", "base64", "7bit"]
    assert [child.content() for child in tree.children] == [
        "Grüße \r\nFrom me".encode(), b"\x00\n\xff", b"plain",
    ]  # fmt: skip
    assert seven_bit(prepared) == prepared


@pytest.mark.parametrize(
    "octets",
    [
        "Content-Type: multipart/signed; boundary=a\n\n--a\nContent-Transfer-Encoding: 8bit\n\nü\n--a--\n".encode(),
        "Subject: ü\n\nx".encode(),
        "Content-Type: multipart/mixed; boundary=a\n\nü\n--a\n\nx\n--a--\n".encode(),
        "Content-Transfer-Encoding: base64\n\nü".encode(),
    ],
)
def test_what_cannot_be_prepared_is_refused(octets: bytes) -> None:
    """What is signed inside is never touched, and header fields say what they say."""
    with pytest.raises(Malformed):
        seven_bit(octets)


def test_a_signed_part_inside_keeps_every_octet() -> None:
    """RFC 8551 section 3.1.3, though its lines would need encoding on their own."""
    signed = (
        b"Content-Type: multipart/signed; boundary=a\r\n\r\n--a\r\n\r\nspace \r\nFrom x\r\n--a\r\n\r\nsig\r\n--a--\r\n"
    )
    assert seven_bit(signed) == signed


_leaf = st.builds(
    lambda kind, encoding, body: b"Content-Type: %b\nContent-Transfer-Encoding: %b\n\n%b" % (kind, encoding, body),
    st.sampled_from([b"text/plain", b"image/png", b"application/x-y"]),
    st.sampled_from([b"7bit", b"8bit", b"binary"]),
    st.binary(max_size=200),
)


@given(_leaf)
def test_any_part_is_prepared(octets: bytes) -> None:
    """The result is 7-bit with lines of at most 998 octets, and the content is the canonical content."""
    prepared = seven_bit(octets)
    assert prepared.isascii()
    assert b"\x00" not in prepared
    assert max(map(len, prepared.split(b"\r\n"))) <= 998
    assert prepared.count(b"\n") == prepared.count(b"\r") == prepared.count(b"\r\n")
    assert parse(prepared).content() == parse(canonical(octets)).content()
