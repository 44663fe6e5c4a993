"""The Authentication-Results field: what a verifier found, written for those who read the message after it.

`parse` keeps comments, reasons and every property; `write` folds one result a line. `authserv_id_of` serves the border,
where fields that claim our name and are not ours have to go.

Standards: RFC 8601 section 2.2 (syntax), section 5 (removal), RFC 8616 section 4 (internationalised values), RFC 8617
section 4.1.1 (the ARC form, which begins with i=).
Limits: `MOST_RESULTS` results; linear in the field.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass

from letterlock.errors import Malformed
from letterlock.formats.grammar import Sort, Token, quote, tokens
from letterlock.formats.octets import unfold

_CLAUSE = "RFC 8601 section 2.2"
_PLAIN_VALUE = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`{|}~\u0080-\U0010ffff]*(?:@[A-Za-z0-9\-._\u0080-\U0010ffff]+)?")
_KEYWORD = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ufffd]")
_LONGEST_TEXT = 450  # octets; quoting may double them, and a line has 998 (RFC 5322 section 2.1.1)
MOST_RESULTS = 100


@dataclass(frozen=True, slots=True)
class Property:
    """One `ptype.name=value`, such as smtp.mailfrom or header.d."""

    ptype: str
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class MethodResult:
    """What one method found. `comments` are those that stand with it, without parentheses."""

    method: str
    result: str
    properties: tuple[Property, ...] = ()
    reason: str = ""
    comments: tuple[str, ...] = ()
    method_version: str = ""

    def value(self, ptype: str, name: str) -> str:
        """Return a property's value, or empty."""
        return next((p.value for p in self.properties if (p.ptype, p.name) == (ptype, name)), "")


@dataclass(frozen=True, slots=True)
class AuthenticationResults:
    """Who verified, and what was found; no results at all is written as `none`."""

    authserv_id: str
    results: tuple[MethodResult, ...] = ()
    version: str = ""
    comments: tuple[str, ...] = ()

    def of(self, method: str) -> tuple[MethodResult, ...]:
        """Return the results of one method."""
        return tuple(result for result in self.results if result.method == method)


def parse(value: bytes) -> AuthenticationResults:
    """Read the value of a field. Raises Malformed."""
    segments = _segments(value)
    head = [token for token in segments[0] if token.sort is not Sort.COMMENT]
    words = _words(head)
    if not words:
        raise Malformed("no authserv-id", clause=_CLAUSE)
    if len(words) > 2 or (len(words) == 2 and not words[1].isdigit()):
        raise Malformed(f"{' '.join(words)[:60]!r} is no authserv-id and version", clause=_CLAUSE)
    if len(segments) > MOST_RESULTS + 1:
        raise Malformed(f"more than {MOST_RESULTS} results", clause=_CLAUSE)
    results = []
    for segment in segments[1:]:
        plain = [token for token in segment if token.sort is not Sort.COMMENT]
        if plain and [token.text.lower() for token in plain] != ["none"]:
            results.append(_result(plain, _comments(segment)))
    version = words[1] if len(words) == 2 else ""
    return AuthenticationResults(words[0].lower(), tuple(results), version, _comments(segments[0]))


def authserv_id_of(value: bytes) -> str:
    """Return the authserv-id of a field in lower case, or empty where none can be read. Never raises."""
    words = _words([token for token in _segments(value)[0] if token.sort is not Sort.COMMENT])
    return words[0].lower() if words else ""


def _segments(value: bytes) -> list[list[Token]]:
    """Return the tokens between the semicolons."""
    segments: list[list[Token]] = [[]]
    for token in tokens(unfold(value).decode("utf-8", "replace"), []):
        if token.sort is Sort.SPECIAL and token.text == ";":
            segments.append([])
        else:
            segments[-1].append(token)
    if len(segments) > 1 and not segments[-1]:
        segments.pop()
    return segments


def _comments(segment: list[Token]) -> tuple[str, ...]:
    return tuple(token.text for token in segment if token.sort is Sort.COMMENT)


def _words(segment: list[Token]) -> list[str]:
    """Join tokens that no space parts."""
    words: list[str] = []
    for token in segment:
        if words and not token.spaced:
            words[-1] += token.text
        else:
            words.append(token.text)
    return words


def _result(segment: list[Token], comments: tuple[str, ...]) -> MethodResult:
    pairs = list(_pairs(segment))
    method, result = pairs[0]
    method, _, version = method.partition("/")
    if not _KEYWORD.fullmatch(method) or not _KEYWORD.fullmatch(result):
        raise Malformed(f"{method[:40]}={result[:40]} is no method and result", clause=_CLAUSE)
    reason = ""
    properties = []
    for key, value in pairs[1:]:
        ptype, dot, name = key.partition(".")
        if not dot:
            if key.lower() != "reason":
                raise Malformed(f"{key[:40]!r} is no property", clause=_CLAUSE)
            reason = value
        else:
            properties.append(Property(ptype.lower(), name.lower(), value))
    return MethodResult(method.lower(), result.lower(), tuple(properties), reason, comments, version)


def _pairs(segment: list[Token]) -> Iterable[tuple[str, str]]:
    """Yield each key and value; white space may stand around the equals sign and, in the key, around the dot."""
    place = 0
    while place < len(segment):
        start = place
        while place < len(segment) and segment[place].text != "=":
            place += 1
        if place + 1 >= len(segment):
            raise Malformed("a property without a value", offset=segment[start].start, clause=_CLAUSE)
        key = "".join(token.text for token in segment[start:place])
        place += 1
        value = segment[place].text
        place += 1
        while place < len(segment) and not segment[place].spaced:
            value += segment[place].text
            place += 1
        yield key, value


def write(results: AuthenticationResults, name: str = "Authentication-Results", prefix: str = "") -> bytes:
    """Return the whole field with its CRLF, one result a line; `prefix` stands before the authserv-id (`i=1; `)."""
    head = f"{name}: {prefix}{_safe(results.authserv_id)}{' ' + results.version if results.version else ''}"
    if not results.results:
        return f"{head}; none\r\n".encode()
    lines = [head]
    for result in results.results:
        lines[-1] += ";"
        lines += _fold([*_parts(result)])
    return "\r\n".join(lines).encode() + b"\r\n"


def _parts(result: MethodResult) -> Iterable[str]:
    yield f"{result.method}={result.result}"
    for comment in result.comments:
        yield _comment(comment)
    if result.reason:
        yield f"reason={quote(_safe(result.reason))}"
    for one in result.properties:
        yield f"{one.ptype}.{one.name}={_written(one.value)}"


def _fold(parts: list[str]) -> list[str]:
    lines = [" "]
    for part in parts:
        if len(lines[-1]) > 4 and len(lines[-1]) + 1 + len(part) > 76:
            lines.append("   ")
        lines[-1] += f" {part}"
    return lines


@functools.lru_cache(maxsize=1024)  # the same names and reasons go into field after field
def _written(value: str) -> str:
    value = _safe(value)
    return value if value and _PLAIN_VALUE.fullmatch(value) else quote(value)


@functools.lru_cache(maxsize=1024)
def _comment(text: str) -> str:
    return "(" + re.sub(r"([()\\])", r"\\\1", _safe(text)) + ")"


def _safe(text: str) -> str:
    """Return text that cannot end the field: control characters become spaces, and it fits a line even when quoted."""
    if text.isascii() and text.isprintable() and len(text) <= _LONGEST_TEXT:
        return text
    return _CONTROL.sub(" ", text).encode("utf-8", "replace")[:_LONGEST_TEXT].decode("utf-8", "ignore")
