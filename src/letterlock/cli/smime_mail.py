"""What `letterlock mail` needs of S/MIME: signing and encrypting from a key store, opening and judging with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from letterlock.cli import smime_files as files
from letterlock.errors import OurFault
from letterlock.formats.imf.addresses import parse_addresses
from letterlock.formats.imf.header import read_header
from letterlock.mua import protect
from letterlock.mua.compose import Composed
from letterlock.mua.protect import Opened
from letterlock.registrar import usable
from letterlock.registrar.key_store import KeyStore
from letterlock.registrar.signature_log import LoggedSignature
from letterlock.trust.primitives import public_keys
from letterlock.trust.smime.decrypt import KeyRing, Own
from letterlock.trust.smime.sign import Signer
from letterlock.trust.smime.unwrap import unwrap

R = TypeVar("R")


def keys_options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command `--keys` and `--keys-password-file`."""
    command = click.option("--keys-password-file", type=files.FILE, help="The first line opens the key store.")(command)
    return click.option(
        "--keys", "keys_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A key store."
    )(command)


def open_store(keys_file: Path | None, password_file: Path | None) -> KeyStore:
    """Return the key store named on the command line; OurFault if it is not."""
    if keys_file is None or password_file is None:
        raise OurFault("S/MIME needs --keys and --keys-password-file (see `letterlock keys`)")
    return KeyStore(keys_file, files.password_of(password_file) or b"")


def protected(store: KeyStore, composed: Composed, author: str, *, sign: bool, encrypt: bool) -> Composed:
    """Return the message signed and encrypted as asked; OurFault with what is missing."""
    if sign:
        own = usable.to_sign_with(store, author, files.now())
        key = store.key(public_keys.key_id(own.public_key).hex())
        composed = protect.sign(composed, Signer(key, own), files.now(), files.token())
        for cms in protect.detached_signatures(unwrap(composed.content)):
            store.signatures.add(LoggedSignature(files.now(), True, author, composed.message_id, "sent", cms))
    if encrypt:
        addresses = [str(recipient.forward_path) for recipient in composed.envelope.recipients]
        recipients = [usable.to_encrypt_to(store, address, files.now()) for address in addresses]
        composed = protect.encrypt(composed, recipients, usable.to_keep_readable(store, author, files.now()))
    return composed


def opened(store: KeyStore, octets: bytes) -> Opened:
    """Open a message with the store's keys, and keep the author's certificates and capabilities if it proves good."""
    own = tuple(
        Own(store.key(public_keys.key_id(each.certificate.public_key).hex()), each.certificate)
        for each in store.certificates()
        if each.own
    )
    found = protect.open_message(octets, KeyRing(own), usable.trust_of(store, files.now()))
    for certificate in found.certificates:
        store.add_certificate(certificate, "signed mail", files.now())
    if found.announced is not None:
        store.remember(found.announced)
    header = read_header(octets)
    author = next((box.address for box in parse_addresses(header.text("from")).mailboxes), "")
    for cms in found.signatures:
        message_id = header.text("message-id").strip("<> ")
        store.signatures.add(LoggedSignature(files.now(), False, author, message_id, found.proof.sentence, cms))
    return found
