"""The ledger's entry for an assessed message: what reports, the trace of a message and its explanation are made from.

Kind "assessed"; its domain is where the DMARC record stands that applied, or empty. Recipients are kept as domains only.
"""

from __future__ import annotations

from letterlock.formats.authentication_results import MethodResult
from letterlock.formats.imf.header import Header
from letterlock.host.ledger import Entry, Fact
from letterlock.mta.arrival import Arrival
from letterlock.trust import dkim, spf
from letterlock.trust.authenticate import Client, Findings

KIND = "assessed"
_MOST_SIGNATURES = 100


def assessed_entry(
    arrival: Arrival,
    header: Header,
    client: Client | None,
    findings: Findings,
    disposition: str,
    forged: tuple[tuple[int, int], ...],
    smime: MethodResult | None = None,
) -> Entry:
    """Return the entry. `disposition` is delivered, junk, refused or deferred."""
    verdict = findings.dmarc
    record = verdict.record
    facts: dict[str, Fact] = {
        "client": client.address if client else "",
        "helo": client.helo if client else "",
        "client_name": arrival.standing.name,
        "client_findings": [*arrival.standing.sentences],
        "mail_from": client.mail_from.rpartition("@")[2] if client else "",
        "recipient_domains": [*dict.fromkeys(one.forward_path.domain for one in arrival.envelope.recipients)],
        "message_id": header.text("Message-ID")[:200],
        "author_domain": verdict.author_domain,
        "disposition": disposition,
        "spf": _spf(findings.spf),
        "helo_spf": _spf(findings.helo),
        "dkim": [_signature(one) for one in findings.dkim.signatures[:_MOST_SIGNATURES]],
        "arc": {"result": findings.arc.result.value, "sealers": [*findings.arc.sealers]},
        "dmarc": {
            "result": verdict.result.value,
            "policy": verdict.policy.value if verdict.policy else "",
            "policy_tag": verdict.policy_tag,
            "applied_policy": verdict.applied_policy.value if verdict.applied_policy else "",
            "disposition": verdict.disposition.value,
            "spf_aligned": verdict.spf_aligned,
            "dkim_aligned": verdict.dkim_aligned,
            "organizational_domain": verdict.organizational_domain,
            "reason": verdict.reason,
            "overrides": [[one.type.value, one.comment] for one in verdict.overrides],
            "problems": [*verdict.problems],
            "record": record.text if record else "",
        },
        "smime": {"result": smime.result, "reason": smime.reason} if smime else {"result": "none", "reason": ""},
        "removed_fields": [header.octets[start:end].decode("utf-8", "replace")[:1000] for start, end in forged],
    }
    return Entry(arrival.received_at, KIND, arrival.id, verdict.record_domain, facts)


def _spf(verdict: spf.Verdict | None) -> Fact:
    if verdict is None:
        return None
    return {"result": verdict.result.value, "domain": verdict.domain, "reason": verdict.reason}


def _signature(verdict: dkim.SignatureVerdict) -> Fact:
    return {
        "result": verdict.result.value,
        "domain": verdict.domain,
        "selector": verdict.selector,
        "reason": verdict.reason,
        "key_security": verdict.key_security.value,
    }
