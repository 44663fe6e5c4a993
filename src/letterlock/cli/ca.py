"""`letterlock ca`: a certification authority for a domain's own people."""

from __future__ import annotations

from pathlib import Path

import click

from letterlock.cli import smime_files as files
from letterlock.cli.output import COUNT, answer, json_option, safe, table
from letterlock.formats.x509 import pem
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.crl import Reason
from letterlock.host.entropy import SystemEntropy
from letterlock.registrar import by_mail
from letterlock.registrar import folder as authority_folder
from letterlock.registrar.authority import CertificationAuthority
from letterlock.registrar.registry import RequestRecord
from letterlock.trust.primitives import key_pairs
from letterlock.trust.smime.sign import certs_only

folder_option = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("ca"),
    show_default=True,
    help="Where the authority lives.",
)
password_option = click.option(
    "--password-file", type=files.FILE, required=True, help="The first line encrypts the authority's key."
)
_REASONS = {reason.name.lower().replace("_", "-"): reason for reason in Reason if reason is not Reason.REMOVE_FROM_CRL}


@click.group()
def ca() -> None:
    """Run a certification authority for a domain's own people."""


@ca.command()
@click.argument("domains", nargs=-1, required=True)
@click.option("--name", help="The authority's name; the first domain's by default.")
@click.option("--kind", type=click.Choice([*key_pairs.KINDS[:6]]), default="p384", help="What kind of key.")
@click.option("--days", type=click.IntRange(1, 36500), default=3650, help="How long its own certificate lasts.")
@click.option("--crl-uri", default="", help="Where its revocation list will be.")
@click.option("--ocsp-uri", default="", help="Where its OCSP responder will be.")
@folder_option
@password_option
@json_option
@files.plain_errors
def init(
    domains: tuple[str, ...],
    name: str | None,
    kind: str,
    days: int,
    crl_uri: str,
    ocsp_uri: str,
    folder: Path,
    password_file: Path,
    as_json: bool,
) -> None:
    """Found an authority for DOMAINS: its key (encrypted), its certificate, its registry."""
    made = authority_folder.found(
        folder,
        domains,
        name or f"{domains[0]} mail authority",
        key_pairs.generate(kind),
        files.password_of(password_file) or b"",
        when=files.now(),
        days=days,
        entropy=SystemEntropy().octets,
        crl_uri=crl_uri,
        ocsp_uri=ocsp_uri,
    )
    anchor = folder / authority_folder.CERTIFICATE
    answer(
        {"subject": str(made.subject), "folder": str(folder), "anchor": str(anchor), "not_after": made.not_after},
        as_json=as_json,
        lines=[f"{made.subject} is founded in {folder}; people need {anchor} as an anchor."],
    )


def open_authority(folder: Path, password_file: Path) -> CertificationAuthority:
    """Return the authority of a folder."""
    return authority_folder.open_folder(folder, files.password_of(password_file), SystemEntropy().octets)


def _value(record: RequestRecord) -> dict[str, object]:
    return {
        "request": record.id,
        "addresses": record.addresses,
        "state": record.state.value,
        "received": record.received,
        "reason": record.reason,
    }


