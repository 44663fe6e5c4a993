"""What a domain's settings say of its border: the guard of the doors, rates, lists, greylisting; and what is kept of it.

    defence = open_defence(settings, resolver, ledger, clock, stack)
    ... defence.guard, defence.border, defence.connections, defence.accounts ...

See also: mta/border (port 25), host/login_guard.py (passwords), host/notebook.py (what outlives a restart).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from letterlock.admd.control import Operation
from letterlock.admd.settings import Settings
from letterlock.host.allowance import Allowance
from letterlock.host.clock import Clock
from letterlock.host.ledger import Ledger
from letterlock.host.listen import Admission
from letterlock.host.login_guard import LoginGuard, LoginGuardSettings
from letterlock.host.logs import Log
from letterlock.host.networks import Network
from letterlock.host.notebook import Notebook
from letterlock.host.resolver.interface import Resolver
from letterlock.mta.border.border import Border, BorderSettings
from letterlock.mta.border.client import Weights
from letterlock.mta.border.greylist import Greylist, GreylistSettings
from letterlock.mta.border.lists import Code, ListSettings

NOTES_NAME = "border.sqlite"


@dataclass(frozen=True, slots=True)
class Defence:
    """What the services are given. `messages` and `recipients` are per account; None is no limit."""

    guard: LoginGuard
    border: Border
    admission: Admission | None
    messages: Allowance | None
    recipients: Allowance | None


async def open_defence(
    settings: Settings,
    resolver: Resolver,
    ledger: Ledger,
    clock: Clock,
    stack: contextlib.AsyncExitStack,
    *,
    notes: str = NOTES_NAME,
) -> Defence:
    """Build the defence with what is remembered from before in the file `notes`; `stack` ends it. Raises Unavailable."""
    log = Log("border")
    limits, wanted = settings.limits, settings.greylist
    greylist = None
    if wanted.enabled:
        greylist = Greylist(clock, GreylistSettings(wanted.wait_seconds, wanted.window_seconds, wanted.known_seconds))
    border = Border(
        border_settings(settings), resolver=resolver, clock=clock, log=log, greylist=greylist, ledger=ledger
    )
    per_minute = limits.connections_per_minute
    connections = (
        Allowance(clock, burst=per_minute, per_hour=per_minute * 60, name="connections") if per_minute else None
    )
    defence = Defence(
        LoginGuard(
            clock,
            LoginGuardSettings(
                first_delay_seconds=limits.wrong_password_seconds, most_sessions=limits.account_connections
            ),
        ),
        border,
        Admission(connections, exempt=_exempt(settings)) if connections is not None else None,
        _hourly(clock, limits.account_messages_per_hour, "account messages"),
        _hourly(clock, limits.account_recipients_per_hour, "account recipients"),
    )
    notebook = Notebook.open(settings.path(settings.data) / notes, clock=clock, log=log)
    stack.push_async_callback(notebook.close)
    rates = [rate for rate in (connections, defence.messages, defence.recipients) if rate is not None]
    notebook.keep(*defence.guard.books, *border.books, *rates)
    for work in (notebook.run(), border.run()):
        stack.push_async_callback(_end, asyncio.create_task(work))
    return defence


def border_operations(defence: Defence) -> dict[str, Operation]:
    """Return what a running server does for `letterlock border`."""

    async def shut(_arguments: Mapping[str, Any]) -> object:
        guard = defence.guard
        return {"networks": guard.networks.shut(), "users": guard.users.shut()}

    async def forgive(arguments: Mapping[str, Any]) -> object:
        return {"forgiven": defence.guard.forgive(arguments["who"])}

    return {"border shut": shut, "border forgive": forgive}


def border_settings(settings: Settings) -> BorderSettings:
    """Return what the border of port 25 is told."""
    border, limits = settings.border, settings.limits
    lists = tuple(
        ListSettings(
            one.zone,
            one.points,
            tuple(Code(ipaddress.IPv4Network(code.code), code.meaning, code.points) for code in one.codes),
        )
        for one in border.lists
    )
    weights = Weights(
        no_name=border.no_name_points,
        name_not_confirmed=border.name_not_confirmed_points,
        ehlo_is_no_domain=border.ehlo_no_domain_points,
        ehlo_literal_wrong=border.ehlo_no_domain_points,
        ehlo_unknown=border.ehlo_unknown_points,
        ehlo_is_ours=border.ehlo_ours_points,
    )
    return BorderSettings(
        frozenset({settings.host_name, *settings.local_domains}),
        _exempt(settings),
        lists,
        weights,
        quarantine_at=border.quarantine_at or None,
        defer_at=border.defer_at or None,
        reject_at=border.reject_at or None,
        junk_mailbox=settings.assess.junk_mailbox,
        messages_per_hour=limits.messages_per_hour,
        recipients_per_hour=limits.recipients_per_hour,
        unknown_recipients_per_hour=limits.unknown_recipients_per_hour,
    )


def _exempt(settings: Settings) -> frozenset[Network]:
    return frozenset(map(ipaddress.ip_network, settings.limits.exempt))


def _hourly(clock: Clock, per_hour: int, name: str) -> Allowance | None:
    return Allowance(clock, burst=per_hour, per_hour=per_hour, name=name) if per_hour else None


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
