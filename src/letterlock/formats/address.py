"""A mailbox address as the transport uses it: local part and domain.

An `Address` holds the local part unquoted and the domain as lower-case A-labels or an address literal in brackets.
The display side (names, comments, groups, obsolete forms) is formats/imf; here is only what SMTP allows.

Standards: RFC 5321 section 4.1.2 (Mailbox), section 4.1.3 (literals), RFC 6531 section 3.3 (UTF-8),
RFC 5321 section 4.5.3.1 (lengths).
"""

from __future__ import annotations

import functools
import ipaddress
import re
from dataclasses import dataclass

from letterlock.errors import Malformed
from letterlock.formats import domain as domains

# What is not ASCII, without the controls and line ends among it (RFC 5198 section 2): somebody might end a line there.
_BEYOND = r"\u00a0-\u2027\u202a-\U0010ffff"
_ATEXT = rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~\-{_BEYOND}]"
_DOT_STRING = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
_QUOTED = re.compile(rf'"((?:[ !#-\[\]-~{_BEYOND}]|\\[ -~])*)"')
# What nearly every address is: an ASCII dot-string, and a domain of which nothing but the case is to be changed.
_USUAL = re.compile(
    r"([A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*)"
    r"@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)"
)
_CLAUSE = "RFC 5321 section 4.1.2"


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox: `local_part` without quoting, `domain` as A-labels ("rosewood.test") or literal ("[192.0.2.1]")."""

    local_part: str
    domain: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `local@domain`, dot-string or quoted-string, no source route, no angle brackets.

        Raises Malformed. The postmaster without a domain (RFC 5321 section 4.1.1.3) is the caller's business.
        """
        return _parse(text)

    @property
    def needs_smtputf8(self) -> bool:
        """Whether the address can travel only with SMTPUTF8 (RFC 6531): its local part is not ASCII."""
        return not self.local_part.isascii()

    def __str__(self) -> str:
        """The address as SMTP writes it, its local part quoted where it must be."""
        local = self.local_part
        if local.isalnum() or _DOT_STRING.fullmatch(local):
            return f"{local}@{self.domain}"
        return '"' + re.sub(r'(["\\])', r"\\\1", local) + f'"@{self.domain}'


@functools.lru_cache(maxsize=4096)  # a server hears of the same people all day
def _parse(text: str) -> Address:
    usual = _USUAL.fullmatch(text)
    if usual is not None and usual.end(1) <= 64 and len(text) - usual.end(1) <= 254:
        return Address(usual[1], usual[2].lower())
    quoted = _QUOTED.match(text)
    dotted = None if quoted else _DOT_STRING.match(text)
    match = quoted or dotted
    if match is None:
        raise Malformed("the local part is missing or not a dot-string", clause=_CLAUSE)
    end = match.end()
    if text[end : end + 1] != "@":
        raise Malformed("no @ after the local part", offset=end, clause=_CLAUSE)
    local = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else match[0]
    if len(local.encode()) > 64:
        raise Malformed("a local part of more than 64 octets", clause="RFC 5321 section 4.5.3.1.1")
    return Address(local, _parse_domain(text[end + 1 :], end + 1))


def _parse_domain(text: str, offset: int) -> str:
    if not text.startswith("["):
        try:
            return domains.to_ascii(text)
        except Malformed as error:
            raise Malformed(error.problem, offset=offset + error.offset, clause=error.clause) from None
    # RFC 5321 section 4.1.3
    inner = text[1:-1]
    if not text.endswith("]"):
        raise Malformed("an address literal without its closing bracket", offset=offset, clause=_CLAUSE)
    try:
        if inner.lower().startswith("ipv6:"):
            return f"[IPv6:{ipaddress.IPv6Address(inner[5:])}]"
        return f"[{ipaddress.IPv4Address(inner)}]"
    except ValueError:
        raise Malformed(f"{inner!r} is no address literal", offset=offset, clause="RFC 5321 section 4.1.3") from None
