"""Tag lists: `v=1; a=rsa-sha256; d=example.org`, the syntax that DKIM, DMARC, ARC and TLSRPT records share.

Standards: RFC 6376 section 3.2, RFC 8616 section 3 (UTF-8 inside values).
"""

from __future__ import annotations

import re

from letterlock.errors import Malformed

_CLAUSE = "RFC 6376 section 3.2"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_FOLDED = re.compile(r"[ \t\r\n]+")
_SPACE = " \t\r\n"


def parse(octets: bytes) -> dict[str, str]:
    """Return the tags in their order, values without the white space around them (that inside is kept).

    Raises Malformed for a tag without `=`, a wrong name, a control character or the same tag twice.
    """
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("text that is not UTF-8", offset=error.start, clause="RFC 8616 section 3") from None
    if control := _CONTROL.search(text):
        raise Malformed("a control character", offset=control.start(), clause=_CLAUSE)
    tags: dict[str, str] = {}
    offset = 0
    parts = text.split(";")
    if not parts[-1].strip(_SPACE):
        parts.pop()
    for part in parts:
        name, equals, value = part.partition("=")
        name = name.strip(_SPACE)
        # tag-name = ALPHA *(ALPHA / DIGIT / "_"), which is an ASCII identifier that does not begin with "_"
        if not (equals and name.isidentifier() and name.isascii() and name[0] != "_"):
            raise Malformed(f"{part.strip(_SPACE)[:40]!r} is no tag", offset=offset, clause=_CLAUSE)
        if name in tags:
            raise Malformed(f"the tag {name}= stands twice", offset=offset, clause=_CLAUSE)
        tags[name] = value.strip(_SPACE)
        offset += len(part) + 1
    return tags


def without_space(value: str) -> str:
    """Return a value with all folding white space taken out, as base64 and name lists are read."""
    return _FOLDED.sub("", value)


def colon_list(value: str) -> tuple[str, ...]:
    """Return the items of a colon-separated value, white space around them taken off."""
    return tuple(item.strip(_SPACE) for item in value.split(":"))
