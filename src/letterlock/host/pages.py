"""Pages over HTTP for people and programs that watch a server or ask it something: one request a connection, no more.

    pages = Pages({"/health": health}, {"/ocsp": answer_ocsp})
    listener = Listener(pages.session, log=log)

A page has a path and is got. A service has a path and whatever is below it, and is asked by GET or by POST with a body.

Standards: RFC 9110 section 9.3.1 to 9.3.3 (GET, HEAD, POST), section 15.5.6 (405), RFC 9112 section 3 (request line), section 6.
Limits: a header of 8 KiB, a body of 64 KiB with its length told before, five seconds.
"""

from __future__ import annotations

import http
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from letterlock.host.stream import Stream

_LONGEST_HEADER = 8192
_LONGEST_BODY = 65_536
_PATIENCE_SECONDS = 5.0
_REQUEST = re.compile(rb"([A-Z]{1,16}) (/[!-~]{0,4000}) HTTP/1\.[01]")
_LENGTH = re.compile(rb"\r\nContent-Length:[ \t]*(\d{1,9})[ \t]*\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Page:
    """One answer."""

    body: bytes
    media_type: str = "text/plain; charset=utf-8"
    status: int = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """What a service is asked: what stands in the path below its own, as it came, and the body of a POST."""

    below: str
    body: bytes | None


Service = Callable[[Asked], Awaitable[Page]]


class Pages:
    """Answers for the paths of two tables."""

    def __init__(
        self, pages: Mapping[str, Callable[[], Awaitable[Page]]], services: Mapping[str, Service] | None = None
    ) -> None:
        self._pages = dict(pages)
        self._services = dict(services or {})

    async def session(self, stream: Stream) -> None:
        """Hold one session."""
        stream.expect_within(_PATIENCE_SECONDS)
        octets = b""
        while b"\r\n\r\n" not in octets:
            more = await stream.read(idle=not octets)
            octets += more
            if not more or (len(octets) > _LONGEST_HEADER and b"\r\n\r\n" not in octets):
                break
        header, end, body = octets.partition(b"\r\n\r\n")
        if not end or len(header) > _LONGEST_HEADER:
            page, is_head = _NO_REQUEST, False
        else:
            page, is_head = await self._answer(stream, header + b"\r\n", body)
        stream.expect_within(_PATIENCE_SECONDS)
        await stream.send(_response(page, is_head=is_head))
        await stream.close(linger=True)

    async def _answer(self, stream: Stream, header: bytes, body: bytes) -> tuple[Page, bool]:
        match = _REQUEST.fullmatch(header.partition(b"\r\n")[0])
        if match is None:
            return _NO_REQUEST, False
        method, path = match[1], match[2].partition(b"?")[0].decode("ascii")
        service = next((one for one in self._services if path == one or path.startswith(one + "/")), None)
        if method == b"POST" and service is not None:
            return await self._post(service, path, stream, header, body), False
        if method not in (b"GET", b"HEAD"):
            return Page(b"Only GET and HEAD are answered here.\n", status=405), False
        is_head = method == b"HEAD"
        if service is not None:
            return await self._services[service](Asked(path[len(service) :].lstrip("/"), None)), is_head
        page = self._pages.get(path)
        if page is None:
            known = " ".join(sorted((*self._pages, *self._services)))
            return Page(f"There are: {known}\n".encode(), status=404), is_head
        return await page(), is_head

    async def _post(self, service: str, path: str, stream: Stream, header: bytes, body: bytes) -> Page:
        length = _LENGTH.search(header)
        if length is None:
            return Page(b"Say how long the body is (Content-Length).\n", status=411)
        wanted = int(length[1])
        if wanted > _LONGEST_BODY:
            return Page(b"The body is too long.\n", status=413)
        while len(body) < wanted:
            more = await stream.read()
            if not more:
                return Page(b"The body ends too early.\n", status=400)
            body += more
        return await self._services[service](Asked(path[len(service) :].lstrip("/"), body[:wanted]))


_NO_REQUEST = Page(b"This is no request.\n", status=400)


def _response(page: Page, *, is_head: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {page.status} {http.HTTPStatus(page.status).phrase}",
        f"Content-Type: {page.media_type}",
        f"Content-Length: {len(page.body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    ]
    if page.status == 405:
        lines.append("Allow: GET, HEAD")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + (b"" if is_head else page.body)
