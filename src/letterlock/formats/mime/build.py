"""Messages built from parts: the right encoding for each, lines that every transport bears, the same octets each time.

    octets = build(
        Text("Grüße", alternatives=...), fields=[("From", ...)], token="4f1c"
    )

A tree of `Text`, `Binary`, `Embedded` and `Multipart` becomes octets with CRLF line ends. Nothing is random: boundaries
come from `token`, which the caller draws, and are changed where the content holds them.

Standards: RFC 2045, RFC 2046 section 5, RFC 2049 section 4, RFC 2183, RFC 2231, RFC 2387 (related), RFC 5322 section 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from letterlock.errors import Malformed
from letterlock.formats.imf.addresses import Group, Mailbox, write_addresses
from letterlock.formats.imf.dates import write_date
from letterlock.formats.imf.write import unstructured, write_field, write_message_ids
from letterlock.formats.mime.entity import Entity
from letterlock.formats.mime.parameters import write_parameters
from letterlock.formats.mime.transfer import encode_base64, encode_quoted_printable


@dataclass(frozen=True, slots=True)
class Text:
    """A text part. `text` has any line ends; it is written in UTF-8, or US-ASCII where that suffices."""

    text: str
    subtype: str = "plain"
    parameters: Mapping[str, str] = field(default_factory=dict)
    filename: str = ""
    disposition: str = ""
    content_id: str = ""


@dataclass(frozen=True, slots=True)
class Binary:
    """Any other content, written in base64; an attachment unless `disposition` says otherwise."""

    content: bytes
    type: str = "application/octet-stream"
    filename: str = ""
    disposition: str = "attachment"
    content_id: str = ""
    description: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Embedded:
    """A composite or report part whose octets stand as they are: message/rfc822, message/delivery-status, ..."""

    content: bytes
    type: str = "message/rfc822"
    description: str = ""
    disposition: str = ""
    filename: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Multipart:
    """Parts under one multipart subtype, with further parameters of its Content-Type."""

    subtype: str
    parts: Sequence[Text | Binary | Embedded | Multipart]
    parameters: Mapping[str, str] = field(default_factory=dict)


Part = Text | Binary | Embedded | Multipart


def build(part: Part, fields: Iterable[tuple[str, str]] = (), *, token: str, eight_bit: bool = False) -> bytes:
    """Return a whole message: `fields` (name, unfolded value), MIME-Version, then the tree under `part`.

    With `eight_bit`, text stays UTF-8 where its lines allow (RFC 6152). Raises Malformed for fields that cannot be.
    """
    head = b"".join(write_field(name, value) for name, value in fields)
    return head + b"MIME-Version: 1.0\r\n" + build_entity(part, token=token, eight_bit=eight_bit)


def build_entity(part: Part, *, token: str, eight_bit: bool = False) -> bytes:
    """Return one entity, its MIME fields and body, without MIME-Version."""
    return _Builder(token, eight_bit).entity(part)


def compose(
    *,
    author: Mailbox,
    to: Sequence[Mailbox | Group] = (),
    cc: Sequence[Mailbox | Group] = (),
    subject: str = "",
    date: datetime,
    message_id: str,
    text: str = "",
    html: str = "",
    attachments: Sequence[Text | Binary | Embedded] = (),
    in_reply_to: Sequence[str] = (),
    references: Sequence[str] = (),
    more_fields: Iterable[tuple[str, str]] = (),
    token: str,
    eight_bit: bool = False,
) -> bytes:
    """Return an ordinary message: plain text, an HTML alternative if given, attachments.

    `message_id`, `in_reply_to`, `references` are without angle brackets; `token` makes the boundaries. Blind copies
    have no place here: they live in the envelope (RFC 5322 section 3.6.3).
    """
    fields = [("From", str(author))]
    fields += [(name, write_addresses(items)) for name, items in (("To", to), ("Cc", cc)) if items]
    fields.append(("Subject", unstructured("Subject", subject)))
    fields.append(("Date", write_date(date)))
    fields.append(("Message-ID", f"<{message_id}>"))
    fields += [
        (name, write_message_ids(identifiers))
        for name, identifiers in (("In-Reply-To", in_reply_to), ("References", references))
        if identifiers
    ]
    body: Part = Text(text)
    if html:
        # RFC 2046 section 5.1.4: the plainest first
        body = Multipart("alternative", (Text(text), Text(html, "html"))) if text else Text(html, "html")
    if attachments:
        body = Multipart("mixed", (body, *attachments))
    return build(body, [*fields, *more_fields], token=token, eight_bit=eight_bit)


def rebuild(tree: Entity) -> bytes:
    """Return a parsed message written from its tree, span by span: the same octets, for any input whatever."""
    pieces: list[bytes] = []
    at = tree.header_start
    for entity in tree.entities():
        pieces += (entity.octets[at : entity.header_start], entity.header.raw)
        at = entity.body_start
    pieces.append(tree.octets[at : tree.end])
    return b"".join(pieces)


class _Builder:
    def __init__(self, token: str, eight_bit: bool) -> None:
        self._token = token
        self._eight_bit = eight_bit
        self._count = 0

    def entity(self, part: Part) -> bytes:
        """Return fields, empty line and body of one part."""
        match part:
            case Text():
                return self._text(part)
            case Binary():
                fields = _fields(part, part.type, part.parameters, "base64", part.disposition, part.content_id)
                return fields + b"\r\n" + encode_base64(part.content)
            case Embedded():
                return self._embedded(part)
            case Multipart():
                return self._multipart(part)

    def _text(self, part: Text) -> bytes:
        canonical = canonical_text(part.text)
        octets = canonical.encode("utf-8", "replace")
        charset = "us-ascii" if octets.isascii() else "utf-8"
        encoding, body = self._encode_text(octets)
        disposition = part.disposition or ("attachment" if part.filename else "")
        parameters = {"charset": charset, **part.parameters}
        return (
            _fields(part, f"text/{part.subtype}", parameters, encoding, disposition, part.content_id) + b"\r\n" + body
        )

    def _encode_text(self, octets: bytes) -> tuple[str, bytes]:
        plain = (
            b"\0" not in octets and longest_line(octets) <= (998 if self._eight_bit else 78) and not _bare_ends(octets)
        )
        if plain and octets.isascii():
            return "7bit", octets
        if plain and self._eight_bit:
            return "8bit", octets
        quoted = encode_quoted_printable(octets)
        encoded = encode_base64(octets)
        # What is mostly ASCII stays readable.
        return ("quoted-printable", quoted) if 3 * len(quoted) <= 4 * len(encoded) else ("base64", encoded)

    def _embedded(self, part: Embedded) -> bytes:
        # RFC 2046 section 5.2.1: no encoding but 7bit, 8bit or binary
        fields = _fields(part, part.type, part.parameters, _domain(part.content), part.disposition, "")
        return fields + b"\r\n" + part.content

    def _multipart(self, part: Multipart) -> bytes:
        if not part.parts:
            raise Malformed("a multipart without parts", clause="RFC 2046 section 5.1.1")
        self._count += 1
        number = self._count
        bodies = [self.entity(inner) for inner in part.parts]
        boundary = f"=_{self._token}_{number}"  # "=_" stands in no encoded body (RFC 2045 section 6.7)
        while any(boundary.encode() in body for body in bodies):
            boundary += "_"
        parameters = {**part.parameters, "boundary": boundary}
        # RFC 2045 section 6.4: a multipart says the widest of what it holds
        domains = {_domain(body) for body in bodies}
        encoding = next(domain for domain in ("binary", "8bit", "7bit") if domain in domains)
        head = _fields(part, f"multipart/{part.subtype}", parameters, encoding, "", "")
        line = b"\r\n--" + boundary.encode()
        return head + line + line.join(b"\r\n" + body for body in bodies) + line + b"--\r\n"


def _fields(
    part: Part, type_name: str, parameters: Mapping[str, str], encoding: str, disposition: str, content_id: str
) -> bytes:
    """Return the MIME fields of a part; 7bit is the default and not written (RFC 2045 section 6.1)."""
    filename = "" if isinstance(part, Multipart) else part.filename
    written = [_with_parameters("Content-Type", type_name, parameters)]
    if encoding != "7bit":
        written.append(write_field("Content-Transfer-Encoding", encoding))
    if disposition:
        written.append(_with_parameters("Content-Disposition", disposition, {"filename": filename} if filename else {}))
    if content_id:
        written.append(write_field("Content-ID", f"<{content_id}>"))
    if isinstance(part, Binary | Embedded) and part.description:
        written.append(write_field("Content-Description", unstructured("Content-Description", part.description)))
    return b"".join(written)


def _with_parameters(name: str, value: str, parameters: Mapping[str, str]) -> bytes:
    return write_field(name, "; ".join([value, *write_parameters(parameters.items())]))


def _domain(octets: bytes) -> str:
    """Return which of 7bit, 8bit and binary octets are (RFC 2045 sections 2.7 to 2.9)."""
    if b"\0" in octets or longest_line(octets) > 998 or _bare_ends(octets):
        return "binary"
    return "7bit" if octets.isascii() else "8bit"


def canonical_text(text: str) -> str:
    """Return text with every line end as CRLF (RFC 2049 section 4 (2))."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")


def longest_line(octets: bytes) -> int:
    """Return the length of the longest line without its end."""
    return max((len(line) for line in octets.split(b"\r\n")), default=0)


def _bare_ends(octets: bytes) -> bool:
    pairs = octets.count(b"\r\n")
    return octets.count(b"\r") != pairs or octets.count(b"\n") != pairs
