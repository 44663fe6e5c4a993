"""Canonicalization, whole and in pieces."""

import hashlib
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.trust.dkim.canonicalize import BodyHashes, BodyHashKind, Canonicalization, header_fields

SIMPLE, RELAXED = Canonicalization.SIMPLE, Canonicalization.RELAXED


def _reference(body: bytes, how: Canonicalization) -> bytes:
    """RFC 6376 section 3.4.3 and 3.4.4, step by step and slowly."""
    lines = body.split(b"\r\n")
    if lines[-1] == b"":
        lines.pop()
    if how is RELAXED:
        lines = [re.sub(rb"[ \t]+", b" ", line) for line in lines]
        lines = [line.rstrip(b" ") for line in lines]
    while lines and lines[-1] == b"":
        lines.pop()
    if not lines:
        return b"\r\n" if how is SIMPLE else b""
    return b"".join(line + b"\r\n" for line in lines)


def _digest(pieces: list[bytes], kind: BodyHashKind) -> bytes:
    hashes = BodyHashes()
    hashes.add(kind)
    for piece in pieces:
        hashes.feed(piece)
    return hashes.digest(kind)


def test_the_examples_of_the_standard() -> None:
    """RFC 6376 section 3.4.5."""
    assert header_fields([b"A: X"], RELAXED) == b"a:X"
    assert header_fields([b"B : Y\t\r\n\tZ  "], RELAXED) == b"b:Y Z"
    assert header_fields([b"B : Y\t\r\n\tZ  "], SIMPLE) == b"B : Y\t\r\n\tZ  "
    body = b" C \r\nD \t E\r\n\r\n\r\n"
    assert _digest([body], BodyHashKind(RELAXED, "sha256")) == hashlib.sha256(b" C\r\nD E\r\n").digest()
    assert _digest([body], BodyHashKind(SIMPLE, "sha256")) == hashlib.sha256(b" C \r\nD \t E\r\n").digest()


@pytest.mark.parametrize("body", [b"", b"\r\n", b"\r\n\r\n", b" \r\n", b"\t"])
def test_an_empty_body(body: bytes) -> None:
    """RFC 6376 section 3.4.3 and 3.4.4: nothing is CRLF when simple, nothing when relaxed."""
    assert _digest([body], BodyHashKind(RELAXED, "sha256")) == hashlib.sha256(b"").digest()


_OCTETS = st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n", b"\r", b"\n", b"word", b"  \r\n"]), max_size=30)


@given(_OCTETS, st.lists(st.integers(0, 60), max_size=8), st.sampled_from([SIMPLE, RELAXED]))
def test_pieces_do_not_matter(parts: list[bytes], cuts: list[int], how: Canonicalization) -> None:
    """However the body arrives, its hash is that of the rules applied to the whole."""
    body = b"".join(parts)
    places = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    pieces = [body[start:end] for start, end in itertools.pairwise(places)]
    expected = hashlib.sha256(_reference(body, how)).digest()
    assert _digest(pieces, BodyHashKind(how, "sha256")) == expected
    assert _digest([body[i : i + 1] for i in range(len(body))], BodyHashKind(how, "sha256")) == expected


@given(_OCTETS, st.integers(0, 40), st.sampled_from([SIMPLE, RELAXED]))
def test_a_body_length_cuts_the_canonical_body(parts: list[bytes], length: int, how: Canonicalization) -> None:
    """l= counts octets of the canonical body (RFC 6376 section 3.5)."""
    body = b"".join(parts)
    expected = hashlib.sha256(_reference(body, how)[:length]).digest()
    assert _digest([body], BodyHashKind(how, "sha256", length)) == expected


def test_long_runs_are_linear_and_small() -> None:
    """A million spaces, or blank lines, are hashed in bounded memory and come out right."""
    for unit in (b" ", b"\r\n", b" \t", b"\r"):
        body = unit * 500_000 + b"x\r\n"
        for how in (SIMPLE, RELAXED):
            pieces = [body[i : i + 65536] for i in range(0, len(body), 65536)]
            expected = hashlib.sha256(_reference(body, how)).digest()
            assert _digest(pieces, BodyHashKind(how, "sha256")) == expected
