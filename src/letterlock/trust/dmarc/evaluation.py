"""Does the domain in From vouch for this message, and what does its owner ask for if not?

`judge` takes the author domains and what SPF and DKIM found; `author_domains` takes them from a header section.

Standards: RFC 9989 section 5.3 (the receiver's steps), section 4.10 (tree walk), section 4.4 (alignment), section 11.5
(several author domains).
Limits: a From of `_LONGEST_FROM` octets, `MOST_AUTHORS` author domains; ten identifiers of DKIM.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from letterlock.errors import Malformed
from letterlock.formats import domain as domains
from letterlock.formats.defect import Kind
from letterlock.formats.dns.question import Outcome, Question
from letterlock.formats.grammar import Sort, tokens
from letterlock.formats.imf.addresses import parse_addresses
from letterlock.formats.imf.header import Header
from letterlock.trust.ask import Decision, ask
from letterlock.trust.dmarc.record import Mode, Policy, Record
from letterlock.trust.dmarc.tree_walk import Walk, walk_all
from letterlock.trust.dmarc.verdict import Identifier, Override, OverrideType, Result, Verdict

MOST_AUTHORS = 5
_LONGEST_FROM = 8000
_BEHIND_AT = re.compile(r"@[ \t]*([^\s@<>,;:()\"\[\]]+)")
_MOST_IDENTIFIERS = 10
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def author_domains(header: Header) -> tuple[str, ...]:
    """Return the domains in From, each once, as A-labels (RFC 9989 section 5.3.1).

    Where the list of authors is not what the grammar allows, every domain that stands behind an @ counts, because a
    reader may show any of them (RFC 9989 section 11.5). Raises Malformed where there is no From, more than one, an author
    without a usable domain, more than `MOST_AUTHORS`, or octets in it that no field may hold.
    """
    fields = header.get_all("From")
    if len(fields) != 1:
        problem = f"{len(fields)} From fields" if fields else "no From field"
        raise Malformed(f"the message has {problem}; it must have one", clause="RFC 5322 section 3.6.2")
    value = fields[0].unfolded
    if len(value) > _LONGEST_FROM:
        raise Malformed(f"From has {len(value)} octets", clause="RFC 9989 section 11.5")
    if _CONTROL.search(value):
        raise Malformed("a control character in From", clause="RFC 5322 section 3.2.3")
    listed = parse_addresses(fields[0].text)
    if not listed.mailboxes:
        raise Malformed("From names nobody", clause="RFC 9989 section 5.3.1")
    found = []
    for mailbox in listed.mailboxes:
        if "�" in mailbox.address:
            raise Malformed("octets in From that are not UTF-8", clause="RFC 6532 section 3.2")
        try:
            found.append(domains.to_ascii(mailbox.domain, underscores=True))
        except Malformed as error:
            problem = f"{mailbox.address[:80]!r} in From has no usable domain: {error.problem}"
            raise Malformed(problem, clause="RFC 9989 section 5.3.1") from None
    if any(defect.kind is Kind.BAD_ADDRESS for defect in listed.defects):
        found += _written_domains(fields[0].text)
    authors = tuple(dict.fromkeys(found))
    if len(authors) > MOST_AUTHORS:
        raise Malformed(f"From names {len(authors)} domains", clause="RFC 9989 section 11.5")
    return authors


def _written_domains(text: str) -> list[str]:
    """Return every domain name that stands behind an @ outside quoted strings and comments."""
    plain = "".join(
        f" {token.text}" if token.spaced else token.text
        for token in tokens(text, [])
        if token.sort not in (Sort.QUOTED, Sort.COMMENT)
    )
    found = []
    for match in _BEHIND_AT.finditer(plain):
        try:
            found.append(domains.to_ascii(match[1].strip("."), underscores=True))
        except Malformed:
            continue
    return found


def judge(
    authors: tuple[str, ...],
    spf: Identifier | None = None,
    dkim: tuple[Identifier, ...] = (),
    walks: Mapping[str, Walk] | None = None,
) -> Decision[Verdict]:
    """Judge a message by its author domains and what SPF (MAIL FROM only) and DKIM found.

    `walks` are tree walks made before, while SPF and DKIM were being checked. With several domains each is
    judged, and the worst verdict is the message's (RFC 9989 section 11.5).
    """
    if not authors or len(authors) > MOST_AUTHORS:
        reason = f"{len(authors)} author domains cannot be judged"
        return Verdict(Result.PERMERROR, authors[0] if authors else "", reason)
    verdicts = []
    for author in authors:
        verdicts.append((yield from _judge_one(author, spf, dkim, walks or {})))  # noqa: PERF401 - no comprehension yields
    return max(verdicts, key=_severity)


def _severity(verdict: Verdict) -> tuple[int, int]:
    order = (Result.PASS, Result.NONE, Result.PERMERROR, Result.TEMPERROR, Result.FAIL)
    return (verdict.disposition.strictness, order.index(verdict.result))


def _judge_one(
    author: str, spf: Identifier | None, dkim: tuple[Identifier, ...], walks: Mapping[str, Walk]
) -> Decision[Verdict]:
    walk = walks.get(author) or (yield from walk_all((author,)))[author]
    discovered = _discover(walk)
    if discovered is None:
        if walk.failed:
            return Verdict(Result.TEMPERROR, author, walk.failed, problems=walk.problems)
        reason = f"no DMARC record at {author} or above it"
        return Verdict(Result.NONE, author, reason, problems=walk.problems)
    name, found = discovered
    if not found.is_usable:
        reason = f"the record at {name} has no valid policy and nowhere to report to"
        problems = (*walk.problems, *found.problems)
        return Verdict(Result.PERMERROR, author, reason, record_domain=name, record=found, problems=problems)
    exists = yield from _exists(author, name, found)
    if exists is None:
        return Verdict(Result.TEMPERROR, author, f"whether {author} exists could not be looked up")
    policy, tag = found.policy_for(is_subdomain=author != name, exists=exists)
    alignment = yield from _align(walk, found, spf, dkim[:_MOST_IDENTIFIERS])
    return _conclude(author, walk, name, found, policy, tag, alignment)


def _discover(walk: Walk) -> tuple[str, Record] | None:
    """Return where the applicable record stands, and the record (RFC 9989 section 4.10.1)."""
    own = walk.at(walk.start)
    if own is not None:
        return walk.start, own
    if walk.failed:
        return None
    organization = walk.organizational_domain
    found = walk.at(organization)
    return (organization, found) if found is not None else walk.public_suffix


def _exists(author: str, name: str, found: Record) -> Decision[bool | None]:
    """Tell whether the author domain exists, where np= makes it matter (RFC 9989 section 3.2.13)."""
    if author == name or found.np is None:
        return True
    answer = yield from ask(Question(author, "A"))
    if answer.outcome is Outcome.FAILED:
        return None
    return answer.outcome is not Outcome.NO_NAME


class _Alignment:
    """Which identifiers align, and what could not be told."""

    def __init__(self) -> None:
        self.spf = False
        self.dkim = False
        self.unknown = ""
        self.evidence = ""


def _align(walk: Walk, found: Record, spf: Identifier | None, dkim: tuple[Identifier, ...]) -> Decision[_Alignment]:
    """Compare every identifier that passes, or that might have, with the author domain (RFC 9989 section 4.10.2)."""
    candidates = [(one, found.adkim, "DKIM") for one in dkim] + ([(spf, found.aspf, "SPF")] if spf else [])
    candidates = [entry for entry in candidates if entry[0].result in ("pass", "temperror")]
    far = {one.domain for one, mode, _ in candidates if mode is Mode.RELAXED and one.domain != walk.start}
    walks = yield from walk_all(tuple(sorted(far)))
    alignment = _Alignment()
    for one, mode, method in candidates:
        close, unknown = _is_aligned(walk, one.domain, mode, walks)
        if unknown:
            alignment.unknown = alignment.unknown or unknown
        elif close and one.result == "temperror":
            alignment.unknown = alignment.unknown or f"{method} of {one.domain} could not be checked"
        elif close:
            alignment.spf |= method == "SPF"
            alignment.dkim |= method == "DKIM"
            alignment.evidence = alignment.evidence or f"{method} passes for {one.domain}"
    return alignment


def _is_aligned(walk: Walk, domain: str, mode: Mode, walks: dict[str, Walk]) -> tuple[bool, str]:
    if domain == walk.start:
        return True, ""
    if mode is Mode.STRICT:
        return False, ""
    other = walks[domain]
    if failed := walk.failed or other.failed:
        return False, failed
    return other.organizational_domain == walk.organizational_domain, ""


def _conclude(
    author: str, walk: Walk, name: str, found: Record, policy: Policy, tag: str, alignment: _Alignment
) -> Verdict:
    overrides: tuple[Override, ...] = ()
    applied = policy
    if found.is_testing and policy is not Policy.NONE:
        applied = policy.one_lower
        overrides = (Override(OverrideType.POLICY_TEST_MODE, f"t=y: {applied.value} instead of {policy.value}"),)
    disposition = Policy.NONE
    if alignment.spf or alignment.dkim:
        result, overrides = Result.PASS, ()
        reason = f"{alignment.evidence}, which is aligned with {author}"
    elif alignment.unknown:
        result, overrides = Result.TEMPERROR, ()
        reason = alignment.unknown
    else:
        result, disposition = Result.FAIL, applied
        reason = f"neither SPF nor DKIM passes for a domain aligned with {author}; {name} asks for {tag}={policy.value}"
    return Verdict(
        result,
        author,
        reason,
        policy,
        tag,
        applied,
        disposition,
        name,
        found,
        walk.organizational_domain,
        alignment.spf,
        alignment.dkim,
        overrides,
        (*walk.problems, *found.problems),
    )
