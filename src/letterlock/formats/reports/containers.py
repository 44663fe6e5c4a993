"""Reports as they travel: plain, in gzip, in zip, or attached to mail inside mail; bombs stay folded.

`unpack` finds every report document in an octet string of any of these shapes.

Standards: RFC 1952 (gzip), RFC 9990 (Email), RFC 8460 section 5.3 (application/tlsrpt+gzip).
Limits: `MOST_OCTETS` unpacked from one container, `MOST_RATIO` times its size, `_MOST_DOCUMENTS` documents, depth three.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from letterlock.errors import Malformed
from letterlock.formats.mime.entity import parse as parse_entity

MOST_OCTETS = 100_000_000
MOST_RATIO = 500
_MOST_DOCUMENTS = 1000
_DEEPEST = 3
_CLAUSE = "RFC 9990"


@dataclass(frozen=True, slots=True)
class Document:
    """One report, or what was found where one should be: `problem` says what is wrong with it."""

    octets: bytes
    name: str = ""
    problem: str = ""


def unpack(octets: bytes, name: str = "") -> Iterator[Document]:
    """Yield every document inside. What is refused or broken is yielded with its problem, and never stops the rest."""
    for number, document in enumerate(_unpack(octets, name, 0)):
        if number == _MOST_DOCUMENTS:
            yield Document(b"", name, f"more than {_MOST_DOCUMENTS} documents; the rest is left")
            return
        yield document


def _unpack(octets: bytes, name: str, depth: int) -> Iterator[Document]:
    if depth > _DEEPEST:
        yield Document(b"", name, "containers in containers, too deep")
        return
    try:
        if octets[:2] == b"\x1f\x8b":
            yield from _unpack(gunzip(octets), name, depth + 1)
        elif octets[:4] == b"PK\x03\x04":
            for member_name, member in _members(octets):
                yield from _unpack(member, member_name, depth + 1)
        elif _is_document(octets):
            yield Document(octets, name)
        else:
            yield from _from_mail(octets, name, depth)
    except Malformed as error:
        yield Document(b"", name, str(error))


def _is_document(octets: bytes) -> bool:
    return octets[:64].lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n")[:1] in (b"<", b"{")


def gunzip(octets: bytes, most: int = MOST_OCTETS) -> bytes:
    """Return what is in a gzip file, several members too. Raises Malformed for broken ones and for bombs."""
    allowed = min(most, max(len(octets) * MOST_RATIO, 1 << 20))
    parts: list[bytes] = []
    size = 0
    rest = octets
    while rest:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            part = unpacker.decompress(rest, allowed - size + 1)
        except zlib.error as error:
            if parts and any(rest.rstrip(b"\0")):
                raise Malformed(f"broken gzip: {error}", clause="RFC 1952") from None
            if parts:
                break  # QUIRK gzip-padding: zeros behind the last member
            raise Malformed(f"broken gzip: {error}", clause="RFC 1952") from None
        parts.append(part)
        size += len(part)
        if size > allowed:
            raise Malformed(f"gzip that unfolds to more than {allowed} octets", clause=_CLAUSE)
        if not unpacker.eof:
            raise Malformed("gzip that ends too early", clause="RFC 1952")
        rest = unpacker.unused_data
    return b"".join(parts)


def _members(octets: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a zip archive."""
    allowed = min(MOST_OCTETS, max(len(octets) * MOST_RATIO, 1 << 20))
    try:
        archive = zipfile.ZipFile(io.BytesIO(octets))
        members = [member for member in archive.infolist() if not member.is_dir()]
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, EOFError) as error:
        raise Malformed(f"broken zip: {error}", clause=_CLAUSE) from None
    if len(members) > _MOST_DOCUMENTS:
        raise Malformed(f"a zip archive of {len(members)} files", clause=_CLAUSE)
    for member in members:
        try:
            # The sizes in the directory are claims; what is read is what counts.
            with archive.open(member) as file:
                content = file.read(allowed + 1)
        except (
            zipfile.BadZipFile,
            RuntimeError,
            NotImplementedError,
            zlib.error,
            OSError,
            EOFError,
            ValueError,
        ) as error:
            raise Malformed(f"broken zip: {error}", clause=_CLAUSE) from None
        allowed -= len(content)
        if allowed < 0:
            raise Malformed("zip that unfolds too far", clause=_CLAUSE)
        yield member.filename, content


def _from_mail(octets: bytes, name: str, depth: int) -> Iterator[Document]:
    """Yield documents attached to a message, and to messages inside it."""
    if b":" not in octets[:2000]:
        raise Malformed("neither XML, JSON, gzip, zip nor mail", clause=_CLAUSE)
    found = False
    for _, part in parse_entity(octets).walk():
        if part.children:
            continue
        content = part.content()
        if content[:2] == b"\x1f\x8b" or content[:4] == b"PK\x03\x04" or _is_report(part.content_type.full, content):
            found = True
            inner_name = part.disposition.filename if part.disposition else ""
            yield from _unpack(content, inner_name or name, depth + 1)
    if not found:
        raise Malformed("a message without a report in it", clause=_CLAUSE)


def _is_report(kind: str, content: bytes) -> bool:
    """Whether a part is a report by its type, or looks like one under a type that says nothing."""
    return kind in ("text/xml", "application/xml", "application/tlsrpt+json", "application/json") or (
        kind in ("application/octet-stream", "text/plain") and _is_document(content)
    )
