"""Filters behind our own assessment: those of others (rspamd, ClamAV, OpenDKIM) as milters, and the site's own.

    chain = FilterChain((Milter(FilterSettings("inet:127.0.0.1:11332"), "mx.rosewood.test"),), log=log)
    assess = Filtered(assessor, chain)               mail from outside
    opinion = await chain.ask(arrival, octets)       submitted mail (msa/inbound.py)

Each filter sees the message as the one before it left it, our Authentication-Results on top. A filter that cannot be asked
defers the message, or is passed over where `is_optional` says so; a message it would discard is put into the junk mailbox
instead, for what was answered 250 is not thrown away here.

See also: protocols/milter (the protocol), mta/own_filter.py (the interface for the site's own).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from letterlock.errors import Malformed, PeerFault
from letterlock.formats.address import Address
from letterlock.formats.authentication_results import AuthenticationResults
from letterlock.host.call_filter import call_filter
from letterlock.host.logs import Log
from letterlock.host.milter_client import FilterSettings, ask_filter
from letterlock.mta.arrival import Arrival, Assess, Assessment
from letterlock.mta.own_filter import Defer, Junk, Mail, OwnFilter, Refuse, Take
from letterlock.protocols.milter.client import Change, Judgement, Subject, Wish, apply_changes
from letterlock.protocols.smtp.reply import Reply, reply

_REPLY = re.compile(r"([45]\d\d) (?:([45]\.\d{1,3}\.\d{1,3}) )?(.*)", re.DOTALL)
# What our own checks found, None where they were not made (submitted mail).
Results = AuthenticationResults | None
_MARKS = frozenset({"x-spam", "x-spam-flag"})
_STATUS = re.compile(r"[45]\.\d{1,3}\.\d{1,3}")


@dataclass(frozen=True, slots=True)
class Opinion:
    """What filters make of a message: a refusal, or suspicion, or other octets (None: unchanged), or other recipients.

    `is_marked`: a filter wrote into the message that it is spam (X-Spam: Yes), and leaves it at that.
    """

    refusal: Reply | None = None
    suspicion: str = ""
    is_marked: bool = False
    content: bytes | None = None
    added: tuple[Address, ...] = ()
    removed: tuple[Address, ...] = ()
    remark: str = "accept"


class Filter(Protocol):
    """One filter. `name` is what the log calls it."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    async def ask(self, arrival: Arrival, octets: bytes, results: Results = None) -> Opinion:
        """Show it a message. Raises PeerFault where it gives no answer that can be used."""
        ...


@dataclass(slots=True)
class FilterChain:
    """Filters asked one after the other, until one refuses; others may take their place while it is in use."""

    filters: Sequence[Filter]
    log: Log
    is_optional: bool = False

    def adopt(self, other: FilterChain) -> None:
        """Ask the filters of another chain from the next message on."""
        self.filters, self.is_optional = other.filters, other.is_optional

    async def ask(self, arrival: Arrival, octets: bytes, results: Results = None) -> Opinion:
        """Return what all of them together make of a message."""
        so_far, filters, is_optional = Opinion(remark=""), self.filters, self.is_optional
        for one in filters:
            try:
                opinion = await one.ask(arrival, octets if so_far.content is None else so_far.content, results)
            except PeerFault as fault:
                self.log.error("filter failed", filter=one.name, id=arrival.id, problem=fault.problem)
                if is_optional:
                    continue
                return Opinion(reply(451, "4.7.1", "A filter cannot be asked now: try again later"), remark="failed")
            so_far = Opinion(
                opinion.refusal,
                so_far.suspicion or opinion.suspicion,
                so_far.is_marked or opinion.is_marked,
                so_far.content if opinion.content is None else opinion.content,
                so_far.added + opinion.added,
                so_far.removed + opinion.removed,
                ", ".join(remark for remark in (so_far.remark, opinion.remark) if remark),
            )
            if opinion.refusal is not None:
                break
        return so_far


@dataclass(frozen=True, slots=True)
class Filtered:
    """An `Assess` that asks filters after `assess` found no reason to refuse."""

    assess: Assess
    chain: FilterChain
    junk_mailbox: str = "Junk"

    async def __call__(self, arrival: Arrival) -> Assessment:
        """Assess, then ask the filters."""
        assessment = await self.assess(arrival)
        if assessment.refusal is not None or not self.chain.filters:
            return assessment
        octets = assessment.fields + b"".join(assessment.content or arrival.content)
        results = assessment.evidence.results if assessment.evidence is not None else None
        opinion = await self.chain.ask(arrival, octets, results)
        remarks = (*assessment.remarks, ("filter", opinion.remark))
        if opinion.refusal is not None:
            return replace(assessment, refusal=opinion.refusal, remarks=remarks)
        if opinion.suspicion or opinion.is_marked:
            assessment = replace(assessment, mailbox=self.junk_mailbox)
        if opinion.content is not None:
            assessment = replace(assessment, fields=b"", content=(opinion.content,))
        return replace(assessment, remarks=remarks, added=opinion.added, removed=opinion.removed)


