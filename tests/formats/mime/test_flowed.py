"""format=flowed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.formats.mime.flowed import Paragraph, read_flowed, unflow, write_flowed


@pytest.mark.parametrize(
    ("text", "delete_space", "paragraphs"),
    [
        ("one \r\ntwo\r\n", False, [Paragraph(0, "one two")]),
        ("one \r\ntwo\r\n", True, [Paragraph(0, "onetwo")]),
        ("fixed\nlines\n", False, [Paragraph(0, "fixed", True), Paragraph(0, "lines", True)]),
        # RFC 3676 section 4.5
        (">> deep \n>> er\n> less\nmine", False,
         [Paragraph(2, "deep er"), Paragraph(1, "less", True), Paragraph(0, "mine", True)]),
        ("> open \nmine", False, [Paragraph(1, "open "), Paragraph(0, "mine", True)]),
        # RFC 3676 section 4.3 and 4.4
        ("text \n-- \nsig\n", False, [Paragraph(0, "text "), Paragraph(0, "-- ", True), Paragraph(0, "sig", True)]),
        (" >not quoted\n", False, [Paragraph(0, ">not quoted", True)]),
        ("  From \n x", False, [Paragraph(0, " From x")]),
        ("", False, []),
    ],
)  # fmt: skip
def test_reads(text: str, delete_space: bool, paragraphs: list[Paragraph]) -> None:
    """RFC 3676 section 4."""
    assert read_flowed(text, delete_space=delete_space) == paragraphs


def test_unflow_puts_quote_marks_back() -> None:
    """Each paragraph on a line."""
    assert unflow(">a \n>b\nc \nd\n") == "> a b\nc d\n"


_word = st.text(st.sampled_from("abc>-F."), min_size=1, max_size=12)
_paragraph = st.builds(
    Paragraph, st.integers(0, 3), st.lists(_word, min_size=1, max_size=40).map(" ".join), st.just(False)
)


@given(st.lists(_paragraph, max_size=5))
def test_what_is_written_is_read_back(paragraphs: list[Paragraph]) -> None:
    """Text and depth survive; lines stay near the width."""
    written = write_flowed(paragraphs)
    assert all(len(line) <= 79 for line in written.split("\r\n"))
    assert [(one.quote_depth, one.text) for one in read_flowed(written)] == [
        (one.quote_depth, one.text) for one in paragraphs
    ]


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    """Nothing raises."""
    unflow(text)
