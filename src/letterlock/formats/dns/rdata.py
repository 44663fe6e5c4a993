"""The data of resource records, a class a type, named as the standard names their fields.

Names inside are lower-case A-labels without a final dot; the root is an empty string. `rdata_wire` gives each its
octets, `rdata_text` its presentation form.

Standards: RFC 1035 section 3.3, RFC 3596 (AAAA), RFC 2782 (SRV), RFC 6698 (TLSA), RFC 7505 (null MX), RFC 4034
(DNSKEY, RRSIG, NSEC, DS), RFC 5155 (NSEC3), RFC 6672 (DNAME), RFC 7929 (OPENPGPKEY), RFC 8659 (CAA).
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
class Dname:
    """The name under which everything below the owner is found (RFC 6672)."""

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
class Hinfo:
    """The kind of machine and its system (RFC 1035 section 3.3.2)."""

    cpu: bytes
    os: bytes


@dataclass(frozen=True, slots=True)
class Minfo:
    """Who is responsible for a mailing list (RFC 1035 section 3.3.7)."""

    responsible_mailbox: str
    error_mailbox: str


@dataclass(frozen=True, slots=True)
class Wks:
    """The well known services of an address (RFC 1035 section 3.4.2)."""

    address: str
    protocol: int
    bit_map: bytes


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
class Openpgpkey:
    """A transferable public key of OpenPGP (RFC 7929 section 2.1)."""

    key: bytes


@dataclass(frozen=True, slots=True)
class Caa:
    """Which certification authority may issue for the name (RFC 8659 section 4.1)."""

    flags: int
    tag: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Dnskey:
    """A public key of a zone (RFC 4034 section 2.1)."""

    flags: int
    protocol: int
    algorithm: int
    public_key: bytes


@dataclass(frozen=True, slots=True)
class Ds:
    """The digest of a child zone's key, in the parent (RFC 4034 section 5.1)."""

    key_tag: int
    algorithm: int
    digest_type: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Rrsig:
    """The signature of a record set (RFC 4034 section 3.1); times in seconds since 1970, modulo 2^32."""

    type_covered: str
    algorithm: int
    labels: int
    original_ttl: int
    expiration: int
    inception: int
    key_tag: int
    signer: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class Nsec:
    """The next name of the zone, and the types at this one (RFC 4034 section 4.1)."""

    next_name: str
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Nsec3:
    """The next hashed name of the zone, and the types at this one (RFC 5155 section 3.1)."""

    algorithm: int
    flags: int
    iterations: int
    salt: bytes
    next_hash: bytes
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Nsec3param:
    """How a zone's names are hashed (RFC 5155 section 4.1)."""

    algorithm: int
    flags: int
    iterations: int
    salt: bytes


@dataclass(frozen=True, slots=True)
class Opaque:
    """A record of a type that has no class here: its mnemonic and its wire octets (RFC 3597)."""

    type: str
    wire: bytes


Rdata = (
    A
    | Aaaa
    | Cname
    | Dname
    | Mx
    | Ns
    | Ptr
    | Soa
    | Srv
    | Txt
    | Hinfo
    | Minfo
    | Wks
    | Tlsa
    | Smimea
    | Openpgpkey
    | Caa
    | Dnskey
    | Ds
    | Rrsig
    | Nsec
    | Nsec3
    | Nsec3param
    | Opaque
)
