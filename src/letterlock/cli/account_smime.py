"""`letterlock account smime`: what the domain's gateway does for an account, and its keys."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from letterlock.admd.accounts import opened_accounts
from letterlock.admd.settings import Settings
from letterlock.admd.smime_files import KEY_STORE_NAME, open_key_store, open_own_authority
from letterlock.cli.output import Exit, answer, fail, json_option, safe, table
from letterlock.cli.settings_option import load, settings_option
from letterlock.errors import LetterlockError, OurFault, SettingsFault
from letterlock.host.clock import SystemClock
from letterlock.registrar import enrol, usable
from letterlock.registrar.gateway_accounts import GatewayAccount, GatewayAccounts, Signing
from letterlock.registrar.key_store import KeyStore


@click.command("smime")
@click.argument("address", required=False)
@click.option("--sign", type=click.Choice([each.value for each in Signing]), help="Sign what the account submits.")
@click.option("--decrypt/--no-decrypt", default=None, help="Open what comes encrypted to it.")
@click.option("--keep-original/--no-keep-original", default=None, help="Keep what came encrypted, too.")
@click.option("--enrol", "is_enrolled", is_flag=True, help="Make keys, certified by the domain's own authority.")
@click.option("--kind", type=click.Choice(enrol.KINDS), default="p256", show_default=True, help="What kind of keys.")
@settings_option
@json_option
def account_smime(
    address: str | None,
    sign: str | None,
    decrypt: bool | None,
    keep_original: bool | None,
    is_enrolled: bool,
    kind: str,
    settings_file: Path,
    as_json: bool,
) -> None:
    """Show or set what the gateway does for ADDRESS; without ADDRESS, list all accounts it serves.

    Nothing is signed or decrypted here for anybody who is not named by this command. ADDRESS may be a mail list's, which
    needs keys, too. Keys from elsewhere come in with `letterlock keys import --store DATA/smime.sqlite`.
    """
    settings = load(settings_file, as_json=as_json)
    try:
        with _opened(settings) as (store, accounts):
            if address is None:
                _list(accounts, store, as_json=as_json)
                return
            name, addresses = _known(settings, address if "@" in address else f"{address}@{settings.domain}")
            if is_enrolled:
                authority = open_own_authority(settings)
                enrol.enrol(store, authority, addresses, _now(), kind)
            wanted = accounts.of(name)
            changes = {"signing": Signing(sign) if sign else None, "decrypts": decrypt, "keeps_original": keep_original}
            changed: dict[str, Any] = {key: value for key, value in changes.items() if value is not None}
            if changed:
                wanted = dataclasses.replace(wanted, **changed)
                accounts.put(wanted)
            value = _value(wanted, store, addresses)
    except SettingsFault as fault:
        fail("\n".join(fault.problems), Exit.SETTINGS, as_json=as_json)
    except LetterlockError as error:
        fail(safe(str(error)), Exit.WRONG, as_json=as_json)
    lines = [f"{key.replace('_', ' '):16}{safe(_text(text))}" for key, text in value.items()]
    answer(value, as_json=as_json, lines=lines)


@contextlib.contextmanager
def _opened(settings: Settings) -> Iterator[tuple[KeyStore, GatewayAccounts]]:
    with contextlib.closing(open_key_store(settings)) as store:
        file = settings.path(settings.data) / KEY_STORE_NAME
        with contextlib.closing(GatewayAccounts(file)) as accounts:
            yield store, accounts


def _known(settings: Settings, address: str) -> tuple[str, tuple[str, ...]]:
    """Return the account an address names with all its addresses, or a mail list. Raises OurFault."""
    if any(one.address.lower() == address.lower() for one in settings.lists):
        return address, (address,)
    with opened_accounts(settings) as accounts:
        found = accounts.account(address)
    if found is None:
        raise OurFault(f"there is no account {address}")
    return found.name, found.addresses


def _now() -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(SystemClock().now()), datetime.UTC)


def _value(one: GatewayAccount, store: KeyStore, addresses: tuple[str, ...]) -> dict[str, Any]:
    try:
        signs_with: str | None = f"{usable.to_sign_with(store, addresses[0], _now()).serial:x}"
        problem = ""
    except OurFault as fault:
        signs_with, problem = None, str(fault)
    return {
        "account": one.account,
        "sign": one.signing.value,
        "decrypt": one.decrypts,
        "keep_original": one.keeps_original,
        "signs_with": signs_with,
        "decrypts_with": [f"{each.serial:x}" for each in usable.to_decrypt_with(store, addresses)],
        "problem": problem,
    }


def _text(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(map(str, value)) or "nothing"
        case _:
            return str(value or "none")


def _list(accounts: GatewayAccounts, store: KeyStore, *, as_json: bool) -> None:
    found = [_value(one, store, (one.account,)) for one in accounts.all()]
    rows = [
        (one["account"], one["sign"], _text(one["decrypt"]), _text(one["keep_original"]), safe(_missing(one)))
        for one in found
    ]
    answer(found, as_json=as_json, lines=table(("account", "sign", "decrypt", "keep original", "missing"), rows))


def _missing(one: dict[str, Any]) -> str:
    """Return what an account needs for what it asks for, and has not."""
    if one["sign"] != Signing.NEVER.value and one["problem"]:
        return str(one["problem"])
    return "no key that decrypts" if one["decrypt"] and not one["decrypts_with"] else ""
