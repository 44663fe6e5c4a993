"""The rest of `letterlock smime`: requests, certificates, capabilities, receipts and labels."""

from __future__ import annotations

from pathlib import Path

import click

from letterlock.cli import smime_files as files
from letterlock.cli.output import Exit, answer, json_option, safe
from letterlock.cli.smime_messages import out_option, password_option, smime
from letterlock.errors import Malformed, NotAuthentic, OurFault
from letterlock.formats.address import Address
from letterlock.formats.asn1 import oids, reader
from letterlock.formats.cms import capabilities as capability_format
from letterlock.formats.cms.capabilities import Capability
from letterlock.formats.cms.ess.receipts import Receipt
from letterlock.formats.imf.write import write_field
from letterlock.formats.x509 import pem
from letterlock.formats.x509 import request as requests
from letterlock.formats.x509.name import EMPTY, parse_text
from letterlock.host.entropy import SystemEntropy
from letterlock.trust.pkix import issue
from letterlock.trust.primitives import public_keys, signatures
from letterlock.trust.smime import protect, receipts
from letterlock.trust.smime.capabilities import OURS, ciphers
from letterlock.trust.smime.choose_cipher import label as cipher_label
from letterlock.trust.smime.decrypt import KeyRing
from letterlock.trust.smime.entities import wrap
from letterlock.trust.smime.labels import may_read_layers
from letterlock.trust.smime.sign import Signer
from letterlock.trust.smime.unwrap import SignedLayer
from letterlock.trust.smime.verify import Check


@smime.command()
@click.option("--key", "key_file", type=files.FILE, required=True)
@click.option("--subject", default="", help='The name, most specific part first: "CN=Ada, O=Rosewood".')
@click.option("--address", "addresses", multiple=True, required=True, help="A mail address the certificate is for.")
@click.option("--use", type=click.Choice(["both", "signing", "encryption"]), default="both")
@click.option("--der", is_flag=True, help="Write DER, not PEM.")
@password_option
@out_option
@files.plain_errors
def csr(
    key_file: Path,
    subject: str,
    addresses: tuple[str, ...],
    use: str,
    der: bool,
    password_file: Path | None,
    out: Path | None,
) -> None:
    """Write a certification request (PKCS#10) for a key."""
    for address in addresses:
        if not _is_address(address):
            raise OurFault(f"{address!r} is no mail address")
    key = files.key(key_file, files.password_of(password_file))
    issue.check_key(key.public)
    usages = issue.usages_of(key.public, signing=use != "encryption", encryption=use != "signing")
    scheme = signatures.scheme_for(key.public)
    made = requests.make(
        parse_text(subject) if subject else EMPTY,
        addresses,
        key.public,
        usages,
        signatures.algorithm_of(scheme),
        lambda octets: signatures.sign(key, scheme, octets),
    )
    files.write(made.octets if der else pem.encode("CERTIFICATE REQUEST", made.octets), out)


def _is_address(text: str) -> bool:
    try:
        Address.parse(text)
    except Malformed:
        return False
    return True


@smime.command()
@click.argument("file", type=files.FILE)
@click.option("--pem", "as_pem", is_flag=True, help="Write the certificates as PEM.")
@out_option
@json_option
@files.plain_errors
def certs(file: Path, as_pem: bool, out: Path | None, as_json: bool) -> None:
    """List the certificates a message, certs-only file or PEM file brings."""
    found = files.certificates_of_anything(file)
    if as_pem:
        files.write(b"".join(pem.encode("CERTIFICATE", each.octets) for each in found), out)
        return
    value = [
        {
            "subject": str(each.subject),
            "issuer": str(each.issuer),
            "serial": f"{each.serial:x}",
            "addresses": each.addresses,
            "key": public_keys.describe(each.public_key),
            "not_before": each.not_before,
            "not_after": each.not_after,
        }
        for each in found
    ]
    lines = [
        safe(", ".join((str(each.subject), *each.addresses, public_keys.describe(each.public_key))))
        + f", to {each.not_after:%F}"
        for each in found
    ]
    answer(value, as_json=as_json, lines=lines)


@smime.command()
@click.argument("file", type=files.FILE, required=False)
@json_option
@files.plain_errors
def capabilities(file: Path | None, as_json: bool) -> None:
    """Show what the signer of FILE says it can read; without FILE, what we say."""
    announced = OURS
    if file is not None:
        value = _author(file).signer.signed.first(oids.SMIME_CAPABILITIES)
        announced = () if value is None else capability_format.parse(value)
    names = list(dict.fromkeys(map(_capability_name, announced)))
    answer(names, as_json=as_json, lines=names or ["nothing was announced"])


