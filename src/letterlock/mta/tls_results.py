"""What came of each TLS session we began, as TLS reports count it: recorded in the ledger, one entry a session.

An entry of the kind "tls session" is about the recipients' domain. Its facts are the fields of RFC 8460 section 4.4:
`policy_type`, `policy_strings` and `mx_hosts` say under which policy; `result_type` is empty for a success; `receiving_mx`,
`receiving_ip`, `sending_ip` and `information` say where and what. postmaster/tls_reports.py makes the reports of them.

Standards: RFC 8460 section 4.3 (result types), section 4.4 (fields).
See also: mta/demand.py (which policy), mta/outbound.py (the sessions), formats/reports/tlsrpt.py.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass

from letterlock.errors import LetterlockError
from letterlock.host.clock import Clock
from letterlock.host.ledger import Entry, Ledger
from letterlock.host.stream import TlsFailed

KIND = "tls session"

NOT_OFFERED = "starttls-not-supported"
HOST_MISMATCH = "certificate-host-mismatch"
EXPIRED = "certificate-expired"
NOT_TRUSTED = "certificate-not-trusted"
FAILED = "validation-failure"
DNSSEC_INVALID = "dnssec-invalid"
TLSA_INVALID = "tlsa-invalid"
STS_FETCH_ERROR = "sts-policy-fetch-error"
STS_INVALID = "sts-policy-invalid"
STS_WEB_INVALID = "sts-webpki-invalid"

# What OpenSSL says of a certificate that it does not accept (X509_V_ERR_...).
_BY_VERIFY_CODE = {9: EXPIRED, 10: EXPIRED, 62: HOST_MISMATCH, 64: HOST_MISMATCH}


@dataclass(frozen=True, slots=True)
class AppliedPolicy:
    """The policy of a domain as a report names it; `type` is tlsa, sts or no-policy-found.

    `trouble` is a result type for something wrong with the policy itself, which a session that succeeds does not mend.
    """

    domain: str
    type: str = "no-policy-found"
    strings: tuple[str, ...] = ()
    mx_hosts: tuple[str, ...] = ()
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class TlsResult:
    """One session: with whom, from which address of ours, and how it ended (`type` empty: well)."""

    policy: AppliedPolicy
    receiving_mx: str
    receiving_ip: str
    sending_ip: str = ""
    type: str = ""
    information: str = ""


Record = Callable[[TlsResult], None]


def record_nothing(_result: TlsResult) -> None:
    """Keep no results."""


class LedgerRecord:
    """Records results in the ledger."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    def __call__(self, result: TlsResult) -> None:
        """Append one result; never waits, never raises."""
        policy = result.policy
        self._ledger.append(
            Entry(
                self._clock.now(),
                KIND,
                domain=policy.domain,
                facts={
                    "policy_type": policy.type,
                    "policy_strings": [*policy.strings],
                    "mx_hosts": [*policy.mx_hosts],
                    "result_type": result.type or policy.trouble,
                    "receiving_mx": result.receiving_mx,
                    "receiving_ip": result.receiving_ip,
                    "sending_ip": result.sending_ip,
                    "information": result.information[:500],
                },
            )
        )


def result_type(fault: LetterlockError) -> str:
    """Return the result type for a handshake or a judgement that failed."""
    cause = fault.__cause__ if isinstance(fault, TlsFailed) else None
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _BY_VERIFY_CODE.get(cause.verify_code, NOT_TRUSTED)
    return FAILED
