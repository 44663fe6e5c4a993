"""The options that say whom a command asks about names, the same for every command that asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from letterlock.cli.output import PORT, Exit, fail, sentence_of
from letterlock.errors import Malformed, SettingsFault
from letterlock.host.resolver.interface import Resolver

if TYPE_CHECKING:
    from letterlock.host.resolver.system import ResolverSettings

P = ParamSpec("P")
R = TypeVar("R")

_OPTIONS = (
    click.option("--server", "servers", multiple=True, metavar="ADDRESS[:PORT]", help="Ask this resolver."),
    click.option("--anchor", type=click.Path(path_type=Path), help="File of DS or DNSKEY records to trust."),
    click.option("--iterate", is_flag=True, help="Ask the authoritative servers, from the root down."),
    click.option("--trust-ad", is_flag=True, help="Believe the resolver's own validation (its AD bit)."),
    click.option("--root", "roots", multiple=True, metavar="ADDRESS[:PORT]", help="A root server (with --iterate)."),
    click.option(
        "--port", type=PORT, default=53, show_default=True, help="Port of all authoritative servers (with --iterate)."
    ),
    click.option("--zone", "zone_file", type=click.Path(path_type=Path), help="Answer from this zone text, offline."),
)


@dataclass(frozen=True, slots=True)
class ResolverOptions:
    """What was chosen."""

    servers: tuple[str, ...]
    anchor: Path | None
    iterate: bool
    trust_ad: bool
    roots: tuple[str, ...]
    port: int
    zone_file: Path | None


def resolver_options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command these options, as its parameter `asking`."""

    def wrapped(**parameters: object) -> R:
        names = ("servers", "anchor", "iterate", "trust_ad", "roots", "port", "zone_file")
        asking = ResolverOptions(**{name: parameters.pop(name) for name in names})  # type: ignore[arg-type]  # click made them of these types
        return command(asking=asking, **parameters)

    wrapped.__doc__ = command.__doc__
    wrapped.__name__ = command.__name__
    wrapped.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]  # where click keeps options
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


@asynccontextmanager
async def opened(asking: ResolverOptions, *, as_json: bool = False) -> AsyncIterator[Resolver]:
    """Open the resolver that was chosen; prints what is wrong with it and exits where there is none."""
    from letterlock.host.resolver.system import Mode, ResolverSettings
    from letterlock.host.resolver.zone_file import ZoneTable

    try:
        if asking.zone_file is not None:
            yield ZoneTable.load(asking.zone_file)
            return
    except (SettingsFault, Malformed, OSError) as error:
        fail(sentence_of(error), Exit.USAGE, as_json=as_json)
    mode = Mode.ITERATE if asking.iterate else Mode.TRUST_AD if asking.trust_ad else Mode.VALIDATE
    settings = ResolverSettings(mode, asking.servers, asking.anchor, asking.roots, asking.port)
    async with opened_by(settings, as_json=as_json) as resolver:
        yield resolver


@asynccontextmanager
async def opened_by(settings: ResolverSettings, *, as_json: bool = False) -> AsyncIterator[Resolver]:
    """Open a resolver from its settings; prints what is wrong with it and exits where there is none."""
    from letterlock.host.resolver.system import open_resolver

    try:
        system = await open_resolver(settings)
    except (SettingsFault, Malformed, OSError, ValueError) as error:
        fail(sentence_of(error), Exit.USAGE, as_json=as_json)
    for finding in system.findings:
        click.echo(f"note: {finding}; asking the authoritative servers instead", err=True)
    try:
        yield system.resolver
    finally:
        await system.aclose()
