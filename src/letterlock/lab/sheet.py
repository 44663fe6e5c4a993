"""The sheet that the lab prints: where everything is, who may log in, and how to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from letterlock.lab.plan import Plan


def as_value(plan: Plan, folder: Path, authority: Path) -> dict[str, Any]:
    """Return the sheet as a JSON value."""
    return {
        "folder": str(folder),
        "authority": str(authority),
        "name_server": "{}:{}".format(*plan.name_server),
        "organisations": [
            {
                "domain": organisation.domain,
                "host_name": organisation.host_name,
                "address": organisation.address,
                "ports": organisation.ports,
                "settings": str(folder / organisation.domain / "letterlock.toml"),
                "people": [
                    {
                        "name": person.name,
                        "address": organisation.address_of(person),
                        "password": person.password,
                    }
                    for person in organisation.people
                ],
            }
            for organisation in plan.organisations
        ],
        "guests": [
            {"domain": guest.domain, "host_name": guest.host_name, "address": guest.address, "port": guest.port}
            for guest in plan.guests
        ],
    }


def as_lines(plan: Plan, folder: Path, authority: Path, program: str) -> list[str]:
    """Return the sheet for people; `program` is how they call us."""
    lines = [f"name server     {plan.name_server[0]} port {plan.name_server[1]}", f"trust           {authority}"]
    for organisation in plan.organisations:
        ports = organisation.ports
        lines += [
            "",
            f"{organisation.domain}  at {organisation.address} ({organisation.host_name})",
            f"  submission    {ports['submissions']} TLS, {ports['submission']} STARTTLS",
            f"  IMAP          {ports['imaps']} TLS, {ports['imap']} STARTTLS",
            f"  POP3          {ports['pop3s']} TLS, {ports['pop3']} STLS",
            f"  SMTP          {ports['smtp']} STARTTLS",
        ]
        lines += [
            f"  {organisation.address_of(person):<22}password {person.password}" for person in organisation.people
        ]
    for guest in plan.guests:
        lines += ["", f"{guest.domain}  awaited at {guest.address} port {guest.port} ({guest.host_name})"]
    first, second = plan.organisations
    author, reader = first.people[0], second.people[0]
    server = f"{plan.name_server[0]}:{plan.name_server[1]}"
    profile, other = folder / f"{author.local_part}.toml", folder / f"{reader.local_part}.toml"
    lines += [
        "",
        "Try:",
        f"  {program} mail list --profile {profile}",
        f"  {program} mail send --profile {profile} {second.address_of(reader)} --subject Hello --text 'It works.'",
        f"  {program} mail show --profile {other} 1",
        f"  {program} mail show --profile {other} 1 --raw | {program} explain --server {server}",
        f"  {program} queue list --config {folder / first.domain}",
        f"  {program} dns lookup {second.domain} MX --iterate --root {server} --port {plan.name_server[1]} "
        f"--anchor {folder / 'anchors.zone'}",
        f"  curl --cacert {authority} -u '{first.address_of(author)}:{author.password}' "
        f"'imaps://{first.address}:{first.ports['imaps']}/INBOX?ALL'",
    ]
    return lines
