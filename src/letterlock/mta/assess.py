"""What is a message at the border worth? SPF before DATA; then DKIM, ARC and DMARC; then a disposition.

The order is that of the receiver in the text books: standard tests first (`Test`s that the site plugs in: lists, rate
limits), then who the author is, then signatures and SPF, alignment, policy; then deliver, junk, refuse or defer; and
what was found goes to the ledger, from which reports are made. Every look-up that does not depend on another goes out
with the others. What came examined (mta/examination.py) is only judged here.

Promises: what rests on a look-up that failed is deferred (451), never accepted unchecked and never refused. A field that
claims to be our Authentication-Results and is not goes before the message is stored, after it was verified as it came;
the ledger keeps what was taken out.

Standards: RFC 9989 section 5.3 and 5.4, RFC 7208 section 8, RFC 8601 section 5 (forged fields), RFC 7372 (status codes).
"""

from __future__ import annotations

import dataclasses
import datetime
import ipaddress
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from letterlock.formats import authentication_results
from letterlock.formats import domain as domains
from letterlock.formats.address import Address
from letterlock.formats.imf.header import Header
from letterlock.host.drive_decisions import drive
from letterlock.host.ledger import Ledger
from letterlock.host.resolver.interface import Resolver
from letterlock.mta.arrival import Arrival, Assessment, Evidence
from letterlock.mta.assess_smime import ByAnchors, Judge, SmimeFound, find_smime, may_be_signed
from letterlock.mta.assessed import assessed_entry
from letterlock.mta.border.border import Border
from letterlock.mta.examination import Examination
from letterlock.protocols.smtp.reply import Reply, reply
from letterlock.trust import arc, dmarc, spf
from letterlock.trust.ask import together
from letterlock.trust.authenticate import (
    Authentication,
    Client,
    Findings,
    judge_client,
)
from letterlock.trust.authenticate import (
    authentication_results as results_of,
)
from letterlock.trust.dmarc import Override, OverrideType, Policy
from letterlock.trust.pkix.path import Anchor

_REMEMBERED = 4096

# A site's own test: refuse (or defer) an arrival before anything else, or None. Lists and rate limits stand here.
Test = Callable[[Arrival], Awaitable[Reply | None]]
# Hears of every assessed message: its header, the findings, the client, and delivered, junk, refused or deferred.
Observe = Callable[[Header, Findings, Client, str], None]
SpfVerdicts = tuple[spf.Verdict, spf.Verdict | None]


@dataclass(frozen=True, slots=True)
class AssessSettings:
    """What a site decides.

    `authserv_id` is our name in Authentication-Results. `trusted_forwarders` are networks whose forwarded mail is taken
    although it fails, `trusted_sealers` domains whose ARC seals are believed. `spf_fail` is what happens to mail that
    fails SPF where DMARC says nothing. `smime_anchors` are authorities with which S/MIME signatures are judged; without
    any, they are not.
    """

    authserv_id: str
    junk_mailbox: str = "Junk"
    honours_reject: bool = True
    refuses_unusable_authors: bool = True
    spf_fail: Policy = Policy.QUARANTINE
    trusted_forwarders: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    trusted_sealers: tuple[str, ...] = ()
    smime_anchors: tuple[Anchor, ...] = ()


