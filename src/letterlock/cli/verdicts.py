"""How verdicts look in JSON and on a terminal, the same in every command; their keys are a promise."""

from __future__ import annotations

from collections.abc import Iterable

import click

from letterlock.cli.output import Exit, safe
from letterlock.mta.border.client import Standing
from letterlock.trust import arc, dkim, dmarc, spf

Json = dict[str, object]
_COLORS = {
    "pass": "green",
    "none": "yellow",
    "neutral": "yellow",
    "softfail": "yellow",
    "policy": "yellow",
    "temperror": "yellow",
}


def styled(result: str) -> str:
    """Return a result name in its colour."""
    return click.style(result, fg=_COLORS.get(result, "red"), bold=True)


def standing_json(standing: Standing) -> Json | None:
    """The JSON of what is known of a client, or None for one that was not looked at."""
    facts = standing.facts
    if facts is None:
        return None
    return {
        "address": facts.address,
        "iprev": facts.iprev.value,
        "name": facts.name,
        "points": standing.points,
        "findings": [{"points": one.points, "sentence": one.sentence} for one in standing.findings],
        "unknown": list(facts.unknown),
    }


def standing_lines(standing: Standing) -> Iterable[str]:
    """What is known of a client, for people."""
    facts = standing.facts
    if facts is None:
        yield "the client is not looked at (limits.exempt)"
        return
    yield f"iprev {styled(facts.iprev.value)} for {safe(facts.address)}: {safe(facts.name or facts.reason)}"
    for sentence in (*standing.sentences, *(f"?? {problem}" for problem in facts.unknown)):
        yield f"  {safe(sentence)}"


def exit_code(result: str) -> Exit:
    """Return the exit code for a result: pass is right, temperror is unknown, all else is not right."""
    return Exit.OK if result == "pass" else Exit.UNKNOWN if result == "temperror" else Exit.WRONG


def spf_json(verdict: spf.Verdict) -> Json:
    """The JSON of an SPF verdict."""
    return {
        "result": verdict.result.value,
        "identity": verdict.identity.value,
        "domain": verdict.domain,
        "reason": verdict.reason,
        "explanation": verdict.explanation,
        "lookups": verdict.lookups,
        "void_lookups": verdict.void_lookups,
        "blamed": list(verdict.blamed),
        "trace": [
            {"depth": one.depth, "domain": one.domain, "term": one.term, "finding": one.finding, "lookups": one.lookups}
            for one in verdict.trace
        ],
    }


def spf_lines(verdict: spf.Verdict) -> Iterable[str]:
    """An SPF verdict for people."""
    yield f"SPF {styled(verdict.result.value)} for {safe(verdict.domain)} ({verdict.identity.value}): {safe(verdict.reason)}"
    if verdict.explanation:
        yield f"  its owner says: {safe(verdict.explanation)}"
    if len(verdict.blamed) > 1:
        yield f"  decided at {safe(' > '.join(verdict.blamed))}"
    for one in verdict.trace:
        yield f"  {'  ' * one.depth}{safe(one.domain)}: {safe(one.term)}: {safe(one.finding)}"


def signature_json(verdict: dkim.SignatureVerdict) -> Json:
    """The JSON of one DKIM signature."""
    return {
        "result": verdict.result.value,
        "domain": verdict.domain,
        "selector": verdict.selector,
        "algorithm": verdict.algorithm,
        "body_hash": verdict.body_hash.value,
        "header_signature": verdict.header_signature.value,
        "reason": verdict.reason,
        "warnings": list(verdict.warnings),
        "key_bits": verdict.key_bits,
        "key_security": verdict.key_security.value,
    }


def dkim_json(verdict: dkim.Verdict) -> Json:
    """The JSON of all DKIM signatures."""
    return {"result": verdict.result.value, "signatures": [signature_json(one) for one in verdict.signatures]}


def dkim_lines(verdict: dkim.Verdict) -> Iterable[str]:
    """DKIM verdicts for people."""
    if not verdict.signatures:
        yield f"DKIM {styled('none')}: the message is not signed"
    for one in verdict.signatures:
        who = f" for {safe(one.domain)} (selector {safe(one.selector)}, {one.algorithm})" if one.domain else ""
        yield f"DKIM {styled(one.result.value)}{who}: {safe(one.reason)}"
        for warning in one.warnings:
            yield f"  warning: {safe(warning)}"


def arc_json(verdict: arc.Verdict) -> Json:
    """The JSON of an ARC chain."""
    return {
        "result": verdict.result.value,
        "reason": verdict.reason,
        "sets": [
            {
                "instance": one.instance,
                "domain": one.domain,
                "selector": one.selector,
                "cv": one.chain_validation.value,
                "results": {result.method: result.result for result in one.results.results} if one.results else None,
            }
            for one in verdict.sets
        ],
    }


def arc_lines(verdict: arc.Verdict) -> Iterable[str]:
    """An ARC chain for people."""
    yield f"ARC {styled(verdict.result.value)}: {safe(verdict.reason)}"
    for one in verdict.sets:
        found = ", ".join(f"{result.method}={result.result}" for result in one.results.results) if one.results else "?"
        yield f"  {one.instance}. {safe(one.domain)} found the chain {one.chain_validation.value}, and {safe(found)}"


def dmarc_json(verdict: dmarc.Verdict) -> Json:
    """The JSON of a DMARC verdict."""
    return {
        "result": verdict.result.value,
        "policy": verdict.policy.value if verdict.policy else None,
        "applied_policy": verdict.applied_policy.value if verdict.applied_policy else None,
        "disposition": verdict.disposition.value,
        "record_domain": verdict.record_domain or None,
        "alignment": {"spf": verdict.spf_aligned, "dkim": verdict.dkim_aligned},
        "reason": verdict.reason,
        "author_domain": verdict.author_domain,
        "organizational_domain": verdict.organizational_domain or None,
        "policy_tag": verdict.policy_tag or None,
        "overrides": [{"type": one.type.value, "comment": one.comment} for one in verdict.overrides],
        "problems": list(verdict.problems),
    }


def dmarc_lines(verdict: dmarc.Verdict) -> Iterable[str]:
    """A DMARC verdict for people."""
    who = f" for {safe(verdict.author_domain)}" if verdict.author_domain else ""
    yield f"DMARC {styled(verdict.result.value)}{who}: {safe(verdict.reason)}"
    if verdict.policy is not None and verdict.applied_policy is not None:
        lowered = f", {verdict.applied_policy.value} after t=y" if verdict.applied_policy is not verdict.policy else ""
        yield (
            f"  {safe(verdict.record_domain)} publishes {verdict.policy_tag}={verdict.policy.value}{lowered}; "
            f"disposition {verdict.disposition.value}"
        )
    for problem in verdict.problems:
        yield f"  warning: {safe(problem)}"
