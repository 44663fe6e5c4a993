"""`letterlock init DOMAIN`: everything a new installation needs, in one folder, and the records to publish."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from letterlock.admd.accounts import opened_accounts
from letterlock.admd.create import HIGH_PORTS, create
from letterlock.admd.domain_facts import facts_of
from letterlock.cli.output import Exit, answer, fail, json_option
from letterlock.errors import SettingsFault
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
    entropy = SystemEntropy()
    listen = {service: [f"0.0.0.0:{port}", f"[::]:{port}"] for service, port in HIGH_PORTS.items()}
    overrides: dict[str, Any] = {"listen": listen} if high_ports else {}
    try:
        found = create(folder, domain, overrides, clock=SystemClock(), entropy=entropy)
    except SettingsFault as fault:
        fail("\n".join(fault.problems), Exit.SETTINGS, as_json=as_json)
    password = entropy.octets(15).hex()
    address = f"{account}@{found.settings.domain}"
    with opened_accounts(found.settings) as accounts:
        accounts.add(address, password)
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
    answer(value, as_json=as_json, lines=lines)
