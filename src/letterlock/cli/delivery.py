"""`letterlock delivery`: see how mail to an address would go."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from pathlib import Path

import click

from letterlock.admd import outward
from letterlock.cli.output import PORT, Exit, answer, fail, json_option, safe
from letterlock.cli.resolver_options import ResolverOptions, opened, resolver_options
from letterlock.cli.settings_option import load
from letterlock.errors import Malformed, SettingsFault
from letterlock.formats.address import Address
from letterlock.formats.mta_sts import LONGEST_POLICY
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.host.https import Fetch
from letterlock.host.logs import Log
from letterlock.host.resolver.system import Mode
from letterlock.host.tls import authenticated_client
from letterlock.mta.demand import Demands
from letterlock.mta.probe import Probe, Step
from letterlock.mta.route import RoutingSettings
from letterlock.mta.sts_policies import StsPolicies

_MARKS = {True: "ok", False: "!!", None: "--"}


@click.group()
def delivery() -> None:
    """See how mail to an address would go, step by step."""


@delivery.command()
@click.argument("address")
@click.option("--sender", default="", help="Who would be sending; without it the null sender <>.")
@click.option("--name", default="", help="What to call ourselves in EHLO; without it this host's name.")
@click.option("--smtp-port", type=PORT, default=25, show_default=True, help="The port of mail exchangers.")
@click.option("--exchanger-port", multiple=True, metavar="HOST=PORT", help="The port of one mail exchanger.")
@click.option("--trusted", type=click.Path(path_type=Path), help="PEM file of authorities trusted beside the system's.")
@click.option(
    "--config",
    "settings_file",
    type=click.Path(path_type=Path),
    help="Try as this installation would: its resolver, routes, name, address and trust, whatever else is given.",
)
@json_option
@resolver_options
def test(
    address: str,
    sender: str,
    name: str,
    smtp_port: int,
    exchanger_port: tuple[str, ...],
    trusted: Path | None,
    settings_file: Path | None,
    as_json: bool,
    asking: ResolverOptions,
) -> None:
    """Try to deliver to ADDRESS up to the answer to RCPT, and send nothing.

    Shown are the route, DANE and MTA-STS, and for each mail exchanger the connection, its banner, its offer, TLS, its
    certificate and its answer. Exit code: 0 an exchanger would take the mail, 1 none would, 2 could not tell.
    """
    try:
        to = Address.parse(address)
        reverse_path = Address.parse(sender) if sender else None
    except Malformed as error:
        fail(f"not an address: {error}", Exit.USAGE, as_json=as_json)
    ports = dict(_port(pair, as_json=as_json) for pair in exchanger_port)
    ours = _Ourselves(name, RoutingSettings(frozenset(), port=smtp_port, ports=ports), trusted)
    if settings_file is not None:
        ours, asking = _of_installation(settings_file, name, as_json=as_json)
    steps = asyncio.run(_run(to, reverse_path, ours, asking, as_json=as_json))
    if as_json:
        value = [
            {"host": step.host, "what": step.what, "finding": step.finding, "fine": step.fine, "code": step.code,
             "milliseconds": round(step.milliseconds, 1)}
            for step in steps
        ]  # fmt: skip
        answer(value, as_json=True, lines=())
    raise SystemExit(_exit_code(steps))


@dataclass(frozen=True, slots=True)
class _Ourselves:
    """Who tries, from where, and whom it trusts."""

    name: str
    routing: RoutingSettings
    trusted: Path | None = None
    local_address: str | None = None


def _of_installation(file: Path, name: str, *, as_json: bool) -> tuple[_Ourselves, ResolverOptions]:
    settings = load(file, as_json=as_json)
    try:
        routing = outward.routing_settings(settings)
    except SettingsFault as fault:
        fail("\n".join(fault.problems), Exit.SETTINGS, as_json=as_json)
    ours = _Ourselves(
        name or settings.host_name,
        routing,
        settings.path(settings.tls.trusted) if settings.tls.trusted else None,
        settings.transfer.source_address or None,
    )
    dns = outward.resolver_settings(settings)
    asking = ResolverOptions(
        dns.servers,
        dns.anchors,
        iterate=dns.mode is Mode.ITERATE,
        trust_ad=dns.mode is Mode.TRUST_AD,
        roots=dns.root_servers,
        port=dns.port,
        zone_file=None,
    )
    return ours, asking


async def _run(
    to: Address, reverse_path: Address | None, ours: _Ourselves, asking: ResolverOptions, *, as_json: bool
) -> list[Step]:
    clock, context = SystemClock(), authenticated_client(ours.trusted, beside_system=True)
    steps = []
    async with opened(asking, as_json=as_json) as resolver:
        policies = StsPolicies(Fetch(resolver, context, LONGEST_POLICY, within_seconds=15), clock=clock, log=Log("cli"))
        probe = Probe(
            name=ours.name or socket.getfqdn(),
            reverse_path=reverse_path,
            routing=ours.routing,
            local_address=ours.local_address,
            resolver=resolver,
            demands=Demands(clock=clock, authenticated=context, policies=policies),
            policies=policies,
            entropy=SystemEntropy(),
        )
        host = ""
        async for step in probe.steps(to):
            steps.append(step)
            if as_json:
                continue
            if step.host != host:
                host = step.host
                click.echo(host)
            click.echo(_line(step))
    return steps


def _line(step: Step) -> str:
    took = f"{step.milliseconds:8.1f} ms" if step.milliseconds else " " * 11
    indent = "  " if step.host else ""
    return f"{indent}{_MARKS[step.fine]} {took}  {step.what:<12} {safe(step.finding)}"


def _port(pair: str, *, as_json: bool) -> tuple[str, int]:
    host, _, port = pair.rpartition("=")
    if not host or not port.isdigit():
        fail(f"{pair}: write HOST=PORT", Exit.USAGE, as_json=as_json)
    return host, int(port)


def _exit_code(steps: list[Step]) -> Exit:
    codes = [step.code for step in steps if step.code]
    if any(code < 400 for code in codes):
        return Exit.OK
    permanent = any(code >= 500 for code in codes) or any(
        step.what == "route" and step.finding.startswith("5") for step in steps
    )
    return Exit.WRONG if permanent else Exit.UNKNOWN