@ca.command()
@click.argument("file", type=files.FILE)
@folder_option
@password_option
@json_option
@files.plain_errors
def request(file: Path, folder: Path, password_file: Path, as_json: bool) -> None:
    """Take a PKCS#10 request from FILE."""
    with files.naming(file, "certification request"):
        der = files.ders(files.read(file), b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST")[0]
        record = open_authority(folder, password_file).submit(der, files.now())
    answer(_value(record), as_json=as_json, lines=[f"request {record.id} for {', '.join(record.addresses)}"])


@ca.command("list")
@folder_option
@password_option
@json_option
@files.plain_errors
def list_all(folder: Path, password_file: Path, as_json: bool) -> None:
    """List requests and certificates."""
    registry = open_authority(folder, password_file).registry
    requests = registry.requests()
    issued = registry.certificates()
    value = {
        "requests": [_value(each) for each in requests],
        "certificates": [
            {
                "serial": f"{each.certificate.serial:x}",
                "addresses": each.certificate.addresses,
                "not_after": each.certificate.not_after,
                "revoked": each.revoked.when if each.revoked else None,
            }
            for each in issued
        ],
    }
    rows = [["request " + str(each.id), ", ".join(each.addresses), each.state.value] for each in requests]
    rows += [
        [
            f"{each.certificate.serial:x}",
            each.address,
            "revoked" if each.revoked else f"to {each.certificate.not_after:%F}",
        ]
        for each in issued
    ]
    answer(value, as_json=as_json, lines=table(["number", "address", "state"], rows))


@ca.command()
@click.argument("number", type=COUNT)
@folder_option
@password_option
@json_option
@files.plain_errors
def approve(number: int, folder: Path, password_file: Path, as_json: bool) -> None:
    """Approve request NUMBER; a running server issues it at once and sends it to whoever asked by mail."""
    authority = open_authority(folder, password_file)
    authority.approve(number)
    answer(_value(authority.registry.request(number)), as_json=as_json, lines=[f"request {number} is approved"])


@ca.command()
@click.argument("number", type=COUNT)
@click.argument("reason", default="")
@folder_option
@password_option
@json_option
@files.plain_errors
def refuse(number: int, reason: str, folder: Path, password_file: Path, as_json: bool) -> None:
    """Refuse request NUMBER; a running server tells REASON to whoever asked by mail."""
    authority = open_authority(folder, password_file)
    authority.refuse(number, reason)
    answer(_value(authority.registry.request(number)), as_json=as_json, lines=[f"request {number} is refused"])


@ca.command("issue")
@click.argument("number", type=COUNT)
@click.option("--p7c", is_flag=True, help="Write a certs-only object with the chain instead of PEM.")
@click.option("--out", type=files.OUT)
@folder_option
@password_option
@json_option
@files.plain_errors
def issue_certificate(
    number: int, p7c: bool, out: Path | None, folder: Path, password_file: Path, as_json: bool
) -> None:
    """Issue the certificate of approved request NUMBER; write it in PEM, or with --json tell of it."""
    authority = open_authority(folder, password_file)
    _hand_out(authority.issue(number, files.now()), authority, out, p7c=p7c, as_json=as_json)


@ca.command()
@click.argument("serial")
@click.option("--p7c", is_flag=True, help="Write a certs-only object with the chain instead of PEM.")
@click.option("--out", type=files.OUT)
@folder_option
@password_option
@json_option
@files.plain_errors
def renew(serial: str, p7c: bool, out: Path | None, folder: Path, password_file: Path, as_json: bool) -> None:
    """Issue a new certificate for the key and addresses of SERIAL (hexadecimal)."""
    authority = open_authority(folder, password_file)
    _hand_out(authority.renew(files.hexadecimal(serial), files.now()), authority, out, p7c=p7c, as_json=as_json)


def _hand_out(
    certificate: Certificate, authority: CertificationAuthority, out: Path | None, *, p7c: bool, as_json: bool
) -> None:
    """Write a certificate as it was asked for; in JSON it stands in PEM, and the file is written only if it has a name."""
    as_pem = pem.encode("CERTIFICATE", certificate.octets)
    if out is not None or not as_json:
        files.write(certs_only((certificate, authority.authority.certificate)) if p7c else as_pem, out)
    if as_json:
        value = {
            "serial": f"{certificate.serial:x}",
            "addresses": certificate.addresses,
            "not_after": certificate.not_after,
            "certificate": as_pem.decode("ascii"),
        }
        answer(value, as_json=True, lines=())


@ca.command()
@click.argument("serial")
@click.option("--reason", type=click.Choice(list(_REASONS)), default="unspecified")
@folder_option
@password_option
@json_option
@files.plain_errors
def revoke(serial: str, reason: str, folder: Path, password_file: Path, as_json: bool) -> None:
    """Revoke the certificate SERIAL (hexadecimal)."""
    open_authority(folder, password_file).revoke(files.hexadecimal(serial), _REASONS[reason], files.now())
    answer({"serial": serial, "reason": reason}, as_json=as_json, lines=[f"{serial} is revoked; publish a new list"])


@ca.command()
@click.option("--delta", is_flag=True, help="Only what changed since the last complete list.")
@click.option("--pem", "as_pem", is_flag=True, help="Write PEM, not DER.")
@click.option("--out", type=files.OUT)
@folder_option
@password_option
@files.plain_errors
def crl(delta: bool, as_pem: bool, out: Path | None, folder: Path, password_file: Path) -> None:
    """Sign a revocation list."""
    authority = open_authority(folder, password_file)
    made = authority.delta_list(files.now()) if delta else authority.revocation_list(files.now())
    files.write(pem.encode("X509 CRL", made.octets) if as_pem else made.octets, out)


@ca.command()
@click.argument("file", type=files.FILE)
@click.option("--out", type=files.OUT)
@folder_option
@password_option
@files.plain_errors
def ocsp(file: Path, out: Path | None, folder: Path, password_file: Path) -> None:
    """Answer the OCSP request in FILE (DER)."""
    files.write(open_authority(folder, password_file).ocsp(files.read(file), files.now()), out)


@ca.command()
@folder_option
@password_option
@json_option
@files.plain_errors
def smimea(folder: Path, password_file: Path, as_json: bool) -> None:
    """List the SMIMEA records of all certificates in force."""
    records = open_authority(folder, password_file).smimea_records(files.now())
    lines = [f"{each.name}. IN SMIMEA 3 0 0 {each.data.data.hex()}" for each in records]
    answer([{"name": each.name, "data": each.data.data.hex()} for each in records], as_json=as_json, lines=lines)


@ca.command("mail")
@click.argument("file", type=files.FILE)
@click.option("--address", required=True, help="The authority's own address.")
@files.out_folder_option
@folder_option
@password_option
@json_option
@files.plain_errors
def receive_mail(file: Path, address: str, out_folder: Path, folder: Path, password_file: Path, as_json: bool) -> None:
    """Take a message to the authority: a request is answered with a challenge, its answer with the certificate."""
    outgoing = by_mail.receive(files.read(file), open_authority(folder, password_file), address, files.now())
    names = files.put_messages(out_folder, [(each.message, (each.recipient,)) for each in outgoing])
    value = [{"file": name, "recipient": each.recipient} for name, each in zip(names, outgoing, strict=True)]
    lines = [f"{name} to {safe(each.recipient)}" for name, each in zip(names, outgoing, strict=True)]
    answer(value, as_json=as_json, lines=lines or ["nothing to answer"])