@dataclass(slots=True)
class Assessor:
    """Assesses arrivals; give it to the inbound service. `tests` are tried in order before anything else,
    `observe` hears of every outcome, `border` has the last word on what nothing else refused; `smime` says by what
    signatures of people are judged, in place of the settings.
    """

    settings: AssessSettings
    resolver: Resolver
    ledger: Ledger | None = None
    tests: tuple[Test, ...] = ()
    observe: Observe | None = None
    border: Border | None = None
    smime: Judge | None = None
    _senders: OrderedDict[tuple[str, str, str], SpfVerdicts] = field(default_factory=OrderedDict)

    async def sender(self, address: str, helo: str, reverse_path: Address | None, now: float) -> Reply | None:
        """Judge SPF while the client still waits for DATA; a refusal only where a domain says that it sends no mail."""
        client = _client(address, helo, reverse_path)
        if client is None:
            return None
        verdicts = await self._judge_spf(client, int(now))
        self._senders[client.address, client.helo, client.mail_from] = verdicts
        while len(self._senders) > _REMEMBERED:
            self._senders.popitem(last=False)
        verdict = verdicts[0]
        if verdict.result is spf.Result.FAIL and _sends_nothing(verdict):
            # RFC 7372 section 3.2
            return reply(550, "5.7.23", f"{verdict.domain} says that it sends no mail (SPF)")
        return None

    def examine(self, address: str, helo: str, reverse_path: Address | None) -> Examination:
        """Begin to examine a message while it comes."""
        return Examination(_client(address, helo, reverse_path), receiver=self.settings.authserv_id)

    async def __call__(self, arrival: Arrival) -> Assessment:
        """Assess a whole message."""
        for test in self.tests:
            refusal = await test(arrival)
            if refusal is not None:
                return Assessment(refusal=refusal, remarks=(("refused_by", "a test of the site"),))
        if arrival.user:
            return Assessment()  # submission has its own rules
        header, checks = (await self._examined(arrival)).finish()
        client = _client(arrival.client.host, arrival.client_name, arrival.envelope.reverse_path)
        findings = await self._judge(checks, client, int(arrival.received_at))
        findings = dataclasses.replace(findings, dmarc=self._with_local_policy(findings, client))
        results = results_of(findings, self.settings.authserv_id, client)
        results = dataclasses.replace(results, results=(*arrival.standing.results(), *arrival.found, *results.results))
        judge = self._smime_judge
        smime = await self._judge_smime(arrival, header, judge)
        if smime is not None and smime.result is not None:
            results = dataclasses.replace(results, results=(*results.results, smime.result))
        forged = forged_fields(header, self.settings.authserv_id)
        assessment = self._dispose(findings)
        if self.border is not None and assessment.refusal is None:
            is_authentic = findings.dmarc.result is dmarc.Result.PASS
            assessment = self.border.conclude(arrival, assessment, is_authentic=is_authentic)
        disposition = _disposition(assessment)
        if self.ledger is not None:
            self.ledger.append(assessed_entry(arrival, header, client, findings, disposition, forged, smime))
        if self.observe is not None and client is not None:
            self.observe(header, findings, client, disposition)
        if assessment.refusal is not None:
            return assessment
        if smime is not None and judge is not None:
            judge.heard(header, smime, _moment(arrival))
        return dataclasses.replace(
            assessment,
            fields=authentication_results.write(results),
            content=without(arrival.content, forged) if forged else None,
            evidence=Evidence(findings.arc, results),
        )

    async def _judge_spf(self, client: Client, now: int) -> SpfVerdicts:
        results = await drive(together(judge_client(client, now, self.settings.authserv_id)), self.resolver)
        first, second = results[0], results[1] if len(results) > 1 else None
        assert isinstance(first, spf.Verdict)
        assert second is None or isinstance(second, spf.Verdict)
        return first, second

    async def _examined(self, arrival: Arrival) -> Examination:
        if arrival.examination is not None:
            return arrival.examination
        examination = self.examine(arrival.client.host, arrival.client_name, arrival.envelope.reverse_path)
        await examination.take_all(arrival.content)
        return examination

    async def _judge(self, checks: Authentication, client: Client | None, now: int) -> Findings:
        before = None
        if client is not None:
            before = self._senders.pop((client.address, client.helo, client.mail_from), None)
        return await drive(checks.judge(now, before), self.resolver)

    @property
    def _smime_judge(self) -> Judge | None:
        if self.smime is not None:
            return self.smime
        return ByAnchors(self.settings.smime_anchors) if self.settings.smime_anchors else None

    async def _judge_smime(self, arrival: Arrival, header: Header, judge: Judge | None) -> SmimeFound | None:
        """Judge S/MIME signatures."""
        if judge is None or not may_be_signed(header):
            return None
        return await find_smime(b"".join(arrival.content), header, judge, _moment(arrival))

    def _with_local_policy(self, findings: Findings, client: Client | None) -> dmarc.Verdict:
        """Return the DMARC verdict after what this site knows of forwarders and lists (RFC 9989 section 5.4)."""
        overrides = []
        if client is not None:
            address = ipaddress.ip_address(client.address)
            if any(address in network for network in self.settings.trusted_forwarders):
                overrides.append(Override(OverrideType.TRUSTED_FORWARDER, f"{address} forwards mail for people here"))
        if self._is_vouched_for(findings):
            # RFC 8617 section 7.2.2: how an override by ARC is reported
            sealers = ", ".join(findings.arc.sealers)
            overrides.append(Override(OverrideType.LOCAL_POLICY, f"arc=pass as.domains={sealers}"))
        return findings.dmarc.overridden(*overrides)

    def _is_vouched_for(self, findings: Findings) -> bool:
        """Whether handlers we trust sealed the message and the first of them found DMARC to pass."""
        chain = findings.arc
        if chain.result is not arc.Result.PASS or not self.settings.trusted_sealers:
            return False
        trusted = all(
            any(domains.is_within(sealer, known) for known in self.settings.trusted_sealers) for sealer in chain.sealers
        )
        first = chain.sets[0].results
        return trusted and first is not None and any(one.result == "pass" for one in first.of("dmarc"))

    def _dispose(self, findings: Findings) -> Assessment:
        """Turn the verdicts into what becomes of the message."""
        verdict = findings.dmarc
        remarks = (
            ("spf", findings.spf.result.value if findings.spf else "none"),
            ("dkim", findings.dkim.result.value),
            ("arc", findings.arc.result.value),
            ("dmarc", verdict.result.value),
            ("author_domain", verdict.author_domain),
            ("disposition", verdict.disposition.value),
        )
        if findings.author_problem and self.settings.refuses_unusable_authors:
            return Assessment(refusal=reply(550, "5.7.1", findings.author_problem), remarks=remarks)
        if unknown := _unknown(findings):
            return Assessment(refusal=reply(451, "4.4.3", f"Try again later: {unknown}"), remarks=remarks)
        if verdict.disposition is Policy.REJECT and self.settings.honours_reject:
            status = "5.7.26" if _failed_several(findings) else "5.7.1"
            text = f"Refused by the DMARC policy of {verdict.record_domain}: {verdict.reason}"
            return Assessment(refusal=reply(550, status, text), remarks=remarks)
        if verdict.disposition is not Policy.NONE:
            return Assessment(mailbox=self.settings.junk_mailbox, remarks=remarks)
        if verdict.result is dmarc.Result.NONE and findings.spf and findings.spf.result is spf.Result.FAIL:
            return self._dispose_spf_fail(findings.spf, remarks)
        if findings.author_problem:
            return Assessment(mailbox=self.settings.junk_mailbox, remarks=remarks)
        return Assessment(remarks=remarks)

    def _dispose_spf_fail(self, verdict: spf.Verdict, remarks: tuple[tuple[str, str], ...]) -> Assessment:
        match self.settings.spf_fail:
            case Policy.REJECT:
                text = verdict.explanation or verdict.reason
                return Assessment(refusal=reply(550, "5.7.23", f"SPF of {verdict.domain}: {text}"), remarks=remarks)
            case Policy.QUARANTINE:
                return Assessment(mailbox=self.settings.junk_mailbox, remarks=remarks)
            case Policy.NONE:
                return Assessment(remarks=remarks)


