"""What `letterlock mail` needs of S/MIME: signing and encrypting from a key store, opening and judging with it."""

from __future__ import annotations

import asyncio
import dataclasses
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import click

from letterlock.cli import smime_files as files
from letterlock.errors import Malformed, OurFault, SettingsFault
from letterlock.formats.address import Address
from letterlock.formats.cms.attributes import Attribute
from letterlock.formats.imf.addresses import parse_addresses
from letterlock.formats.imf.header import read_header
from letterlock.host.drive_decisions import drive
from letterlock.host.resolver.interface import Resolver
from letterlock.mua import protect
from letterlock.mua.compose import Composed
from letterlock.mua.protect import Complete, Opened
from letterlock.mua.receipts import request_for
from letterlock.registrar import usable
from letterlock.registrar.key_store import KeyStore
from letterlock.registrar.signature_log import LoggedSignature
from letterlock.trust.primitives import public_keys
from letterlock.trust.smime import labels
from letterlock.trust.smime.choose_cipher import Recipient
from letterlock.trust.smime.decrypt import KeyRing, Own
from letterlock.trust.smime.labels import LabelRules, rules_of
from letterlock.trust.smime.look_up import Found, find_certificates
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
        "keys_file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        envvar="LETTERLOCK_KEYS",
        help="A key store.",
    )(command)


def open_store(keys_file: Path | None, password_file: Path | None) -> KeyStore:
    """Return the key store named on the command line; OurFault if it is not."""
    if keys_file is None or password_file is None:
        raise OurFault("S/MIME needs --keys and --keys-password-file (see `letterlock keys`)")
    return KeyStore(keys_file, files.password_of(password_file) or b"")


def protected(
    store: KeyStore,
    composed: Composed,
    author: str,
    *,
    sign: bool,
    encrypt: bool,
    looked_up: Mapping[str, Found] | None = None,
    attributes: tuple[Attribute, ...] = (),
) -> Composed:
    """Return the message signed and encrypted as asked; OurFault with what is missing.

    `looked_up` is what the DNS says of recipients for whom the store has nothing, `attributes` go into the signature.
    """
    if sign:
        signer = dataclasses.replace(signer_of(store, author), attributes=attributes)
        composed = protect.sign(composed, signer, files.now(), files.token())
        for cms in protect.detached_signatures(unwrap(composed.content)):
            store.signatures.add(LoggedSignature(files.now(), True, author, composed.message_id, "sent", cms))
    if encrypt:
        addresses = [str(recipient.forward_path) for recipient in composed.envelope.recipients]
        recipients = [_recipient(store, address, (looked_up or {}).get(address)) for address in addresses]
        composed = protect.encrypt(composed, recipients, usable.to_keep_readable(store, author, files.now()))
    return composed


def labelled(text: str, policy_file: Path | None, composed: Composed) -> tuple[Attribute, ...]:
    """Return what puts a security label into a signature.

    Raises OurFault for a label that is none, and where the policy file says that a recipient may not read it; SettingsFault.
    """
    rules = label_rules(policy_file)
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
    return Signer(store.key(public_keys.key_id(own.public_key).hex()), own)


def _recipient(store: KeyStore, address: str, looked_up: Found | None) -> Recipient:
    """Return how to encrypt to an address: by the store, else by what its own domain says (RFC 8162)."""
    try:
        return usable.to_encrypt_to(store, address, files.now())
    except OurFault as fault:
        if looked_up is None:
            raise OurFault(f"{fault}; with --resolver its domain is asked (SMIMEA)") from None
        if not looked_up.certificates:
            raise OurFault(f"{fault}, and {looked_up.reason}") from None
        remembered = store.remembered(address)
        announced = None if remembered is None else remembered.capabilities
        return Recipient(address, looked_up.certificates[0], announced)


def without_certificate(store: KeyStore, composed: Composed) -> list[str]:
    """Return the recipients for whom the store has no usable certificate."""
    missing = []
    for recipient in composed.envelope.recipients:
        try:
            usable.to_encrypt_to(store, str(recipient.forward_path), files.now())
        except OurFault:
            missing.append(str(recipient.forward_path))
    return missing


async def look_up(store: KeyStore, addresses: list[str], resolver: Resolver) -> dict[str, Found]:
    """Return what the DNS says, validated, of the certificates of some addresses."""
    trust = usable.trust_of(store, files.now())
    asked = [
        find_certificates(Address.parse(each), trust.when, trust.certificates, trust.anchors) for each in addresses
    ]
    found = await asyncio.gather(*(drive(one, resolver) for one in asked))
    return dict(zip(addresses, found, strict=True))


def label_rules(file: Path | None) -> LabelRules | None:
    """Return the label policies of a file. Raises SettingsFault."""
    if file is None:
        return None
    try:
        return rules_of(tomllib.loads(files.read(file).decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsFault((f"{file}: {error}",)) from None


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
