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
    addresses = await _addresses(host, how)
    problem = ConnectionFailed(f"{host} has no address that may be asked")
    for address in addresses[:_MOST_ADDRESSES]:
        try:
            stream = await connect(Endpoint(address, how.port), within_seconds=min(how.within_seconds, 10))
        except ConnectionFailed as failed:
            problem = failed
            continue
        try:
            stream.expect_within(how.within_seconds)
            await stream.start_tls(how.context, server_side=False, server_name=host)
            return await _ask(stream, host, request, how.longest_octets, accepted)
        finally:
            stream.abort()
    raise problem


async def _addresses(host: str, how: Fetch) -> list[str]:
    answers = await ask_all(how.resolver, (Question(host, "AAAA"), Question(host, "A")))
    found = [record.address for answer in answers for record in answer.records if isinstance(record, A | Aaaa)]
    return [address for address in found if how.allow_private or is_public(address)]


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


async def _ask(
    stream: Stream, host: str, request: bytes, longest: int, accepted: tuple[bytes, ...]
) -> tuple[str, bytes]:
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
    if match[1] not in accepted:
        asked = request[: request.index(b" HTTP/")].decode("ascii")
        raise PeerFault(f"{host} answered {match[1].decode()} to {asked}")
    if match[1] == b"204":
        return "", b""  # RFC 9110 section 15.3.5: no content, whatever the fields say
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    body = await _body(stream, octets[end + 4 :], fields, longest, host)
    return fields.get(b"content-type", b"").decode("latin-1"), body


async def _body(stream: Stream, octets: bytes, fields: dict[bytes, bytes], longest: int, host: str) -> bytes:
    chunked = fields.get(b"transfer-encoding", b"").lower() == b"chunked"
    length = fields.get(b"content-length")
    wanted = int(length) if length is not None and re.fullmatch(rb"[0-9]{1,12}", length) and not chunked else None
    while wanted is None or len(octets) < wanted:
        if len(octets) > (longest + _LONGEST_HEADER if chunked else longest):
            raise PeerFault(f"{host} sent more than {longest} octets")
        if chunked and (whole := _unchunked(octets)) is not None:
            octets = whole
            break
        more = await stream.read()
        if not more:
            if wanted is not None or chunked:
                raise PeerFault(f"{host} closed within its answer")
            break
        octets += more
    octets = octets if wanted is None else octets[:wanted]
    if len(octets) > longest:
        raise PeerFault(f"{host} sent more than {longest} octets")
    return octets


def _unchunked(octets: bytes) -> bytes | None:
    """Return the content of a chunked body, or None before its end. Raises PeerFault."""
    content: list[bytes] = []
    at = 0
    while True:
        end = octets.find(b"\r\n", at)
        if end < 0:
            return None
        size = re.fullmatch(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;.*)?", octets[at:end])
        if size is None:
            raise PeerFault("a chunked body that is not understood")
        count = int(size[1], 16)
        if count == 0:
            return b"".join(content)
        if len(octets) < end + 2 + count + 2:
            return None
        content.append(octets[end + 2 : end + 2 + count])
        at = end + 2 + count + 2
