"""DMARC aggregate reports: what receivers saw of a domain's mail, read in every dialect and written in one.

`parse` takes reports of RFC 9990 and RFC 7489 and those that follow neither: unknown elements are passed over, wrong
values kept as they stand, what is missing or broken named in `defects`. `write` writes the schema of RFC 9990.

Standards: RFC 9990 (Description of the content XML file, XSD), RFC 7489 appendix C.
Limits: no document type, no entities; depth, text and size as libxml2 bounds them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

NAMESPACE = "urn:ietf:params:xml:ns:dmarc-2.0"


class DkimResult(NamedTuple):
    """One signature as the receiver judged it."""

    domain: str
    selector: str
    result: str
    human_result: str = ""


class SpfResult(NamedTuple):
    """SPF as the receiver judged it."""

    domain: str
    result: str
    scope: str = ""
    human_result: str = ""


class Reason(NamedTuple):
    """Why the disposition is not the policy."""

    type: str
    comment: str = ""


class Record(NamedTuple):
    """What one address sent: `messages` messages with the same outcome. `dkim` and `spf` tell of alignment (pass, fail)."""

    source_ip: str
    messages: int
    disposition: str
    dkim: str
    spf: str
    header_from: str
    envelope_from: str = ""
    envelope_to: str = ""
    reasons: tuple[Reason, ...] = ()
    dkim_results: tuple[DkimResult, ...] = ()
    spf_results: tuple[SpfResult, ...] = ()

    @property
    def is_pass(self) -> bool:
        """Whether DMARC passed."""
        return self.dkim == "pass" or self.spf == "pass"


@dataclass(frozen=True, slots=True)
class PolicyPublished:
    """The policy that the receiver found. `pct` is of RFC 7489 only."""

    domain: str
    p: str = "none"
    sp: str = ""
    np: str = ""
    adkim: str = ""
    aspf: str = ""
    fo: str = ""
    testing: str = ""
    discovery_method: str = ""
    pct: str = ""


@dataclass(frozen=True, slots=True)
class AggregateReport:
    """A whole report; `begin` and `end` in seconds since 1970. `namespace` is empty in reports of RFC 7489."""

    org_name: str
    email: str
    report_id: str
    begin: int
    end: int
    policy: PolicyPublished
    records: tuple[Record, ...]
    extra_contact_info: str = ""
    errors: tuple[str, ...] = ()
    generator: str = ""
    namespace: str = ""
    defects: tuple[str, ...] = ()

    @property
    def messages(self) -> int:
        """How many messages it tells of."""
        return sum(record.messages for record in self.records)


def parse(octets: bytes) -> AggregateReport:
    """Read a report. Raises Malformed for what is no report at all, or has a document type."""
    # Here and below, late: libxml2 takes 4 MB, which a domain that has no report to read or write does not need.
    from letterlock.formats.reports import aggregate_xml

    return aggregate_xml.parse(octets)


def write(report: AggregateReport) -> bytes:
    """Return the report as XML by the schema of RFC 9990, in UTF-8. Raises Malformed where it has no record."""
    from letterlock.formats.reports import aggregate_xml

    return aggregate_xml.write(report)


def filename(report: AggregateReport, receiver: str, extension: str = "xml.gz") -> str:
    """Return the name of the attachment (RFC 9990, Email)."""
    unique = "".join(character for character in report.report_id if character.isalnum())[-24:]
    return f"{receiver}!{report.policy.domain}!{report.begin}!{report.end}!{unique}.{extension}"


def merge(records: Iterable[Record]) -> tuple[Record, ...]:
    """Put records together that differ only in their count, in order of first appearance."""
    counts: dict[Record, int] = {}
    for record in records:
        key = record._replace(messages=0)
        counts[key] = counts.get(key, 0) + record.messages
    return tuple(key._replace(messages=count) for key, count in counts.items())
