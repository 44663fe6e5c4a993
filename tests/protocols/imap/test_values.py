"""Mailbox names, sequence sets, strings and dates, between their octets and their values."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.errors import Malformed
from letterlock.protocols.imap import mailbox_name, response, sequence_set
from letterlock.protocols.imap.scan import Scanner


def test_modified_utf7_of_the_standard() -> None:
    """RFC 3501 section 5.1.3 gives this example."""
    wire = b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"
    assert mailbox_name.from_wire(wire, utf8=False) == "~peter/mail/台北/日本語"
    assert mailbox_name.to_wire("~peter/mail/台北/日本語", utf8=False) == wire


names = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=40)


@given(names, st.booleans())
def test_names_survive_the_wire(name: str, utf8: bool) -> None:
    wire = mailbox_name.to_wire(name, utf8=utf8)
    again = mailbox_name.from_wire(wire, utf8=utf8)
    assert mailbox_name.from_wire(mailbox_name.to_wire(again, utf8=utf8), utf8=utf8) == again
    assert utf8 or wire.isascii()


@pytest.mark.parametrize("name", ["inbox", "InBoX", "INBOX"])
def test_inbox_is_one_name(name: str) -> None:
    assert mailbox_name.from_wire(name.encode(), utf8=False) == "INBOX"
    assert mailbox_name.from_wire(name.encode() + b"/a", utf8=False) == "INBOX/a"
    assert mailbox_name.from_wire(name.encode() + b"es", utf8=False) == name + "es"


@pytest.mark.parametrize(
    ("octets", "largest", "ranges"),
    [
        (b"2,4:7,9,12:*", 15, [(2, 2), (4, 7), (9, 9), (12, 15)]),
        (b"*:4,5:7", 10, [(4, 10)]),
        (b"*", 3, [(3, 3)]),
        (b"559:*", 20, [(20, 559)]),
        (b"3,1,2", 9, [(1, 3)]),
    ],
)
def test_sequence_sets(octets: bytes, largest: int, ranges: list[tuple[int, int]]) -> None:
    assert sequence_set.parse(octets).resolved(largest) == ranges


@given(st.sets(st.integers(1, 300)))
def test_numbers_survive_as_ranges(numbers: set[int]) -> None:
    ranges = sequence_set.ranges_of(sorted(numbers))
    assert list(sequence_set.numbers_in(ranges)) == sorted(numbers)
    if numbers:
        assert sequence_set.parse(sequence_set.encode(ranges)).resolved(1) == ranges


@given(st.sets(st.integers(1, 60)), st.sets(st.integers(1, 60)))
def test_what_ranges_have_in_common(left: set[int], right: set[int]) -> None:
    common = sequence_set.intersection(sequence_set.ranges_of(sorted(left)), sequence_set.ranges_of(sorted(right)))
    assert list(sequence_set.numbers_in(common)) == sorted(left & right)


@given(st.binary(max_size=30))
def test_random_sets_only_raise_malformed(octets: bytes) -> None:
    try:
        sequence_set.parse(octets)
        mailbox_name.from_wire(octets, utf8=False)
    except Malformed:
        pass


@given(st.binary(max_size=2000).filter(lambda octets: b"\0" not in octets))
def test_strings_are_read_as_they_were_written(octets: bytes) -> None:
    for written in (response.string(octets), response.literal(octets)):
        scanner = Scanner(written)
        assert scanner.string() == octets
        scanner.end()
    scanner = Scanner(response.astring(octets))
    assert scanner.astring() == octets


def test_nil_is_quoted_where_it_is_a_name() -> None:
    assert response.astring(b"nil") == b'"nil"'
    assert response.mailbox(b"NIL") == b'"NIL"'
    assert response.nstring(None) == b"NIL"


def test_dates_survive() -> None:
    zone = datetime.timezone(datetime.timedelta(hours=-3, minutes=-30))
    moment = datetime.datetime(2026, 2, 1, 21, 52, 25, tzinfo=zone)
    assert response.date_time(moment) == b'" 1-Feb-2026 21:52:25 -0330"'
    assert Scanner(response.date_time(moment)).date_time() == moment


def test_a_status_line_holds_one_line() -> None:
    assert response.status(b"a", b"NO", "x\r\ny \u20ac", b"CODE") == b"a NO [CODE] x  y ?\r\n"
