"""The data of resource records, a class a type, named as the standard names their fields.

Names inside are lower-case A-labels without a final dot; the root is an empty string.

Standards: RFC 1035 section 3.3, RFC 3596 (AAAA), RFC 2782 (SRV), RFC 6698 (TLSA), RFC 7505 (null MX).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class A:
    """An IPv4 address in dotted decimal."""

    address: str


@dataclass(frozen=True, slots=True)
class Aaaa:
    """An IPv6 address in RFC 5952 form."""

    address: str


@dataclass(frozen=True, slots=True)
class Cname:
    """The canonical name of an alias."""

    target: str


@dataclass(frozen=True, slots=True)
class Mx:
    """A mail exchanger; an empty `exchange` is the null MX (RFC 7505 section 3)."""

    preference: int
    exchange: str


@dataclass(frozen=True, slots=True)
class Ns:
    """A name server of the zone."""

    target: str


@dataclass(frozen=True, slots=True)
class Ptr:
    """A pointer, for us the name behind an address."""

    target: str


@dataclass(frozen=True, slots=True)
class Soa:
    """The start of a zone of authority; times in seconds."""

    mname: str
    rname: str
    serial: int
    refresh: int
    retry: int
    expire: int
    minimum: int


@dataclass(frozen=True, slots=True)
class Srv:
    """The location of a service."""

    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class Txt:
    """Text, as the character-strings of the wire."""

    strings: tuple[bytes, ...]

    @property
    def joined(self) -> bytes:
        """The strings put together without spaces (RFC 7208 section 3.3, RFC 6376 section 3.6.2.2)."""
        return b"".join(self.strings)


@dataclass(frozen=True, slots=True)
class Tlsa:
    """A certificate association (RFC 6698 section 2.1); SMIMEA has the same fields (RFC 8162 section 2)."""

    usage: int
    selector: int
    matching_type: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Smimea(Tlsa):
    """A certificate association for an S/MIME address (RFC 8162)."""


@dataclass(frozen=True, slots=True)
class Opaque:
    """A record of a type that has no class here: its mnemonic and its wire octets (RFC 3597)."""

    type: str
    wire: bytes


Rdata = A | Aaaa | Cname | Mx | Ns | Ptr | Soa | Srv | Txt | Tlsa | Smimea | Opaque
