"""One GET or POST over HTTPS, for the little that mail needs of the web: no redirects, no cookies, no surprises.

The name is resolved first and the connection goes to the address that was looked at: nothing on behalf of mail reaches
loopback, private or link-local networks, unless `allow_private` (for laboratories). The certificate must be valid for the
name. A body longer than the limit, or one that does not come in time, is a PeerFault.

Standards: RFC 9110 (semantics), RFC 9112 section 6 and 7 (bodies, chunked coding).
Limits: 16 KB of header; body and time by argument.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

from letterlock.errors import PeerFault
from letterlock.formats.dns.question import Question
from letterlock.formats.dns.rdata import A, Aaaa
from letterlock.host.connect import ConnectionFailed, connect
from letterlock.host.resolver.interface import Resolver, ask_all
from letterlock.host.stream import Endpoint, Stream

_LONGEST_HEADER = 16_384
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?")
_MOST_ADDRESSES = 4
_REDIRECTIONS = (b"301", b"302", b"303", b"307", b"308")  # RFC 9110 section 15.4


@dataclass(frozen=True, slots=True)
class Fetch:
    """How a fetch is made: trust in `context`, limits, and who we say we are."""

    resolver: Resolver
    context: ssl.SSLContext
    longest_octets: int
    within_seconds: float = 60
    port: int = 443
    allow_private: bool = False


async def get(host: str, path: str, how: Fetch, *, accept: str = "text/plain") -> tuple[str, bytes]:
    """Return the media type and the body of `https://host/path`. Raises PeerFault for anything but 200."""
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    return await _exchange(host, request.encode("ascii"), how, accepted=(b"200",))


async def post(uri: str, octets: bytes, media_type: str, how: Fetch) -> None:
    """Hand octets over to an https URI on the usual port. Raises PeerFault where they were not taken (2xx)."""
    match = _URI.fullmatch(uri)
    if match is None:
        raise PeerFault(f"{uri[:200]!r} is no https URI that reports are sent to")
    host, target = match[1].lower(), match[2] or "/"
    lines = [
        f"POST {target} HTTP/1.1",
        f"Host: {host}",
        f"Content-Type: {media_type}",
        f"Content-Length: {len(octets)}",
    ]
    request = ("\r\n".join([*lines, "Connection: close"]) + "\r\n\r\n").encode("ascii") + octets
    await _exchange(host, request, how, accepted=(b"200", b"201", b"202", b"204"))


# A name, the usual port or none said, and a target without spaces, controls or a fragment.
_URI = re.compile(
    r"https://([A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)(?::443)?(/[!\"$-~]{0,2000})?", re.IGNORECASE
)


async def _exchange(host: str, request: bytes, how: Fetch, *, accepted: tuple[bytes, ...]) -> tuple[str, bytes]:
    addresses = await addresses_of(host, how.resolver, allow_private=how.allow_private)
    stream = await reached(host, addresses, how.port, how.within_seconds)
    try:
        stream.expect_within(how.within_seconds)
        await stream.start_tls(how.context, server_side=False, server_name=host)
        return await exchange(stream, host, request, how.longest_octets, accepted)
    finally:
        stream.abort()


async def reached(host: str, addresses: Sequence[str], port: int, within_seconds: float) -> Stream:
    """Return a connection to the first of a few addresses that takes one. Raises ConnectionFailed."""
    problem = ConnectionFailed(f"{host} has no address that may be asked")
    for address in addresses[:_MOST_ADDRESSES]:
        try:
            return await connect(Endpoint(address, port), within_seconds=min(within_seconds, 10))
        except ConnectionFailed as failed:
            problem = failed
    raise problem


async def addresses_of(host: str, resolver: Resolver, *, allow_private: bool) -> list[str]:
    """Return the addresses of a host that may be asked."""
    answers = await ask_all(resolver, (Question(host, "AAAA"), Question(host, "A")))
    found = [record.address for answer in answers for record in answer.records if isinstance(record, A | Aaaa)]
    return [address for address in found if allow_private or is_public(address)]


def is_public(address: str) -> bool:
    """Tell whether an address belongs to the Internet at large, seen through mapped and translated forms."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo or (None, None))[1]
        if inner is not None:
            return is_public(str(inner))
        if parsed in _TRANSLATED:
            return is_public(str(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)))
    return parsed.is_global and not parsed.is_multicast