def _moment(arrival: Arrival) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(arrival.received_at), datetime.UTC)


def _client(address: str, helo: str, reverse_path: Address | None) -> Client | None:
    """Return the client as SPF sees it, or None where it has no IP address (a Unix socket)."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return None
    return Client(address, helo, f"{reverse_path.local_part}@{reverse_path.domain}" if reverse_path else "")


def _sends_nothing(verdict: spf.Verdict) -> bool:
    return verdict.mechanism == "-all" and len(verdict.trace) == 1 and len(verdict.blamed) == 1


def _unknown(findings: Findings) -> str:
    """Return what could not be looked up and matters, or nothing."""
    if findings.dmarc.result is dmarc.Result.TEMPERROR:
        return findings.dmarc.reason
    if findings.dmarc.result is dmarc.Result.NONE and findings.spf and findings.spf.result is spf.Result.TEMPERROR:
        return findings.spf.reason
    return ""


def _failed_several(findings: Findings) -> bool:
    """Whether SPF and a signature both failed, which has a status code of its own (RFC 7372 section 3.3)."""
    return findings.spf is not None and findings.spf.result is not spf.Result.PASS and bool(findings.dkim.signatures)


def _disposition(assessment: Assessment) -> str:
    if assessment.refusal is not None:
        return "deferred" if assessment.refusal.is_transient else "refused"
    return "junk" if assessment.mailbox else "delivered"


def forged_fields(header: Header, authserv_id: str) -> tuple[tuple[int, int], ...]:
    """Return where fields stand that claim to be our Authentication-Results (RFC 8601 section 5)."""
    ours = authserv_id.lower()
    return tuple(
        (found.start, found.end)
        for found in header.get_all("Authentication-Results")
        if authentication_results.authserv_id_of(found.value) == ours
    )


def without(content: tuple[bytes, ...], spans: tuple[tuple[int, int], ...]) -> tuple[bytes, ...]:
    """Return a message in pieces without some of its fields (in order), every other octet as it came."""
    pieces = []
    begin = 0
    for octets in content:
        kept, end = 0, begin + len(octets)
        for start, stop in spans:
            if start < end and stop > begin:
                pieces.append(octets[kept : max(start - begin, 0)])
                kept = min(stop, end) - begin
        pieces.append(octets[kept:])
        begin = end
    return tuple(piece for piece in pieces if piece)
