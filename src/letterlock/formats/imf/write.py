"""Header fields written: values to folded octets.

Lines are folded at white space to at most 78 octets where that is possible, and never exceed 998. Nothing that
could end a field early gets in: a CR, LF or NUL in a value is refused.

Standards: RFC 5322 section 2.1.1 (line lengths), section 2.2.3 (folding), RFC 6532 section 3.2 (UTF-8).
"""

from __future__ import annotations

from collections.abc import Iterable

from letterlock.errors import Malformed
from letterlock.formats.imf.encoded_words import encode

_WISHED = 78
_ALLOWED = 998
_NAME = frozenset(range(33, 127)) - {58}


def write_field(name: str, value: str) -> bytes:
    """Return `Name: value` folded at its spaces, with its line end. Raises Malformed for what no field may hold."""
    encoded_name = name.encode("ascii", "replace")
    if not name.isascii() or not encoded_name or len(encoded_name) > 77 or not _NAME.issuperset(encoded_name):
        raise Malformed(f"{name!r} is no field name", clause="RFC 5322 section 2.2")
    if "\r" in value or "\n" in value or "\0" in value:
        raise Malformed(f"a line end or NUL in the value of {name}", clause="RFC 5322 section 2.2")
    lines = fold(f"{name}: {value}".encode("utf-8", "replace"))
    if any(len(line) > _ALLOWED for line in lines):
        raise Malformed(f"a word of more than {_ALLOWED} octets in {name}", clause="RFC 5322 section 2.1.1")
    return b"\r\n".join(lines) + b"\r\n"


def fold(line: bytes) -> list[bytes]:
    """Return a line as lines of at most 78 octets, broken before white space; longer only where none stands."""
    if len(line) <= _WISHED:
        return [line.rstrip(b" ")]
    lines: list[bytes] = []
    current = b""
    for number, word in enumerate(line.split(b" ")):
        piece = word if number == 0 else b" " + word
        # A line of white space alone is obsolete syntax (RFC 5322 section 4.2): break only before a word.
        if word and number > 1 and len(current) + len(piece) > _WISHED and current.strip():
            lines.append(current)
            current = piece
        else:
            current += piece
    lines.append(current.rstrip(b" ") or current)
    return lines


def unstructured(name: str, text: str) -> str:
    """Return text for an unstructured field (Subject, Comments) as its value: encoded words where it is not ASCII.

    Line ends and control characters become spaces; a word too long for a line is encoded, since encoded words fold.
    """
    clean = "".join(character if character.isprintable() or ord(character) > 159 else " " for character in text)
    if clean.isascii() and all(len(word) <= _ALLOWED - 80 for word in clean.split(" ")):
        return encode(clean, first_line=75 - len(name) - 2)
    return encode(clean, first_line=75 - len(name) - 2, always=True)


def write_message_ids(identifiers: Iterable[str]) -> str:
    """Return message identifiers (without brackets) as the value of References or In-Reply-To."""
    return " ".join(f"<{identifier}>" for identifier in identifiers)