def _capability_name(capability: Capability) -> str:
    """Return the name of a capability, with what its parameters choose: the bits of RC2, the wrap of an agreed key."""
    if found := ciphers((capability,)):
        return cipher_label(found[0])
    name, parameters = oids.label(capability.oid), capability.parameters
    try:
        chosen = "" if not parameters else next(reader.parse(parameters).children()).oid()
    except (Malformed, StopIteration):  # other parameters choose nothing that is shown
        return name
    return f"{name}, {oids.label(chosen)}" if chosen else name


def _author(file: Path) -> Check:
    """Return the check of the innermost signature of a message."""
    signed = [
        layer for layer in files.unwrapped(file, files.read(file), KeyRing()).layers if isinstance(layer, SignedLayer)
    ]
    if not signed or not signed[-1].checks:
        raise OurFault(f"{file} is not signed")
    return signed[-1].checks[0]


@smime.group()
def receipt() -> None:
    """Ask for, give and check signed receipts."""


@receipt.command("request")
@click.argument("file", type=files.FILE)
@click.option("--key", "key_file", type=files.FILE, required=True)
@click.option("--cert", type=files.FILE, required=True)
@click.option("--to", required=True, help="Where receipts go.")
@click.option("--of", multiple=True, help="Whose receipts; everybody's by default.")
@password_option
@out_option
@files.plain_errors
def request_receipt(
    file: Path,
    key_file: Path,
    cert: Path,
    to: str,
    of: tuple[str, ...],
    password_file: Path | None,
    out: Path | None,
) -> None:
    """Sign a message and ask for receipts."""
    key = files.key(key_file, files.password_of(password_file))
    asked = receipts.request(SystemEntropy().octets(20), to, of)
    signer = Signer(key, files.certificates(cert)[0], attributes=(asked,))
    message = files.as_message(files.read(file), file.name)
    files.write(protect.sign_message(message, (signer,), files.now(), token=files.token()), out)


@receipt.command("give")
@click.argument("file", type=files.FILE)
@click.option("--key", "key_file", type=files.FILE, required=True)
@click.option("--cert", type=files.FILE, required=True)
@password_option
@out_option
@files.plain_errors
def give_receipt(file: Path, key_file: Path, cert: Path, password_file: Path | None, out: Path | None) -> None:
    """Write the receipt FILE's author asked for, as a message."""
    certificate = files.certificates(cert)[0]
    author = _author(file)
    wanted = receipts.wanted(author, certificate.addresses)
    if not wanted.send:
        raise NotAuthentic(wanted.reason)
    signer = Signer(files.key(key_file, files.password_of(password_file)), certificate)
    made = receipts.make(author, oids.DATA, signer, files.now())
    fields = (("From", certificate.addresses[0]), ("To", ", ".join(wanted.addresses)), ("Subject", "Signed receipt"))
    head = b"".join(write_field(name, value) for name, value in fields)
    files.write(wrap(head, made, "signed-receipt"), out)


@receipt.command("check")
@click.argument("file", type=files.FILE)
@click.option("--sent", type=files.FILE, required=True, help="The message the receipt is for.")
@json_option
@files.plain_errors
def check_receipt(file: Path, sent: Path, as_json: bool) -> None:
    """Check that FILE is a receipt for the message SENT; exit 0 when it is."""
    layers = [
        layer for layer in files.unwrapped(file, files.read(file), KeyRing()).layers if isinstance(layer, SignedLayer)
    ]
    if not layers or not layers[-1].checks:
        raise OurFault(f"{file} is no signed receipt")
    layer = layers[-1]
    receipts.match(layer.signed, layer.checks[0], _author(sent).signer)
    certificate = layer.checks[0].certificate
    who = ", ".join(certificate.addresses) if certificate else ""
    identifier = Receipt.parse(reader.parse(layer.content)).identifier.hex()
    lines = [f"{safe(who)} received and verified the message"]
    answer({"receipt": True, "from": who, "identifier": identifier}, as_json=as_json, lines=lines)


@smime.command()
@click.argument("file", type=files.FILE)
@click.option("--policies", type=files.FILE, required=True, help="A label policy file (TOML).")
@click.option("--reader", "address", required=True, help="Who wants to read.")
@json_option
@files.plain_errors
def label(file: Path, policies: Path, address: str, as_json: bool) -> None:
    """Say whether READER may read FILE by its security label; exit 0 when so."""
    layers = files.unwrapped(file, files.read(file), KeyRing()).layers
    reading = may_read_layers(layers, address, files.label_rules(policies))
    answer({"allowed": reading.allowed, "reason": reading.reason}, as_json=as_json, lines=[safe(reading.reason)])
    if not reading.allowed:
        raise SystemExit(Exit.WRONG)
