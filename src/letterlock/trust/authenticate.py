"""All that the DNS and the mathematics say of one message: SPF, DKIM, ARC and DMARC, and the field that reports them.

`Authentication` is made when the header section is there, takes the body in pieces, and its `judge` is one decision in
which every look-up that does not depend on another is asked in the same step.

Standards: RFC 7208, RFC 6376, RFC 8617, RFC 9989, RFC 8601 section 2.7 (how results are named and what they carry).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from letterlock.errors import Malformed
from letterlock.formats.authentication_results import AuthenticationResults, MethodResult, Property
from letterlock.formats.imf.header import Header
from letterlock.trust import arc, dkim, dmarc, spf
from letterlock.trust.arc import Verdict as ArcVerdict
from letterlock.trust.ask import Decision, together
from letterlock.trust.dkim import Verdict as DkimVerdict
from letterlock.trust.dmarc import Result as DmarcResult
from letterlock.trust.dmarc import Verdict as DmarcVerdict
from letterlock.trust.dmarc.tree_walk import Walk, walk_all
from letterlock.trust.spf import Verdict as SpfVerdict


@dataclass(frozen=True, slots=True)
class Client:
    """Who handed the message over: `address`, the EHLO name, and the reverse path ("" is the null sender)."""

    address: str
    helo: str
    mail_from: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """The verdicts. `spf` is None where no client is known; `helo` is the verdict on the EHLO name itself, if judged.

    `authors` are the domains in From; where From cannot be used, `author_problem` says why and DMARC is a permerror.
    """

    spf: SpfVerdict | None
    helo: SpfVerdict | None
    dkim: DkimVerdict
    arc: ArcVerdict
    dmarc: DmarcVerdict
    authors: tuple[str, ...] = ()
    author_problem: str = ""

    @property
    def has_temporary_error(self) -> bool:
        """Whether the outcome rests on something that could not be looked up."""
        return self.dmarc.result is DmarcResult.TEMPERROR


class Authentication:
    """The checks on one message."""

    def __init__(self, header: Header, client: Client | None, *, receiver: str = "unknown") -> None:
        self._client = client
        self._receiver = receiver
        self._bodies = dkim.BodyHashes()
        fields = dkim.Fields(header)
        self._dkim = dkim.Verification(fields, self._bodies)
        self._arc = arc.Validation(fields, self._bodies)
        self._authors: tuple[str, ...] = ()
        self._author_problem = ""
        try:
            self._authors = dmarc.author_domains(header)
        except Malformed as error:
            self._author_problem = str(error)

    def feed(self, octets: bytes) -> None:
        """Take the next piece of the body."""
        self._bodies.feed(octets)

    def judge(self, now: int, spf_before: tuple[SpfVerdict, SpfVerdict | None] | None = None) -> Decision[Findings]:
        """Judge everything as of `now`; `spf_before` are the verdicts on MAIL FROM and EHLO given before DATA."""
        decisions: list[Decision[object]] = [
            self._dkim.judge(now),
            self._arc.judge(now),
            walk_all(self._authors[: dmarc.MOST_AUTHORS]),
        ]
        client = self._client if spf_before is None else None
        if client is not None:
            decisions += judge_client(client, now, self._receiver)
        results = yield from together(decisions)
        mail_from, helo = spf_before or (None, None)
        if client is not None:
            mail_from = cast(spf.Verdict, results[3])
            helo = cast(spf.Verdict, results[4]) if len(results) > 4 else None
        dkim_verdict = cast(dkim.Verdict, results[0])
        if self._author_problem:
            dmarc_verdict = dmarc.Verdict(dmarc.Result.PERMERROR, "", self._author_problem)
        else:
            walks = cast(Mapping[str, Walk], results[2])
            dmarc_verdict = yield from dmarc.judge(
                self._authors, spf_identifier(mail_from), dkim_identifiers(dkim_verdict), walks
            )
        return Findings(
            mail_from,
            helo,
            dkim_verdict,
            cast(arc.Verdict, results[1]),
            dmarc_verdict,
            self._authors,
            self._author_problem,
        )


def judge_client(client: Client, now: int, receiver: str = "unknown") -> list[Decision[object]]:
    """Return the SPF decisions for a client: on MAIL FROM, and on EHLO where it is another identity."""
    decisions: list[Decision[object]] = [
        spf.judge(client.address, client.helo, client.mail_from, receiver=receiver, now=now)
    ]
    if client.mail_from and client.helo:  # RFC 7208 section 2.3
        decisions.append(spf.judge(client.address, client.helo, receiver=receiver, now=now))
    return decisions


def spf_identifier(verdict: spf.Verdict | None) -> dmarc.Identifier | None:
    """Return what DMARC takes from SPF: the MAIL FROM identity, which for a null sender is postmaster at EHLO."""
    # RFC 9989 section 3.2.4
    return None if verdict is None else dmarc.Identifier(verdict.domain, verdict.result.value)


def dkim_identifiers(verdict: dkim.Verdict) -> tuple[dmarc.Identifier, ...]:
    """Return what DMARC takes from DKIM, passing signatures first."""
    found = [dmarc.Identifier(one.domain, one.result.value, one.selector) for one in verdict.signatures if one.domain]
    return tuple(sorted(found, key=lambda one: one.result != "pass"))


def authentication_results(findings: Findings, authserv_id: str, client: Client | None) -> AuthenticationResults:
    """Return the verdicts as the field of RFC 8601 reports them."""
    results: list[MethodResult] = []
    if findings.spf is not None and client is not None:
        results.append(_spf_result(findings.spf, client))
    if findings.helo is not None and client is not None:
        results.append(MethodResult("spf", findings.helo.result.value, (Property("smtp", "helo", client.helo),)))
    results += [_dkim_result(one) for one in findings.dkim.signatures] or [MethodResult("dkim", "none")]
    if findings.arc.result is not arc.Result.NONE:
        results.append(_arc_result(findings.arc, client))
    results.append(_dmarc_result(findings))
    return AuthenticationResults(authserv_id, tuple(results))


def _spf_result(verdict: spf.Verdict, client: Client) -> MethodResult:
    is_helo = verdict.identity is spf.Identity.HELO
    name, value = ("helo", client.helo) if is_helo else ("mailfrom", client.mail_from)
    return MethodResult("spf", verdict.result.value, (Property("smtp", name, value),), comments=(verdict.reason,))


def _dkim_result(verdict: dkim.SignatureVerdict) -> MethodResult:
    signature = verdict.signature
    comment = f"{verdict.key_bits}-bit key" if verdict.result is dkim.Result.PASS else verdict.reason
    if signature is None:
        return MethodResult("dkim", verdict.result.value, comments=(comment,))
    properties = [
        Property("header", "d", signature.domain),
        Property("header", "i", signature.identity),
        Property("header", "s", signature.selector),
        Property("header", "a", signature.algorithm),
        # RFC 6008 section 4: the first eight characters tell signatures of one domain apart
        Property("header", "b", base64.b64encode(signature.signature).decode()[:8]),
    ]
    return MethodResult("dkim", verdict.result.value, tuple(properties), comments=(comment,))


def _arc_result(verdict: arc.Verdict, client: Client | None) -> MethodResult:
    # RFC 8617 section 10.2
    properties = (Property("smtp", "remote-ip", client.address),) if client is not None else ()
    return MethodResult("arc", verdict.result.value, properties, comments=(verdict.reason,))


def _dmarc_result(findings: Findings) -> MethodResult:
    verdict = findings.dmarc
    comments = [verdict.reason]
    if verdict.policy is not None:
        comments.insert(0, f"{verdict.policy_tag}={verdict.policy.value} dis={verdict.disposition.value}")
    properties = [Property("header", "from", verdict.author_domain)] if verdict.author_domain else []
    if verdict.applied_policy is not None:
        # RFC 9989 section 9.1
        properties.append(Property("policy", "dmarc", verdict.applied_policy.value))
    return MethodResult("dmarc", verdict.result.value, tuple(properties), comments=tuple(comments))
