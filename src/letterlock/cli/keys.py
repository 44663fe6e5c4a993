"""`letterlock keys`: one's own keys and the certificates of correspondents."""

from __future__ import annotations

from pathlib import Path

import click

from letterlock.cli import smime_files as files
from letterlock.cli.output import COUNT, answer, json_option, safe, table
from letterlock.errors import NotAuthentic, OurFault
from letterlock.formats.x509 import pem
from letterlock.formats.x509.certificate import Certificate
from letterlock.host.files import write_new
from letterlock.registrar.key_store import KeyStore
from letterlock.registrar.signature_log import SignatureLog
from letterlock.trust.pkix.path import MAX_LENGTH
from letterlock.trust.primitives import key_pairs, public_keys

store_option = click.option(
    "--store",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(click.get_app_dir("letterlock", force_posix=True)) / "keys.db",
    show_default=True,
    help="The key store.",
)
password_option = click.option(
    "--password-file", type=files.FILE, required=True, help="The first line opens the key store."
)


def _open(store: Path, password_file: Path, *, make: bool = False) -> KeyStore:
    """Open a key store with its password, or `make` one. Raises OurFault, NotAuthentic, Unavailable."""
    if not store.exists():
        if not make:
            raise OurFault(f"there is no key store {store}: `letterlock keys generate` or `import` makes one")
        if not files.password_of(password_file):
            raise OurFault(f"the first line of {password_file} is empty; write the store's password there")
        store.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        store.touch(mode=0o600)
    opened = KeyStore(store, files.password_of(password_file) or b"")
    opened.check_password()  # a key under another password would never be opened again
    return opened


@click.group()
def keys() -> None:
    """Keep keys and certificates."""


@keys.command()
@click.argument("kind", type=click.Choice([*key_pairs.KINDS, *key_pairs.LEGACY_KINDS, "rsa1024", "rsa512"]))
@click.option("--legacy", is_flag=True, help="Allow DSA and Diffie-Hellman keys.")
@click.option("--out", type=files.OUT, help="Write PKCS#8 in PEM, encrypted, instead of keeping it in the store.")
@store_option
@password_option
@json_option
@files.plain_errors
def generate(kind: str, legacy: bool, out: Path | None, store: Path, password_file: Path, as_json: bool) -> None:
    """Make a key pair of KIND."""
    key = key_pairs.generate(kind, legacy=legacy)
    if out is not None:
        _write_key(out, key_pairs.dump(key, files.password_of(password_file)))
        key_id = public_keys.key_id(key.public).hex()
    else:
        key_id = _open(store, password_file, make=True).add_key(key, files.now())
    answer({"key": key_id, "kind": key.kind}, as_json=as_json, lines=[f"{key_id}  {key.kind}"])


@keys.command("list")
@click.option("--address", help="Only certificates for this address.")
@store_option
@password_option
@json_option
@files.plain_errors
def list_all(address: str | None, store: Path, password_file: Path, as_json: bool) -> None:
    """List keys and certificates."""
    opened = _open(store, password_file)
    kept, certificates = opened.keys(), opened.certificates(address)
    value = {
        "keys": [{"key": key_id, "kind": kind} for key_id, kind in kept],
        "certificates": [
            {
                "subject": str(each.certificate.subject),
                "addresses": each.certificate.addresses,
                "not_after": each.certificate.not_after,
                "source": each.source,
                "own": each.own,
                "anchor": each.anchor,
            }
            for each in certificates
        ],
    }
    rows = [["key", key_id, kind] for key_id, kind in kept]
    for each in certificates:
        marks = ", ".join(filter(None, ("own" if each.own else "", "anchor" if each.anchor else "", each.source)))
        who = ", ".join(each.certificate.addresses) or str(each.certificate.subject)
        rows.append(["certificate", safe(who), marks])
    answer(value, as_json=as_json, lines=table(["what", "who", "how"], rows))


@keys.command("import")
@click.argument("file", type=files.FILE)
@click.option("--anchor", is_flag=True, help="Trust the certificates as anchors.")
@click.option("--file-password", type=files.FILE, help="The first line opens FILE (PKCS#12, encrypted PEM).")
@store_option
@password_option
@json_option
@files.plain_errors
def import_file(
    file: Path, anchor: bool, file_password: Path | None, store: Path, password_file: Path, as_json: bool
) -> None:
    """Import keys and certificates from PEM, DER, PKCS#7 or PKCS#12, and certificates from a signed message."""
    opened = _open(store, password_file, make=True)
    password, found_keys, found = files.password_of(file_password), [], []
    key_fault: OurFault | NotAuthentic = OurFault(f"{file} holds neither a key nor a certificate")
    try:
        found_keys.append(opened.add_key(files.key(file, password), files.now()))
    except NotAuthentic as error:  # a key, and it does not open
        key_fault = error
    except OurFault:
        pass
    try:
        for certificate in files.certificates_of_anything(file, password):
            opened.add_certificate(certificate, f"file {file.name}", files.now(), anchor=anchor)
            found.append(str(certificate.subject))
    except (OurFault, NotAuthentic):
        if not found_keys:
            raise key_fault from None
    lines = [f"key {each}" for each in found_keys] + [f"certificate {safe(each)}" for each in found]
    answer({"keys": found_keys, "certificates": found}, as_json=as_json, lines=lines)