_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")


class Redirected(PeerFault):
    """The server answered that what was asked for is elsewhere; `location` is what it says."""

    def __init__(self, problem: str, location: str) -> None:
        self.location = location
        super().__init__(problem)


async def exchange(
    stream: Stream, host: str, request: bytes, longest: int, accepted: tuple[bytes, ...]
) -> tuple[str, bytes]:
    """Send a request; return the media type and the body of the answer. Raises Redirected, or another PeerFault."""
    await stream.send(request)
    octets = b""
    while (end := octets.find(b"\r\n\r\n")) < 0:
        more = await stream.read()
        octets += more
        if not more or len(octets) > _LONGEST_HEADER:
            raise PeerFault(f"{host} sent no HTTP response")
    status, *lines = octets[:end].split(b"\r\n")
    match = _STATUS.fullmatch(status)
    if match is None:
        raise PeerFault(f"{host} sent no HTTP response")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    if match[1] not in accepted:
        asked = request[: request.index(b" HTTP/")].decode("ascii")
        problem = f"{host} answered {match[1].decode()} to {asked[:200]}"
        if match[1] in _REDIRECTIONS:
            raise Redirected(problem, fields.get(b"location", b"").decode("latin-1"))
        raise PeerFault(problem)
    if match[1] == b"204":
        return "", b""  # RFC 9110 section 15.3.5: no content, whatever the fields say
    body = await _body(stream, octets[end + 4 :], fields, longest, host)
    return fields.get(b"content-type", b"").decode("latin-1"), body


async def _body(stream: Stream, octets: bytes, fields: dict[bytes, bytes], longest: int, host: str) -> bytes:
    chunked = _Chunks() if fields.get(b"transfer-encoding", b"").lower() == b"chunked" else None
    length = fields.get(b"content-length")
    told = length is not None and chunked is None and re.fullmatch(rb"[0-9]{1,12}", length) is not None
    wanted = int(length) if told and length is not None else None
    body = bytearray() if chunked is not None else bytearray(octets)
    more = octets
    while not (chunked.take(more, body) if chunked is not None else wanted is not None and len(body) >= wanted):
        if len(body) > longest:
            break
        more = await stream.read()
        if not more:
            if wanted is not None or chunked is not None:
                raise PeerFault(f"{host} closed within its answer")
            break
        if chunked is None:
            body += more
    del body[wanted if wanted is not None else len(body) :]
    if len(body) > longest:
        raise PeerFault(f"{host} sent more than {longest} octets")
    return bytes(body)


class _Chunks:
    """Takes chunked coding apart as it comes, each octet once (RFC 9112 section 7.1)."""

    def __init__(self) -> None:
        self._rest = b""  # the beginning of a line
        self._missing = 0  # of the chunk at hand, its line end counted

    def take(self, octets: bytes, body: bytearray) -> bool:
        """Put the content of more octets into `body`; tell whether the last chunk came. Raises PeerFault."""
        octets, self._rest, at = self._rest + octets, b"", 0
        while True:
            if self._missing > 0:
                # the two octets that end a chunk are no content
                body += octets[at : at + max(0, self._missing - 2)]
                taken = min(self._missing, len(octets) - at)
                self._missing -= taken
                at += taken
                if self._missing > 0:
                    return False
            end = octets.find(b"\r\n", at)
            if end < 0:
                self._rest = octets[at:]
                if len(self._rest) > _LONGEST_CHUNK_LINE:
                    raise PeerFault("a chunked body that is not understood")
                return False
            size = re.fullmatch(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;.*)?", octets[at:end])
            if size is None:
                raise PeerFault("a chunked body that is not understood")
            count = int(size[1], 16)
            if count == 0:
                return True
            self._missing, at = count + 2, end + 2


_LONGEST_CHUNK_LINE = 4_096
