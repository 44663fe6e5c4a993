"""What each algorithm is worth, and since when: dated cut-offs as a value, one policy a use.

A decision asks `policy.standing("rsa-sha1", now)`: CURRENT is good; LEGACY can be read, is marked and never made;
REFUSED counts as no protection. Key sizes have a floor under which they are refused and a floor under which they warn.

Standards: RFC 8301 (DKIM), RFC 8463 (Ed25519 in DKIM), RFC 8551 appendix B (S/MIME).
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


class Standing(enum.Enum):
    """What an algorithm is worth at a moment."""

    CURRENT = "current"
    LEGACY = "legacy"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class CutOff:
    """From which day (UTC) an algorithm is only legacy, and from which it is refused; None is never."""

    legacy_from: datetime.date | None
    refused_from: datetime.date | None
    clause: str


@dataclass(frozen=True, slots=True)
class Policy:
    """The cut-offs of one use, by algorithm name. What is not named is CURRENT.

    RSA keys below `refused_rsa_bits` or above `largest_rsa_bits` are refused, those below `advised_rsa_bits` warned of.
    """

    cut_offs: Mapping[str, CutOff] = field(default_factory=lambda: MappingProxyType({}))
    refused_rsa_bits: int = 1024
    advised_rsa_bits: int = 2048
    largest_rsa_bits: int = 8192

    def standing(self, algorithm: str, at: int) -> Standing:
        """Return what `algorithm` is worth at a time in seconds since 1970."""
        cut_off = self.cut_offs.get(algorithm)
        if cut_off is None:
            return Standing.CURRENT
        day = datetime.datetime.fromtimestamp(at, datetime.UTC).date()
        if cut_off.refused_from is not None and day >= cut_off.refused_from:
            return Standing.REFUSED
        if cut_off.legacy_from is not None and day >= cut_off.legacy_from:
            return Standing.LEGACY
        return Standing.CURRENT


# RFC 8301 was published in January 2018: rsa-sha1 must not be used, keys under 1024 bits must not be accepted
DKIM = Policy(
    MappingProxyType({"rsa-sha1": CutOff(datetime.date(2011, 9, 1), datetime.date(2018, 1, 1), "RFC 8301 section 3.1")})
)

# RFC 8551 section 2.2 and appendix B: MD5, SHA-1 and DSA are historic; what they signed is read and marked. MD5
# collisions with chosen prefixes forge certificates since 2008, SHA-1's since 2020: neither proves anything after that.
# Triple-DES and RC2 are historic too; a 40-bit key is found in seconds.
SMIME = Policy(
    MappingProxyType(
        {
            "md5": CutOff(datetime.date(2005, 3, 1), datetime.date(2009, 1, 1), "RFC 8551 appendix B"),
            "sha1": CutOff(datetime.date(2014, 1, 1), None, "RFC 8551 appendix B"),
            "dsa": CutOff(datetime.date(2019, 4, 1), None, "RFC 8551 appendix B"),
            "triple-des": CutOff(datetime.date(2019, 4, 1), None, "RFC 8551 appendix B"),
            "rc2": CutOff(datetime.date(2005, 1, 1), None, "RFC 8551 appendix B"),
            "des": CutOff(datetime.date(1999, 1, 1), None, "RFC 8551 appendix B"),
            "cbc": CutOff(datetime.date(2019, 4, 1), None, "RFC 8551 section 2.7"),
        }
    ),
    largest_rsa_bits=16384,
)
