"""Header fields written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.errors import Malformed
from letterlock.formats.imf.encoded_words import decode
from letterlock.formats.imf.header import read_header
from letterlock.formats.imf.write import unstructured, write_field


@pytest.mark.parametrize(
    ("name", "value"),
    [("Subject", "a\r\nBcc: x@y"), ("Subject", "a\nb"), ("Subject", "a\0"), ("Sub ject", "x"), ("", "x"), ("A:", "x"),
     ("Ä", "x"), ("X", "y" * 1000)],
)  # fmt: skip
def test_refuses_what_no_field_may_hold(name: str, value: str) -> None:
    """A line end in a value would begin another field."""
    with pytest.raises(Malformed):
        write_field(name, value)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=300))
def test_folding_is_undone_by_reading(value: str) -> None:
    """RFC 5322 section 2.2.3: unfolding gives the value back; no line is white space alone or over 998 octets."""
    written = write_field("X-Test", value)
    lines = written.split(b"\r\n")
    assert lines[-1] == b""
    assert all(line.strip() for line in lines[:-1])
    header = read_header(written)
    assert len(header) == 1
    assert header[0].text == value.strip(" ")


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=300))
def test_any_text_is_a_subject(text: str) -> None:
    """Control characters become spaces, all else survives."""
    written = write_field("Subject", unstructured("Subject", text))
    assert max(map(len, written.split(b"\r\n"))) <= 998
    shown = "".join(one if one.isprintable() or ord(one) > 159 else " " for one in text)
    assert decode(read_header(written)[0].text).strip(" ") == shown.strip(" ")


def test_a_word_without_end_is_encoded() -> None:
    """A line of more than 998 octets is never written."""
    written = write_field("Subject", unstructured("Subject", "x" * 5000))
    assert max(map(len, written.split(b"\r\n"))) <= 78
