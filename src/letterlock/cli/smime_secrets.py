"""Secrets for the S/MIME commands that are not private keys: keys two parties share, keys of contents, passwords.

They stand in files, for whoever lists the running programs sees their arguments. A key is one line in hexadecimal, as
OpenSSL's -secretkey takes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

from letterlock.cli import smime_files as files
from letterlock.errors import OurFault
from letterlock.trust.smime.decrypt import KeyRing, Own

R = TypeVar("R")
KEY_OCTETS = (16, 24, 32)

shared_key_option = click.option(
    "--shared-key-file", type=files.FILE, help="A key both sides have, in hexadecimal (with --shared-key-id)."
)
shared_key_id_option = click.option("--shared-key-id", default="", help="Its name, in hexadecimal.")


@dataclass(frozen=True, slots=True)
class Secrets:
    """The files that were named."""

    shared_key: Path | None
    shared_key_id: str
    content_key: Path | None
    password: Path | None

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return any((self.shared_key, self.content_key, self.password))

    def ring(self, own: tuple[Own, ...]) -> KeyRing:
        """Return all there is to decrypt with. Raises OurFault for what is no key."""
        password = files.password_of(self.password)
        return KeyRing(
            own,
            {} if self.shared_key is None else dict([shared_key(self.shared_key, self.shared_key_id)]),
            () if password is None else (password,),
            () if self.content_key is None else (_key(self.content_key),),
        )


def shared_key(file: Path, name: str) -> tuple[bytes, bytes]:
    """Return the name and the octets of a shared key. Raises OurFault."""
    try:
        identifier = bytes.fromhex(name)
    except ValueError:
        identifier = b""
    if not identifier:
        raise OurFault("--shared-key-id takes the shared key's name in hexadecimal")
    key = _key(file)
    if len(key) not in KEY_OCTETS:
        raise OurFault(f"{file}: a shared key has 16, 24 or 32 octets, and this one {len(key)}")
    return identifier, key


def _key(file: Path) -> bytes:
    try:
        return bytes.fromhex((files.password_of(file) or b"").decode("ascii"))
    except (ValueError, UnicodeDecodeError):
        raise OurFault(f"{file}: its first line is no key in hexadecimal") from None


def secrets_options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command these options, as its parameter `secrets`."""

    def wrapped(**parameters: object) -> R:
        names = ("shared_key_file", "shared_key_id", "content_key_file", "with_password_file")
        secrets = Secrets(*(parameters.pop(name) for name in names))  # type: ignore[arg-type]  # click made them of these types
        return command(secrets=secrets, **parameters)

    wrapped.__doc__ = command.__doc__
    wrapped.__name__ = command.__name__
    wrapped.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]  # where click keeps options
    options = (
        shared_key_option,
        shared_key_id_option,
        click.option(
            "--content-key-file",
            type=files.FILE,
            help="The key of EncryptedData, which names no recipient, in hexadecimal.",
        ),
        click.option(
            "--with-password-file", type=files.FILE, help="A password it was encrypted for, in the first line."
        ),
    )
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped
