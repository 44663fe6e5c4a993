"""Trace and resent fields."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.formats.imf.header import read_header
from letterlock.formats.imf.trace import (
    Received,
    parse_received,
    received,
    resent_blocks,
    return_path,
)

NOW = datetime(1997, 11, 21, 16, 5, 43, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        # RFC 5322 appendix A.4
        (
            "from x.y.test   by example.net   via TCP   with ESMTP   id ABC12345   for <mary@example.net>;  "
            "21 Nov 1997 10:05:43 -0600",
            Received("x.y.test", "", "example.net", "", "TCP", "ESMTP", "ABC12345", "mary@example.net", NOW),
        ),
        (
            "from mx.test (mx.test [192.0.2.1]) (using TLSv1.3) by b.test (Postfix) with ESMTPS id 4F; "
            "Fri, 21 Nov 1997 16:05:43 +0000 (UTC)",
            Received("mx.test", "mx.test [192.0.2.1]", "b.test", "Postfix", "", "ESMTPS", "4F", "", NOW),
        ),
        ("by b.test", Received(by_name="b.test")),
    ],
)
def test_reads_received(value: str, read: Received) -> None:
    """RFC 5321 section 4.4: clauses, comments and the date."""
    found = parse_received(value)
    assert (found.from_name, found.from_info, found.by_name, found.by_info) == (
        read.from_name, read.from_info, read.by_name, read.by_info
    )  # fmt: skip
    assert (found.via, found.protocol, found.identifier, found.recipient, found.date) == (
        read.via, read.protocol, read.identifier, read.recipient, read.date
    )  # fmt: skip


def test_a_comment_adds_no_clause() -> None:
    """What a stranger calls itself stands in a comment, quoted; it names no station."""
    read = parse_received(
        "from mx.test (evil\\) by forged.test \\(x [192.0.2.1]) by b.test with ESMTPSA id q1 for <a@b.test>; "
        "Fri, 21 Nov 1997 16:05:43 +0000"
    )
    assert (read.by_name, read.recipient, read.date) == ("b.test", "a@b.test", NOW)
    assert read.from_info == "evil) by forged.test (x [192.0.2.1]"


def test_the_way_of_a_message() -> None:
    """The last station stands first; resent blocks are told apart (RFC 5322 section 3.6.6)."""
    header = read_header(
        b"Return-Path: <>\r\nReceived: by c.test; 21 Nov 1997 16:05:43 +0000\r\nReceived: by b.test\r\n"
        b"Resent-From: mary@x.test\r\nResent-To: jane@x.test\r\nResent-From: bob@x.test\r\nResent-To: mary@x.test\r\n"
        b"From: a@x.test\r\n\r\n"
    )
    assert [one.by_name for one in received(header)] == ["c.test", "b.test"]
    assert return_path(header) is None
    assert [(block.text("from"), block.text("To")) for block in resent_blocks(header)] == [
        ("mary@x.test", "jane@x.test"),
        ("bob@x.test", "mary@x.test"),
    ]
    assert str(return_path(read_header(b"Return-Path: <a@b.test>\n\n"))) == "a@b.test"


@given(st.text(max_size=100))
def test_any_text_is_read(value: str) -> None:
    """Nothing raises."""
    parse_received(value)
