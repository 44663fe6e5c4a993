"""Macros of SPF: `%{ir}.%{v}._spf.%{d2}` as a value, and its expansion.

A macro string is parsed once, into literals and `Macro`s, and expanded often. What is no macro string raises Malformed.

Standards: RFC 7208 section 7 (grammar, letters, transformers), section 7.3 (truncation, escaping), RFC 8616 section 4
(a local part outside ASCII).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote

from letterlock.errors import Malformed

_CLAUSE = "RFC 7208 section 7.1"
_TOKEN = re.compile(r"%\{([A-Za-z])(\d*)(r?)([.\-+,/_=]*)\}|%([%_\-])|([!-$&-~ ]+)", re.IGNORECASE)
_ESCAPES = {"%": "%", "_": " ", "-": "%20"}
# RFC 7208 section 7.1: a domain-spec ends in a top label or in a macro
_TOP_LABEL = re.compile(r".*\.(?=[A-Za-z0-9-]*[A-Za-z-])[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.?", re.DOTALL)

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Macro:
    """One `%{...}`: its letter in lower case, how many right-hand parts it keeps (0: all), and how it splits."""

    letter: str
    parts: int
    is_reversed: bool
    delimiters: str
    is_escaped: bool


@dataclass(frozen=True, slots=True)
class MacroString:
    """Text with macros. `letters` are those that occur; `text` is as it was written."""

    text: str
    parts: tuple[str | Macro, ...]
    letters: frozenset[str]
    ends_in_macro: bool


@dataclass(frozen=True, slots=True)
class MacroValues:
    """What the letters stand for. `domain` changes with include and redirect, the rest never does.

    `receiver` and `now` serve the explanation only; `validated_name` is `%{p}`, "unknown" where there is none.
    """

    address: IpAddress
    local_part: str
    sender_domain: str
    domain: str
    helo: str
    receiver: str = "unknown"
    now: int = 0
    validated_name: str = "unknown"


def parse(text: str, *, explanation: bool = False) -> MacroString:
    """Read a macro-string, or with `explanation` an explain-string (which knows c, r, t and spaces).

    Raises Malformed at the first octet that does not fit.
    """
    parts: list[str | Macro] = []
    letters = set()
    ends_in_macro = False
    offset = 0
    while offset < len(text):
        match = _TOKEN.match(text, offset)
        if match is None:
            raise Malformed(f"{text[offset:][:12]!r} is no macro and no literal", offset=offset, clause=_CLAUSE)
        letter, digits, is_reversed, delimiters, escape, literal = match.groups()
        ends_in_macro = literal is None
        if letter is not None:
            parts.append(_macro(letter, digits, is_reversed, delimiters, offset, explanation))
            letters.add(letter.lower())
        elif escape is not None:
            parts.append(_ESCAPES[escape])
        elif " " in literal and not explanation:
            raise Malformed("a space inside a term", offset=offset, clause=_CLAUSE)
        else:
            parts.append(literal)
        offset = match.end()
    return MacroString(text, tuple(parts), frozenset(letters), ends_in_macro)


def parse_domain(text: str) -> MacroString:
    """Read a domain-spec: a macro-string that ends in a top label or a macro. Raises Malformed."""
    parsed = parse(text)
    if not (parsed.ends_in_macro or _TOP_LABEL.fullmatch(text)):
        raise Malformed(f"{text!r} does not end in a top-level label or a macro", clause=_CLAUSE)
    return parsed


def _macro(letter: str, digits: str, is_reversed: str, delimiters: str, offset: int, explanation: bool) -> Macro:
    lowered = letter.lower()
    if lowered not in ("slodiphvcrt" if explanation else "slodiphv"):
        raise Malformed(f"no macro letter {letter!r} here", offset=offset, clause="RFC 7208 section 7.2")
    if digits and int(digits[:9]) == 0:
        raise Malformed("a macro that keeps no parts", offset=offset, clause="RFC 7208 section 7.3")
    return Macro(lowered, min(int(digits[:9] or 0), 255), bool(is_reversed), delimiters, letter != lowered)


def expand(string: MacroString, values: MacroValues) -> str:
    """Return the text with its macros replaced."""
    return "".join(part if isinstance(part, str) else _expand_one(part, values) for part in string.parts)


def expand_domain(string: MacroString, values: MacroValues) -> str:
    """Return the name a domain-spec stands for: in lower case, no final dot, cut from the left to 253 octets."""
    name = expand(string, values).lower().removesuffix(".")
    while len(name) > 253 and "." in name:
        name = name.partition(".")[2]  # RFC 7208 section 7.3
    return name


def _expand_one(macro: Macro, values: MacroValues) -> str:
    value = _value(macro.letter, values)
    if macro.parts or macro.is_reversed or macro.delimiters:
        pieces = re.split(f"[{re.escape(macro.delimiters or '.')}]", value)
        if macro.is_reversed:
            pieces.reverse()
        value = ".".join(pieces[-macro.parts :])
    # quote() leaves what RFC 3986 calls unreserved: letters, digits, "_.-~"
    return quote(value, safe="") if macro.is_escaped else value


def _value(letter: str, values: MacroValues) -> str:
    match letter:
        case "s":
            return f"{values.local_part}@{values.sender_domain}"
        case "l":
            return values.local_part
        case "o":
            return values.sender_domain
        case "d":
            return values.domain
        case "i":
            return dotted(values.address)
        case "p":
            return values.validated_name
        case "v":
            return "in-addr" if values.address.version == 4 else "ip6"
        case "h":
            return values.helo
        case "c":
            return str(values.address)
        case "r":
            return values.receiver
        case _:
            return str(values.now)


def dotted(address: IpAddress) -> str:
    """Return the address as `%{i}` shows it: dotted decimal, or 32 nibbles in capitals with dots between."""
    if address.version == 4:
        return str(address)
    return ".".join(address.packed.hex().upper())


def reverse_name(address: IpAddress) -> str:
    """Return the name whose PTR records name the host behind an address (RFC 1035 section 3.5, RFC 3596)."""
    return address.reverse_pointer
