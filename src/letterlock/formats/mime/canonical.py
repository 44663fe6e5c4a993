"""Canonical form: text lines that end in CRLF, and entities made safe for 7-bit transport before they are signed.

`canonical` brings an entity from native line ends to those of the wire, leaving binary content alone; `native` is the
way back for text. `seven_bit` re-encodes exactly the parts that need it, so that a signature over the result survives
every relay; what is already signed is never touched.

Standards: RFC 2049 section 4 (canonical encoding model), RFC 8551 section 3.1 (preparing an entity), section 3.1.2
(transfer encoding), section 3.1.3 (multipart/signed), RFC 3156 section 3, RFC 2045 section 6.4.
Limits: those of the parser; linear in the octets.
"""

from __future__ import annotations

import io
from collections.abc import Callable

from letterlock.errors import Malformed
from letterlock.formats.imf.write import write_field
from letterlock.formats.limits import DEFAULT, Limits
from letterlock.formats.mime.entity import Entity, parse
from letterlock.formats.mime.transfer import IDENTITY, encode_base64, encode_quoted_printable

_Leaf = Callable[[Entity], tuple[bytes, bytes]]


def canonical_lines(octets: bytes) -> bytes:
    """Return octets with every line end, CRLF, bare LF or bare CR, as CRLF (RFC 2049 section 4 (2))."""
    if has_canonical_lines(octets):
        return octets
    return octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


def has_canonical_lines(octets: bytes) -> bool:
    """Tell whether every line end is CRLF, in one pass."""
    looker = io.IncrementalNewlineDecoder(None, translate=False)
    view = memoryview(octets)
    for at in range(0, len(view), _PIECE):
        looker.decode(str(view[at : at + _PIECE], "latin-1"))
        if looker.newlines not in (None, "\r\n"):
            return False
    looker.decode("", final=True)
    return looker.newlines in (None, "\r\n")


_PIECE = 1 << 16


def native(octets: bytes) -> bytes:
    """Return canonical text with the line ends of this kind of machine, LF alone."""
    return octets.replace(b"\r\n", b"\n")


def canonical(octets: bytes, *, limits: Limits = DEFAULT) -> bytes:
    """Return an entity with header sections, delimiters and encoded or textual bodies in lines ended by CRLF.

    Only the body of a part that is not text and says `binary` stays as it is.
    """
    return _rewrite(parse(octets, limits=limits), _canonical_leaf)


def native_entity(octets: bytes, *, limits: Limits = DEFAULT) -> bytes:
    """Return a canonical entity with the line ends of this kind of machine: the way back from `canonical`."""

    def leaf(entity: Entity) -> tuple[bytes, bytes]:
        binary = entity.encoding == "binary" and entity.content_type.type != "text"
        return native(entity.header.raw), entity.body if binary else native(entity.body)

    return _rewrite(parse(octets, limits=limits), leaf, lines=native)


def seven_bit(octets: bytes, *, for_signing: bool = True, limits: Limits = DEFAULT) -> bytes:
    """Return an entity in canonical form whose every octet is ASCII, with lines of at most 998 octets.

    With `for_signing`, lines that end in white space or begin with `From ` make a text part quoted-printable too,
    since relays change them (RFC 8551 section 3.1.2). Raises Malformed where that would break a signature inside.
    """

    def leaf(entity: Entity) -> tuple[bytes, bytes]:
        return _seven_bit_leaf(entity, for_signing)

    tree = parse(canonical(octets, limits=limits), limits=limits)
    return _rewrite(tree, leaf, keep_signed=True)


