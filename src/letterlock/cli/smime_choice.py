"""Which cipher `letterlock smime encrypt` writes, and what is told of it.

One that was named, else the one that the rules of trust/smime/choose_cipher.py find for all recipients: by what a key store
remembers of them, by what their certificates say, and by `--for-unknown` where neither says anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

from letterlock.cli import smime_files as files
from letterlock.errors import OurFault
from letterlock.formats.asn1 import oids
from letterlock.formats.x509.certificate import Certificate
from letterlock.trust.smime.choose_cipher import Group, Member, Recipient, Unknown, choose, label

R = TypeVar("R")
CIPHERS = {
    "aes256-gcm": oids.AES256_GCM,
    "aes192-gcm": oids.AES192_GCM,
    "aes128-gcm": oids.AES128_GCM,
    "aes256-cbc": oids.AES256_CBC,
    "aes192-cbc": oids.AES192_CBC,
    "aes128-cbc": oids.AES128_CBC,
    "chacha20-poly1305": oids.CHACHA20_POLY1305,
    "3des": oids.DES3_CBC,
    "rc2": oids.RC2_CBC,
}


def told(member: Member, cipher: str, certificate: Certificate) -> dict[str, object]:
    """Return what is told of one who gets a message, for programs."""
    return {
        "address": member.address,
        "certificate": f"{certificate.serial:x}",
        "cipher": label(cipher),
        "rule": member.rule.value,
        "rule_name": member.rule.name.lower().replace("_", "-"),
        "reason": member.reason,
    }


def sentence(member: Member, cipher: str) -> str:
    """Return what is told of one who gets a message, for people."""
    return f"{member.address}: {label(cipher)} by rule {member.rule.value}, {member.reason}"


@dataclass(frozen=True, slots=True)
class Chosen:
    """The cipher, whether the content key is bound to it, and by which rule each recipient gets it.

    Where no rule was asked `members` are none, and `reason` says why.
    """

    cipher: str
    reason: str = ""
    bind_key: bool = False
    members: tuple[tuple[Member, Certificate], ...] = ()

    @property
    def value(self) -> dict[str, object]:
        """What is told of the choice, for programs."""
        everybody = [told(member, self.cipher, certificate) for member, certificate in self.members]
        return {
            "cipher": label(self.cipher),
            "reason": self.reason,
            "bind_key": self.bind_key,
            "recipients": everybody,
        }

    @property
    def sentences(self) -> list[str]:
        """What is told of the choice, for people."""
        if not self.members:
            return [f"{label(self.cipher)}: {self.reason}"]
        return [sentence(member, self.cipher) for member, _certificate in self.members]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the author says of the cipher, and where it is remembered what the recipients read."""

    cipher: str | None
    unknown: str | None
    legacy: bool
    store: Path | None
    store_password_file: Path | None

    def choose(self, certificates: Sequence[Certificate]) -> Chosen:
        """Return the one cipher for all recipients. Raises OurFault with the reason where there is none."""
        if self.cipher is not None:
            return Chosen(CIPHERS[self.cipher], "named with --cipher")
        if not certificates:
            return Chosen(oids.AES256_GCM, "what RFC 8551 asks everybody to read")
        recipients = self._recipients(certificates)
        # RFC 8551 section 2.7.1.2; with a key store as `letterlock mail` chooses
        unknown = Unknown.GCM if self.store is None else Unknown.BY_KEY
        found = choose(recipients, legacy=self.legacy, unknown=Unknown(self.unknown) if self.unknown else unknown)
        if found.refused:
            raise OurFault("; ".join(found.refused.values()))
        if len(found.groups) > 1:
            read = "; ".join(_read_by(group) for group in found.groups)
            raise OurFault(f"no cipher serves them all: {read}. Encrypt to them apart, or name a --cipher")
        (group,) = found.groups
        members = {member.address: member for member in group.members}
        of_each = tuple((members[each.address], each.certificate) for each in recipients)
        return Chosen(group.cipher, bind_key=group.bind_key, members=of_each)

    def _recipients(self, certificates: Sequence[Certificate]) -> list[Recipient]:
        """Return of each certificate whose it is, with what is remembered of the first of its addresses that is known."""
        named = {each: each.addresses or (str(each.subject),) for each in certificates}
        if self.store is None:
            return [Recipient(addresses[0], certificate) for certificate, addresses in named.items()]
        # loading a key store takes a while, and most commands need none
        from letterlock.cli import smime_mail
        from letterlock.registrar import usable

        store = smime_mail.open_store(self.store, self.store_password_file)
        found = []
        for certificate, addresses in named.items():
            known = [usable.recipient_of(store, address, certificate) for address in addresses]
            found.append(next((each for each in known if each.announced or each.last_used), known[0]))
        return found


def _read_by(group: Group) -> str:
    return f"{', '.join(group.addresses)} {'reads' if len(group.addresses) == 1 else 'read'} {label(group.cipher)}"


def cipher_options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command these options, as its parameter `wish`."""

    def wrapped(**parameters: object) -> R:
        names = ("cipher", "for_unknown", "legacy", "store", "store_password_file")
        wish = Wish(*(parameters.pop(name) for name in names))  # type: ignore[arg-type]  # click made them of these types
        return command(wish=wish, **parameters)

    wrapped.__doc__ = command.__doc__
    wrapped.__name__ = command.__name__
    wrapped.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]  # where click keeps options
    options = (
        click.option(
            "--cipher", type=click.Choice(list(CIPHERS)), help="This cipher; without it, what all recipients can read."
        ),
        click.option(
            "--for-unknown",
            type=click.Choice([each.value for each in Unknown]),
            help="The cipher for who said nothing of what they read: by-key (GCM for elliptic keys, else CBC) with a "
            "--store, gcm without.",
        ),
        click.option("--legacy", is_flag=True, help="Allow Triple-DES and RC2."),
        click.option("--store", type=files.FILE, help="A key store, which remembers what correspondents read."),
        click.option("--store-password-file", type=files.FILE, help="The first line opens the key store."),
    )
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped
