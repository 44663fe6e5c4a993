"""`letterlock account add|list|passwd|remove`: who has mail here. Changes count at once, also for a running server."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from letterlock.admd.accounts import forget_mail, opened_accounts
from letterlock.admd.settings import Settings
from letterlock.admd.smime import forget_account
from letterlock.cli.output import COUNT, Exit, answer, fail, json_option, safe, table
from letterlock.cli.settings_option import load, settings_option
from letterlock.errors import LetterlockError, Malformed, OurFault
from letterlock.formats.address import Address
from letterlock.host.entropy import SystemEntropy

_PASSWORD_OCTETS = 12


class _Group(click.Group):
    """The commands here, and `smime`, which alone loads what it takes to keep keys."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted([*super().list_commands(ctx), "smime"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, imported if it must be."""
        if cmd_name == "smime":
            from letterlock.cli.account_smime import account_smime

            return account_smime
        return super().get_command(ctx, cmd_name)


@click.group(cls=_Group)
def account() -> None:
    """Add, list and remove accounts; change passwords; sign and decrypt for them."""


@account.command()
@click.argument("address")
@click.option("--alias", "aliases", multiple=True, help="A further address that leads to the account.")
@click.option(
    "--quota", "quota_octets", type=click.IntRange(0, COUNT.max), default=0, help="Octets it may hold; 0 is no limit."
)
@click.option(
    "--ask", is_flag=True, help="Ask for the password, or read it from standard input; else one is made and printed."
)
@settings_option
@json_option
def add(
    address: str, aliases: tuple[str, ...], quota_octets: int, ask: bool, settings_file: Path, as_json: bool
) -> None:
    """Add an account for ADDRESS (a bare name is in the main domain)."""
    settings = load(settings_file, as_json=as_json)
    password = _password(ask=ask)
    try:
        with opened_accounts(settings) as accounts:
            whole = [_local(one, settings) for one in aliases]
            added = accounts.add(_local(address, settings), password, addresses=whole, quota_octets=quota_octets)
    except LetterlockError as error:
        fail(str(error), Exit.WRONG, as_json=as_json)
    value = {"account": added.name, "addresses": added.addresses}
    lines = [f"account    {added.name}"]
    if not ask:
        value["password"] = password
        lines.append(f"password   {password}")
    answer(value, as_json=as_json, lines=lines)


@account.command("list")
@settings_option
@json_option
def list_accounts(settings_file: Path, as_json: bool) -> None:
    """List the accounts with their addresses."""
    try:
        with opened_accounts(load(settings_file, as_json=as_json)) as accounts:
            found = accounts.accounts()
    except LetterlockError as error:
        fail(str(error), Exit.WRONG, as_json=as_json)
    rows = [
        (one.name, ", ".join(one.addresses[1:]), str(one.quota_octets or "none"), "yes" if one.enabled else "no")
        for one in found
    ]
    value = [
        {"account": one.name, "addresses": one.addresses, "quota_octets": one.quota_octets, "enabled": one.enabled}
        for one in found
    ]
    answer(value, as_json=as_json, lines=table(("account", "further addresses", "quota", "may log in"), rows))


@account.command()
@click.argument("address")
@click.option(
    "--ask", is_flag=True, help="Ask for the password, or read it from standard input; else one is made and printed."
)
@settings_option
@json_option
def passwd(address: str, ask: bool, settings_file: Path, as_json: bool) -> None:
    """Change the password of ADDRESS."""
    settings = load(settings_file, as_json=as_json)
    password = _password(ask=ask)
    try:
        with opened_accounts(settings) as accounts:
            accounts.set_password(_whole(address, settings), password)
    except LetterlockError as error:
        fail(str(error), Exit.WRONG, as_json=as_json)
    value = {"account": _whole(address, settings)} | ({} if ask else {"password": password})
    answer(value, as_json=as_json, lines=["changed" if ask else f"password   {password}"])


@account.command()
@click.argument("address")
@click.option(
    "--with-mail", is_flag=True, help="Remove its mailboxes, too. Without, a new account of that name has them."
)
@settings_option
@json_option
def remove(address: str, with_mail: bool, settings_file: Path, as_json: bool) -> None:
    """Remove the account ADDRESS."""
    settings = load(settings_file, as_json=as_json)
    name = _whole(address, settings)
    try:
        with opened_accounts(settings) as accounts:
            accounts.remove(name)
        forget_account(settings, name)
        if with_mail:
            asyncio.run(forget_mail(settings, name))
    except LetterlockError as error:
        fail(str(error), Exit.WRONG, as_json=as_json)
    kept = "its mail, too" if with_mail else "its mail is kept"
    answer({"account": name, "mail_removed": with_mail}, as_json=as_json, lines=[f"removed {safe(name)}; {kept}"])


def _whole(address: str, settings: Settings) -> str:
    return address if "@" in address else f"{address}@{settings.domain}"


def _local(address: str, settings: Settings) -> str:
    """Return the whole address if mail to it comes here. Raises OurFault."""
    whole = _whole(address, settings)
    try:
        domain = Address.parse(whole).domain
    except Malformed:
        raise OurFault(f"{safe(address)} is no address of a mailbox") from None
    if domain not in settings.local_domains:
        raise OurFault(f"{safe(domain)} is no domain of this server; write it into more_domains first")
    return whole


def _password(*, ask: bool) -> str:
    if ask and not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    if ask:
        asked: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
        return asked
    return SystemEntropy().octets(_PASSWORD_OCTETS).hex()
