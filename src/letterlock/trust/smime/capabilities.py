"""What we say we can read, and what a correspondent said, or showed by using it, remembered.

Standards: RFC 8551 section 2.5.2.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from letterlock.formats.asn1 import oids, writer
from letterlock.formats.cms import capabilities
from letterlock.formats.cms.capabilities import Capability
from letterlock.formats.x509.algorithm import NULL

# RFC 8551 section 2.5.2: the preferred first; content ciphers, then key agreement, then key transport
OURS: tuple[Capability, ...] = (
    Capability(oids.AES256_GCM),
    Capability(oids.AES128_GCM),
    Capability(oids.AES256_CBC),
    Capability(oids.AES192_CBC),
    Capability(oids.AES128_CBC),
    Capability(oids.ECDH_HKDF_SHA256, writer.sequence(writer.oid(oids.WRAP_AES128))),
    Capability(oids.ECDH_HKDF_SHA256, writer.sequence(writer.oid(oids.WRAP_AES256))),
    Capability(oids.ECDH_SHA256, writer.sequence(writer.oid(oids.WRAP_AES256))),
    Capability(oids.RSA_OAEP),
    Capability(oids.RSA, NULL),
    Capability(oids.ZLIB),
    Capability(oids.CEK_HKDF_SHA256),  # RFC 9709 section 4
)
OURS_ENCODED = capabilities.encode(OURS)


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a correspondent announced, and when it signed that."""

    address: str
    capabilities: tuple[Capability, ...]
    signed_at: datetime.datetime

    def renewed_by(self, other: Remembered) -> Remembered:
        """Return the later of two announcements (RFC 8551 section 2.7.1)."""
        return other if other.signed_at >= self.signed_at else self


@dataclass(frozen=True, slots=True)
class UsedCipher:
    """Under which cipher a correspondent last wrote to us, by a message whose signature proved good, and when it was signed.

    `cipher` is written as `ciphers` writes it.
    """

    address: str
    cipher: str
    signed_at: datetime.datetime


def ciphers(announced: tuple[Capability, ...]) -> tuple[str, ...]:
    """Return the content ciphers announced, the preferred first; RC2 carries its bits: "1.2.840.113549.3.2/40"."""
    found = []
    for capability in announced:
        if capability.oid == oids.RC2_CBC:
            bits = int.from_bytes(capability.parameters[2:] if capability.parameters else b"\x28", "big")
            found.append(f"{oids.RC2_CBC}/{bits}")
        elif capability.oid in oids.CONTENT_CIPHERS:
            found.append(capability.oid)
    return tuple(found)
