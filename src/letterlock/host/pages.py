"""Pages over HTTP for the people and programs that watch a server: GET and HEAD, one request a connection, no more.

    pages = Pages({"/health": health})
    listener = Listener(pages.session, log=log)

Standards: RFC 9110 section 9.3.1 and 9.3.2 (GET, HEAD), section 15.5.6 (405), RFC 9112 section 3 (request line).
Limits: a header of 8 KiB, five seconds.
"""

from __future__ import annotations

import http
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from letterlock.host.stream import Stream

_LONGEST_HEADER = 8192
_PATIENCE_SECONDS = 5.0
_REQUEST = re.compile(rb"([A-Z]{1,16}) (/[!-~]{0,1000}) HTTP/1\.[01]")


@dataclass(frozen=True, slots=True)
class Page:
    """One answer."""

    body: bytes
    media_type: str = "text/plain; charset=utf-8"
    status: int = 200


class Pages:
    """Answers for the paths of a table."""

    def __init__(self, pages: Mapping[str, Callable[[], Awaitable[Page]]]) -> None:
        self._pages = dict(pages)

    async def session(self, stream: Stream) -> None:
        """Hold one session."""
        stream.expect_within(_PATIENCE_SECONDS)
        header = b""
        while b"\r\n\r\n" not in header:
            octets = await stream.read(idle=not header)
            header += octets
            if not octets or len(header) > _LONGEST_HEADER:
                break
        page, is_head = await self._answer(header)
        stream.expect_within(_PATIENCE_SECONDS)
        await stream.send(_response(page, is_head=is_head))
        await stream.close(linger=True)

    async def _answer(self, header: bytes) -> tuple[Page, bool]:
        match = _REQUEST.fullmatch(header.partition(b"\r\n")[0])
        if match is None or b"\r\n\r\n" not in header:
            return Page(b"This is no request.\n", status=400), False
        if match[1] not in (b"GET", b"HEAD"):
            return Page(b"Only GET and HEAD are answered here.\n", status=405), False
        page = self._pages.get(match[2].partition(b"?")[0].decode("ascii"))
        if page is None:
            known = " ".join(sorted(self._pages))
            return Page(f"There are: {known}\n".encode(), status=404), match[1] == b"HEAD"
        return await page(), match[1] == b"HEAD"


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
