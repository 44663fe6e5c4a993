"""Header protection: the fields people read travel inside the signature or the encryption too.

The protected entity carries copies of the message's fields and says so with `hp` in its Content-Type; for encrypted
messages the subject outside is replaced, and what stands outside is written down inside (HP-Outer).

Standards: RFC 9788 (sections 2 to 5).
"""

from __future__ import annotations

from letterlock.formats.imf.header import Header, read_header
from letterlock.formats.mime.content_type import parse_content_type

OBSCURED_SUBJECT = b"Subject: [...]\r\n"
_TRACE = frozenset({"received", "return-path", "delivered-to", "bcc", "dkim-signature", "authentication-results"})
_REMOVED = frozenset({"comments", "keywords"})


def _is_protectable(name: str) -> bool:
    lowered = name.lower()
    return lowered not in _TRACE and not lowered.startswith(("arc-", "content-", "x-letterlock-", "mime-version"))


def protect(outer: bytes, inner: bytes, *, encrypted: bool) -> tuple[bytes, bytes]:
    """Return the fields to stand outside, and the entity with its protected copies.

    The default policy of RFC 9788 section 3.2.1 for encryption: the subject is obscured, comments and keywords removed.
    """
    kept, copies, record = [], [], []
    for field in read_header(outer + b"\r\n"):
        if not _is_protectable(field.name):
            kept.append(field.raw)
            continue
        copies.append(field.raw)
        if not encrypted:
            kept.append(field.raw)
            continue
        lowered = field.name.lower()
        if lowered in _REMOVED:
            continue
        outside = OBSCURED_SUBJECT if lowered == "subject" else field.raw
        kept.append(outside)
        record.append(b"HP-Outer: " + outside)
    return b"".join(kept), b"".join(copies + record) + _marked(inner, b"cipher" if encrypted else b"clear")


def _marked(entity: bytes, how: bytes) -> bytes:
    field = read_header(entity).get("content-type")
    if field is None:
        return b'Content-Type: text/plain; charset="us-ascii"; hp="' + how + b'"\r\n' + entity
    start, end = field.start, field.end
    value = entity[start:end].rstrip(b"\r\n ;")
    return entity[:start] + value + b';\r\n hp="' + how + b'"\r\n' + entity[end:]


def protected_header(entity_octets: bytes) -> Header | None:
    """Return the protected header of an entity that was signed or decrypted, or None without one."""
    header = read_header(entity_octets)
    field = header.get("content-type")
    if field is None:
        return None
    parameters = parse_content_type(field.text).parameters
    if parameters.get("hp", "") not in ("clear", "cipher") and not parameters.get("protected-headers"):
        return None
    return header


def restore(outer: bytes, inner: bytes) -> bytes:
    """Return the message with its protected fields in the place of those outside.

    Of what was not protected as a header, nothing but Content fields comes out: who wrote the inside could else forge
    what the outside says, a From or an Authentication-Results.
    """
    header = read_header(inner)
    body = inner[header.body_start :]
    rest = [field.raw for field in header if field.name.lower().startswith("content-")]
    version = b"MIME-Version: 1.0\r\n" if outer else b""
    return restored_fields(outer, inner) + version + b"".join(rest) + b"\r\n" + body


def restored_fields(outer: bytes, inner: bytes) -> bytes:
    """Return the fields of the transport with protected ones in their place, without those that describe the body."""
    header = protected_header(inner)
    if header is None:
        return outer
    names = {field.name.lower() for field in header if _is_protectable(field.name)}
    kept = [field.raw for field in read_header(outer + b"\r\n") if field.name.lower() not in names | _REMOVED]
    copies = [field.raw for field in header if field.name.lower() != "hp-outer" and _is_protectable(field.name)]
    return b"".join((*kept, *copies))
