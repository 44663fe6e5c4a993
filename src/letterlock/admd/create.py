"""Found an installation: its settings file, its TLS identity, its DKIM keys, its first accounts.

`letterlock init` and the lab both begin here. Nothing that is there already is touched, and what fails leaves nothing
behind. Private keys are readable by their owner only (mode 0600). A power cut leaves all of it or no settings file,
which is written last.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit

from letterlock.admd import settings as settings_file
from letterlock.admd.accounts import accounts_file, opened_accounts
from letterlock.admd.settings import Settings
from letterlock.admd.signing import first_keys
from letterlock.admd.values import split_endpoint
from letterlock.errors import SettingsFault
from letterlock.host.clock import Clock
from letterlock.host.entropy import Entropy
from letterlock.host.files import make_directory, write_new
from letterlock.trust.primitives import server_certificates
from letterlock.trust.primitives.server_certificates import Identity, Validity

HIGH_PORTS = {
    "smtp": 2525,
    "submissions": 4650,
    "submission": 5870,
    "imaps": 9930,
    "imap": 1430,
    "pop3s": 9950,
    "pop3": 1100,
}
_CERTIFICATE_DAYS = 365
_HEADING = "Letterlock's settings for {domain}. What is not set here has the default that docs/settings.md names."


@dataclass(frozen=True, slots=True)
class Found:
    """What was made: the settings as they will be read, and the TLS certificate."""

    settings: Settings
    file: Path
    certificate: bytes


def create(
    folder: Path,
    domain: str,
    overrides: Mapping[str, Any],
    *,
    clock: Clock,
    entropy: Entropy,
    issuer: Identity | None = None,
    passwords: Mapping[str, str] | None = None,
) -> Found:
    """Write letterlock.toml with `overrides` (tables as dicts) and keys into `folder`, which is made.

    The certificate is signed by `issuer`, or by itself. `passwords` are those of the first accounts, by their local parts.
    Raises SettingsFault where a setting is wrong or a file exists, OSError, Unavailable.
    """
    file = folder / settings_file.FILE_NAME
    table = {"domain": domain, **overrides}
    settings = settings_file.parse(dict(table), file)
    if file.exists():
        raise SettingsFault((f"{file}: exists already; remove it, or choose another folder",))
    validity = Validity(
        datetime.datetime.fromtimestamp(clock.now(), datetime.UTC) - datetime.timedelta(hours=1),
        datetime.timedelta(days=_CERTIFICATE_DAYS),
    )
    names = (settings.host_name, *_addresses(settings)) if issuer else (settings.host_name, settings.domain)
    identity = server_certificates.server(names, validity, int.from_bytes(entropy.octets(15)), issuer)
    keys = {settings.path(settings.tls.key): identity.key, **first_keys(settings, validity.start)}
    with contextlib.ExitStack() as undo:
        _make(folder, undo)
        _make(settings.path(settings.data), undo, mode=0o700)
        _make(settings.path(settings.dkim.folder), undo, mode=0o700)
        for path, octets in (*keys.items(), (settings.path(settings.tls.certificate), identity.certificate)):
            _write(path, octets, undo)
        _add_accounts(settings, passwords or {}, undo)
        _write(file, _text(table, domain).encode(), undo, mode=0o644)
        undo.pop_all()
    return Found(settings, file, identity.certificate)


def _make(folder: Path, undo: contextlib.ExitStack, mode: int = 0o777) -> None:
    for made in make_directory(folder, mode):
        undo.callback(_remove_if_empty, made)


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def _write(path: Path, octets: bytes, undo: contextlib.ExitStack, mode: int = 0o600) -> None:
    _make(path.parent, undo)
    try:
        write_new(path, octets, mode)
    except FileExistsError:
        raise SettingsFault((f"{path}: exists already; remove it, or choose another folder",)) from None
    undo.callback(path.unlink, missing_ok=True)


def _add_accounts(settings: Settings, passwords: Mapping[str, str], undo: contextlib.ExitStack) -> None:
    file = accounts_file(settings)
    if not file.exists():
        for suffix in ("", "-wal", "-shm"):
            undo.callback(file.with_name(file.name + suffix).unlink, missing_ok=True)
    with opened_accounts(settings) as accounts:
        for local_part, password in passwords.items():
            accounts.add(f"{local_part}@{settings.domain}", password)


def _addresses(settings: Settings) -> list[str]:
    return sorted({split_endpoint(endpoint)[0] for endpoint in settings.listen.imaps})


def _text(table: Mapping[str, Any], domain: str) -> str:
    document = tomlkit.document()
    document.add(tomlkit.comment(_HEADING.format(domain=domain)))
    for key, value in table.items():
        if isinstance(value, Mapping):
            document.add(tomlkit.nl())
        document.add(key, tomlkit.item(value))
    return tomlkit.dumps(document)
