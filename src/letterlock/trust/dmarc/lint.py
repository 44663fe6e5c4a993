"""What the owner of a DMARC record should know of it, and a builder of records that are right.

Standards: RFC 9989 section 4.7, section 5.1 (what domain owners do), RFC 9990 (external destinations).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from letterlock.formats.dns.question import Outcome, Question
from letterlock.trust.ask import Decision, ask
from letterlock.trust.dmarc import destination, record
from letterlock.trust.dmarc.record import Policy, Record, parse_uri
from letterlock.trust.dmarc.tree_walk import walk_all


@dataclass(frozen=True, slots=True)
class Report:
    """A record with what is wrong (`errors`) and what could be better (`warnings`).

    `record_domain` is where it stands: the domain itself, or the one whose record applies to it.
    """

    domain: str
    record_domain: str
    record: Record | None
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    is_known: bool = True


def lint(domain: str, text: str | None = None) -> Decision[Report]:
    """Examine the record that applies to `domain`, or `text` as if it stood there."""
    if text is not None:
        if not record.is_dmarc(text.encode()):
            return Report(domain, "", None, ("the text does not begin with v=DMARC1",))
        return (yield from _examine(domain, domain, record.parse(text.encode())))
    walk = (yield from walk_all((domain,)))[domain]
    if walk.failed:
        return Report(domain, "", None, (walk.failed,), is_known=False)
    found = walk.at(domain)
    name = domain
    if found is None:
        name = walk.organizational_domain
        found = walk.at(name)
    if found is None:
        problems = (*walk.problems, f"no DMARC record at {domain} or above it")
        return Report(domain, "", None, problems)
    report = yield from _examine(domain, name, found)
    return Report(domain, name, found, (*walk.problems, *report.errors), report.warnings, report.is_known)


def _examine(domain: str, name: str, found: Record) -> Decision[Report]:
    errors: list[str] = list(found.problems)
    warnings: list[str] = []
    policy, tag = found.policy_for(is_subdomain=domain != name, exists=True)
    if not found.is_usable:
        errors.append("without a valid policy and a reporting address the record is ignored")
    if policy is Policy.NONE:
        warnings.append(f"{tag}=none only watches; forged mail is delivered")
    elif found.is_testing:
        warnings.append(f"t=y lowers {policy.value} to {policy.one_lower.value}")
    if found.sp is not None and found.p is not None and found.sp.strictness < found.p.strictness:
        warnings.append(f"sp={found.sp.value} protects subdomains less than p={found.p.value} the domain")
    warnings += [f"{withdrawn}= is withdrawn and changes nothing (RFC 9989)" for withdrawn in found.withdrawn]
    if not found.rua:
        warnings.append("without rua= nobody reports who sends as this domain")
    is_known = True
    for kind, uris in (("rua", found.rua), ("ruf", found.ruf)):
        for uri in uris:
            problem, known = yield from _destination_problem(name, uri, kind)
            is_known = is_known and known
            if problem:
                errors.append(f"{kind}={uri.uri}: {problem}")
    return Report(domain, name, found, tuple(errors), tuple(warnings), is_known)


def _destination_problem(name: str, uri: record.ReportUri, kind: str) -> Decision[tuple[str, bool]]:
    if uri.scheme not in ("mailto", "https"):
        return f"reporters do not send by {uri.scheme}", True
    verified = yield from destination.verify(name, uri, kind)
    if not verified.uris:
        return verified.reason, verified.is_known
    if uri.scheme == "mailto":
        answer = yield from ask(Question(uri.host, "MX"))
        if answer.outcome is Outcome.FAILED:
            return f"{uri.host} MX could not be looked up: {answer.reason}", False
        if not answer.records:
            address = yield from ask(Question(uri.host, "A"))
            if address.outcome.is_absent:
                return f"{uri.host} takes no mail", True
    return "", True


def build(
    policy: Policy,
    *,
    subdomains: Policy | None = None,
    nonexistent: Policy | None = None,
    reports_to: Sequence[str] = (),
    failures_to: Sequence[str] = (),
    strict_dkim: bool = False,
    strict_spf: bool = False,
    is_testing: bool = False,
) -> str:
    """Return a record; addresses without a scheme get mailto:. Raises Malformed for what is no URI."""
    tags = ["v=DMARC1", f"p={policy.value}"]
    if subdomains is not None:
        tags.append(f"sp={subdomains.value}")
    if nonexistent is not None:
        tags.append(f"np={nonexistent.value}")
    if strict_dkim:
        tags.append("adkim=s")
    if strict_spf:
        tags.append("aspf=s")
    if is_testing:
        tags.append("t=y")
    for name, texts in (("rua", reports_to), ("ruf", failures_to)):
        uris = [parse_uri(text if ":" in text else f"mailto:{text}").uri for text in texts]
        if uris:
            tags.append(f"{name}={','.join(uris)}")
    return "; ".join(tags)
