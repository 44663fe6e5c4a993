"""`letterlock smime sign` and `countersign`: signatures of messages and files, and over the signatures of others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from letterlock.cli import smime_files as files
from letterlock.cli import smime_large
from letterlock.cli.output import Exit, fail
from letterlock.cli.smime_messages import cms_option, out_option, password_option, smime
from letterlock.errors import OurFault
from letterlock.formats.asn1 import oids
from letterlock.formats.cms import signed
from letterlock.formats.cms.attributes import Attribute
from letterlock.formats.mime.canonical import canonical_lines
from letterlock.trust.smime import labels, protect
from letterlock.trust.smime import sign as signing
from letterlock.trust.smime.decrypt import KeyRing
from letterlock.trust.smime.entities import split, wrap
from letterlock.trust.smime.multiple import sign_together
from letterlock.trust.smime.sign import Signer, countersign
from letterlock.trust.smime.unwrap import SignedLayer

DIGESTS = {"sha256": oids.SHA256, "sha384": oids.SHA384, "sha512": oids.SHA512}
LEGACY_DIGESTS = {"sha1": oids.SHA1, "md5": oids.MD5}


def key_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--key` and `--cert`, both repeatable and paired in order."""
    command = click.option("--cert", "certs", type=files.FILE, multiple=True, required=True)(command)
    return click.option("--key", "keys", type=files.FILE, multiple=True, required=True)(command)


@smime.command()
@click.argument("file", type=files.FILE)
@key_options
@click.option("--chain", type=files.FILE, multiple=True, help="More certificates to send along.")
@click.option("--digest", type=click.Choice([*DIGESTS, *LEGACY_DIGESTS]), help="Without it, one as strong as the key.")
@click.option("--pss", is_flag=True, help="RSA-PSS instead of PKCS#1 v1.5.")
@click.option("--opaque", is_flag=True, help="Put the content inside the signature.")
@click.option("--detached", is_flag=True, help="With --cms: leave the content out.")
@click.option("--protect-header", is_flag=True, help="Sign From, To, Subject and the other fields, too (RFC 9788).")
@click.option(
    "--together",
    is_flag=True,
    help="Signatures of one signer's several keys, none of which may be taken off (RFC 5752).",
)
@click.option("--label", default="", help="A security label: POLICY, or POLICY:CLASSIFICATION, or ...:MARK (RFC 2634).")
@click.option(
    "--equivalent-label", "equivalents", multiple=True, help="What that label is called under another policy."
)
@click.option("--legacy", is_flag=True, help="Allow SHA-1 and MD5.")
@cms_option
@password_option
@out_option
@files.plain_errors
def sign(
    file: Path,
    keys: tuple[Path, ...],
    certs: tuple[Path, ...],
    chain: tuple[Path, ...],
    digest: str | None,
    pss: bool,
    opaque: bool,
    detached: bool,
    protect_header: bool,
    together: bool,
    label: str,
    equivalents: tuple[str, ...],
    legacy: bool,
    cms: bool,
    password_file: Path | None,
    out: Path | None,
) -> None:
    """Sign a message or file; several --key and --cert make several signatures."""
    if digest in LEGACY_DIGESTS and not legacy:
        fail(f"{digest} proves too little today; --legacy signs with it all the same", Exit.USAGE)
    if together and len(keys) < 2:
        fail("--together is for several keys: give a --key and a --cert for each", Exit.USAGE)
    pairs = files.pairs(keys, certs, password_file)
    oid = (DIGESTS | LEGACY_DIGESTS)[digest] if digest is not None else ""
    attributes = _label_attributes(label, equivalents)
    signers = tuple(Signer(key, found[0], oid, pss, attributes=attributes) for key, found in pairs)
    more = [each for _key, found in pairs for each in found[1:]]
    for path in chain:
        more += files.certificates(path)
    if smime_large.is_large(file):
        if not (cms or opaque) or protect_header or together:
            fail(
                "a file of this size is signed with --cms or --opaque, without --protect-header and --together",
                Exit.USAGE,
            )
        smime_large.write(smime_large.sign(file, signers, tuple(more), cms=cms, detached=detached), out)
        return
    octets = files.read(file)
    if cms:
        make = sign_together if together else signing.sign
        made = make(octets, signers, files.now(), detached=detached, certificates=tuple(more))
    else:
        made = protect.sign_message(
            files.as_message(octets, file.name),
            signers,
            files.now(),
            opaque=opaque,
            protect_header=protect_header,
            together=together,
            certificates=tuple(more),
            token=files.token(),
        )
    files.write(made, out)


def _label_attributes(label: str, equivalents: tuple[str, ...]) -> tuple[Attribute, ...]:
    """Return what carries a label and its equivalents. Raises OurFault for one that is none."""
    if equivalents and not label:
        fail("--equivalent-label says what a --label is called elsewhere: give that, too", Exit.USAGE)
    elsewhere = tuple(labels.label_of(each, {}) for each in equivalents)
    return labels.attributes(labels.label_of(label, {}), elsewhere) if label else ()


@smime.command("countersign")
@click.argument("file", type=files.FILE)
@click.option("--key", "key_file", type=files.FILE, required=True)
@click.option("--cert", type=files.FILE, required=True)
@click.option("--content", type=files.FILE, help="What a detached signature in a file covers.")
@password_option
@out_option
@files.plain_errors
def countersign_message(
    file: Path, key_file: Path, cert: Path, content: Path | None, password_file: Path | None, out: Path | None
) -> None:
    """Sign the signatures of a signed message or CMS file: that they were there (RFC 5652 section 11.4).

    What was signed stays as it is, and apart if it was apart; only signatures that hold are countersigned.
    """
    octets = files.read(file)
    covered = None if content is None else files.read(content)
    unwrapped = files.unwrapped(file, octets, KeyRing(), content=covered)
    layer = next(iter(unwrapped.layers), None)
    if not isinstance(layer, SignedLayer) or not layer.checks:
        apart = "" if covered is not None else "; what a detached signature covers is named with --content"
        raise OurFault(
            f"{file} is not signed"
            + (f" so that it could be read: {unwrapped.fault}{apart}" if unwrapped.fault else "")
        )
    bad = next((check.fault for check in layer.checks if not check.good), "")
    if bad:
        raise OurFault(f"{file} has a signature that does not hold: {bad}")
    signer = Signer(files.key(key_file, files.password_of(password_file)), files.certificates(cert)[0])
    found = layer.signed
    infos = tuple(countersign(info, signer, files.now()) for info in found.signers)
    certificates = tuple(dict.fromkeys((*found.certificates, signer.certificate.octets)))
    body = None if found.content is None else layer.content
    cms = signed.encode(found.content_type, body, infos, certificates, found.crls)
    if files.is_cms(octets):
        files.write(cms, out)
        return
    outer = canonical_lines(split(octets).outer)  # those of a file may have lost their CRLF
    if layer.clear:
        digests = [info.digest_algorithm.oid for info in infos]
        files.write(protect.clear_signed(outer, (layer.content,), cms, digests, files.token()), out)
    else:
        files.write(wrap(outer, cms, "signed-data"), out)
