"""`letterlock init DOMAIN`: everything a new installation needs, in one folder, and the records to publish."""

from __future__ import annotations

import ipaddress
import os
import shlex
from pathlib import Path
from typing import Any

import click

from letterlock.admd.create import HIGH_PORTS, create
from letterlock.admd.domain_facts import facts_of
from letterlock.cli.output import answer, json_option, safe
from letterlock.errors import Malformed
from letterlock.formats.address import Address
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.hostmaster.records import wanted_records, zone_text


@click.command()
@click.argument("domain")
@click.option("--dir", "folder", type=click.Path(path_type=Path), default=".", help="The folder to write into.")
@click.option("--account", default="postmaster", show_default=True, help="The first account's local part.")
@click.option(
    "--high-ports/--standard-ports", default=os.geteuid() != 0, help="Listen on 2525, 9930, ...; default unless root."
)
@click.option(
    "--address", "addresses", multiple=True, help="The server's public IP address, for its A and AAAA records."
)
@json_option
def init(domain: str, folder: Path, account: str, high_ports: bool, addresses: tuple[str, ...], as_json: bool) -> None:
    """Write letterlock.toml, keys and a first account for DOMAIN, and print the DNS records to publish."""
    _check(account, addresses)
    entropy = SystemEntropy()
    listen = {service: [f"0.0.0.0:{port}", f"[::]:{port}"] for service, port in HIGH_PORTS.items()}
    overrides: dict[str, Any] = {"listen": listen} if high_ports else {}
    password = entropy.octets(15).hex()
    found = create(folder, domain, overrides, clock=SystemClock(), entropy=entropy, passwords={account: password})
    address = f"{account}@{found.settings.domain}"
    records = wanted_records(facts_of(found.settings, addresses=addresses))
    value = {
        "file": str(found.file),
        "account": address,
        "password": password,
        "records": [record.line() for record in records],
    }
    lines = [f"settings   {found.file}", f"account    {address}", f"password   {password}", "", "Publish in DNS:", ""]
    lines += zone_text(records).splitlines()
    if not addresses:
        lines.append(f"; and an A or AAAA record for {found.settings.host_name}: the server's public address")
    answer(value, as_json=as_json, lines=[*lines, "", *_next(folder, found.settings.domain, high_ports=high_ports)])


def _check(account: str, addresses: tuple[str, ...]) -> None:
    """Refuse what could not be used later, before anything is written."""
    for text in addresses:
        try:
            ipaddress.ip_address(text)
        except ValueError:
            raise click.BadParameter(f"{safe(text)} is no IP address", param_hint="--address") from None
    try:
        Address.parse(f"{account}@domain.invalid")
    except Malformed:
        raise click.BadParameter(f"{safe(account)} is no local part of an address", param_hint="--account") from None


def _next(folder: Path, domain: str, *, high_ports: bool) -> list[str]:
    """Return what to do now, for people."""
    config = "" if folder == Path() else f" --config {shlex.quote(str(folder))}"
    lines = [
        "Next:",
        f"  letterlock serve{config}",
        f"  letterlock dns check {domain}{config}     when the records are published",
    ]
    if high_ports:
        lines.append(
            "Other servers come to port 25: have it led to 2525, or write it into listen.smtp (docs/operations.md)."
        )
    return lines