@dataclass(frozen=True, slots=True)
class Milter:
    """A filter that speaks the milter protocol. `host_name` is ours."""

    settings: FilterSettings
    host_name: str

    @property
    def name(self) -> str:
        """Where it listens."""
        return self.settings.address

    async def ask(self, arrival: Arrival, octets: bytes, results: Results = None) -> Opinion:
        """Show it a message."""
        judgement = await ask_filter(self.settings, self._subject(arrival, octets))
        changed = None
        if judgement.changes or judgement.body is not None:
            changed = apply_changes(octets, judgement.changes, judgement.body)
        suspicion = judgement.quarantine
        if judgement.wish is Wish.DISCARD:
            suspicion = suspicion or "a filter would discard it"
        return Opinion(
            _refusal(judgement),
            suspicion,
            any(_is_mark(change) for change in judgement.changes),
            changed,
            _addresses(judgement.added_recipients),
            _addresses(judgement.removed_recipients),
            judgement.wish.value,
        )

    def _subject(self, arrival: Arrival, octets: bytes) -> Subject:
        envelope = arrival.envelope
        sender = str(envelope.reverse_path or "")
        address = arrival.client.host if arrival.client.port else ""
        client = {"{client_addr}": address, "{client_name}": arrival.standing.name or f"[{address}]"}
        macros = {
            "C": {"j": self.host_name, "{daemon_name}": "letterlock"} | client,
            "H": {"{tls_version}": arrival.tls.version, "{cipher}": arrival.tls.cipher} if arrival.tls else {},
            "M": {"i": arrival.id, "{mail_addr}": sender} | ({"{auth_authen}": arrival.user} if arrival.user else {}),
            "E": {"i": arrival.id},
        }
        return Subject(
            arrival.client_name,
            address,
            arrival.client.port,
            sender,
            tuple(str(recipient.forward_path) for recipient in envelope.recipients),
            octets,
            macros,
            arrival.standing.name,
        )


@dataclass(frozen=True, slots=True)
class Own:
    """A filter of the site's own. `name` is how the settings call it."""

    name: str
    function: OwnFilter
    answer_seconds: float = 60

    async def ask(self, arrival: Arrival, octets: bytes, results: Results = None) -> Opinion:
        """Show it a message."""
        verdict = await call_filter(self.function, _mail(arrival, octets, results), within_seconds=self.answer_seconds)
        match verdict:
            case Take(fields):
                changed = _with_fields(octets, fields) if fields else None
                return Opinion(content=changed)
            case Junk(reason):
                return Opinion(suspicion=str(reason) or f"{self.name} suspects it", remark="junk")
            case Refuse(reason, status):
                return Opinion(reply(550, _status(status, "5.7.1"), *_lines(reason)), remark="refuse")
            case Defer(reason, status):
                return Opinion(reply(451, _status(status, "4.7.1"), *_lines(reason)), remark="defer")
        raise PeerFault(f"it returned {verdict!r:.100}, which is no verdict")  # no checker has seen code of the site


def _with_fields(octets: bytes, fields: Sequence[tuple[str, str]]) -> bytes:
    try:
        changes = tuple(Change("insert", str(name), str(value)) for name, value in reversed(fields))
    except (TypeError, ValueError):
        raise PeerFault(f"its fields are {fields!r:.100}; write pairs of name and value") from None
    return apply_changes(octets, changes)


def _mail(arrival: Arrival, octets: bytes, results: Results) -> Mail:
    envelope, standing = arrival.envelope, arrival.standing
    return Mail(
        arrival.id,
        arrival.received_at,
        arrival.client.host,
        arrival.client_name,
        standing.name,
        arrival.user,
        str(envelope.reverse_path or ""),
        tuple(str(recipient.forward_path) for recipient in envelope.recipients),
        octets,
        standing.points,
        standing.sentences,
        results,
    )


def _is_mark(change: Change) -> bool:
    return change.name.lower() in _MARKS and change.value.strip().lower().startswith("yes")


def _status(wished: str, usual: str) -> str:
    return wished if _STATUS.fullmatch(str(wished)) and wished[0] == usual[0] else usual


def _lines(text: str) -> list[str]:
    return [line for line in str(text).splitlines() if line.strip()] or ["Refused by a filter"]


def _addresses(texts: tuple[str, ...]) -> tuple[Address, ...]:
    try:
        return tuple(Address.parse(text) for text in texts)
    except Malformed as error:
        raise PeerFault(f"the filter names a recipient that is none: {error.problem}") from None


def _refusal(judgement: Judgement) -> Reply | None:
    if judgement.wish is Wish.TEMPORARY_FAILURE:
        usual = reply(451, "4.7.1", "A filter asks to try again later")
    elif judgement.wish is Wish.REJECT:
        usual = reply(550, "5.7.1", "Refused by a filter")
    else:
        return None
    match = _REPLY.fullmatch(judgement.reply)
    if match is None or match[1][0] != str(usual.code)[0]:
        return usual
    return reply(int(match[1]), match[2] or usual.status, match[3] or usual.lines[0])
