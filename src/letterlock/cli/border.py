"""`letterlock border client|lists|shut|forgive`: what the defence of the server makes of a client, and of passwords."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

from letterlock.admd.border import border_settings
from letterlock.admd.outward import resolver_settings
from letterlock.admd.settings import Settings
from letterlock.cli.output import Exit, answer, fail, json_option, safe
from letterlock.cli.resolver_options import ResolverOptions, opened, opened_by
from letterlock.cli.server import ask_server
from letterlock.cli.settings_option import load, settings_option
from letterlock.cli.verdicts import standing_json, standing_lines
from letterlock.host.drive_decisions import drive
from letterlock.host.networks import is_within
from letterlock.mta.border.border import BorderSettings, refusal_of
from letterlock.mta.border.client import Standing, examine, judge
from letterlock.mta.border.lists import ListSettings, check_list
from letterlock.trust.ask import Decision, together

T = TypeVar("T")
_TAKEN = "its mail is taken"
_zone_option = click.option(
    "--zone", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Answer from this zone text."
)


@click.group()
def border() -> None:
    """See what the server thinks of a client, and open doors that are shut."""


@dataclass(frozen=True, slots=True)
class _Looked:
    """What was found of a client, and of the lists that could not be believed."""

    standing: Standing
    problems: dict[str, str]


@border.command()
@click.argument("address")
@click.option("--ehlo", default="", help="The name it gives with EHLO; without it, that is not judged.")
@_zone_option
@settings_option
@json_option
def client(address: str, ehlo: str, zone: Path | None, settings_file: Path, as_json: bool) -> None:
    """Tell what is found of a client with this ADDRESS, and what becomes of its mail.

    Exit code: 0 its mail is taken, 1 it is refused, deferred or put into Junk.
    """
    try:
        ipaddress.ip_address(address)
    except ValueError as error:
        fail(str(error), Exit.USAGE, as_json=as_json)
    settings = load(settings_file, as_json=as_json)
    wanted = border_settings(settings)
    looked = _run(_look(address, ehlo, wanted), settings, zone, as_json=as_json)
    outcome = _outcome(looked.standing, wanted, settings.domain)
    value = {"standing": standing_json(looked.standing), "lists_not_used": looked.problems, "outcome": outcome}
    lines = [
        *standing_lines(looked.standing),
        *(f"  {safe(name)} is not used: {safe(problem)}" for name, problem in looked.problems.items()),
        f"{looked.standing.points:g} points: {safe(outcome)}",
    ]
    answer(value, as_json=as_json, lines=lines)
    raise SystemExit(Exit.OK if outcome == _TAKEN else Exit.WRONG)


@border.command()
@_zone_option
@settings_option
@json_option
def lists(zone: Path | None, settings_file: Path, as_json: bool) -> None:
    """Test the lists in the settings, as the server does every hour: exit code 1 if one must not be believed."""
    settings = load(settings_file, as_json=as_json)
    wanted = border_settings(settings).lists
    problems = _run(_test(wanted), settings, zone, as_json=as_json)
    value = {one.zone: problems.get(one.zone, "") for one in wanted}
    lines = [f"{'!!' if problem else 'ok'} {safe(name)} {safe(problem)}".rstrip() for name, problem in value.items()]
    answer(value, as_json=as_json, lines=lines or ["no lists are set"])
    raise SystemExit(Exit.WRONG if problems else Exit.OK)


@border.command()
@settings_option
@json_option
def shut(settings_file: Path, as_json: bool) -> None:
    """List the networks and user names that have to wait, because of wrong passwords."""
    found = ask_server(settings_file, "border shut", {}, as_json=as_json)
    lines = [
        f"{kind} {safe(key)}: {seconds:.0f} seconds"
        for kind, keys in (("network", found["networks"]), ("user", found["users"]))
        for key, seconds in keys.items()
    ]
    answer(found, as_json=as_json, lines=lines or ["nobody has to wait"])


@border.command()
@click.argument("who")
@settings_option
@json_option
def forgive(who: str, settings_file: Path, as_json: bool) -> None:
    """Open the doors again for WHO: an IP address (its whole network) or a user name."""
    found = ask_server(settings_file, "border forgive", {"who": who}, as_json=as_json)
    answer(found, as_json=as_json, lines=["done" if found["forgiven"] else "there was nothing to forgive"])
    raise SystemExit(Exit.OK if found["forgiven"] else Exit.WRONG)


def _look(address: str, ehlo: str, wanted: BorderSettings) -> Decision[_Looked]:
    if is_within(address, wanted.exempt):
        return _Looked(Standing(), {})
    problems = yield from _test(wanted.lists)
    facts = yield from examine(address, [one for one in wanted.lists if one.zone not in problems])
    standing = yield from judge(facts, ehlo, wanted.own_names, wanted.weights)
    return _Looked(standing, problems)


def _test(wanted: Sequence[ListSettings]) -> Decision[dict[str, str]]:
    found = yield from together([check_list(one) for one in wanted])
    return {one.zone: problem for one, problem in zip(wanted, found, strict=True) if problem}


def _outcome(standing: Standing, wanted: BorderSettings, domain: str) -> str:
    refusal = refusal_of(standing, wanted, domain)
    if refusal is not None:
        return str(refusal)
    if wanted.quarantine_at is not None and standing.points >= wanted.quarantine_at:
        return f"its mail is put into {wanted.junk_mailbox}, unless its author's domain vouches for it"
    return _TAKEN


def _run(decision: Decision[T], settings: Settings, zone: Path | None, *, as_json: bool) -> T:
    """Run a decision with the resolver of the installation, or from zone text."""

    async def ask() -> T:
        if zone is not None:
            offline = ResolverOptions((), None, iterate=False, trust_ad=False, roots=(), port=53, zone_file=zone)
            async with opened(offline, as_json=as_json) as resolver:
                return await drive(decision, resolver)
        async with opened_by(resolver_settings(settings), as_json=as_json) as resolver:
            return await drive(decision, resolver)

    return asyncio.run(ask())
