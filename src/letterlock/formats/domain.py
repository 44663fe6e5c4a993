"""Domain names as mail uses them: lower-case A-labels, no final dot.

`to_ascii` is the one door through which a name from outside becomes a name we compare, ask for and store.

Standards: RFC 1035 section 2.3.4 (lengths), RFC 5321 section 2.3.5, RFC 5890 (IDNA 2008), RFC 6531 section 3.2.
"""

from __future__ import annotations

import re

import idna

from letterlock.errors import Malformed

_LDH_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_DNS_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")  # service names begin with an underscore


def to_ascii(name: str, *, underscores: bool = False) -> str:
    """Return `name` as lower-case A-labels without a final dot.

    With `underscores`, labels such as `_dmarc` and `_25` are allowed. Raises Malformed for what is no domain name.
    """
    lowered = name.removesuffix(".").lower()
    if not lowered:
        raise Malformed("an empty domain name", clause="RFC 5321 section 2.3.5")
    if not lowered.isascii():
        try:
            lowered = idna.encode(lowered, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError) as error:
            raise Malformed(f"not an internationalised domain name: {error}", clause="RFC 6531 section 3.2") from None
    if len(lowered) > 253:
        raise Malformed("a domain name of more than 253 octets", clause="RFC 1035 section 2.3.4")
    pattern = _DNS_LABEL if underscores else _LDH_LABEL
    offset = 0
    for label in lowered.split("."):
        if not pattern.fullmatch(label):
            raise Malformed(f"{label!r} is no label of a domain name", offset=offset, clause="RFC 1035 section 2.3.1")
        offset += len(label) + 1
    return lowered


def to_unicode(name: str) -> str:
    """Return an A-label name as people read it; a name that cannot be decoded is returned as it is."""
    try:
        return idna.decode(name) if "xn--" in name else name
    except (idna.IDNAError, UnicodeError):
        return name


def is_within(name: str, ancestor: str) -> bool:
    """Tell whether `name` is `ancestor` or a name below it; both as `to_ascii` returns them."""
    return name == ancestor or name.endswith("." + ancestor)


def parent(name: str) -> str:
    """Return the name one label up, or an empty string at the top."""
    return name.partition(".")[2]
