"""Keys and certificates of mail addresses in the DNS: where they stand, and looking them up.

Standards: RFC 8162 section 3 (SMIMEA), RFC 7929 section 3 (OPENPGPKEY). The local part is hashed as it is written, in
UTF-8: no other case or form of it is tried.
"""

from __future__ import annotations

import hashlib

from letterlock.formats.address import Address
from letterlock.formats.dns.question import Answer, Question
from letterlock.trust.ask import Decision, ask


def hashed_local_part(local_part: str) -> str:
    """Return the label that stands for a local part: SHA-256 cut to 28 octets, in hexadecimal."""
    return hashlib.sha256(local_part.encode()).digest()[:28].hex()


def smimea_name(address: Address) -> str:
    """Return the owner name of an address's SMIMEA records (RFC 8162 section 3)."""
    return f"{hashed_local_part(address.local_part)}._smimecert.{address.domain}"


def openpgpkey_name(address: Address) -> str:
    """Return the owner name of an address's OPENPGPKEY records (RFC 7929 section 3)."""
    return f"{hashed_local_part(address.local_part)}._openpgpkey.{address.domain}"


def look_up_smimea(address: Address) -> Decision[Answer]:
    """Look up the certificates of an address; only a secure answer may be used (RFC 8162 section 4)."""
    return (yield from ask(Question(smimea_name(address), "SMIMEA")))


def look_up_openpgpkey(address: Address) -> Decision[Answer]:
    """Look up the OpenPGP keys of an address; only a secure answer may be used (RFC 7929 section 5)."""
    return (yield from ask(Question(openpgpkey_name(address), "OPENPGPKEY")))
