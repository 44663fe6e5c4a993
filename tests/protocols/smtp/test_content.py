"""Content on its way: what is wrong with its line ends is the same however it was cut."""

from __future__ import annotations

import pytest

from letterlock.protocols.smtp.content import DotReader, line_problem


@pytest.mark.parametrize(
    ("first", "content"),
    [
        ("", b"a\r\nb\r\n"),
        ("", b""),
        ("a bare LF", b"a\nb\r\nc\rd\0e\r\n"),
        ("a bare CR", b"a\r\nb\rc\nd\0e\r\n"),
        ("a NUL", b"a\0b\rc\nd\r\n"),
        ("a bare CR", b"a\r\r\nb\r\n"),
        ("a bare LF", b"a\r\n\nb\r\n"),
    ],
)
def test_the_first_problem_is_named_however_octets_are_cut(first: str, content: bytes) -> None:
    """RFC 5321 section 2.3.8."""
    assert line_problem(content) == first
    for size in range(1, len(content) + 6):
        reader, octets = DotReader(), content + b".\r\n"
        for at in range(0, len(octets), size):
            reader.receive(octets[at : at + size])
        assert reader.problem == first
