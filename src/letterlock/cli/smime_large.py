"""The S/MIME commands for files that do not fit into memory: everything in pieces, nothing shown before it is checked.

A message in pieces has CRLF line ends already and is signed opaque; plain text goes to a temporary file that becomes the
result only when decryption ended well.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from letterlock.cli import smime_files as files
from letterlock.formats.asn1 import oids
from letterlock.formats.imf.header import Header, read_header
from letterlock.formats.x509.certificate import Certificate
from letterlock.trust.smime import stream
from letterlock.trust.smime.decrypt import KeyRing
from letterlock.trust.smime.encrypt import Recipient
from letterlock.trust.smime.proof import Proof, Trust, prove
from letterlock.trust.smime.sign import Signer
from letterlock.trust.smime.unwrap import SignedLayer, Unwrapped

LARGE_OCTETS = 64 << 20
_PIECE_OCTETS = 1 << 18


def is_large(path: Path) -> bool:
    """Tell whether a file is better worked on in pieces."""
    return str(path) != "-" and path.stat().st_size > LARGE_OCTETS


def pieces(path: Path) -> Iterator[bytes]:
    """Yield a file's octets."""
    with path.open("rb") as file:
        while piece := file.read(_PIECE_OCTETS):
            yield piece


def write(made: Iterable[bytes], out: Path | None) -> None:
    """Write pieces to a file or to standard output."""
    if out is None:
        sys.stdout.buffer.writelines(made)
        sys.stdout.buffer.flush()
        return
    with out.open("wb") as file:
        file.writelines(made)


def _cms(path: Path) -> tuple[Header | None, Iterator[bytes]]:
    """Return a file's CMS object in pieces, and the header if it is a message."""
    with path.open("rb") as file:
        if file.read(1) == b"\x30":
            return None, pieces(path)
    return stream.cms_of_message(pieces(path))


def sign(
    path: Path, signers: tuple[Signer, ...], chain: tuple[Certificate, ...], *, cms: bool, detached: bool
) -> Iterator[bytes]:
    """Sign a file (`cms`) or a message."""
    if cms:
        return stream.sign(pieces(path), signers, files.now(), detached=detached, certificates=chain)
    return stream.sign_message(pieces(path), signers, files.now(), chain)


def encrypt(
    path: Path, recipients: tuple[Recipient, ...], cipher: str, *, cms: bool, bind_key: bool, legacy: bool
) -> Iterator[bytes]:
    """Encrypt a file (`cms`) or a message."""
    if cms:
        return stream.encrypt(pieces(path), recipients, cipher=cipher, bind_key=bind_key, legacy=legacy)
    return stream.encrypt_message(pieces(path), recipients, cipher=cipher, bind_key=bind_key, legacy=legacy)


def decrypt(path: Path, ring: KeyRing, out: Path | None) -> None:
    """Decrypt a file or message; the result appears only when all of it was checked."""
    folder = None if out is None else out.parent
    number, name = tempfile.mkstemp(dir=folder)
    try:
        with os.fdopen(number, "wb") as plain:
            header, cms = _cms(path)
            if header is not None:
                plain.write(_outer(header))
            stream.decrypt(cms, ring, plain.write)
        if out is not None:
            Path(name).replace(out)
        else:
            with Path(name).open("rb") as checked:
                shutil.copyfileobj(checked, sys.stdout.buffer)
    finally:
        Path(name).unlink(missing_ok=True)


def _outer(header: Header) -> bytes:
    kept = [field.raw for field in header if not field.name.lower().startswith(("content-", "mime-version"))]
    return b"".join((*kept, b"MIME-Version: 1.0\r\n"))


def verify(
    path: Path,
    trust: Trust,
    content: Path | None,
    sender: str | None,
    sink: stream.Sink,
    complete: Callable[[Unwrapped, Trust], Trust],
) -> Proof:
    """Say what the signatures of a signed file or opaque message prove; `complete` looks for what else is to be known."""
    header, cms = _cms(path)
    detached = None if content is None else pieces(content)
    verified = stream.verify(cms, sink, trust.certificates, detached)
    faults = () if verified.checks else ("nobody signed this signed message",)
    layer = SignedLayer(verified.checks, verified.signed, False, b"", faults)
    unwrapped = Unwrapped((layer,), b"", oids.DATA)
    return proof_of(header or read_header(b"\r\n"), sender, unwrapped, complete(unwrapped, trust))


def proof_of(header: Header, sender: str | None, unwrapped: Unwrapped, trust: Trust) -> Proof:
    """Hold the signers against who the message says it is from, and against `sender` where one is named: both must hold."""
    if sender is None:
        return prove(header, unwrapped, trust)
    if "from" in header and not (proof := prove(header, unwrapped, trust)).good:
        return proof
    return prove(read_header(f"From: {sender}\r\n\r\n".encode()), unwrapped, trust)
