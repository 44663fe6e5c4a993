"""Fields kept for lists are those of the message, whatever the message looks like."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from letterlock.access.imap import header_fields
from letterlock.formats.imf.header import read_header

lines = st.sampled_from(
    [b"Subject: one\r\n", b"SUBJECT : two\r\n folded\r\n", b"From: a@b\r\n", b"X-Other: Subject: no\r\n", b"\tfrom: folded\r\n",
     b"To:\r\n", b"bare: lf\n", b"Subject: bare\n more\n", b"junk\r\n", b"\r\n", b"Subject: no end"]
)  # fmt: skip


@given(st.lists(lines, max_size=8))
def test_selected_fields_are_the_fields_of_the_message(parts: list[bytes]) -> None:
    message = b"".join(parts)
    names = (b"subject", b"From")
    expected = [field.raw for field in read_header(message) if field.name.lower() in {"subject", "from"}]
    assert header_fields.select(header_fields.record(message), names) == b"".join(expected) + b"\r\n"


def test_long_headers_and_other_names_are_left_to_the_message() -> None:
    message = b"References: " + b"<x@y>\r\n " * 4000 + b"\r\n\r\n"
    assert header_fields.select(header_fields.record(message), (b"references",)) is None
    assert not header_fields.is_listed((b"subject", b"x-spam-score"))
