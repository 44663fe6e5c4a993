"""Numbers and mnemonics of record types, classes, response codes, and what the DNSSEC registries name.

Standards: RFC 1035 section 3.2, RFC 3597 section 5 (`TYPE123`), RFC 6895 section 2.3 (response codes),
RFC 8624 section 3.1 (algorithms), RFC 8914 (extended errors).
"""

from __future__ import annotations

import enum

from letterlock.errors import Malformed

NUMBERS = {
    "A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "WKS": 11, "PTR": 12, "HINFO": 13, "MINFO": 14, "MX": 15, "TXT": 16,
    "RP": 17, "AFSDB": 18, "AAAA": 28, "SRV": 33, "NAPTR": 35, "KX": 36, "DNAME": 39, "OPT": 41, "DS": 43, "SSHFP": 44,
    "RRSIG": 46, "NSEC": 47, "DNSKEY": 48, "NSEC3": 50, "NSEC3PARAM": 51, "TLSA": 52, "SMIMEA": 53, "CDS": 59,
    "CDNSKEY": 60, "OPENPGPKEY": 61, "SVCB": 64, "HTTPS": 65, "SPF": 99, "TKEY": 249, "TSIG": 250, "IXFR": 251,
    "AXFR": 252, "ANY": 255, "URI": 256, "CAA": 257,
}  # fmt: skip
MNEMONICS = {number: mnemonic for mnemonic, number in NUMBERS.items()}

IN = 1
NONE = 254
ANY_CLASS = 255


def number(mnemonic: str) -> int:
    """Return the number of a type by its mnemonic or by `TYPE123`; raises Malformed for an unknown one."""
    known = NUMBERS.get(mnemonic.upper())
    if known is not None:
        return known
    digits = mnemonic.upper().removeprefix("TYPE")
    if digits != mnemonic.upper() and digits.isascii() and digits.isdigit() and int(digits) < 65536:
        return int(digits)
    raise Malformed(f"{mnemonic!r} is no record type", clause="RFC 3597 section 5")


def mnemonic(number: int) -> str:
    """Return the mnemonic of a type, `TYPE123` for one without."""
    return MNEMONICS.get(number) or f"TYPE{number}"


def lookup_number(mnemonic: str) -> int:
    """Return the number of a type that can be looked up; raises Malformed for one that only messages use.

    Questions such as ANY and AXFR name no record set, and RRSIG records are not a set of their own.
    """
    found = number(mnemonic)
    if found in (0, NUMBERS["OPT"], NUMBERS["RRSIG"]) or 128 <= found < 256:
        raise Malformed(f"{mnemonic} cannot be looked up by itself", clause="RFC 6895 section 3.1")
    return found


class Rcode(enum.IntEnum):
    """Response codes (RFC 1035 section 4.1.1, RFC 2136 section 2.2, RFC 6891 section 9)."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    YXDOMAIN = 6
    YXRRSET = 7
    NXRRSET = 8
    NOTAUTH = 9
    NOTZONE = 10
    BADVERS = 16
    BADKEY = 17
    BADTIME = 18
    BADTRUNC = 22


def rcode_text(number: int) -> str:
    """Return the mnemonic of a response code, `RCODE17` for one without."""
    try:
        return Rcode(number).name
    except ValueError:
        return f"RCODE{number}"


class Opcode(enum.IntEnum):
    """What a message is for (RFC 1035 section 4.1.1)."""

    QUERY = 0
    NOTIFY = 4
    UPDATE = 5


class ExtendedError(enum.IntEnum):
    """Extended DNS error codes we give or read (RFC 8914 section 4)."""

    OTHER = 0
    UNSUPPORTED_DNSKEY_ALGORITHM = 1
    UNSUPPORTED_DS_DIGEST = 2
    STALE_ANSWER = 3
    DNSSEC_INDETERMINATE = 5
    DNSSEC_BOGUS = 6
    SIGNATURE_EXPIRED = 7
    SIGNATURE_NOT_YET_VALID = 8
    DNSKEY_MISSING = 9
    RRSIGS_MISSING = 10
    NO_ZONE_KEY_BIT_SET = 11
    NSEC_MISSING = 12
    NO_REACHABLE_AUTHORITY = 22
    NETWORK_ERROR = 23
    INVALID_DATA = 24
    UNSUPPORTED_NSEC3_ITERATIONS = 27
