"""File names of attachments made safe: a name from a message is text of a stranger, never a path.

Standards: RFC 2183 section 2.3 and section 5 (names are a hint, directories are not followed).
Limits: at most 150 octets of UTF-8, the extension kept.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from letterlock.formats.mime.content_type import ContentType

_MOST_OCTETS = 150
_FORBIDDEN = frozenset('<>:"/\\|?*')
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
    + [f"{device}{number}" for device in ("com", "lpt") for number in "123456789¹²³"]
)
_EXTENSIONS = {
    "text/plain": ".txt", "text/html": ".html", "text/csv": ".csv", "text/calendar": ".ics", "text/enriched": ".txt",
    "text/vcard": ".vcf", "message/rfc822": ".eml", "message/global": ".eml", "image/png": ".png", "image/jpeg": ".jpg",
    "image/gif": ".gif", "image/svg+xml": ".svg", "application/pdf": ".pdf", "application/zip": ".zip",
    "application/json": ".json", "application/xml": ".xml", "text/xml": ".xml", "application/gzip": ".gz",
    "application/pkcs7-mime": ".p7m", "application/pkcs7-signature": ".p7s", "application/pgp-signature": ".asc",
    "application/pgp-encrypted": ".asc", "application/pgp-keys": ".asc", "message/delivery-status": ".txt",
    "text/rfc822-headers": ".txt", "message/disposition-notification": ".txt", "message/feedback-report": ".txt",
    "audio/mpeg": ".mp3", "audio/basic": ".au", "video/mp4": ".mp4", "video/mpeg": ".mpg",
}  # fmt: skip


def safe_name(given: str, content_type: ContentType, number: str) -> str:
    """Return a file name without directories, control, direction or reserved characters, device names, or dots around.

    Without anything usable the name is made of the part's number and its type's extension.
    """
    base = unicodedata.normalize("NFC", given).replace("\\", "/").rpartition("/")[2]
    kept = "".join(
        "_" if character in _FORBIDDEN else character
        for character in base
        if (character.isprintable() and unicodedata.category(character) != "Zs") or character == " "
    )
    kept = " ".join(kept.split()).strip(". ")
    if not kept.strip("_"):
        return f"part-{number or '1'}{_EXTENSIONS.get(content_type.full, '.bin')}"
    if kept.partition(".")[0].strip().lower() in _RESERVED:
        kept = f"_{kept}"
    return _shortened(kept)


def _shortened(name: str) -> str:
    if len(name.encode()) <= _MOST_OCTETS:
        return name
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension.encode()) > 20:
        stem, extension = name, ""
    room = _MOST_OCTETS - len((dot + extension).encode() if extension else b"")
    cut = stem.encode()[:room].decode("utf-8", "ignore").rstrip(". ")
    return f"{cut}.{extension}" if extension else cut


def distinct_names(names: Iterable[str]) -> list[str]:
    """Return names so that no two are equal, in any case of letters: the second `a.txt` is `a-2.txt`."""
    seen: dict[str, int] = {}
    result: list[str] = []
    taken: set[str] = set()
    for name in names:
        count = seen.get(name.casefold(), 0) + 1
        candidate = name if count == 1 else _numbered(name, count)
        while candidate.casefold() in taken:
            count += 1
            candidate = _numbered(name, count)
        seen[name.casefold()] = count
        taken.add(candidate.casefold())
        result.append(candidate)
    return result


def _numbered(name: str, count: int) -> str:
    stem, dot, extension = name.rpartition(".")
    return f"{stem}-{count}.{extension}" if dot and stem else f"{name}-{count}"
