"""The files of S/MIME that the settings name, opened: trusted authorities, keys, the domain's own authority, label policies.

All raise SettingsFault with the setting, its value and what is wrong with it.

See also: smime.py, which wires what is made of them.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from letterlock.admd.settings import Settings
from letterlock.errors import Malformed, NotAuthentic, SettingsFault
from letterlock.formats.x509 import pem
from letterlock.formats.x509.certificate import Certificate
from letterlock.host.entropy import SystemEntropy
from letterlock.trust.pkix.path import Anchor

if TYPE_CHECKING:
    from letterlock.registrar.authority import CertificationAuthority
    from letterlock.registrar.key_store import KeyStore
    from letterlock.trust.smime.labels import LabelRules

KEY_STORE_NAME = "smime.sqlite"


def smime_anchors(settings: Settings) -> tuple[Anchor, ...]:
    """Return the authorities of `assess.smime_anchors`, none where it is not set. Raises SettingsFault."""
    if settings.assess.smime_anchors is None:
        return ()
    file = settings.path(settings.assess.smime_anchors)
    try:
        found = [Certificate.parse(der) for der in pem.decode(file.read_bytes(), *pem.CERTIFICATE)]
    except (OSError, Malformed) as error:
        raise SettingsFault((f"assess.smime_anchors = {str(file)!r}: cannot be read: {error}",)) from None
    return tuple(map(Anchor.of, found))


def first_line(file: Path, setting: str) -> bytes:
    """Return the password in the first line of a file. Raises SettingsFault naming the setting."""
    try:
        password = file.read_bytes().splitlines()[:1]
    except OSError as error:
        raise SettingsFault((f"{setting} = {str(file)!r}: cannot be read: {error.strerror}",)) from None
    if not password or not password[0]:
        raise SettingsFault((f"{setting} = {str(file)!r}: its first line is empty; write a password there",))
    return password[0]


def open_key_store(settings: Settings, *, waits_for_disk: bool = True) -> KeyStore:
    """Open the domain's key store, which is made if need be. Raises SettingsFault, Unavailable."""
    from letterlock.registrar.key_store import KeyStore

    if settings.smime.password_file is None:
        raise SettingsFault(("smime.password_file is not set: the domain has no key store without it",))
    password = first_line(settings.path(settings.smime.password_file), "smime.password_file")
    file = settings.path(settings.data) / KEY_STORE_NAME
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.touch(mode=0o600)
    store = KeyStore(file, password, waits_for_disk=waits_for_disk)
    try:
        store.check_password()
    except NotAuthentic as fault:
        store.close()
        raise SettingsFault((f"smime.password_file: {fault} {str(file)!r}",)) from None
    return store


def open_own_authority(settings: Settings) -> CertificationAuthority:
    """Open the domain's certification authority. Raises SettingsFault, Unavailable."""
    from letterlock.registrar.folder import open_folder

    wanted = settings.registrar
    if wanted.password_file is None:
        raise SettingsFault(("registrar.password_file is not set: the domain's authority cannot be opened without it",))
    password = first_line(settings.path(wanted.password_file), "registrar.password_file")
    suffices = wanted.approval == "challenge"
    try:
        return open_folder(settings.path(wanted.folder), password, SystemEntropy().octets, challenge_suffices=suffices)
    except NotAuthentic as fault:
        raise SettingsFault((f"registrar.password_file: it does not open the authority's key: {fault}",)) from None


def label_rules(settings: Settings) -> LabelRules | None:
    """Return the policies of `smime.labels`, None where it is not set. Raises SettingsFault."""
    if settings.smime.labels is None:
        return None
    from letterlock.trust.smime.labels import rules_of

    file = settings.path(settings.smime.labels)
    try:
        return rules_of(tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsFault((f"smime.labels = {str(file)!r}: cannot be read: {error}",)) from None
    except SettingsFault as fault:
        raise SettingsFault(tuple(f"smime.labels = {str(file)!r}: {each}" for each in fault.problems)) from None
