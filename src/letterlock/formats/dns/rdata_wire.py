"""The wire octets of record data, read and written from one table that spells each type's fields.

The octets are those of the canonical form of RFC 4034 section 6.2: names uncompressed and in lower case.

Standards: RFC 1035 section 3.3, RFC 3597 section 4 (which types may hold compressed names), RFC 4034 section 4.1.2
(type bit maps), RFC 6840 section 5.1 (canonical form of NSEC and RRSIG).
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable
from dataclasses import astuple
from typing import Any

from letterlock.errors import Malformed
from letterlock.formats.dns import name as names
from letterlock.formats.dns import rdata, types
from letterlock.formats.dns.rdata import Rdata

# The fields of each type: B, H, I numbers of 1, 2, 4 octets; n a name; s a character-string; S character-strings to
# the end; r the rest; a, b addresses of 4 and 16 octets; T a type; t a type bit map.
_FIELDS: dict[str, tuple[Callable[..., Rdata], str]] = {
    "A": (rdata.A, "a"),
    "AAAA": (rdata.Aaaa, "b"),
    "CNAME": (rdata.Cname, "n"),
    "DNAME": (rdata.Dname, "n"),
    "MX": (rdata.Mx, "Hn"),
    "NS": (rdata.Ns, "n"),
    "PTR": (rdata.Ptr, "n"),
    "SOA": (rdata.Soa, "nnIIIII"),
    "SRV": (rdata.Srv, "HHHn"),
    "TXT": (rdata.Txt, "S"),
    "HINFO": (rdata.Hinfo, "ss"),
    "MINFO": (rdata.Minfo, "nn"),
    "WKS": (rdata.Wks, "aBr"),
    "TLSA": (rdata.Tlsa, "BBBr"),
    "SMIMEA": (rdata.Smimea, "BBBr"),
    "OPENPGPKEY": (rdata.Openpgpkey, "r"),
    "CAA": (rdata.Caa, "Bsr"),
    "DNSKEY": (rdata.Dnskey, "HBBr"),
    "DS": (rdata.Ds, "HBBr"),
    "RRSIG": (rdata.Rrsig, "TBBIIIHnr"),
    "NSEC": (rdata.Nsec, "nt"),
    "NSEC3": (rdata.Nsec3, "BBHsst"),
    "NSEC3PARAM": (rdata.Nsec3param, "BBHs"),
}
_TYPES = {maker: mnemonic for mnemonic, (maker, _) in _FIELDS.items()}
_NUMBERS = {"B": ">B", "H": ">H", "I": ">I"}
_CLAUSE = "RFC 1035 section 3.3"

# Where names stand in the data of types whose names are lowered in canonical form, and may come compressed:
# octets before the first name, how many names, and whether anything may follow.
_NAMED = {
    types.NUMBERS[mnemonic]: places
    for mnemonic, places in {
        "NS": (0, 1), "CNAME": (0, 1), "PTR": (0, 1), "DNAME": (0, 1), "MINFO": (0, 2), "RP": (0, 2), "SOA": (0, 2),
        "MX": (2, 1), "AFSDB": (2, 1), "KX": (2, 1), "SRV": (6, 1), "RRSIG": (18, 1),
    }.items()
}  # fmt: skip
_WITH_REST = {types.NUMBERS["SOA"], types.NUMBERS["RRSIG"]}


def type_of(value: Rdata) -> str:
    """Return the mnemonic of a record's type."""
    return value.type if isinstance(value, rdata.Opaque) else _TYPES[type(value)]


def expand(octets: bytes, start: int, end: int, number: int, known: dict[int, bytes]) -> bytes:
    """Return record data of a message in canonical form, its names uncompressed; raises Malformed."""
    places = _NAMED.get(number)
    if places is None:
        return octets[start:end]
    skip, count = places
    position = start + skip
    parts = [octets[start:position]]
    for _ in range(count):
        if position >= end:
            raise Malformed("record data that ends before its name", offset=position, clause=_CLAUSE)
        wire, position = names.read(octets, position, known)
        parts.append(wire)
    if position > end or (position < end and number not in _WITH_REST):
        raise Malformed("record data whose length is wrong", offset=start, clause=_CLAUSE)
    parts.append(octets[position:end])
    return b"".join(parts)


def read(mnemonic: str, octets: bytes) -> Rdata:
    """Return the value of uncompressed record data; a type without a class becomes Opaque. Raises Malformed."""
    form = _FIELDS.get(mnemonic)
    if form is None:
        return rdata.Opaque(mnemonic, octets)
    maker, fields = form
    values: list[object] = []
    position = 0
    try:
        for field in fields:
            value, position = _read_field(field, octets, position)
            values.append(value)
    except (struct.error, IndexError, ipaddress.AddressValueError):
        raise Malformed(f"{mnemonic} data that ends early", offset=position, clause=_CLAUSE) from None
    if position != len(octets):
        raise Malformed(f"{mnemonic} data with octets left over", offset=position, clause=_CLAUSE)
    return maker(*values)


