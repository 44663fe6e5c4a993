"""What the commands of `letterlock mail` share: the options of a profile, the user agent they make, and how it is run."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from letterlock.cli.online import Online
from letterlock.cli.output import Exit, answer, fail, safe
from letterlock.cli.resolver_options import opened_by
from letterlock.errors import LetterlockError, PeerFault, SettingsFault
from letterlock.host.clock import SystemClock
from letterlock.host.connect import ConnectionFailed
from letterlock.host.entropy import SystemEntropy
from letterlock.host.stream import DeadlinePassed
from letterlock.mua.compose import Composed
from letterlock.mua.profile import load_profile
from letterlock.mua.read import MailReader
from letterlock.mua.server_proof import Proving
from letterlock.mua.settings import Checking, UserAgentSettings
from letterlock.mua.submit import Submitted, submit

R = TypeVar("R")


def server_options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command the options of a profile; `agent_of` reads them."""
    options = (
        click.option("--profile", type=click.Path(path_type=Path), envvar="LETTERLOCK_PROFILE", help="A profile."),
        click.option("--user", envvar="LETTERLOCK_USER", help="The account, such as anna@rosewood.test."),
        click.option("--password", envvar="LETTERLOCK_PASSWORD", help="Its password; better in the environment."),
        click.option("--password-file", help="A file that holds the password."),
        click.option("--imap", envvar="LETTERLOCK_IMAP", help="imaps://HOST[:PORT], or imap:// for STARTTLS."),
        click.option("--submission", envvar="LETTERLOCK_SUBMISSION", help="submissions://HOST[:PORT]."),
        click.option("--ca", envvar="LETTERLOCK_CA", help="A PEM file of authorities to trust."),
        click.option("--server-name", envvar="LETTERLOCK_SERVER_NAME", help="The name the certificate must show."),
        click.option(
            "--resolver",
            metavar="validate|trust-ad|iterate",
            envvar="LETTERLOCK_RESOLVER",
            help="Look up the servers' TLSA records (DANE) so; without it they do not count.",
        ),
        click.option("--dns-servers", metavar="ADDRESSES", help="Ask these resolvers, not the system's."),
        click.option("--anchors", metavar="FILE", help="DS or DNSKEY records to trust, not the root's."),
        click.option("--root-servers", metavar="ADDRESSES", help="Where --resolver iterate begins."),
        click.option("--dns-port", metavar="PORT", help="Port of all authoritative servers, for --resolver iterate."),
        click.option("--verbose", is_flag=True, help="Say on standard error how the servers proved themselves by DNS."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Agent:
    """A user agent: its settings, and how to talk with its servers."""

    settings: UserAgentSettings
    is_verbose: bool
    as_json: bool

    @asynccontextmanager
    async def proving(self) -> AsyncIterator[Proving | None]:
        """Open what tells how servers must prove themselves, if a resolver was chosen."""
        if self.settings.resolver is None:
            yield None
            return
        async with opened_by(self.settings.resolver, as_json=self.as_json) as resolver:
            yield Proving(resolver, SystemClock(), self.tell)

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[MailReader]:
        """Log in to the IMAP server."""
        async with self.proving() as proving, MailReader(self.settings, SystemEntropy(), proving) as reader:
            yield reader

    async def submit(self, composed: Composed) -> tuple[Submitted, ...]:
        """Hand a message over to the submission server."""
        async with self.proving() as proving:
            return await submit(composed, self.settings, SystemEntropy(), proving)

    def asking(self, online: Online) -> Online:
        """Return whom to ask about certificates: those on the command line, or as the profile says."""
        return dataclasses.replace(online, is_on=online.is_on or self.settings.revocation is not Checking.AT_HAND)

    def requires_revocation(self, given: bool) -> bool:
        """Tell whether what may have been revoked is good for nothing."""
        return given or self.settings.revocation is Checking.REQUIRE

    def tell(self, sentence: str) -> None:
        """Say something to who wants to know more."""
        if self.is_verbose:
            click.echo(safe(sentence), err=True)


def agent_of(options: dict[str, Any], *, as_json: bool) -> Agent:
    """Return the user agent of a command's options, or say what is wrong with them and exit."""
    profile, is_verbose = options.pop("profile"), options.pop("verbose")
    try:
        given = {name.replace("_", "-"): None if value is None else str(value) for name, value in options.items()}
        settings = load_profile(profile, given)
        return Agent(settings, is_verbose, as_json)
    except SettingsFault as fault:
        fail("\n".join(fault.problems), Exit.SETTINGS, as_json=as_json)


def run(work: Awaitable[R], *, as_json: bool) -> R:
    """Carry out work, or say what went wrong and exit."""

    async def whole() -> R:
        return await work

    try:
        return asyncio.run(whole())
    except (ConnectionFailed, DeadlinePassed) as failed:
        fail(failed.problem, Exit.UNAVAILABLE, as_json=as_json)
    except PeerFault as fault:
        fail(safe(fault.problem), Exit.WRONG, as_json=as_json)
    except LetterlockError as fault:
        fail(str(fault), Exit.WRONG, as_json=as_json)


def hand_over(
    messages: Sequence[Composed], agent: Agent, *, copy: bool, as_json: bool, more: Mapping[str, object] | None = None
) -> None:
    """Submit a message, or its copies for different recipients, and say what became of it; exits where anybody was refused.

    Where that is wished, a copy of the first is kept. `more` is told to programs besides.
    """
    composed = messages[0]
    outcomes = [outcome for each in messages for outcome in run(agent.submit(each), as_json=as_json)]
    accepted = all(outcome.accepted for outcome in outcomes)
    kept = None
    if copy and any(outcome.accepted for outcome in outcomes):
        try:
            kept = asyncio.run(_keep(composed.content, agent))
        except PeerFault as fault:  # the message is on its way: that its copy is not kept does not undo it
            click.echo(f"no copy was kept: {safe(fault.problem)}", err=True)
    value = {
        "message_id": composed.message_id,
        "kept_in": kept,
        "recipients": [
            {"address": str(one.recipient), "accepted": one.accepted, "reply": one.reply} for one in outcomes
        ],
        **(more or {}),
    }
    lines = [f"{one.recipient}: {'sent' if one.accepted else 'refused'} ({safe(one.reply)})" for one in outcomes]
    answer(value, as_json=as_json, lines=lines)
    if not accepted:
        raise SystemExit(Exit.WRONG)


async def _keep(content: bytes, agent: Agent) -> str | None:
    async with agent.reader() as reader:
        return await reader.keep_sent(content)