@keys.command()
@click.argument("address")
@click.option("--p12", type=files.OUT, help="Write key and certificates as PKCS#12 to this file.")
@click.option("--file-password", type=files.FILE, help="The first line encrypts the PKCS#12 file.")
@store_option
@password_option
@files.plain_errors
def export(address: str, p12: Path | None, file_password: Path | None, store: Path, password_file: Path) -> None:
    """Export the certificates for ADDRESS as PEM, or with the key as PKCS#12."""
    opened = _open(store, password_file)
    found = opened.certificates(address)
    if not found:
        raise OurFault(f"no certificate for {address}")
    if p12 is None:
        files.write(b"".join(pem.encode("CERTIFICATE", each.certificate.octets) for each in found), None)
        return
    own = next((each.certificate for each in found if each.own), None)
    password = files.password_of(file_password)
    if own is None or not password:
        raise OurFault("PKCS#12 needs a key of one's own and --file-password")
    key = opened.key(public_keys.key_id(own.public_key).hex())
    _write_key(p12, key_pairs.dump_pkcs12(key, (own, *_issuers_of(own, opened)), password, address))


def _write_key(path: Path, octets: bytes) -> None:
    try:
        write_new(path, octets)
    except FileExistsError:
        raise OurFault(f"{path} is there already; a key is never overwritten") from None


def _issuers_of(certificate: Certificate, store: KeyStore) -> list[Certificate]:
    """Return the certificates of a certificate's authorities that the store has, from the nearest up."""
    chain = [certificate]
    known = store.without_address()
    while len(chain) <= MAX_LENGTH and not chain[-1].is_self_issued:
        issuer = next((each for each in known if each.subject == chain[-1].issuer), None)
        if issuer is None:
            break
        chain.append(issuer)
    return chain[1:]


@keys.command()
@click.option("--on/--off", "switch", default=None, help="Switch the log on or off; what it holds stays.")
@click.option("--address", default="", help="Only signatures of mail from this address.")
@click.option("--message-id", default="", help="Only signatures of this message.")
@click.option("--limit", type=COUNT, default=100, show_default=True, help="So many at most, the newest first.")
@click.option(
    "--config",
    type=click.Path(exists=True, path_type=Path),
    help="The log that the server with these settings keeps (smime.signature_log).",
)
@store_option
@click.option(
    "--password-file", type=files.FILE, help="The first line opens the key store, where --config is not given."
)
@json_option
@files.plain_errors
def signatures(
    switch: bool | None,
    address: str,
    message_id: str,
    limit: int,
    config: Path | None,
    store: Path,
    password_file: Path | None,
    as_json: bool,
) -> None:
    """Search the log of signatures of mail sent and received, kept without the mail."""
    if config is not None:
        log = _log_of_server(config)
    elif password_file is not None:
        log = _open(store, password_file).signatures
    else:
        raise OurFault("give --password-file for the log of a key store, or --config for that of a server")
    if switch is not None:
        log.switch(switch)
    found = log.search(address=address, message_id=message_id, limit=limit)
    value = {
        "on": log.is_on,
        "signatures": [
            {
                "when": each.when,
                "sent": each.sent,
                "address": each.address,
                "message_id": each.message_id,
                "verdict": each.verdict,
                "cms": each.cms.hex(),
            }
            for each in found
        ],
    }
    rows = [
        [f"{each.when:%F %H:%M}", "sent" if each.sent else "received", safe(each.address), safe(each.message_id)]
        for each in found
    ]
    lines = [f"the log is {'on' if log.is_on else 'off'}", *table(["when", "way", "from", "message"], rows)]
    answer(value, as_json=as_json, lines=lines)


def _log_of_server(config: Path) -> SignatureLog:
    from letterlock.admd import settings, smime

    loaded = settings.load(config)
    return SignatureLog.open(loaded.path(loaded.data) / smime.SIGNATURE_LOG_NAME)
