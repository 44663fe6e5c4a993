"""BODY and BODYSTRUCTURE: the tree of a message as FETCH tells it.

A multipart in which no part was found is told as text/plain, and a message/rfc822 whose inside was not read (nested too
deep, or encoded) as application/octet-stream, since the grammar has no word for either.

Standards: RFC 9051 section 7.5.2 and section 9 (body); RFC 2231 section 3 and 4 for parameters that are not ASCII.
Limits: recursion is as deep as formats.limits lets a tree be.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from letterlock.formats.mime.entity import Entity, parse
from letterlock.protocols.imap.envelope import envelope_of
from letterlock.protocols.imap.response import nstring, string


def encode_body(octets: bytes) -> bytes:
    """Return BODY (the structure without extension data) of a message."""
    return _body(parse(octets), extended=False)


def encode_bodystructure(octets: bytes) -> bytes:
    """Return BODYSTRUCTURE of a message."""
    return _body(parse(octets), extended=True)


def _body(entity: Entity, *, extended: bool) -> bytes:
    if entity.is_multipart:
        parts = b"".join([_body(child, extended=extended) for child in entity.children])
        words = [parts, string(entity.content_type.subtype.encode("utf-8"))]
        if extended:
            words += [_parameters(entity.content_type.parameters), *_common_extension(entity)]
        return b"(" + b" ".join(words) + b")"
    words = _single(entity, extended=extended)
    if extended:
        words += [_field(entity, "content-md5"), *_common_extension(entity)]
    return b"(" + b" ".join(words) + b")"


def _single(entity: Entity, *, extended: bool) -> list[bytes]:
    kind, subtype = entity.content_type.type, entity.content_type.subtype
    parameters = entity.content_type.parameters
    if kind == "multipart":
        kind, subtype, parameters = "text", "plain", {}
    elif kind == "message" and subtype in {"rfc822", "global"} and not entity.is_message:
        kind, subtype = "application", "octet-stream"
    words = [
        string(kind.encode("utf-8")),
        string(subtype.encode("utf-8")),
        _parameters(parameters),
        _field(entity, "content-id"),
        _field(entity, "content-description"),
        string(entity.encoding.upper().encode("utf-8")),
        b"%d" % entity.size,
    ]
    if kind == "text":
        words.append(b"%d" % entity.lines)
    elif kind == "message" and subtype in {"rfc822", "global"}:
        inner = entity.children[0]
        words += [envelope_of(inner.header), _body(inner, extended=extended), b"%d" % entity.lines]
    return words


def _common_extension(entity: Entity) -> tuple[bytes, bytes, bytes]:
    disposition = entity.disposition
    shown = b"NIL"
    if disposition is not None:
        shown = b"(%b %b)" % (string(disposition.value.encode("utf-8")), _parameters(disposition.parameters))
    return shown, _languages(entity), _field(entity, "content-location")


def _languages(entity: Entity) -> bytes:
    field = entity.header.get("content-language")
    if field is None:
        return b"NIL"
    languages = [word.strip() for word in field.unfolded.split(b",") if word.strip()]
    if len(languages) == 1:
        return string(languages[0])
    return b"(" + b" ".join(map(string, languages)) + b")" if languages else b"NIL"


def _field(entity: Entity, name: str) -> bytes:
    field = entity.header.get(name)
    return nstring(None if field is None else field.unfolded)


def _parameters(parameters: Mapping[str, str]) -> bytes:
    if not parameters:
        return b"NIL"
    words = []
    for name, value in parameters.items():
        if value.isascii():
            words += [string(name.encode("utf-8")), string(value.encode("ascii"))]
        else:  # as the sender would have had to write it
            words += [string(name.encode("utf-8") + b"*"), string(b"utf-8''" + quote(value, safe="").encode("ascii"))]
    return b"(" + b" ".join(words) + b")"