def _read_field(field: str, octets: bytes, at: int) -> tuple[object, int]:
    match field:
        case "B":
            return octets[at], at + 1
        case "H":
            return struct.unpack_from(">H", octets, at)[0], at + 2
        case "I":
            return struct.unpack_from(">I", octets, at)[0], at + 4
        case "n":
            wire, after = names.read(octets, at)
            return names.to_text(wire), after
        case "s":
            return _read_string(octets, at)
        case "S":
            return _read_strings(octets, at)
        case "a":
            return str(ipaddress.IPv4Address(octets[at : at + 4])), at + 4
        case "b":
            return str(ipaddress.IPv6Address(octets[at : at + 16])), at + 16
        case "T":
            return types.mnemonic(struct.unpack_from(">H", octets, at)[0]), at + 2
        case "t":
            return tuple(types.mnemonic(number) for number in read_bit_map(octets[at:])), len(octets)
        case _:
            return octets[at:], len(octets)


def _read_string(octets: bytes, at: int) -> tuple[bytes, int]:
    end = at + 1 + octets[at]
    if end > len(octets):
        raise Malformed("a character-string that runs over the end", offset=at, clause="RFC 1035 section 3.3")
    return octets[at + 1 : end], end


def _read_strings(octets: bytes, at: int) -> tuple[tuple[bytes, ...], int]:
    strings = []
    while at < len(octets):
        string, at = _read_string(octets, at)
        strings.append(string)
    if not strings:
        raise Malformed("text data without a string", clause="RFC 1035 section 3.3.14")
    return tuple(strings), at


_PSEUDO_TYPES = frozenset({0, 41, *range(249, 256)})  # OPT, TKEY, TSIG, IXFR, AXFR, MAILB, MAILA, ANY


def read_bit_map(octets: bytes) -> list[int]:
    """Return the type numbers of a type bit map, ascending; raises Malformed (RFC 4034 section 4.1.2).

    Types that never stand in a zone are passed over, as that section demands; NXNAME (128) is no such type.
    """
    numbers: list[int] = []
    at = 0
    last = -1
    while at < len(octets):
        window, length = octets[at], octets[at + 1] if at + 1 < len(octets) else 0
        bits = octets[at + 2 : at + 2 + length]
        if window <= last or not 0 < length <= 32 or len(bits) != length:
            raise Malformed("a type bit map that is out of form", offset=at, clause="RFC 4034 section 4.1.2")
        last = window
        at += 2 + length
        numbers += [
            window * 256 + index * 8 + bit
            for index, octet in enumerate(bits)
            if octet
            for bit in range(8)
            if octet & (0x80 >> bit)
        ]
    return [number for number in numbers if number not in _PSEUDO_TYPES]


def write_bit_map(numbers: list[int]) -> bytes:
    """Return the type bit map of type numbers (RFC 4034 section 4.1.2)."""
    windows: dict[int, bytearray] = {}
    for number in sorted(numbers):
        bits = windows.setdefault(number >> 8, bytearray())
        index = (number & 0xFF) >> 3
        bits.extend(bytes(index + 1 - len(bits)))
        bits[index] |= 0x80 >> (number & 7)
    return b"".join(bytes((window, len(bits))) + bits for window, bits in windows.items())


def write(value: Rdata) -> bytes:
    """Return the wire octets of a record's data; raises Malformed for a value that has none."""
    if isinstance(value, rdata.Opaque):
        return value.wire
    _, fields = _FIELDS[type_of(value)]
    try:
        return b"".join(_write_field(field, part) for field, part in zip(fields, _parts(value), strict=True))
    except (struct.error, ValueError) as error:
        raise Malformed(f"{type_of(value)} data that has no octets: {error}", clause=_CLAUSE) from None


def _parts(value: Rdata) -> tuple[Any, ...]:  # Any: the fields' types are what the table says
    return astuple(value)


def _write_field(field: str, value: Any) -> bytes:  # Any: see _parts
    match field:
        case "B" | "H" | "I":
            return struct.pack(_NUMBERS[field], value)
        case "n":
            return names.to_wire(value)
        case "s":
            return struct.pack(">B", len(value)) + bytes(value)
        case "S":
            return b"".join(struct.pack(">B", len(string)) + string for string in value)
        case "a":
            return ipaddress.IPv4Address(value).packed
        case "b":
            return ipaddress.IPv6Address(value).packed
        case "T":
            return struct.pack(">H", types.number(value))
        case "t":
            return write_bit_map([types.number(mnemonic) for mnemonic in value])
        case _:
            return bytes(value)