def _rewrite(
    tree: Entity, leaf: _Leaf, *, keep_signed: bool = False, lines: Callable[[bytes], bytes] = canonical_lines
) -> bytes:
    """Return the tree's octets with the header and body of every leaf replaced by what `leaf` returns for it.

    Iterative: children are written before the entity that holds them.
    """
    written: dict[int, bytes] = {}
    for entity in reversed(list(tree.entities())):
        if keep_signed and entity.content_type.full == "multipart/signed":
            if not entity.raw.isascii():
                raise Malformed(
                    "a signed part that is not 7-bit", offset=entity.header_start, clause="RFC 8551 section 3.1.3"
                )
            written[id(entity)] = entity.raw
        elif entity.children:
            written[id(entity)] = _rewrite_composite(entity, written, keep_signed, lines)
        else:
            written[id(entity)] = b"".join(leaf(entity))
    return written[id(tree)]


def _rewrite_composite(
    entity: Entity, written: dict[int, bytes], keep_signed: bool, lines: Callable[[bytes], bytes]
) -> bytes:
    octets = entity.octets
    bodies = [written[id(child)] for child in entity.children]
    gaps: list[bytes] = []
    at = entity.body_start
    for child in entity.children:
        gaps.append(lines(octets[at : child.header_start]))
        at = child.end
    gaps.append(lines(octets[at : entity.end]))
    body = b"".join(piece for pair in zip(gaps, bodies, strict=False) for piece in pair) + gaps[-1]
    header = lines(entity.header.raw)
    if keep_signed and body.isascii() and entity.encoding in {"8bit", "binary"}:
        header = _with_encoding(entity, "7bit")
    if keep_signed and not all(gap.isascii() for gap in gaps):
        raise Malformed(
            "text outside the parts that is not 7-bit", offset=entity.body_start, clause="RFC 8551 section 3.1.3"
        )
    return header + body


def _canonical_leaf(entity: Entity) -> tuple[bytes, bytes]:
    header = canonical_lines(entity.header.raw)
    if entity.encoding == "binary" and entity.content_type.type != "text":
        return header, entity.body
    return header, canonical_lines(entity.body)


def _seven_bit_leaf(entity: Entity, for_signing: bool) -> tuple[bytes, bytes]:
    header, body = entity.header.raw, entity.body
    if not header.isascii() and entity.content_type.full != "message/global":
        # RFC 6532 header fields inside cannot travel in 7 bits without changing what they say.
        raise Malformed("a header section that is not 7-bit", offset=entity.header_start, clause="RFC 8551 section 3.1")
    if entity.encoding not in IDENTITY:
        if not body.isascii():
            raise Malformed(
                "encoded octets that are not 7-bit", offset=entity.body_start, clause="RFC 2045 section 6.2"
            )
        return header, body
    is_text = entity.content_type.type == "text"
    if body.isascii() and not _needs_encoding(body, for_signing and is_text):
        return (_with_encoding(entity, "7bit") if entity.encoding in {"8bit", "binary"} else header), body
    if is_text:
        return _with_encoding(entity, "quoted-printable"), encode_quoted_printable(body)
    return _with_encoding(entity, "base64"), encode_base64(body)


def _needs_encoding(body: bytes, careful: bool) -> bool:
    if b"\0" in body or b"\r" in body.replace(b"\r\n", b"") or b"\n" in body.replace(b"\r\n", b""):
        return True
    if any(len(line) > 998 for line in body.split(b"\r\n")):
        return True
    return careful and (
        b" \r\n" in body or b"\t\r\n" in body or body.startswith(b"From ") or b"\nFrom " in body or body[-1:] in b" \t"
    )


def _with_encoding(entity: Entity, encoding: str) -> bytes:
    """Return the header section with one Content-Transfer-Encoding, in its place or at the end; none for 7bit."""
    field = b"" if encoding == "7bit" else write_field("Content-Transfer-Encoding", encoding)
    header = entity.header
    pieces: list[bytes] = []
    for one in header:
        if one.name.lower() == "content-transfer-encoding":
            pieces.append(field)
            field = b""
        else:
            pieces.append(one.raw if one.raw.endswith(b"\n") else one.raw + b"\r\n")
    pieces.append(field)
    return b"".join(pieces) + b"\r\n"
