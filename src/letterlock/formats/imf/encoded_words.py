"""Encoded words: other charsets in header fields, read and written.

`decode` never fails: a word it cannot decode stays as it is. `encode` writes UTF-8 words of at most 75 characters that
never split a character, the shorter of Q and B.

Standards: RFC 2047 (all), RFC 2231 section 5 (language), RFC 2047 section 6.2 (white space between words).
Limits: linear in the value; the text is never longer than the charset's decoding makes it.
"""

from __future__ import annotations

import base64
import binascii
import re

from letterlock.formats.charset import decode_text
from letterlock.formats.defect import Defect, Kind

# Lenient in what stands in the text: any but white space and '?'. QUIRK encoded-word-spaces: spaces inside Q words.
_WORD = re.compile(r"=\?([!-)+->@-~]{1,60})(?:\*[A-Za-z0-9-]{0,40})?\?([QqBb])\?([^?\r\n]*+)\?=")
_BEGUN = re.compile(r"=\?[^\s?]{1,60}\?[QqBb]\?")  # an encoded word that was not taken for one
_LOOKS_ENCODED = "=?"
_Q_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")  # RFC 2047 section 5 (3)
_Q_HEX = re.compile(rb"=([0-9A-Fa-f]{2})")


def decode(text: str, defects: list[Defect] | None = None) -> str:
    """Return `text` with its encoded words decoded; white space between two of them vanishes.

    What is wrong is appended to `defects`, if given. Adjacent words of one charset are joined before decoding, since
    many writers split characters between words.
    """
    if _LOOKS_ENCODED not in text:
        return text
    problems: list[Defect] = [] if defects is None else defects
    pieces: list[str] = []
    run: list[tuple[str, bytes]] = []  # adjacent words of one charset
    at = 0
    for word in _WORD.finditer(text):
        octets = _octets(word[2], word[3], word.start(), problems)
        if octets is None:
            continue
        charset, between = word[1].lower(), text[at : word.start()]
        adjacent = bool(run) and not between.strip(" \t\r\n")  # RFC 2047 section 6.2
        # QUIRK encoded-word-split-character: adjacent words of one charset are decoded together
        if not adjacent or run[-1][0] != charset:
            _flush(run, pieces, at, problems)
        if not adjacent:
            pieces.append(between)
        # QUIRK encoded-word-glued: no white space beside a word
        if _glued(text, word.start(), word.end()):
            problems.append(Defect(Kind.ENCODED_WORD_LOOSE, word.start()))
        run.append((charset, octets))
        at = word.end()
    _flush(run, pieces, at, problems)
    pieces.append(text[at:])
    decoded = "".join(pieces)
    if _LOOKS_ENCODED in decoded and _BEGUN.search(decoded):
        problems.append(Defect(Kind.BAD_ENCODED_WORD, at))
    return decoded


def _glued(text: str, start: int, end: int) -> bool:
    """Tell whether a word stands against other text, where RFC 2047 section 5 (1) wants white space."""
    before, after = text[start - 1 : start], text[end : end + 2]
    return bool((before and before not in ' \t("') or (after and after[0] not in ' \t)"' and after != "=?"))


def _octets(encoding: str, body: str, offset: int, defects: list[Defect]) -> bytes | None:
    """Return the octets an encoded text stands for, or None where it cannot be decoded."""
    try:
        raw = body.encode("ascii")
    except UnicodeEncodeError:
        defects.append(Defect(Kind.BAD_ENCODED_WORD, offset))
        return None
    if encoding in "Qq":
        if b" " in raw or b"\t" in raw:
            defects.append(Defect(Kind.ENCODED_WORD_LOOSE, offset))
        return _Q_HEX.sub(lambda found: bytes((int(found[1], 16),)), raw.replace(b"_", b" "))
    kept = raw.rstrip(b"=")
    kept = kept[: len(kept) - 1] if len(kept) % 4 == 1 else kept
    try:
        # QUIRK encoded-word-padding: padding that is missing or too long
        octets = base64.b64decode(kept + b"=" * (-len(kept) % 4), validate=True)
    except binascii.Error:
        defects.append(Defect(Kind.BAD_ENCODED_WORD, offset))
        return None
    if len(kept) + (-len(kept) % 4) != len(raw):
        defects.append(Defect(Kind.BAD_ENCODED_WORD, offset))
    return octets


def _flush(run: list[tuple[str, bytes]], pieces: list[str], offset: int, defects: list[Defect]) -> None:
    if run:
        pieces.append(decode_text(b"".join(octets for _, octets in run), run[0][0], offset, defects))
        run.clear()


def encode(text: str, *, first_line: int = 64, always: bool = False) -> str:
    """Return `text` for an unstructured value or a phrase: itself if ASCII, else encoded words between spaces.

    `first_line` is how many characters the first word may take, so that a field's name fits on its line. Words are
    at most 75 characters long (RFC 2047 section 2), joined by single spaces for folding. With `always`, ASCII too.
    """
    if not always and text.isascii() and text.isprintable() and _LOOKS_ENCODED not in text:
        return text
    octets = text.encode("utf-8", "replace")
    plain = sum(octet in _Q_PLAIN or octet == 32 for octet in octets)
    as_q = 3 * len(octets) - 2 * plain <= 4 * ((len(octets) + 2) // 3)
    words: list[str] = []
    room = max(24, min(first_line, 75)) - 12  # =?utf-8?q??=
    current, used = "", 0
    for character in text:
        piece = character.encode("utf-8", "replace")
        cost = len(_q(piece)) if as_q else len(piece)
        if current and (used + cost > room if as_q else 4 * ((used + cost + 2) // 3) > room):
            words.append(_word(current, as_q))
            current, used, room = "", 0, 63
        current += character
        used += cost
    words.append(_word(current, as_q))
    return " ".join(words)


def _q(octets: bytes) -> str:
    return "".join(chr(octet) if octet in _Q_PLAIN else "_" if octet == 32 else f"={octet:02X}" for octet in octets)


def _word(text: str, as_q: bool) -> str:
    octets = text.encode("utf-8", "replace")
    return f"=?utf-8?q?{_q(octets)}?=" if as_q else f"=?utf-8?b?{base64.b64encode(octets).decode()}?="
