"""The verdicts of DKIM: one for each signature, body hash and header signature judged apart.

Standards: RFC 8601 section 2.7.1 (result names), RFC 6376 section 6.1 (how they come about).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from letterlock.formats.dns.question import Security
from letterlock.trust.dkim.signature import Signature


class Result(enum.Enum):
    """What is said of a signature, by its name in Authentication-Results."""

    NONE = "none"  # the message is not signed
    PASS = "pass"  # noqa: S105 - a result, no password
    FAIL = "fail"  # the hash or the signature does not verify
    POLICY = "policy"  # it verifies, but some aspect of it is not acceptable here
    NEUTRAL = "neutral"  # its syntax is wrong, or its domain only tests
    TEMPERROR = "temperror"  # the key could not be looked up; later it may
    PERMERROR = "permerror"  # it can never verify: no key, revoked, From not signed, expired


class Check(enum.Enum):
    """The outcome of one half of a verification."""

    PASS = "pass"  # noqa: S105 - a result, no password
    FAIL = "fail"
    NOT_DONE = "none"


@dataclass(frozen=True, slots=True)
class SignatureVerdict:
    """What one signature is worth, and why.

    `signature` is None where the field could not be read. `is_testing` tells of t=y in the key record. `key_bits` is 0
    where there was no key; `key_security` is the DNSSEC state of the answer that held it.
    """

    result: Result
    reason: str
    signature: Signature | None = None
    domain: str = ""
    selector: str = ""
    algorithm: str = ""
    body_hash: Check = Check.NOT_DONE
    header_signature: Check = Check.NOT_DONE
    warnings: tuple[str, ...] = ()
    key_bits: int = 0
    key_security: Security = Security.INDETERMINATE
    is_testing: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """All signatures of a message from the top down."""

    signatures: tuple[SignatureVerdict, ...] = ()

    @property
    def result(self) -> Result:
        """The best there is: one pass is a pass; none where there is no signature."""
        results = {verdict.result for verdict in self.signatures}
        order = (Result.PASS, Result.TEMPERROR, Result.POLICY, Result.NEUTRAL, Result.FAIL, Result.PERMERROR)
        return next((result for result in order if result in results), Result.NONE)

    @property
    def passing_domains(self) -> tuple[str, ...]:
        """The d= domains whose signatures pass, each once."""
        return tuple(dict.fromkeys(v.domain for v in self.signatures if v.result is Result.PASS))
