"""Found an installation: its settings file, its TLS identity, its DKIM keys. Nothing that is there already is touched.

`letterlock init` and the lab both begin here. Private keys are readable by their owner only (mode 0600).
A power cut leaves all of it or no settings file, which is written last.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit

from letterlock.admd import settings as settings_file
from letterlock.admd.settings import Settings
from letterlock.admd.signing import make_keys
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
) -> Found:
    """Write letterlock.toml with `overrides` (tables as dicts) and keys into `folder`, which is made.

    The certificate is signed by `issuer`, or by itself. Raises SettingsFault where a setting is wrong or the file exists.
    """
    file = folder / settings_file.FILE_NAME
    table = {"domain": domain, **overrides}
    settings = settings_file.parse(dict(table), file)
    if file.exists():
        raise SettingsFault((f"{file}: exists already; remove it, or choose another folder",))
    make_directory(folder)
    make_directory(settings.path(settings.data), mode=0o700)
    validity = Validity(
        datetime.datetime.fromtimestamp(clock.now(), datetime.UTC) - datetime.timedelta(hours=1),
        datetime.timedelta(days=_CERTIFICATE_DAYS),
    )
    names = (settings.host_name, *_addresses(settings)) if issuer else (settings.host_name, settings.domain)
    identity = server_certificates.server(names, validity, int.from_bytes(entropy.octets(15)), issuer)
    for path, octets in ((settings.tls.key, identity.key), (settings.tls.certificate, identity.certificate)):
        make_directory(settings.path(path).parent)
        write_new(settings.path(path), octets)
    make_keys(settings, validity.start)
    write_new(file, _text(table, domain).encode(), mode=0o644)
    return Found(settings, file, identity.certificate)


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
