"""Most of `letterlock smime`: verify, encrypt, decrypt, compress and expand messages and files."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from letterlock.cli import smime_files as files
from letterlock.cli import smime_large
from letterlock.cli.online import Online, online_options
from letterlock.cli.output import Exit, answer, fail, json_option, safe
from letterlock.cli.smime_choice import Wish, cipher_options
from letterlock.cli.smime_recipients import Vetting, vetting_options
from letterlock.cli.smime_secrets import (
    Secrets,
    secrets_options,
    shared_key,
    shared_key_id_option,
    shared_key_option,
)
from letterlock.errors import NotAuthentic
from letterlock.formats.asn1 import oids
from letterlock.formats.imf.header import read_header
from letterlock.trust.pkix.path import Anchor
from letterlock.trust.primitives.key_transport import Oaep
from letterlock.trust.smime import protect
from letterlock.trust.smime.compress import compress as compress_octets
from letterlock.trust.smime.decrypt import KeyRing, Own
from letterlock.trust.smime.encrypt import Recipient, To, ToPassword, ToSharedKey
from letterlock.trust.smime.encrypt import encrypt as encrypt_octets
from letterlock.trust.smime.entities import split
from letterlock.trust.smime.header_protection import restore
from letterlock.trust.smime.proof import Proof, Trust, describe_layer
from letterlock.trust.smime.unwrap import CompressedLayer, EncryptedLayer

out_option = click.option("--out", type=files.OUT, help="Write to this file instead of standard output.")
password_option = click.option("--password-file", type=files.FILE, help="The first line opens the key.")
cms_option = click.option("--cms", is_flag=True, help="Write a bare CMS object in DER, not a mail message.")


@click.group()
def smime() -> None:
    """Sign, verify, encrypt and decrypt mail and files with S/MIME."""


@smime.command()
@click.argument("file", type=files.FILE)
@click.option("--anchor", "anchors", type=files.FILE, multiple=True, help="Certificates of authorities to trust.")
@click.option("--cert", "certs", type=files.FILE, multiple=True, help="More certificates to build chains with.")
@click.option("--crl", "crls", type=files.FILE, multiple=True, help="Revocation lists.")
@click.option("--content", type=files.FILE, help="What a detached signature covers.")
@click.option("--from", "sender", help="Whose it must be; needed where there is no From field.")
@click.option("--key", "keys", type=files.FILE, multiple=True, help="A key, to verify what is inside encryption.")
@click.option("--at", type=click.DateTime(), help="Verify as of this time (UTC).")
@click.option("--legacy", is_flag=True, help="Accept SHA-1, DSA and RSA under 2048 bits.")
@click.option("--require-revocation", is_flag=True, help="Refuse where revocation could not be told.")
@online_options
@out_option
@password_option
@json_option
@files.plain_errors
def verify(
    file: Path,
    anchors: tuple[Path, ...],
    certs: tuple[Path, ...],
    crls: tuple[Path, ...],
    content: Path | None,
    sender: str | None,
    keys: tuple[Path, ...],
    at: datetime.datetime | None,
    legacy: bool,
    require_revocation: bool,
    online: Online,
    out: Path | None,
    password_file: Path | None,
    as_json: bool,
) -> None:
    """Say what the signatures of a message prove.

    Exit code: 0 only when a signature is good, its chain leads to an anchor, and its signer is the From or Sender.
    """
    if at is not None and online.is_on:
        fail("--online tells what is now, not what was --at another time", Exit.USAGE, as_json=as_json)
    known = tuple(each for path in certs for each in files.certificates(path))
    ring = KeyRing(tuple(Own(files.key(path, files.password_of(password_file))) for path in keys))
    trust = Trust(
        files.now() if at is None else at.replace(tzinfo=datetime.UTC),
        tuple(Anchor.of(each) for path in anchors for each in files.certificates(path)),
        known,
        tuple(each for path in crls for each in files.crls(path)),
        accept_legacy=legacy,
        require_revocation=require_revocation,
    )
    if not keys and (smime_large.is_large(file) or (content is not None and smime_large.is_large(content))):
        proof = smime_large.verify(file, trust, content, sender, len, online.complete)
        if out is not None:
            fail("--out is for files that fit into memory", Exit.USAGE)
    else:
        octets = files.read(file)
        unwrapped = files.unwrapped(file, octets, ring, known, None if content is None else files.read(content))
        proof = smime_large.proof_of(read_header(octets), sender, unwrapped, online.complete(unwrapped, trust))
        if out is not None and proof.good:
            files.write(unwrapped.content, out)
    answer(proof_value(proof), as_json=as_json, lines=proof_lines(proof))
    if not proof.good:
        raise SystemExit(Exit.WRONG)


def proof_value(proof: Proof) -> dict[str, object]:
    """Return a proof as JSON shows it."""
    return {
        "good": proof.good,
        "sentence": proof.sentence,
        "coverage": proof.coverage.value,
        "encrypted": proof.encrypted,
        "layers": proof.layers,
        "protected_fields": proof.protected_fields,
        "reasons": proof.faults,
        "warnings": proof.warnings,
        "signers": [
            {
                "good": each.good,
                "subject": each.subject,
                "addresses": each.addresses,
                "address": each.address,
                "role": each.role.value,
                "signature": each.signature,
                "key": each.key,
                "signing_time": each.signing_time,
                "chain": each.chain,
                "revocation": each.revocation.value,
                "revocation_reason": each.revocation_reason,
                "algorithms": each.standing.value,
                "expired_since_signing": each.expired_since_signing,
                "reasons": each.faults,
            }
            for each in proof.signers
        ],
    }


def proof_lines(proof: Proof) -> list[str]:
    """Return a proof for people."""
    lines = [safe(proof.sentence)]
    lines += [f"  reason: {safe(fault)}" for fault in proof.faults]
    lines += [f"  note: {safe(note)}" for note in proof.warnings]
    lines += [f"  layer: {safe(layer)}" for layer in proof.layers]
    for each in proof.signers:
        lines.append(safe(f"  signer: {each.subject} ({', '.join(each.addresses)}), {each.signature}, {each.key}"))
    return lines


@smime.command()
@click.argument("file", type=files.FILE)
@click.option("--to", "recipients", type=files.FILE, multiple=True, help="A recipient's certificate.")
@click.option("--to-password-file", type=files.FILE, help="Whoever knows the password in the first line.")
@shared_key_option
@shared_key_id_option
@cipher_options
@click.option("--oaep", is_flag=True, help="RSA-OAEP with SHA-256 instead of PKCS#1 v1.5.")
@click.option("--protect-header", is_flag=True, help="Encrypt the subject, too (RFC 9788).")
@click.option("--bind-key", is_flag=True, help="Bind the content key to its cipher (RFC 9709); few can read it yet.")
@click.option("--verbose", is_flag=True, help="Say on standard error which cipher it is, and why.")
@vetting_options
@cms_option
@out_option
@json_option
@files.plain_errors
def encrypt(
    file: Path,
    recipients: tuple[Path, ...],
    to_password_file: Path | None,
    shared_key_file: Path | None,
    shared_key_id: str,
    wish: Wish,
    oaep: bool,
    protect_header: bool,
    bind_key: bool,
    verbose: bool,
    vetting: Vetting,
    cms: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Encrypt a message or file to certificates, and to who shares a key or a password."""
    if not (recipients or to_password_file or shared_key_file):
        fail("say for whom: --to a certificate, --to-password-file or --shared-key-file", Exit.USAGE, as_json=as_json)
    if as_json and out is None:
        fail("--json needs --out: what is encrypted goes to standard output", Exit.USAGE, as_json=True)
    scheme = Oaep() if oaep else None
    certificates = vetting.certificates(recipients)
    to: list[Recipient] = [
        To(certificate, scheme if certificate.public_key.algorithm.oid == oids.RSA else None)
        for certificate in certificates
    ]
    password = files.password_of(to_password_file)
    if password is not None:
        to.append(ToPassword(password))
    if shared_key_file is not None:
        to.append(ToSharedKey(*shared_key(shared_key_file, shared_key_id)))
    chosen = wish.choose(certificates)
    # RFC 9709 section 4: who shares a key or a password announced nothing
    bind_key = bind_key or (chosen.bind_key and len(to) == len(certificates))
    _write_encrypted(
        file, tuple(to), chosen.cipher, out,
        protect_header=protect_header, bind_key=bind_key, legacy=wish.legacy, cms=cms,
    )  # fmt: skip
    if verbose:
        click.echo("\n".join(map(safe, chosen.sentences)), err=True)
    if as_json:
        answer(dict(chosen.value, bind_key=bind_key), as_json=True, lines=())


