"""XCLIENT: a trusted proxy says who the client behind it is.

    XCLIENT NAME=mx.harbor.test ADDR=192.0.2.1 PORT=4711 PROTO=ESMTP HELO=mx.harbor.test LOGIN=anna@rosewood.test

Values are xtext; `[UNAVAILABLE]` and `[TEMPUNAVAIL]` say that something is not known. The session begins anew with what was
said; the answer is a greeting.

Standards: none; the command is Postfix's (XCLIENT_README), and nginx, Dovecot, HAProxy's kin and swaks say it. RFC 3461
section 4 (xtext).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

import msgspec

from letterlock.errors import Malformed
from letterlock.protocols.smtp.command import CommandRefused, decode_xtext
from letterlock.protocols.smtp.reply import reply

# What every service understands; LOGIN is for those that know accounts.
CLIENT_ATTRIBUTES = ("NAME", "ADDR", "PORT", "PROTO", "HELO")
LOGIN = "LOGIN"

_UNKNOWN = frozenset({"[UNAVAILABLE]", "[TEMPUNAVAIL]"})
_MOST_CHARACTERS = 255


class Introduction(msgspec.Struct, frozen=True):
    """Who the client is: `address` is an IP address; what was not said, or is not known, is empty, a port 0.

    `login` is None where nothing was said of it, empty where the client has not logged in.
    """

    name: str = ""
    address: str = ""
    port: int = 0
    hello: str = ""
    is_extended: bool = False
    login: str | None = None


def read_introduction(rest: str, offered: Sequence[str]) -> Introduction:
    """Return what stands behind XCLIENT. Raises CommandRefused."""
    values: dict[str, str] = {}
    for word in filter(None, rest.split(" ")):
        name, equals, text = word.partition("=")
        name = name.upper()
        if not equals or name not in offered or name in values:
            raise CommandRefused(reply(501, "5.5.4", f"Send XCLIENT with some of {' '.join(offered)}, each NAME=value"))
        values[name] = _value(name, text)
    if not values:
        raise CommandRefused(reply(501, "5.5.4", "XCLIENT says nothing: send NAME=value"))
    port = values.get("PORT", "")
    return Introduction(
        values.get("NAME", ""),
        _address(values.get("ADDR", "")),
        int(port) if port else 0,
        values.get("HELO", ""),
        values.get("PROTO", "").upper() == "ESMTP",
        values.get(LOGIN),
    )


def _value(name: str, text: str) -> str:
    try:
        value = decode_xtext(text)
    except Malformed:
        value = " "
    if " " in value or len(value) > _MOST_CHARACTERS:
        raise CommandRefused(reply(501, "5.5.4", f"The value of {name} is no xtext, or holds what it may not"))
    value = "" if value.upper() in _UNKNOWN else value
    wrong = (name == "PORT" and value and not re.fullmatch(r"[0-9]{1,5}", value)) or (
        name == "PROTO" and value.upper() not in ("", "SMTP", "ESMTP")
    )
    if wrong:
        raise CommandRefused(reply(501, "5.5.4", f"{value} is no {name}"))
    return value


def _address(text: str) -> str:
    if not text:
        return ""
    try:
        if text.upper().startswith("IPV6:"):
            return str(ipaddress.IPv6Address(text[5:]))
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise CommandRefused(reply(501, "5.5.4", f"{text} is no IP address")) from None
