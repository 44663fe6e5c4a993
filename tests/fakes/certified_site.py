"""A web server for the world of fakes/certified: its lists, its responder and its certificates, on loopback."""

from __future__ import annotations

import base64
import datetime
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote

from fakes.certified import Certified
from letterlock.host.listen import Listener, bind
from letterlock.host.logs import Log
from letterlock.host.pages import Asked, Page, Pages


@dataclass
class CertifiedSite:
    """The world it serves; `revoked` are serial numbers, `is_away` answers nothing; `asked` are the paths, in order."""

    world: Certified
    revoked: set[int] = field(default_factory=set)
    is_away: bool = False
    asked: list[str] = field(default_factory=list)

    def _page(self, path: str, octets: bytes) -> Page:
        self.asked.append(path)
        return Page(b"away", status=503) if self.is_away else Page(octets, "application/octet-stream")

    async def root_list(self) -> Page:
        return self._page("/root.crl", self.world.list_of(self.world.root))

    async def middle_list(self) -> Page:
        return self._page("/middle.crl", self.world.list_of(self.world.middle, *self.revoked, at=_now()))

    async def middle_certificate(self) -> Page:
        return self._page("/middle.cer", self.world.middle.certificate.octets)

    async def ocsp(self, asked: Asked) -> Page:
        request = asked.body if asked.body is not None else base64.b64decode(unquote(asked.below))
        return self._page("/ocsp", self.world.answer(request, *self.revoked, at=_now()))


@asynccontextmanager
async def certified_site() -> AsyncIterator[CertifiedSite]:
    """Serve a world made now, whose certificates name this server."""
    socket = bind("127.0.0.1", 0)
    at = f"http://127.0.0.1:{socket.getsockname()[1]}"
    world = Certified(_now(), f"{at}/root.crl", f"{at}/middle.cer", f"{at}/middle.crl", f"{at}/ocsp")
    site = CertifiedSite(world)
    pages = {"/root.crl": site.root_list, "/middle.crl": site.middle_list, "/middle.cer": site.middle_certificate}
    listener = Listener(Pages(pages, {"/ocsp": site.ocsp}).session, log=Log("site"))
    await listener.start([socket])
    try:
        yield site
    finally:
        await listener.stop(grace_seconds=0)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)
