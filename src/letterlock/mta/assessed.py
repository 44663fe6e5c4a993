"""The ledger's entry for an assessed message: what reports, the trace of a message and its explanation are made from.

Kind "assessed"; its domain is where the DMARC record stands that applied, or empty. Recipients are kept as domains only.
"""

from __future__ import annotations

from letterlock.formats.imf.header import Header
from letterlock.host.ledger import Entry, Fact
from letterlock.mta.arrival import Arrival
from letterlock.mta.assess_smime import SmimeFound, method_result
from letterlock.trust import dkim, spf
from letterlock.trust.authenticate import Client, Findings
from letterlock.trust.smime.proof import Proof

KIND = "assessed"
_MOST_SIGNATURES = 100


def assessed_entry(
    arrival: Arrival,
    header: Header,
    client: Client | None,
    findings: Findings,
    disposition: str,
    forged: tuple[tuple[int, int], ...],
    smime: SmimeFound | None = None,
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
        "smime": smime_facts(smime.proof if smime and smime.is_judged else None),
        "removed_fields": [header.octets[start:end].decode("utf-8", "replace")[:1000] for start, end in forged],
    }
    return Entry(arrival.received_at, KIND, arrival.id, verdict.record_domain, facts)


def smime_facts(proof: Proof | None) -> Fact:
    """Return what the ledger keeps of the signatures of people: none at all is the result "none"."""
    if proof is None or not proof.signers:
        return {"result": "none", "reason": "", "sentence": proof.sentence if proof else ""}
    signer, result = proof.signers[0], method_result(proof)
    return {
        "result": result.result,
        "reason": result.reason,
        "sentence": proof.sentence,
        "address": signer.address,
        "serial": f"{signer.certificate.serial:x}" if signer.certificate else "",
        "issuer": str(signer.certificate.issuer) if signer.certificate else "",
        "signature": signer.signature,
        "signing_time": signer.signing_time.isoformat() if signer.signing_time else "",
        "coverage": proof.coverage.value,
        "revocation": signer.revocation.value,
        "layers": [*proof.layers],
        "faults": [*proof.faults[:10]],
        "warnings": [*proof.warnings[:10]],
    }


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
