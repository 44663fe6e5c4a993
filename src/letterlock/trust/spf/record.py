"""An SPF record as a value: its mechanisms in order, its redirect and its explanation.

`parse` reads the whole record before anything is evaluated, because a syntax error anywhere makes the record
worthless; `select` picks the one record out of the TXT records of a name.

Standards: RFC 7208 section 3, section 4.5 (selecting), section 4.6 (terms), section 5 (mechanisms), section 6
(modifiers), section 12 (grammar).
"""

from __future__ import annotations

import enum
import functools
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from letterlock.errors import Malformed
from letterlock.formats.dns.rdata import Rdata, Txt
from letterlock.trust.spf import macro
from letterlock.trust.spf.macro import MacroString

_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9_.\-]*)=(.*)", re.DOTALL)
_MECHANISM = re.compile(r"([+\-?~]?)([A-Za-z][A-Za-z0-9_.\-]*)((?:[:/].*)?)", re.DOTALL)
_DUAL_CIDR = re.compile(r"(?:/(0|[1-9]\d{0,2}))?(?://(0|[1-9]\d{0,2}))?\Z")
_CIDR_LENGTH = re.compile(r"0|[1-9]\d{0,2}")
_GRAMMAR = "RFC 7208 section 12"


class Qualifier(enum.Enum):
    """What a match means."""

    PASS = "+"  # noqa: S105 - a result, no password
    FAIL = "-"
    SOFTFAIL = "~"
    NEUTRAL = "?"


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One directive: `name` in lower case; `domain` None is the current domain.

    `network` and `mask` are integers for ip4 and ip6 (`version` 4 or 6, else 0); `prefix4` and `prefix6` belong to
    a and mx.
    """

    text: str
    qualifier: Qualifier
    name: str
    domain: MacroString | None = None
    prefix4: int = 32
    prefix6: int = 128
    version: int = 0
    network: int = 0
    mask: int = 0

    @property
    def needs_lookup(self) -> bool:
        """Whether it counts against the limit of ten (RFC 7208 section 4.6.4)."""
        return self.name in ("include", "a", "mx", "ptr", "exists")


@dataclass(frozen=True, slots=True)
class Record:
    """A record that follows the grammar. `unknown_modifiers` are kept as text and otherwise ignored."""

    text: str
    mechanisms: tuple[Mechanism, ...]
    redirect: MacroString | None = None
    explanation: MacroString | None = None
    unknown_modifiers: tuple[str, ...] = ()


def select(records: Iterable[Rdata]) -> tuple[bytes, ...]:
    """Return those TXT records that claim to be SPF version 1: one is right, none is none, more are an error."""
    return tuple(record.joined for record in records if isinstance(record, Txt) and is_spf(record.joined))


def is_spf(octets: bytes) -> bool:
    """Tell whether the text begins with the version, followed by a space or its end (RFC 7208 section 4.5)."""
    return octets[:6].lower() == b"v=spf1" and octets[6:7] in (b"", b" ")


@functools.lru_cache(maxsize=4096)
def parse(octets: bytes) -> Record:
    """Read a record whose version is already known to be right. Raises Malformed; the offset is that of the term."""
    try:
        text = octets.decode("ascii")
    except UnicodeDecodeError as error:
        raise Malformed("an octet outside ASCII", offset=error.start, clause="RFC 7208 section 3.1") from None
    mechanisms: list[Mechanism] = []
    known: dict[str, MacroString] = {}
    unknown = []
    offset = 6
    for term in text[6:].split(" "):
        try:
            modifier = _MODIFIER.fullmatch(term)
            if modifier:
                name = modifier[1].lower()
                if name in known:  # RFC 7208 section 6
                    raise Malformed(f"{name}= appears twice", clause="RFC 7208 section 6")
                if name in ("redirect", "exp"):
                    known[name] = macro.parse_domain(modifier[2])
                else:
                    macro.parse(modifier[2])
                    unknown.append(term)
            elif term:
                mechanisms.append(_mechanism(term))
        except Malformed as error:
            raise Malformed(
                f"in {term!r}: {error.problem}", offset=offset + error.offset, clause=error.clause
            ) from None
        offset += len(term) + 1
    return Record(text, tuple(mechanisms), known.get("redirect"), known.get("exp"), tuple(unknown))


def _mechanism(term: str) -> Mechanism:
    match = _MECHANISM.fullmatch(term)
    if match is None:
        raise Malformed("neither a mechanism nor a modifier", clause=_GRAMMAR)
    qualifier, name, rest = Qualifier(match[1] or "+"), match[2].lower(), match[3]
    match name:
        case "all":
            if rest:
                raise Malformed("all takes no argument", clause="RFC 7208 section 5.1")
            return Mechanism(term, qualifier, name)
        case "include" | "exists":
            if not rest.startswith(":"):
                raise Malformed(f"{name} needs a domain", clause="RFC 7208 section 5")
            return Mechanism(term, qualifier, name, macro.parse_domain(rest[1:]))
        case "ptr":
            if rest and not rest.startswith(":"):
                raise Malformed("ptr takes no prefix length", clause="RFC 7208 section 5.5")
            return Mechanism(term, qualifier, name, macro.parse_domain(rest[1:]) if rest else None)
        case "a" | "mx":
            return _host_mechanism(term, qualifier, name, rest)
        case "ip4" | "ip6":
            return _network_mechanism(term, qualifier, name, rest)
        case _:
            raise Malformed(f"unknown mechanism {name!r}", clause="RFC 7208 section 4.6.1")


def _host_mechanism(term: str, qualifier: Qualifier, name: str, rest: str) -> Mechanism:
    cidr = _DUAL_CIDR.search(rest)
    assert cidr is not None  # it also matches nothing at the end
    domain_text = rest[: cidr.start()]
    if domain_text and not domain_text.startswith(":"):
        raise Malformed("no prefix length", clause="RFC 7208 section 5.6")
    domain = macro.parse_domain(domain_text[1:]) if domain_text else None
    prefix4, prefix6 = int(cidr[1] or 32), int(cidr[2] or 128)
    if prefix4 > 32 or prefix6 > 128:
        raise Malformed("a prefix length out of range", clause="RFC 7208 section 5.6")
    return Mechanism(term, qualifier, name, domain, prefix4, prefix6)


def _network_mechanism(term: str, qualifier: Qualifier, name: str, rest: str) -> Mechanism:
    clause = "RFC 7208 section 5.6"
    if not rest.startswith(":"):
        raise Malformed(f"{name} needs an address", clause=clause)
    address_text, slash, length_text = rest[1:].partition("/")
    if slash and not _CIDR_LENGTH.fullmatch(length_text):
        raise Malformed(f"{length_text!r} is no prefix length", clause=clause)
    try:
        address = ipaddress.IPv4Address(address_text) if name == "ip4" else ipaddress.IPv6Address(address_text)
    except ValueError:
        raise Malformed(f"{address_text!r} is no {name} address", clause=clause) from None
    if "%" in address_text:  # a zone identifier, which Python reads and the grammar does not know
        raise Malformed("a zone identifier in an address", clause=clause)
    width = address.max_prefixlen
    length = int(length_text) if slash else width
    if length > width:
        raise Malformed("a prefix length out of range", clause=clause)
    mask = ((1 << length) - 1) << (width - length)
    return Mechanism(
        term, qualifier, name, version=address.version, network=int(address) & mask, mask=mask, prefix4=length
    )
