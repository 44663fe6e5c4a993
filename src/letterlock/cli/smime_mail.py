"""What `letterlock mail` needs of S/MIME: signing from a key store, opening and judging with it.

Encrypting is in smime_sealing.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from letterlock.cli import smime_files as files
from letterlock.errors import Malformed, OurFault
from letterlock.formats.cms.attributes import Attribute
from letterlock.formats.imf.addresses import parse_addresses
from letterlock.formats.imf.header import read_header
from letterlock.mua import protect
from letterlock.mua.compose import Composed
from letterlock.mua.protect import Complete, Opened
from letterlock.mua.receipts import request_for
from letterlock.mua.settings import UserAgentSettings
from letterlock.registrar import usable
from letterlock.registrar.key_store import KeyStore
from letterlock.registrar.signature_log import LoggedSignature
from letterlock.trust.primitives import public_keys
from letterlock.trust.smime import labels
from letterlock.trust.smime.decrypt import KeyRing, Own
from letterlock.trust.smime.labels import LabelRules
from letterlock.trust.smime.sign import Signer
from letterlock.trust.smime.unwrap import unwrap

R = TypeVar("R")


def keys_options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command `--keys` and `--keys-password-file`."""
    command = click.option(
        "--keys-password-file",
        type=files.FILE,
        envvar="LETTERLOCK_KEYS_PASSWORD_FILE",
        help="The first line opens the key store.",
    )(command)
    return click.option(
        "--keys",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        envvar="LETTERLOCK_KEYS",
        help="A key store.",
    )(command)


def open_store(keys: Path | None, password_file: Path | None) -> KeyStore:
    """Return the key store that was named; OurFault if none was."""
    if keys is None:
        raise OurFault("S/MIME needs --keys and --keys-password-file (see `letterlock keys`)")
    if password_file is None:
        raise OurFault(f"the key store {keys} needs the file with its password")
    return KeyStore(keys, files.password_of(password_file) or b"")


def store_of(settings: UserAgentSettings) -> KeyStore:
    """Return the user's key store; OurFault if none is named."""
    return open_store(settings.keys, settings.keys_password_file)


def kept_answers(settings: UserAgentSettings) -> Path | None:
    """Return where answers about revocation are kept: beside the key store."""
    return None if settings.keys is None else settings.keys.with_name(f"{settings.keys.name}-revocation")


def signed(store: KeyStore, composed: Composed, author: str, attributes: tuple[Attribute, ...] = ()) -> Composed:
    """Return the message signed, with `attributes` in its signature. Raises OurFault with what is missing."""
    signer = dataclasses.replace(signer_of(store, author), attributes=attributes)
    composed = protect.sign(composed, signer, files.now(), files.token())
    for cms in protect.detached_signatures(unwrap(composed.content)):
        store.signatures.add(LoggedSignature(files.now(), True, author, composed.message_id, "sent", cms))
    return composed


def labelled(text: str, policy_file: Path | None, composed: Composed) -> tuple[Attribute, ...]:
    """Return what puts a security label into a signature.

    Raises OurFault for a label that is none, and where the policy file says that a recipient may not read it; SettingsFault.
    """
    rules = None if policy_file is None else files.label_rules(policy_file)
    policies = rules.policies if rules is not None else {}
    label = labels.label_of(text, policies)
    for recipient in composed.envelope.recipients:
        reading = labels.may_read_label(label, (), str(recipient.forward_path), policies)
        if rules is not None and not reading.allowed:
            raise OurFault(f"nothing was sent: {reading.reason}")
    return labels.attributes(label)


def receipt_request(composed: Composed, receipts_to: str) -> Attribute:
    """Return what asks for receipts to an address. Raises Malformed."""
    (box, *more) = parse_addresses(receipts_to).mailboxes or [None]
    if box is None or more:
        raise Malformed(f"{receipts_to!r} is no address for receipts")
    return request_for(composed.message_id, str(box.to_address()))


def signer_of(store: KeyStore, author: str) -> Signer:
    """Return who signs for an address; OurFault with what is missing."""
    own = usable.to_sign_with(store, author, files.now())
    key = store.key(public_keys.key_id(own.public_key).hex())
    return Signer(key, own, encryption=usable.to_keep_readable(store, author, files.now()))


def ring_of(store: KeyStore) -> KeyRing:
    """Return all a store can decrypt with."""
    return KeyRing(
        tuple(
            Own(store.key(public_keys.key_id(each.certificate.public_key).hex()), each.certificate)
            for each in store.certificates()
            if each.own
        )
    )


def opened(
    store: KeyStore,
    octets: bytes,
    reader: str = "",
    rules: LabelRules | None = None,
    complete: Complete | None = None,
    *,
    require_revocation: bool = False,
) -> Opened:
    """Open a message with the store's keys, and keep the author's certificates and capabilities if it proves good.

    With `rules`, what labels do not let `reader` see is withheld. `complete` looks for what else is to be known of its
    signers; with `require_revocation` a signature proves nothing where its signer's certificate may have been revoked.
    """
    trust = dataclasses.replace(usable.trust_of(store, files.now()), require_revocation=require_revocation)
    found = protect.open_message(octets, ring_of(store), trust, reader, rules, complete)
    store.learn(found.learned.certificates, found.learned.announced, found.learned.used, files.now())
    header = read_header(octets)
    author = next((box.address for box in parse_addresses(header.text("from")).mailboxes), "")
    for cms in found.signatures:
        message_id = header.text("message-id").strip("<> ")
        store.signatures.add(LoggedSignature(files.now(), False, author, message_id, found.proof.sentence, cms))
    return found
