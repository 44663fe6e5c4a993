"""Parameters of MIME fields, with RFC 2231's continuations, charsets and languages, both ways.

`read_parameters` takes what the wild writes: encoded words in quoted strings, raw UTF-8, missing quotes, sections
out of order. Each departure is a named defect; where two values compete, the first counts.

Standards: RFC 2045 section 5.1, RFC 2231 sections 3 and 4, RFC 2183 section 2, RFC 2047 section 5.
Limits: `Limits.parameters`; linear in the value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote_from_bytes

from letterlock.formats.charset import decode_text
from letterlock.formats.defect import Defect, Kind
from letterlock.formats.grammar import Sort, Token, quote, tokens
from letterlock.formats.imf.encoded_words import decode
from letterlock.formats.limits import DEFAULT, Limits

_TOKEN = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+")
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_SECTION = re.compile(r"(.+?)(?:\*(0|[1-9][0-9]{0,4}))?(\*)?", re.DOTALL)
_ATTRIBUTE_SAFE = "!#$&+-.^_`{|}~"  # attribute-char of RFC 2231 section 7 beside letters and digits


def read_parameters(value: str, defects: list[Defect], *, limits: Limits = DEFAULT) -> tuple[list[str], dict[str, str]]:
    """Return the words before the first semicolon as written and the parameters by lower-case name, decoded."""
    found: list[Token] = []
    in_type = True
    for token in tokens(value, defects):
        in_type &= token.sort is not Sort.SPECIAL or token.text != ";"
        if token.sort is not Sort.COMMENT:
            found.append(token)
        elif in_type:
            defects.append(Defect(Kind.COMMENT_IN_TYPE, token.start))
    groups: list[list[Token]] = [[]]
    for token in found:
        if token.sort is Sort.SPECIAL and token.text == ";":
            groups.append([])
        else:
            groups[-1].append(token)
    if len(groups) > limits.parameters + 1:
        defects.append(Defect(Kind.TOO_MANY_PARAMETERS))
        del groups[limits.parameters + 1 :]
    plain: dict[str, str] = {}
    sections: dict[str, dict[int, tuple[str, bool]]] = {}
    for group in groups[1:]:
        if group:
            _read_one(group, plain, sections, defects)
    for name, pieces in sections.items():
        joined = _join(name, pieces, defects)
        if joined is not None:
            if name in plain:  # RFC 2231 does not say; the extended form is the fuller one
                defects.append(Defect(Kind.DUPLICATE_PARAMETER, 0, name))
            plain[name] = joined
    return [value[token.start : token.end] for token in groups[0]], plain


def _read_one(
    group: list[Token], plain: dict[str, str], sections: dict[str, dict[int, tuple[str, bool]]], defects: list[Defect]
) -> None:
    """Read `name=value` into `plain` or, for an RFC 2231 section, into `sections`."""
    start = group[0].start
    equals = next((at for at, token in enumerate(group) if token.text == "=" and token.sort is Sort.ATOM), None)
    name = "".join(token.text for token in group[:equals]).lower()
    if not equals or not name:
        defects.append(Defect(Kind.BAD_PARAMETER, start))
        return
    value, quoted = _value(name, group[equals + 1 :], defects, start)
    form = _SECTION.fullmatch(name)
    assert form is not None  # the pattern takes any non-empty name
    if form[2] is None and form[3] is None:
        if name in plain:
            defects.append(Defect(Kind.DUPLICATE_PARAMETER, start, name[:60]))
            return
        if quoted and "=?" in value:  # QUIRK parameter-encoded-word: forbidden by RFC 2047 section 5, yet common
            decoded = decode(value)
            if decoded != value:
                defects.append(Defect(Kind.PARAMETER_ENCODED_WORD, start))
                value = decoded
        plain[name] = value
        return
    pieces = sections.setdefault(form[1], {})
    number = -1 if form[2] is None else int(form[2])
    if number in pieces:
        defects.append(Defect(Kind.DUPLICATE_PARAMETER, start, name[:60]))
        return
    if form[3] and quoted:  # QUIRK quoted-extended-value: RFC 2231 section 7 has no quotes there
        defects.append(Defect(Kind.BAD_PARAMETER, start, name[:60]))
    pieces[number] = (value, bool(form[3]))


def _value(name: str, words: list[Token], defects: list[Defect], start: int) -> tuple[str, bool]:
    """Return the value of a parameter, and whether it was a quoted string."""
    if not words:
        defects.append(Defect(Kind.BAD_PARAMETER, start))
        return "", False
    wrong = Kind.BOUNDARY_UNQUOTED if name == "boundary" else Kind.BAD_PARAMETER
    if words[0].sort is Sort.QUOTED:
        if len(words) > 1:
            defects.append(Defect(wrong, words[1].start))
        return words[0].text, True
    pieces: list[str] = []
    loose = False
    for number, token in enumerate(words):
        if number and token.spaced:
            pieces.append(" ")
            loose = True
        loose |= token.sort is not Sort.ATOM and token.text != "."
        pieces.append(token.text)
    text = "".join(pieces)
    if loose or not _TOKEN.fullmatch(text):  # QUIRK unquoted-parameter: spaces, slashes, specials without quotes
        defects.append(Defect(wrong, words[0].start))
    return text, "=?" in text


def _join(name: str, pieces: dict[int, tuple[str, bool]], defects: list[Defect]) -> str | None:
    """Put the sections of one parameter together (RFC 2231 section 4.1)."""
    if -1 in pieces:
        if len(pieces) > 1:
            defects.append(Defect(Kind.PARAMETER_GAP, 0, name[:60]))
        return _extended([pieces[-1]], defects)
    ordered: list[tuple[str, bool]] = []
    while len(ordered) in pieces:
        ordered.append(pieces[len(ordered)])
    if len(ordered) != len(pieces):
        defects.append(Defect(Kind.PARAMETER_GAP, 0, name[:60]))
    return _extended(ordered, defects) if ordered else None


def _extended(pieces: list[tuple[str, bool]], defects: list[Defect]) -> str:
    """Decode sections, the first of which names charset and language if it is extended."""
    first, extended = pieces[0]
    charset = ""
    if extended:
        marks = first.split("'", 2)
        if len(marks) == 3:
            charset, _language, first = marks
        else:
            defects.append(Defect(Kind.BAD_PARAMETER, 0, "no charset'language'"))
    octets = b"".join(
        _unpercent(text.encode("utf-8", "replace")) if is_extended else text.encode("utf-8", "replace")
        for text, is_extended in [(first, extended), *pieces[1:]]
    )
    # QUIRK undeclared-charset: sections without a charset are UTF-8 where they can be
    return decode_text(octets, charset or "utf-8", 0, defects)


def _unpercent(octets: bytes) -> bytes:
    return _PERCENT.sub(lambda found: bytes((int(found[1], 16),)), octets) if b"%" in octets else octets


def write_parameters(parameters: Iterable[tuple[str, str]], *, line: int = 76) -> list[str]:
    """Return each parameter as `name=value` pieces that fit a line, in order, to be joined by `;` and folding.

    ASCII values are tokens or quoted strings, others extended values in UTF-8; long ones become sections
    (RFC 2231 sections 3 and 4).
    """
    written: list[str] = []
    for name, value in parameters:
        if value.isascii() and not _has_controls(value):
            simple = f"{name}={value if _TOKEN.fullmatch(value) else quote(value)}"
            if len(simple) < line:
                written.append(simple)
                continue
        written.extend(_write_extended(name, value, line))
    return written


def _has_controls(value: str) -> bool:
    return any(character < " " or character == "\x7f" for character in value)


def _write_extended(name: str, value: str, line: int) -> list[str]:
    pieces = [quote_from_bytes(character.encode("utf-8", "replace"), _ATTRIBUTE_SAFE) for character in value]
    pieces = [piece.replace("%7E", "~") for piece in pieces]
    whole = f"{name}*=utf-8''{''.join(pieces)}"
    if len(whole) < line:
        return [whole]
    sections: list[str] = []
    room = max(20, line - len(name) - 8)
    current = "utf-8''"
    for piece in pieces:
        if len(current) + len(piece) > room:
            sections.append(current)
            current = ""
        current += piece
    sections.append(current)
    return [f"{name}*{number}*={section}" for number, section in enumerate(sections)]
