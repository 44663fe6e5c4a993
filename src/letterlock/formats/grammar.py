"""The tokens of structured fields: atoms, quoted strings, comments, literals, specials.

One lexer serves addresses, dates, message identifiers, trace fields and MIME parameters; each reader joins the atoms
its own grammar splits further. It never fails: what cannot be a token is a special of one character, and what is not
closed ends with the value and is named. Every character is looked at a fixed number of times.

Standards: RFC 5322 section 3.2 (lexical tokens), section 4.1 (obsolete tokens), RFC 2045 section 5.1 (tspecials).
"""

from __future__ import annotations

import enum
import re
from typing import NamedTuple

from letterlock.formats.defect import Defect, Kind


class Sort(enum.Enum):
    """What a token is."""

    ATOM = enum.auto()
    QUOTED = enum.auto()
    COMMENT = enum.auto()
    LITERAL = enum.auto()
    SPECIAL = enum.auto()


class Token(NamedTuple):
    """A token: `text` is its meaning (unquoted, a comment without parentheses), [start, end) where it stands."""

    sort: Sort
    text: str
    start: int
    end: int
    spaced: bool  # white space or a comment stands before it


# Atoms take in whatever is neither special nor white space, so that UTF-8 (RFC 6532 section 3.2) and junk are words.
_TOKEN = re.compile(
    r"(?P<space>[ \t\r\n]++)"
    # QUIRK encoded-word-specials: an encoded word is one word even where it holds commas or parentheses
    r"|(?P<atom>=\?[^ \t\r\n?]{1,60}\?[QqBb]\?[^ \t\r\n?]*+\?="
    r'|[^ \t\r\n()<>\[\]:;@\\,."=/?]++|[=/?])'
    r'|"(?P<quoted>[^"\\]*+(?>(?:\\.[^"\\]*+)*))(?P<closed>"?)'
    r"|(?P<comment>\()|(?P<literal>\[[^\[\]\\\r\n]*+\])|(?P<special>.)",
    re.DOTALL,
)
_PARENTHESIS = re.compile(r"\\.|[()]", re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)


def unquote(inner: str) -> str:
    """Return the content of a quoted string or comment with its quoted pairs resolved (RFC 5322 section 3.2.1)."""
    return _QUOTED_PAIR.sub(r"\1", inner) if "\\" in inner else inner


def quote(text: str) -> str:
    """Return `text` as a quoted string; CR, LF and NUL, which no quoted string can hold, become spaces."""
    for character in "\r\n\0":
        text = text.replace(character, " ")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def tokens(value: str, defects: list[Defect]) -> list[Token]:
    """Return the tokens of an unfolded structured value; what is wrong is appended to `defects`."""
    found: list[Token] = []
    at, length, spaced = 0, len(value), False
    match = _TOKEN.match
    while at < length:
        piece = match(value, at)
        assert piece is not None  # the last alternative takes any character
        name, start, at = piece.lastgroup, at, piece.end()
        if name == "space":
            spaced = True
            continue
        if name == "comment":
            inner, at = _comment(value, start, defects)
            found.append(Token(Sort.COMMENT, inner, start, at, spaced))
            spaced = True
            continue
        if name == "atom":
            found.append(Token(Sort.ATOM, piece[0], start, at, spaced))
        elif name == "closed":
            if not piece["closed"]:
                defects.append(Defect(Kind.UNCLOSED_QUOTE, start))
            found.append(Token(Sort.QUOTED, unquote(piece["quoted"]), start, at, spaced))
        elif name == "literal":
            found.append(Token(Sort.LITERAL, piece[0], start, at, spaced))
        else:
            found.append(Token(Sort.SPECIAL, piece[0], start, at, spaced))
        spaced = False
    return found


def _comment(value: str, start: int, defects: list[Defect]) -> tuple[str, int]:
    """Return the text of the comment that opens at `start`, and where it ends (RFC 5322 section 3.2.2: they nest)."""
    depth = 0
    for mark in _PARENTHESIS.finditer(value, start):
        match mark[0]:
            case "(":
                depth += 1
            case ")":
                depth -= 1
                if not depth:
                    return unquote(value[start + 1 : mark.start()]), mark.end()
    defects.append(Defect(Kind.UNCLOSED_COMMENT, start))
    return unquote(value[start + 1 :]), len(value)
