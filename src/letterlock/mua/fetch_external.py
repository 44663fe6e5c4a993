"""Fetching the content that a message/external-body points to, once a person has asked for it.

Only `https` is fetched, by the rules of host/https: the name must resolve to public addresses, the certificate must be
valid, no redirect is followed, time and octets are bounded. Of the other access types a person is told where the content
lies. Nothing in this package fetches on its own account.

Standards: RFC 2046 section 5.2.3 (the phantom header says how the content is encoded), RFC 9110 section 4.2.2 (https URIs).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from letterlock.errors import Malformed
from letterlock.formats import domain
from letterlock.formats.mime.content_type import parse_encoding
from letterlock.formats.mime.external import ExternalBody
from letterlock.formats.mime.transfer import decode
from letterlock.host import https
from letterlock.host.https import Fetch

_CLAUSE = "RFC 2046 section 5.2.3"


@dataclass(frozen=True, slots=True)
class Location:
    """Where an https URL points; `path` holds the query too."""

    host: str
    port: int
    path: str


def location(external: ExternalBody) -> Location:
    """Return the https location of an external body. Raises Malformed where it has none that may be fetched."""
    if external.access_type != "url":
        raise Malformed(f"{external.describe()}; only https can be fetched", clause=_CLAUSE)
    try:
        parts = urlsplit(external.url)
        port = parts.port or 443
    except ValueError as error:
        raise Malformed(f"no URL: {error}", clause=_CLAUSE) from None
    if parts.scheme != "https" or not parts.hostname:
        raise Malformed(f"{external.url[:80]!r} is no https URL, and only https can be fetched", clause=_CLAUSE)
    if parts.username is not None or parts.password is not None:
        raise Malformed("a URL with a user name, which hides where it points", clause=_CLAUSE)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not all("!" <= character <= "~" for character in path):
        raise Malformed("a URL with characters that must be percent-encoded", clause=_CLAUSE)
    return Location(domain.to_ascii(parts.hostname), port, path)


async def fetch_external(external: ExternalBody, how: Fetch) -> bytes:
    """Return the content, its transfer encoding undone. Raises Malformed, or PeerFault where the server gives none."""
    where = location(external)
    _, octets = await https.get(where.host, where.path, replace(how, port=where.port))
    field = external.header.get("content-transfer-encoding")
    return decode(octets, parse_encoding(field.text) if field is not None else "binary")
