"""Files for the S/MIME commands: messages, certificates and keys, in whatever form they come.

Certificates are read from PEM, DER, certs-only messages (.p7c) and PKCS#12; keys from PEM, DER and PKCS#12.
"""

from __future__ import annotations

import datetime
import functools
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from letterlock.cli.output import Exit, end, fail, safe
from letterlock.errors import LetterlockError, Malformed, NotAuthentic, OurFault, SettingsFault, Unavailable
from letterlock.formats.asn1 import oids
from letterlock.formats.cms import content
from letterlock.formats.cms.signed import SignedData
from letterlock.formats.imf.header import read_header
from letterlock.formats.mime.build import Binary, Text, build_entity
from letterlock.formats.x509 import pem
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.crl import RevocationList
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.trust.primitives import key_pairs
from letterlock.trust.primitives.key_pairs import PrivateKey
from letterlock.trust.smime.decrypt import KeyRing
from letterlock.trust.smime.labels import LabelRules, rules_of
from letterlock.trust.smime.unwrap import Unwrapped, unwrap, unwrap_cms
from letterlock.trust.smime.verify import candidates

P = ParamSpec("P")
R = TypeVar("R")
MAX_FILE_OCTETS = 512 << 20
_MESSAGE_FIELDS = ("from", "mime-version", "content-type", "received", "message-id", "subject")


def now() -> datetime.datetime:
    """Return the time in UTC, whole seconds."""
    return datetime.datetime.fromtimestamp(int(SystemClock().now()), datetime.UTC)


def token() -> str:
    """Return a fresh token for MIME boundaries."""
    return SystemEntropy().octets(12).hex()


def read(path: Path) -> bytes:
    """Return a file's octets, or standard input's for `-`. Raises OSError; Unavailable for what is larger than we read."""
    try:
        with nullcontext(sys.stdin.buffer) if str(path) == "-" else path.open("rb") as file:
            octets = file.read(MAX_FILE_OCTETS + 1)
    except OSError as error:
        raise error if error.filename else OSError(error.errno, error.strerror, str(path)) from None
    if len(octets) > MAX_FILE_OCTETS:
        raise Unavailable(f"{path} is larger than {MAX_FILE_OCTETS >> 20} MiB")
    return octets


def write(octets: bytes, path: Path | None) -> None:
    """Write a result to a file, or to standard output."""
    if path is None:
        sys.stdout.buffer.write(octets)
        sys.stdout.buffer.flush()
    else:
        path.write_bytes(octets)


@contextmanager
def naming(path: Path, what: str) -> Iterator[None]:
    """Say of a file that cannot be read as what it should be which one it is, and what it should hold."""
    try:
        yield
    except Malformed as fault:
        raise OurFault(f"{path} holds no {what}: {fault.problem}") from None
    except NotAuthentic as fault:
        raise NotAuthentic(f"{path}: {fault}") from None


def ders(octets: bytes, *labels: bytes) -> list[bytes]:
    """Return the DER of all PEM blocks with one of `labels`, or what is in DER already. Raises Malformed for neither."""
    if b"-----BEGIN " not in octets and octets[:1] != b"\x30":
        raise Malformed("it is neither PEM nor DER" if octets else "it is empty")
    return pem.decode(octets, *labels)


def is_cms(octets: bytes) -> bool:
    """Tell whether octets are a CMS object, or something else in DER or PEM, and no message."""
    return octets[:1] == b"\x30" or octets.startswith(b"-----BEGIN ")


def unwrapped(
    path: Path,
    octets: bytes,
    ring: KeyRing,
    known: tuple[Certificate, ...] = (),
    content: bytes | None = None,
) -> Unwrapped:
    """Take a file's message apart, or its CMS object in DER or PEM. Raises OurFault for PEM that is something else."""
    if not is_cms(octets):
        return unwrap(octets, ring, known, content)
    with naming(path, "S/MIME object"):
        der = ders(octets, b"CMS", b"PKCS7")[0]
    return unwrap_cms(der, ring, known, content)


def certificates(path: Path, password: bytes | None = None) -> list[Certificate]:
    """Return all certificates of a file, of which there is one at least. Raises OurFault, NotAuthentic."""
    octets = read(path)
    found: list[Certificate] = []
    with naming(path, "certificate"):
        for der in ders(octets, *pem.CERTIFICATE, b"PKCS7", b"CMS"):
            found += _certificates(der, password)
        if not found:
            raise Malformed("there is none in it")
    return found


def certificates_of_anything(path: Path, password: bytes | None = None) -> list[Certificate]:
    """Return the certificates of a file, or those a signed message brings."""
    octets = read(path)
    if is_cms(octets) or b"-----BEGIN " in octets[:100]:
        return certificates(path, password)
    found = candidates(unwrap(octets).certificates)
    if not found:
        raise OurFault(f"{path} holds no certificate: nobody signed it")
    return list(found)


