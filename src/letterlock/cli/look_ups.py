"""The options of every command that asks the DNS: `--zone FILE`, `--server ADDRESS`, `--at TIME`.

With `--zone` nothing leaves the machine: answers come from zone text, in which servers may be dead, slow or wrong (see
host/resolver/zone_file.py). With `--server` one resolver is asked; otherwise the system's, validated here.
"""

from __future__ import annotations

import asyncio
import datetime
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from letterlock.cli.output import Exit, fail, sentence_of
from letterlock.errors import Malformed, SettingsFault
from letterlock.formats.dns.question import Answer, Outcome, Question
from letterlock.host.drive_decisions import drive
from letterlock.host.resolver.interface import Resolver
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.trust.ask import Decision

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Moment(click.ParamType[int]):
    """A time: seconds since 1970, or ISO 8601 (in UTC where it names no zone)."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return seconds since 1970."""
        if isinstance(value, int):
            return value
        text = str(value)
        if text.isdigit():
            return int(text)
        try:
            moment = datetime.datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{text!r} is no time; write 2026-11-23T10:00:00Z or seconds since 1970", param, ctx)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp())


def zone_option(command: Callable[P, R]) -> Callable[P, R]:
    """Give a command `--zone FILE` and `--server ADDRESS`, as its parameters `zone` and `server`."""
    command = click.option("--server", metavar="ADDRESS", help="Ask this resolver (192.0.2.1, [2001:db8::1]:53).")(
        command
    )
    return click.option(
        "--zone",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Answer from this zone text instead of the DNS.",
    )(command)


def at_option(command: Callable[P, R]) -> Callable[P, R]:
    """Give a command `--at TIME`, as its parameter `at` (seconds since 1970, or None)."""
    return click.option("--at", type=Moment(), help="Judge as of this time (ISO 8601 or seconds since 1970).")(command)


def moment(at: int | None) -> int:
    """Return the time to judge by."""
    return int(time.time()) if at is None else at


@dataclass(frozen=True, slots=True)
class _Patient:
    """A resolver that gives up: a slow server counts as one that does not answer."""

    inner: Resolver
    seconds: float = 10.0

    async def ask(self, question: Question) -> Answer:
        try:
            return await asyncio.wait_for(self.inner.ask(question), self.seconds)
        except TimeoutError:
            reason = f"{question.name} {question.type}: no answer in {self.seconds:g} seconds"
            return Answer(question, Outcome.FAILED, reason=reason, extended_error=22)


def run(decision: Decision[T], zone: Path | None, server: str | None, *, as_json: bool = False) -> T:
    """Run a decision with the look-ups that the options ask for; wrong options end the command."""
    if zone is not None and server is not None:
        fail("--zone and --server exclude each other", Exit.USAGE, as_json=as_json)
    try:
        if zone is not None:
            return asyncio.run(drive(decision, _Patient(ZoneTable.load(zone), 5.0)))
        return asyncio.run(_run_with_network(decision, server))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        fail(sentence_of(error, zone or server), Exit.USAGE, as_json=as_json)
    except Malformed as error:
        fail(f"{zone}: {error}", Exit.USAGE, as_json=as_json)
    except SettingsFault as fault:
        fail("\n".join(fault.problems), Exit.SETTINGS, as_json=as_json)


async def _run_with_network(decision: Decision[T], server: str | None) -> T:
    # Imported here: a command that works offline does not load the network side.
    from letterlock.host.resolver.cache import CachingResolver
    from letterlock.host.resolver.exchange import Exchange, Server
    from letterlock.host.resolver.forward import ForwardingResolver
    from letterlock.host.resolver.system import ResolverSettings, open_resolver
    from letterlock.host.resolver.upstream import Upstream

    if server is not None:
        exchange = Exchange()
        try:
            upstream = Upstream((Server.parse(server),), exchange)
            return await drive(decision, _Patient(CachingResolver(ForwardingResolver(upstream)), 20.0))
        finally:
            await exchange.aclose()
    system = await open_resolver(ResolverSettings())
    try:
        return await drive(decision, _Patient(system.resolver, 30.0))
    finally:
        await system.aclose()


def read_message(file: str, *, as_json: bool = False) -> bytes:
    """Return a message from a file or, for `-`, standard input; text with bare LF is read as if it had CRLF."""
    try:
        octets = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        fail(f"{file}: {error.strerror}", Exit.WRONG, as_json=as_json)
    return octets if b"\r\n" in octets else octets.replace(b"\n", b"\r\n")
