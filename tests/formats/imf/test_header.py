"""Header sections: offsets into the untouched octets."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.formats.defect import Kind
from letterlock.formats.imf.header import read_header
from letterlock.formats.limits import Limits

MESSAGE = b"From: a@b\r\nSubject: one\r\n\ttwo\r\nX-Empty:\r\nsubject : three\r\n\r\nbody"


def test_fields_are_spans() -> None:
    """Each field knows its own octets; names are looked up without regard to case."""
    header = read_header(MESSAGE)
    assert [field.name for field in header] == ["From", "Subject", "X-Empty", "subject"]
    assert [field.raw for field in header][1] == b"Subject: one\r\n\ttwo\r\n"
    assert [field.unfolded for field in header.get_all("SUBJECT")] == [b"one\ttwo", b"three"]
    assert header.text("from") == "a@b"
    assert header.get("to") is None
    assert "x-empty" in header
    assert header.text("x-empty", "default") == ""
    assert header.names() == ("from", "subject", "x-empty")
    assert MESSAGE[header.body_start :] == b"body"
    assert b"".join(field.raw for field in header) + b"\r\n" == header.raw


@pytest.mark.parametrize(
    ("octets", "kind", "names", "body"),
    [
        (b"A: 1\nB: 2\n\nbody", None, ["A", "B"], b"body"),
        (b"A: 1\r\nno field here\r\nB: 2\r\n\r\n", Kind.HEADER_JUNK, ["A"], b"no field here\r\nB: 2\r\n\r\n"),
        (b"From me Mon Nov 23\nA: 1\n\nbody", Kind.MBOX_FROM, ["A"], b"body"),
        (b"From : me@x\r\nA: 1\r\n\r\nbody", None, ["From", "A"], b"body"),
        (b"From \t: me@x\r\n\r\nbody", None, ["From"], b"body"),
        (b"\r\nbody", None, [], b"body"),
        (b"body without header", Kind.HEADER_JUNK, [], b"body without header"),
        (b"A: 1", None, ["A"], b""),
        (b"A: 1\r\n \r\n\r\nbody", None, ["A"], b"body"),
        (b"", None, [], b""),
        (b"A\xc3\xa9: 1\r\n\r\n", Kind.HEADER_JUNK, [], b"A\xc3\xa9: 1\r\n\r\n"),
    ],
)
def test_where_a_section_ends(octets: bytes, kind: Kind | None, names: list[str], body: bytes) -> None:
    """RFC 5322 section 2.1: an empty line; otherwise a named defect."""
    header = read_header(octets)
    assert [field.name for field in header] == names
    assert octets[header.body_start :] == body
    assert [defect.kind for defect in header.defects] == ([] if kind is None else [kind])


def test_limits_are_defects() -> None:
    """More octets or fields than allowed are body."""
    octets = b"A: 1\r\n" * 10 + b"\r\nbody"
    many = read_header(octets, limits=Limits(fields=3))
    assert (len(many), many.body_start, many.defects[0].kind) == (3, 18, Kind.TOO_MANY_FIELDS)
    large = read_header(octets, limits=Limits(header_octets=20))
    assert (len(large), large.body_start, large.defects[0].kind) == (3, 18, Kind.HEADER_TOO_LARGE)
    exact = read_header(octets, limits=Limits(header_octets=61, fields=10))
    assert (len(exact), exact.defects) == (10, ())


@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from([b"A: b", b"\r\n", b"\n", b" ", b":", b"\r", b"--x"])).map(b"".join)
)
def test_any_octets_are_read_and_none_is_lost(octets: bytes) -> None:
    """Fields and the rest of the section are the section."""
    header = read_header(octets)
    fields = list(header)
    for one, following in pairwise(fields):
        assert one.end == following.start
    assert 0 <= header.start <= header.end <= header.body_start <= len(octets)
    assert header.raw + octets[header.body_start :] == octets
    assert not any(b"\r" in field.unfolded or b"\n" in field.unfolded for field in fields)
