"""One GET or POST over HTTP, for what is signed and cannot be changed on the way: revocation lists, OCSP, certificates.

As with https (host/https.py) the name is resolved first and the connection goes to the address that was looked at: nothing
on behalf of mail reaches loopback, private or link-local networks, unless `allow_private`. A redirection is followed, its
name looked at as the first one was, but never from https back to http.

An https server shows a certificate that the system's authorities certify for its name. Where that certificate says to ask
about itself is not looked at, so that fetching never leads to more fetching (RFC 5280 section 8).

Standards: RFC 9110 sections 4.2.2, 9.3.1, 9.3.3 and 15.4, RFC 9112, RFC 5280 section 8.
Limits: 3 redirections, 2,000 characters of URI; octets and time by argument.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from letterlock.errors import Malformed, PeerFault
from letterlock.formats import domain
from letterlock.host.https import Redirected, addresses_of, exchange, is_public, reached
from letterlock.host.resolver.interface import Resolver
from letterlock.host.stream import Stream, TlsFailed
from letterlock.host.tls import authenticated_client

MOST_REDIRECTIONS = 3
LONGEST_URI = 2_000
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Place:
    """Where an http or https URI points; `path` holds the query too."""

    host: str
    port: int
    path: str
    secure: bool = False

    @classmethod
    def of(cls, uri: str) -> Place:
        """Read an absolute http or https URI. Raises Malformed."""
        if len(uri) > LONGEST_URI or not re.fullmatch(r"[!-~]+", uri):
            raise Malformed("a URI that is too long, or has characters that must be percent-encoded")
        try:
            parts = urlsplit(uri)
            port = parts.port or _PORTS.get(parts.scheme, 0)
        except ValueError as error:
            raise Malformed(f"no URI: {error}") from None
        if parts.scheme not in _PORTS or not parts.hostname:
            raise Malformed(f"{uri[:80]!r} is no http or https URI")
        if parts.username is not None or parts.password is not None:
            raise Malformed("a URI with a user name, which hides where it points")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        host = parts.hostname
        return cls(host if _is_address(host) else domain.to_ascii(host), port, path, parts.scheme == "https")

    @property
    def authority(self) -> str:
        """What the Host field says (RFC 9110 section 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["https" if self.secure else "http"] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Web:
    """How something is fetched: who knows addresses, the limits, and whether networks of our own may be asked.

    `context` makes what https servers must satisfy; it is called when the first of them is asked.
    """

    resolver: Resolver
    longest_octets: int
    within_seconds: float = 30
    allow_private: bool = False
    context: Callable[[], ssl.SSLContext] = authenticated_client


async def get(uri: str, how: Web) -> bytes:
    """Return what lies at a URI. Raises PeerFault for anything but 200."""
    secure = False
    for _ in range(MOST_REDIRECTIONS + 1):
        place = _place(uri)
        if secure and not place.secure:
            raise PeerFault(f"a redirection from https to {uri[:80]!r}")
        secure = place.secure
        head = f"GET {place.path} HTTP/1.1\r\nHost: {place.authority}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        try:
            return await _exchange(place, head.encode("ascii"), how)
        except Redirected as elsewhere:
            uri = urljoin(uri, elsewhere.location)
    raise PeerFault(f"more than {MOST_REDIRECTIONS} redirections")


async def post(uri: str, octets: bytes, media_type: str, how: Web) -> bytes:
    """Return the answer to octets posted to a URI; no redirection is followed. Raises PeerFault."""
    place = _place(uri)
    lines = (
        f"POST {place.path} HTTP/1.1",
        f"Host: {place.authority}",
        f"Content-Type: {media_type}",
        f"Content-Length: {len(octets)}",
        "Connection: close",
    )
    return await _exchange(place, ("\r\n".join(lines) + "\r\n\r\n").encode("ascii") + octets, how)


def _place(uri: str) -> Place:
    try:
        return Place.of(uri)
    except Malformed as fault:
        raise PeerFault(fault.problem) from None


async def _exchange(place: Place, request: bytes, how: Web) -> bytes:
    stream = await reached(place.host, await _addresses(place.host, how), place.port, how.within_seconds)
    try:
        stream.expect_within(how.within_seconds)
        if place.secure:
            await _begin_tls(stream, place.host, how)
        _media_type, body = await exchange(stream, place.host, request, how.longest_octets, (b"200",))
        return body
    finally:
        stream.abort()


async def _begin_tls(stream: Stream, host: str, how: Web) -> None:
    try:
        await stream.start_tls(how.context(), server_side=False, server_name=host)
    except TlsFailed as fault:
        raise TlsFailed(f"https to {host}: {fault.problem}") from None


async def _addresses(host: str, how: Web) -> list[str]:
    if _is_address(host):
        return [host] if how.allow_private or is_public(host) else []
    return await addresses_of(host, how.resolver, allow_private=how.allow_private)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
