"""Filters of others (rspamd, ClamAV, OpenDKIM) behind our own assessment, over the milter protocol.

    assess = Filtered(assessor, (FilterSettings("inet:127.0.0.1:11332"),), host_name="mx.rosewood.test", log=log)

Each filter sees the message as the one before it left it, our Authentication-Results on top. A filter that cannot be asked
defers the message, or is passed over where `is_optional` says so; a message it would discard is put into the junk mailbox
instead, for what was answered 250 is not thrown away here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from letterlock.errors import PeerFault
from letterlock.host.logs import Log
from letterlock.host.milter_client import FilterSettings, ask_filter
from letterlock.mta.arrival import Arrival, Assess, Assessment
from letterlock.protocols.milter.client import Judgement, Subject, Wish, apply_changes
from letterlock.protocols.smtp.reply import Reply, reply

_REPLY = re.compile(r"([45]\d\d) (?:([45]\.\d{1,3}\.\d{1,3}) )?(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Filtered:
    """An `Assess` that asks the filters after `assess` found no reason to refuse."""

    assess: Assess
    filters: Sequence[FilterSettings]
    host_name: str
    log: Log
    junk_mailbox: str = "Junk"
    is_optional: bool = False

    async def __call__(self, arrival: Arrival) -> Assessment:
        """Assess, then ask each filter in turn."""
        assessment = await self.assess(arrival)
        for settings in self.filters:
            if assessment.refusal is not None:
                break
            assessment = await self._ask(settings, arrival, assessment)
        return assessment

    async def _ask(self, settings: FilterSettings, arrival: Arrival, assessment: Assessment) -> Assessment:
        octets = assessment.fields + b"".join(assessment.content or arrival.content)
        try:
            judgement = await ask_filter(settings, self._subject(arrival, octets))
            changed = apply_changes(octets, judgement.changes) if judgement.changes else None
        except PeerFault as fault:
            self.log.error("filter failed", filter=settings.address, problem=fault.problem)
            if self.is_optional:
                return assessment
            return replace(assessment, refusal=reply(451, "4.7.1", "A filter cannot be asked now: try again later"))
        remarks = (*assessment.remarks, ("filter", judgement.wish.value))
        refusal = _refusal(judgement)
        if refusal is not None:
            return replace(assessment, refusal=refusal, remarks=remarks)
        suspect = judgement.wish is Wish.DISCARD or judgement.quarantine
        mailbox = self.junk_mailbox if suspect else assessment.mailbox
        if changed is None:
            return replace(assessment, mailbox=mailbox, remarks=remarks)
        return replace(assessment, fields=b"", content=(changed,), mailbox=mailbox, remarks=remarks)

    def _subject(self, arrival: Arrival, octets: bytes) -> Subject:
        envelope = arrival.envelope
        sender = str(envelope.reverse_path or "")
        macros = {
            "C": {"j": self.host_name, "{daemon_name}": "letterlock"},
            "H": {"{tls_version}": arrival.tls.version, "{cipher}": arrival.tls.cipher} if arrival.tls else {},
            "M": {"i": arrival.id, "{mail_addr}": sender} | ({"{auth_authen}": arrival.user} if arrival.user else {}),
            "E": {"i": arrival.id},
        }
        return Subject(
            arrival.client_name,
            arrival.client.host if arrival.client.port else "",
            arrival.client.port,
            sender,
            tuple(str(recipient.forward_path) for recipient in envelope.recipients),
            octets,
            macros,
        )


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
