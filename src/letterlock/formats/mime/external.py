"""message/external-body: content that lies elsewhere, described so that a person can decide; never fetched from here.

Standards: RFC 2046 section 5.2.3 (access types and parameters), RFC 2017 (the access type `url`).
Limits: those of the parameters; nothing here opens a file or a connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from letterlock.formats.imf.dates import parse_date
from letterlock.formats.imf.header import Header, read_header
from letterlock.formats.mime.content_type import TEXT_PLAIN, ContentType, parse_content_type
from letterlock.formats.mime.entity import Entity

_NEEDED = {
    "ftp": ("name", "site"),
    "anon-ftp": ("name", "site"),
    "tftp": ("name", "site"),
    "local-file": ("name",),
    "mail-server": ("server",),
    "url": ("url",),
    "content-id": (),
}


@dataclass(frozen=True, slots=True)
class ExternalBody:
    """Where a body lies and what it would be. `access_type` is lower case; `command` is a mail server's (phantom body)."""

    access_type: str
    parameters: Mapping[str, str]
    content_type: ContentType
    content_id: str
    header: Header
    command: str = ""
    expiration: datetime | None = None
    size: int | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """The parameters this access type needs and does not have; of an unknown type, none can be told."""
        return tuple(name for name in _NEEDED.get(self.access_type, ()) if not self.parameters.get(name))

    @property
    def url(self) -> str:
        """The location as a URL to show, or an empty string; a local file or mail server has none."""
        get = self.parameters.get
        if self.missing:
            return ""
        if self.access_type == "url":
            return "".join(get("url", "").split())  # RFC 2017 section 3.1: long URLs are broken by white space
        if self.access_type in {"ftp", "anon-ftp", "tftp"}:
            scheme = "tftp" if self.access_type == "tftp" else "ftp"
            path = "/".join(part for part in (get("directory", "").strip("/"), get("name", "")) if part)
            return f"{scheme}://{quote(get('site', ''), safe='.:[]-')}/{quote(path)}"
        return ""

    def describe(self) -> str:
        """Return a sentence that says what would be fetched from where."""
        what = self.content_type.full + (f" of {self.size} octets" if self.size is not None else "")
        get = self.parameters.get
        match self.access_type:
            case "local-file":
                where = f"the file {get('name', '')!r} on this machine"
            case "mail-server":
                where = f"the mail server {get('server', '')!r}, by sending it a message"
            case "content-id":
                where = "another part of this message"
            case _:
                where = self.url or f"somewhere ({self.access_type or 'no access type'})"
        until = f", until {self.expiration:%Y-%m-%d}" if self.expiration else ""
        return f"{what} lies at {where}{until}"


def read_external_body(entity: Entity) -> ExternalBody | None:
    """Return what a message/external-body says, or None if it is none. Never raises."""
    if entity.content_type.full != "message/external-body":
        return None
    parameters = entity.content_type.parameters
    body = entity.content()
    header = read_header(body)  # the phantom header section: about the content, not this part
    inner = header.get("content-type")
    size = parameters.get("size", "")
    expiration = parameters.get("expiration", "")
    return ExternalBody(
        access_type=parameters.get("access-type", "").strip().lower(),
        parameters=parameters,
        content_type=parse_content_type(inner.text) if inner else TEXT_PLAIN,
        content_id=header.text("content-id").strip(" \t<>"),
        header=header,
        command=body[header.body_start :].decode("utf-8", "replace"),
        expiration=parse_date(expiration) if expiration else None,
        size=int(size) if size.isascii() and size.isdigit() and len(size) < 20 else None,
    )