def _write_encrypted(
    file: Path,
    to: tuple[Recipient, ...],
    cipher: str,
    out: Path | None,
    *,
    protect_header: bool,
    bind_key: bool,
    legacy: bool,
    cms: bool,
) -> None:
    """Encrypt a file or message, in pieces where it is large."""
    if smime_large.is_large(file):
        if protect_header:
            fail("a file of this size is encrypted without --protect-header", Exit.USAGE)
        smime_large.write(smime_large.encrypt(file, to, cipher, cms=cms, bind_key=bind_key, legacy=legacy), out)
        return
    octets = files.read(file)
    if cms:
        made = encrypt_octets(octets, to, cipher=cipher, bind_key=bind_key, legacy=legacy)
    else:
        message = files.as_message(octets, file.name)
        made = protect.encrypt_message(
            message, to, cipher=cipher, protect_header=protect_header, bind_key=bind_key, legacy=legacy
        )
    files.write(made, out)


@smime.command()
@click.argument("file", type=files.FILE)
@click.option("--key", "keys", type=files.FILE, multiple=True, help="A private key; repeat it with its --cert.")
@click.option("--cert", "certs", type=files.FILE, multiple=True, help="The certificate of that key.")
@click.option(
    "--store",
    type=files.FILE,
    help="A key store: its keys open, and it learns of the author what a good signature shows.",
)
@click.option("--store-password-file", type=files.FILE, help="The first line opens the key store.")
@secrets_options
@password_option
@out_option
@files.plain_errors
def decrypt(
    file: Path,
    keys: tuple[Path, ...],
    certs: tuple[Path, ...],
    store: Path | None,
    store_password_file: Path | None,
    secrets: Secrets,
    password_file: Path | None,
    out: Path | None,
) -> None:
    """Decrypt a message or file; protected header fields come back to their place."""
    if not keys and not secrets.any and store is None:
        fail("give a --key and its --cert, a --store, a shared key or a password to decrypt with", Exit.USAGE)
    own = [Own(key, found[0]) for key, found in files.pairs(keys, certs, password_file)]
    if store is not None:
        # loading a key store takes a while, and most commands need none
        from letterlock.cli import smime_mail

        opened_store = smime_mail.open_store(store, store_password_file)
        own += smime_mail.ring_of(opened_store).own
    ring = secrets.ring(tuple(own))
    if smime_large.is_large(file):
        smime_large.decrypt(file, ring, out)
        return
    octets = files.read(file)
    unwrapped = files.unwrapped(file, octets, ring)
    opened = [layer for layer in unwrapped.layers if isinstance(layer, EncryptedLayer)]
    if not opened:
        raise NotAuthentic(f"{file} is not encrypted" + (f": {unwrapped.fault}" if unwrapped.fault else ""))
    if unwrapped.fault:
        raise NotAuthentic(f"{file} cannot be decrypted: {unwrapped.fault}")
    # what was inside the innermost encryption, with a signature around it still in its place
    inner = next(layer.opened.content for layer in reversed(opened) if layer.opened is not None)
    files.write(_restored(octets, inner), out)
    if store is not None and not files.is_cms(octets):
        smime_mail.opened(opened_store, octets)


def _restored(octets: bytes, inner: bytes) -> bytes:
    """Return what was inside a message under the fields of that, and what was inside a CMS object as it is."""
    return inner if files.is_cms(octets) else restore(split(octets).outer, inner)


@smime.command()
@click.argument("file", type=files.FILE)
@cms_option
@out_option
@files.plain_errors
def compress(file: Path, cms: bool, out: Path | None) -> None:
    """Compress a message or file."""
    octets = files.read(file)
    made = compress_octets(octets) if cms else protect.compress_message(files.as_message(octets, file.name))
    files.write(made, out)


@smime.command()
@click.argument("file", type=files.FILE)
@out_option
@files.plain_errors
def expand(file: Path, out: Path | None) -> None:
    """Expand a compressed message or file."""
    octets = files.read(file)
    unwrapped = files.unwrapped(file, octets, KeyRing())
    outermost = next(iter(unwrapped.layers), None)
    if not isinstance(outermost, CompressedLayer):
        what = unwrapped.fault or ("it is plain" if outermost is None else f"it is {describe_layer(outermost)}")
        raise NotAuthentic(f"{file} is not compressed: {what}")
    files.write(_restored(octets, outermost.content), out)
