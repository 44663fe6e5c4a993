"""Small operations on octets that several readers share: folding, lines, control characters."""

from __future__ import annotations

import re
import unicodedata

_FOLD = re.compile(rb"\r?\n(?=[ \t])")
# Line ends at the end of a field, and stray ones inside (which no reader may pass on).
_STRAY = re.compile(rb"[\r\n]+")


def unfold(value: bytes) -> bytes:
    """Return a field's value with folding undone and white space at both ends removed (RFC 5322 section 2.2.3).

    No CR or LF remains: one that is no folding becomes a space.
    """
    value = value.strip(b" \t\r\n")
    if b"\n" not in value and b"\r" not in value:
        return value
    value = _FOLD.sub(b"", value)
    return _STRAY.sub(b" ", value) if b"\n" in value or b"\r" in value else value


def count_lines(octets: bytes, start: int, end: int) -> int:
    """Return the number of lines in [start, end); a last line without its end counts."""
    lines = octets.count(b"\n", start, end)
    return lines + 1 if end > start and octets[end - 1] != 10 else lines


def visible(text: str) -> str:
    """Return `text` with characters that would act on a terminal or reorder what is read made visible.

    Control characters (C0 and C1), line and paragraph separators, surrogates and direction controls become
    `\\xNN` or `\\uNNNN`; tabs become a space.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else " " if character == "\t" else _escape(character) for character in text
    )


def _escape(character: str) -> str:
    if character in "\u200c\u200d":  # joiners: scripts and emoji need them, and they reorder nothing
        return character
    if unicodedata.category(character) == "Zs":
        return " "
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