def _certificates(der: bytes, password: bytes | None) -> list[Certificate]:
    try:
        return [Certificate.parse(der)]
    except Malformed as error:
        fault = error
    try:
        content_type, element = content.parse(der)
        if content_type == oids.SIGNED_DATA:
            return [Certificate.parse(each) for each in SignedData.parse(element).certificates]
    except Malformed:
        pass
    try:
        return list(key_pairs.load_pkcs12(der, password)[1])
    except NotAuthentic:
        raise fault from None


def key(path: Path, password: bytes | None = None) -> PrivateKey:
    """Return the private key of a file. Raises OurFault, NotAuthentic."""
    octets = read(path)
    with naming(path, "private key"):
        if b"-----BEGIN " not in octets and octets[:1] != b"\x30":
            ders(octets)
        try:
            return key_pairs.load(octets, password)
        except Malformed:
            if octets[:1] != b"\x30":
                raise
            stored, _certificates = key_pairs.load_pkcs12(octets, password)
            if stored is None:
                raise Malformed("there are only certificates in it") from None
            return stored


def pairs(
    keys: tuple[Path, ...], certs: tuple[Path, ...], password_file: Path | None
) -> list[tuple[PrivateKey, list[Certificate]]]:
    """Return each key with the certificates of the file beside it, the key's own first; ends the command for odd ones."""
    if len(keys) != len(certs):
        fail("give a --cert for each --key, in the same order", Exit.USAGE)
    password = password_of(password_file)
    return [(key(own, password), certificates(cert, password)) for own, cert in zip(keys, certs, strict=True)]


def hexadecimal(text: str) -> int:
    """Return the number a serial number in hexadecimal is."""
    try:
        return int(text, 16)
    except ValueError:
        raise OurFault(f"{text!r} is no hexadecimal number") from None


def crls(path: Path) -> list[RevocationList]:
    """Return all revocation lists of a file."""
    with naming(path, "revocation list"):
        return [RevocationList.parse(der) for der in ders(read(path), b"X509 CRL", b"CRL")]


def label_rules(path: Path) -> LabelRules:
    """Return the label policies of a file. Raises SettingsFault."""
    try:
        return rules_of(tomllib.loads(read(path).decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsFault((f"{path} holds no label policies: {error}",)) from None


def as_message(octets: bytes, name: str) -> bytes:
    """Return a message as it is, and any other file as an entity that carries it."""
    header = read_header(octets)
    if any(field in header for field in _MESSAGE_FIELDS):
        return octets
    try:
        text = octets.decode("utf-8")
        if "\0" not in text:
            return build_entity(Text(text), token=token())
    except UnicodeDecodeError:
        pass
    return build_entity(Binary(octets, filename=name), token=token())


def password_of(path: Path | None) -> bytes | None:
    """Return the first line of a password file."""
    if path is None:
        return None
    return read(path).partition(b"\n")[0].removesuffix(b"\r")


def plain_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Turn what a command could not do into a sentence and an exit code, 1 if nothing else is said of it."""

    @functools.wraps(command)  # click's options ride on the function's dict, which this copies
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        as_json = bool(kwargs.get("as_json"))
        try:
            return command(*args, **kwargs)
        except Malformed as fault:
            where = f" at octet {fault.offset}" if fault.offset else ""
            clause = f" ({fault.clause})" if fault.clause else ""
            fail(safe(f"{fault.problem}{where}{clause}"), Exit.WRONG, as_json=as_json)
        except (Unavailable, OSError) as error:
            end(error, as_json=as_json)
        except LetterlockError as error:
            fail(safe(str(error)), Exit.WRONG, as_json=as_json)

    return run


FILE = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
OUT = click.Path(dir_okay=False, path_type=Path)
out_folder_option = click.option(
    "--out-folder", type=click.Path(file_okay=False, path_type=Path), required=True, help="Where messages are put."
)


def put_messages(folder: Path, messages: list[tuple[bytes, tuple[str, ...]]]) -> list[str]:
    """Write each message to NAME.eml and its recipients, one a line, to NAME.to; return the names of the messages.

    That is what a server's pipe or a script hands on to submission.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = token()
    names = []
    for number, (message, recipients) in enumerate(messages, 1):
        name = f"{stem}-{number}"
        (folder / f"{name}.to").write_text("".join(f"{each}\n" for each in recipients), encoding="utf-8")
        (folder / f"{name}.eml").write_bytes(message)
        names.append(f"{name}.eml")
    return names
