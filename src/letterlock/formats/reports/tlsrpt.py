"""SMTP TLS reports: how other domains' servers fared when they spoke TLS to ours, and ours to theirs.

Standards: RFC 8460 section 3 (the record), section 4 (the report), RFC 7493 (I-JSON).
Limits: `_MOST_POLICIES` policies, as many failure details each.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from letterlock.errors import Malformed

_CLAUSE = "RFC 8460 section 4.4"
_MOST_POLICIES = 10_000
_RECORD = re.compile(rb"v=TLSRPTv1[ \t]*;")

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Failure:
    """Sessions that failed in one way. `result_type` is a name of RFC 8460 section 4.3."""

    result_type: str
    sessions: int
    sending_ip: str = ""
    receiving_mx: str = ""
    receiving_helo: str = ""
    receiving_ip: str = ""
    reason_code: str = ""
    additional_information: str = ""


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """One policy and what came of sessions under it. `policy_type` is sts, tlsa or no-policy-found."""

    policy_type: str
    domain: str
    successful: int = 0
    failed: int = 0
    policy_strings: tuple[str, ...] = ()
    mx_hosts: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class TlsReport:
    """A whole report; `begin` and `end` in seconds since 1970."""

    organization: str
    report_id: str
    begin: int
    end: int
    policies: tuple[PolicyReport, ...]
    contact: str = ""
    defects: tuple[str, ...] = ()


def parse(octets: bytes) -> TlsReport:
    """Read a report. Raises Malformed for what is none; wrong values are named in `defects`."""
    try:
        value = msgspec.json.decode(octets.lstrip(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"no JSON: {error}", clause=_CLAUSE) from None
    if not isinstance(value, dict) or not isinstance(value.get("policies"), list):
        raise Malformed("JSON that is no TLS report", clause=_CLAUSE)
    defects: list[str] = []
    span = _dictionary(value.get("date-range"))
    policies = [_policy(_dictionary(one), defects) for one in value["policies"][:_MOST_POLICIES]]
    return TlsReport(
        _text(value, "organization-name"),
        _text(value, "report-id"),
        _instant(_text(span, "start-datetime"), defects),
        _instant(_text(span, "end-datetime"), defects),
        tuple(policies),
        _text(value, "contact-info"),
        tuple(dict.fromkeys(defects)),
    )


def _dictionary(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _text(value: Json, name: str) -> str:
    found = value.get(name, "")
    return found[:2000] if isinstance(found, str) else ""


def _texts(value: Json, name: str) -> tuple[str, ...]:
    found = value.get(name, [])
    items = [found] if isinstance(found, str) else found if isinstance(found, list) else []
    return tuple(one[:2000] for one in items[:1000] if isinstance(one, str))


def _count(value: Json, name: str, defects: list[str]) -> int:
    found = value.get(name, 0)
    if isinstance(found, str) and found.isdigit() and len(found) < 16:
        defects.append(f"{name} is text")  # QUIRK tls-report-text-count: counts written as text
        return int(found)
    if isinstance(found, int) and 0 <= found < 1 << 53:
        return found
    defects.append(f"{name} is no count")
    return 0


def _instant(text: str, defects: list[str]) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        defects.append(f"{text[:40]!r} is no time")
        return 0
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _policy(value: Json, defects: list[str]) -> PolicyReport:
    policy = _dictionary(value.get("policy"))
    summary = _dictionary(value.get("summary"))
    details = value.get("failure-details", [])
    if not isinstance(details, list):
        defects.append("failure-details is no array")
        details = []
    return PolicyReport(
        _text(policy, "policy-type"),
        _text(policy, "policy-domain").lower(),
        _count(summary, "total-successful-session-count", defects),
        _count(summary, "total-failure-session-count", defects),
        _texts(policy, "policy-string"),
        _texts(policy, "mx-host"),
        tuple(_failure(_dictionary(one), defects) for one in details[:_MOST_POLICIES]),
    )


def _failure(value: Json, defects: list[str]) -> Failure:
    return Failure(
        _text(value, "result-type"),
        _count(value, "failed-session-count", defects),
        _text(value, "sending-mta-ip"),
        _text(value, "receiving-mx-hostname"),
        _text(value, "receiving-mx-helo"),
        _text(value, "receiving-ip"),
        _text(value, "failure-reason-code"),
        _text(value, "additional-information"),
    )


def write(report: TlsReport) -> bytes:
    """Return the report as JSON (RFC 8460 section 4.4)."""
    value = {
        "organization-name": report.organization,
        "date-range": {"start-datetime": _written(report.begin), "end-datetime": _written(report.end)},
        "contact-info": report.contact,
        "report-id": report.report_id,
        "policies": [_policy_json(policy) for policy in report.policies],
    }
    return msgspec.json.format(msgspec.json.encode(value), indent=2)


def _written(instant: int) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _policy_json(policy: PolicyReport) -> Json:
    described: Json = {"policy-type": policy.policy_type, "policy-domain": policy.domain}
    if policy.policy_strings:
        described["policy-string"] = list(policy.policy_strings)
    if policy.mx_hosts:
        described["mx-host"] = list(policy.mx_hosts)
    value: Json = {
        "policy": described,
        "summary": {
            "total-successful-session-count": policy.successful,
            "total-failure-session-count": policy.failed,
        },
    }
    if policy.failures:
        value["failure-details"] = [_failure_json(one) for one in policy.failures]
    return value


def _failure_json(failure: Failure) -> Json:
    named = {
        "result-type": failure.result_type,
        "sending-mta-ip": failure.sending_ip,
        "receiving-mx-hostname": failure.receiving_mx,
        "receiving-mx-helo": failure.receiving_helo,
        "receiving-ip": failure.receiving_ip,
        "additional-information": failure.additional_information,
        "failure-reason-code": failure.reason_code,
    }
    value: Json = {name: text for name, text in named.items() if text}
    value["failed-session-count"] = failure.sessions
    return value


def report_uris(texts: tuple[bytes, ...]) -> tuple[str, ...]:
    """Return the URIs of the TLSRPT record among the TXT records at _smtp._tls; none unless there is exactly one."""
    records = [text for text in texts if _RECORD.match(text)]
    if len(records) != 1:  # RFC 8460 section 3
        return ()
    for field in records[0].decode("ascii", "replace").split(";")[1:]:
        name, _, value = field.strip(" \t").partition("=")
        if name == "rua":
            return tuple(uri.strip(" \t") for uri in value.split(",") if uri.strip(" \t"))
    return ()
