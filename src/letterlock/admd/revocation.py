"""Who asks about revocation for the gateway, as the settings say."""

from __future__ import annotations

import contextlib

from letterlock.admd.settings import Settings
from letterlock.admd.smime_files import smime_anchors
from letterlock.gateway.inquiry import Inquiry
from letterlock.gateway.judge import BorderJudge
from letterlock.gateway.signature_record import SignatureRecord
from letterlock.host.clock import Clock
from letterlock.host.logs import Log
from letterlock.host.resolver.interface import Resolver
from letterlock.host.retrieve import Retriever, RetrieveSettings
from letterlock.trust.smime.gather import Asking

FILE_NAME = "revocation.sqlite"


def open_inquiry(settings: Settings, resolver: Resolver, clock: Clock, stack: contextlib.AsyncExitStack) -> Inquiry:
    """Return what asks, if anybody is to be asked; `stack` closes it. Raises Unavailable."""
    wanted = settings.smime
    if wanted.revocation == "at-hand":
        return Inquiry()
    how = RetrieveSettings(
        wanted.revocation_seconds,
        waits_for_issuers=False,
        allow_private=wanted.revocation_private,
        file=settings.path(settings.data) / FILE_NAME,
    )
    retriever = Retriever(how, resolver, clock=clock, log=Log("smime"))
    stack.push_async_exit(retriever)
    return Inquiry(retriever, Asking(issuers=wanted.fetch_issuers), wanted.revocation == "require")


def border_judge(
    settings: Settings, resolver: Resolver, clock: Clock, stack: contextlib.AsyncExitStack
) -> BorderJudge | None:
    """Return by what a process without the domain's keys judges signatures: `assess.smime_anchors`, and what these say now.

    None where no authority is trusted. Raises SettingsFault, Unavailable.
    """
    anchors = smime_anchors(settings)
    if not anchors:
        return None
    log = Log("smime")
    return BorderJudge(None, anchors, SignatureRecord(None, log), log, open_inquiry(settings, resolver, clock, stack))
