"""Command lines as values: what MAIL, RCPT and BDAT say, with their parameters.

Each function takes the text after the verb and returns a value, or raises `CommandRefused` with the reply that says
what is wrong and what to send instead.

Standards: RFC 5321 section 4.1.2 (syntax), RFC 1870 (SIZE), RFC 6152 and RFC 3030 (BODY, BDAT), RFC 3461 section 4
(RET, ENVID, NOTIFY, ORCPT, xtext), RFC 6531 section 3.4 (SMTPUTF8), RFC 6533 section 3 (utf-8-addr-xtext), RFC 8689
(REQUIRETLS), RFC 4954 section 5 (AUTH=), RFC 6710 (MT-PRIORITY), RFC 4865 (HOLDFOR, HOLDUNTIL), RFC 2852 (BY), RFC 7293
(RRVS), RFC 3865 (SOLICIT).
"""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypedDict

import msgspec

from letterlock.errors import Malformed, PeerFault
from letterlock.formats.address import Address
from letterlock.formats.envelope import Body, Late, Notify, Recipient, Return, ValidSince
from letterlock.protocols.smtp.reply import Reply, reply

# A path in angle brackets, whose local part may be a quoted string with brackets in it; then parameters.
_PATH = re.compile(r' ?<((?:@[^\s:<>"]+:)?((?:"(?:[^"\\]|\\.)*"|[^"<>\s])*))>(?: +(\S.*))?')
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\u0080-\U0010ffff]+))?")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_EMBEDDED = re.compile(r"\\x\{([0-9A-F]{2,6})\}")
_BY = re.compile(r"([+-]?[0-9]{1,9});([NRnr])([Tt]?)")
# RFC 7293 section 3.1: a date-time of RFC 3339 without fractions of a second.
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_LAST_INSTANT = 253_402_300_799  # the year 9999 ends
# RFC 3865 section 2.2
SOLICITATION = re.compile(r"[A-Za-z][A-Za-z0-9._:-]*(?:,[A-Za-z][A-Za-z0-9._:-]*)*")
MOST_SOLICITATION = 1000
_DIGITS = re.compile(r"[0-9]{1,20}")
_MOST_PARAMETERS = 20


class CommandRefused(PeerFault):
    """A command that is wrong; `answer` is what the client is told."""

    def __init__(self, answer: Reply) -> None:
        self.answer = answer
        super().__init__(str(answer), reply=answer.octets)


class By(msgspec.Struct, frozen=True):
    """BY: within how many seconds from MAIL on to deliver, and what to do where that fails (RFC 2852 section 4)."""

    seconds: int
    late: Late
    trace: bool = False


class Sender(msgspec.Struct, frozen=True):
    """What MAIL said. `reverse_path` None is `<>`; `size` is declared, 0 unknown; `submitter` is AUTH=, as it came.

    `priority` is MT-PRIORITY; `hold_seconds` (HOLDFOR) and `hold_until` (HOLDUNTIL, seconds since 1970) are 0 where the
    message is not to be held. `by` is None where there is no hurry; `solicitation` are the classes of SOLICIT.
    """

    reverse_path: Address | None
    size: int = 0
    body: Body = Body.SEVEN_BIT
    smtputf8: bool = False
    require_tls: bool = False
    return_content: Return | None = None
    envelope_id: str = ""
    submitter: str = ""
    priority: int = 0
    hold_seconds: int = 0
    hold_until: float = 0.0
    by: By | None = None
    solicitation: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Extensions:
    """Which extensions' parameters MAIL and RCPT may use now: those that EHLO offered."""

    size: bool = True
    eight_bit: bool = True
    binary: bool = True
    smtputf8: bool = True
    dsn: bool = True
    require_tls: bool = False
    auth: bool = False
    priority: bool = False
    future_release: bool = False
    deliver_by: bool = True
    valid_since: bool = True
    solicitation: bool = True


def read_mail(rest: str, extensions: Extensions) -> Sender:
    """Return what `MAIL FROM:` says; `rest` is what follows the colon."""
    path, parameters = _split(rest, "1.7", "MAIL FROM:<local@domain>")
    given: _Given = {}
    for name, value in parameters.items():
        offered, read = _MAIL_PARAMETERS.get(name, (None, None))
        if offered is None or read is None or not getattr(extensions, offered):
            raise CommandRefused(reply(555, "5.5.4", f"MAIL parameter {name} is not offered here: leave it out"))
        given |= read(value)
    if "HOLDFOR" in parameters and "HOLDUNTIL" in parameters:
        raise CommandRefused(reply(501, "5.5.4", "HOLDFOR and HOLDUNTIL exclude each other"))
    reverse_path = _address(path, given.get("smtputf8", False), "5.1.7") if path else None
    return Sender(reverse_path, **given)


def read_rcpt(rest: str, extensions: Extensions, *, smtputf8: bool, postmaster_domain: str) -> Recipient:
    """Return what `RCPT TO:` says; `<postmaster>` alone is the postmaster of `postmaster_domain`."""
    path, parameters = _split(rest, "1.3", "RCPT TO:<local@domain>")
    if not path:
        raise CommandRefused(reply(553, "5.1.3", "A recipient cannot be empty: send RCPT TO:<local@domain>"))
    # RFC 5321 section 4.5.1: <postmaster> needs no domain.
    alone = path.lower() == "postmaster"
    address = Address("postmaster", postmaster_domain) if alone else _address(path, smtputf8, "5.1.3")
    if not parameters:
        return Recipient(address)
    given: _GivenToRecipient = {}
    for name, value in parameters.items():
        offered, read = _RCPT_PARAMETERS.get(name, (None, None))
        if offered is None or read is None or not getattr(extensions, offered):
            raise CommandRefused(reply(555, "5.5.4", f"RCPT parameter {name} is not offered here: leave it out"))
        given |= read(value)
    return Recipient(address, **given)


def read_bdat(rest: str) -> tuple[int, bool]:
    """Return how many octets follow, and whether they are the last."""
    count, _, last = rest.strip().partition(" ")
    if not _DIGITS.fullmatch(count) or not last.isascii() or last.upper() not in ("", "LAST"):
        raise CommandRefused(reply(501, "5.5.4", "Send BDAT count, or BDAT count LAST"))
    return int(count), bool(last)


def decode_xtext(text: str) -> str:
    """Return the text that xtext stands for (RFC 3461 section 4). Raises Malformed."""
    if not _XTEXT.fullmatch(text):
        raise Malformed("no xtext", clause="RFC 3461 section 4")
    decoded = re.sub(r"\+([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), text)
    if not decoded.isprintable() or not decoded.isascii():
        # RFC 3461 section 4.4: the value is printable US-ASCII; anything else would travel into reports and logs.
        raise Malformed("xtext of something other than printable ASCII", clause="RFC 3461 section 4")
    return decoded


def encode_xtext(text: str) -> str:
    """Return printable ASCII text as xtext."""
    return "".join(c if "!" <= c <= "~" and c not in "+=" else f"+{ord(c):02X}" for c in text)


@functools.lru_cache(maxsize=4096)  # the same paths come all day; whoever gets the parameters only reads them
def _split(rest: str, detail: str, form: str) -> tuple[str, Mapping[str, str]]:
    match = _PATH.fullmatch(rest.rstrip(" "))
    if match is None:
        raise CommandRefused(reply(501, f"5.{detail}", f"The path is not understood: send {form}"))
    if match[3] is None:
        return match[2], {}
    words = [word for word in match[3].split(" ") if word]
    if len(words) > _MOST_PARAMETERS:
        raise CommandRefused(reply(501, "5.5.4", f"More than {_MOST_PARAMETERS} parameters"))
    parameters: dict[str, str] = {}
    for word in words:
        parameter = _PARAMETER.fullmatch(word)
        if parameter is None:
            raise CommandRefused(reply(501, "5.5.4", "A parameter is not KEYWORD or KEYWORD=value"))
        name = parameter[1].upper()
        if name in parameters:
            raise CommandRefused(reply(501, "5.5.4", f"Parameter {name} stands twice"))
        value = parameter[2] or ""
        if not value.isascii() and name != "ORCPT":  # RFC 6533 section 3 has UTF-8 there, and nothing else has
            raise CommandRefused(reply(501, "5.5.4", f"The value of {name} is not ASCII"))
        parameters[name] = value
    return match[2], parameters


def _address(path: str, smtputf8: bool, status: str) -> Address:
    if not path.isascii() and not smtputf8:
        # RFC 6531 section 3.5
        raise CommandRefused(reply(553, "5.6.7", "An address with non-ASCII characters needs MAIL with SMTPUTF8"))
    try:
        return Address.parse(path)
    except Malformed as error:
        raise CommandRefused(reply(501, status, f"The address is not understood: {error.problem}")) from None


class _Given(TypedDict, total=False):
    """What parameters of MAIL say, by the fields of Sender."""

    size: int
    body: Body
    smtputf8: bool
    require_tls: bool
    return_content: Return
    envelope_id: str
    submitter: str
    priority: int
    hold_seconds: int
    hold_until: float
    by: By
    solicitation: tuple[str, ...]


class _GivenToRecipient(TypedDict, total=False):
    """What parameters of RCPT say, by the fields of Recipient."""

    notify: Notify
    original: str
    valid_since: ValidSince


def _size(value: str) -> _Given:
    if not _DIGITS.fullmatch(value):
        raise CommandRefused(reply(501, "5.5.4", "SIZE is a number of octets: SIZE=12345"))
    return {"size": int(value)}


def _body(value: str) -> _Given:
    try:
        return {"body": Body(value.upper())}
    except ValueError:
        raise CommandRefused(reply(501, "5.5.4", "BODY is 7BIT, 8BITMIME or BINARYMIME")) from None


def _smtputf8(value: str) -> _Given:
    if value:
        raise CommandRefused(reply(501, "5.5.4", "SMTPUTF8 has no value"))
    return {"smtputf8": True}


def _require_tls(value: str) -> _Given:
    if value:
        raise CommandRefused(reply(501, "5.5.4", "REQUIRETLS has no value"))
    return {"require_tls": True}


def _ret(value: str) -> _Given:
    try:
        return {"return_content": Return(value.upper())}
    except ValueError:
        raise CommandRefused(reply(501, "5.5.4", "RET is FULL or HDRS")) from None


def _envid(value: str) -> _Given:
    try:
        decoded = decode_xtext(value)
    except Malformed:
        decoded = ""
    if not decoded or len(value) > 100:  # RFC 3461 section 4.4
        raise CommandRefused(reply(501, "5.5.4", "ENVID is up to 100 octets of xtext (RFC 3461)"))
    return {"envelope_id": decoded}


def _auth(value: str) -> _Given:
    try:
        return {"submitter": decode_xtext(value)}
    except Malformed:
        raise CommandRefused(reply(501, "5.5.4", "AUTH= is an address in xtext, or <>")) from None


def _priority(value: str) -> _Given:
    if not re.fullmatch(r"-?[0-9]", value):  # RFC 6710 section 3
        raise CommandRefused(reply(501, "5.5.4", "MT-PRIORITY is a number from -9 to 9"))
    return {"priority": int(value)}


def _hold_for(value: str) -> _Given:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", value):
        raise CommandRefused(reply(501, "5.5.4", "HOLDFOR is a number of seconds"))
    return {"hold_seconds": int(value)}


def _hold_until(value: str) -> _Given:
    refused = CommandRefused(reply(501, "5.5.4", "HOLDUNTIL is an instant such as 2027-01-15T09:00:00Z"))
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value, re.ASCII):
        raise refused
    try:
        return {"hold_until": datetime.datetime.fromisoformat(value).timestamp()}
    except ValueError:
        raise refused from None


def _by(value: str) -> _Given:
    match = _BY.fullmatch(value)
    if match is None:
        raise CommandRefused(reply(501, "5.5.4", "BY is seconds and what to do when they are over: BY=3600;R"))
    seconds, late = int(match[1]), Late(match[2].upper())
    if late is Late.RETURN and seconds <= 0:  # RFC 2852 section 4
        raise CommandRefused(reply(501, "5.5.4", "BY with R is a positive number of seconds"))
    return {"by": By(seconds, late, bool(match[3]))}


def _solicit(value: str) -> _Given:
    if len(value) > MOST_SOLICITATION or not SOLICITATION.fullmatch(value):
        raise CommandRefused(reply(501, "5.5.4", "SOLICIT is a list of classes such as org.example:ADV (RFC 3865)"))
    return {"solicitation": tuple(value.split(","))}


_MAIL_PARAMETERS: dict[str, tuple[str, Callable[[str], _Given]]] = {
    "SIZE": ("size", _size),
    "BODY": ("eight_bit", _body),
    "SMTPUTF8": ("smtputf8", _smtputf8),
    "REQUIRETLS": ("require_tls", _require_tls),
    "RET": ("dsn", _ret),
    "ENVID": ("dsn", _envid),
    "AUTH": ("auth", _auth),
    "MT-PRIORITY": ("priority", _priority),
    "HOLDFOR": ("future_release", _hold_for),
    "HOLDUNTIL": ("future_release", _hold_until),
    "BY": ("deliver_by", _by),
    "SOLICIT": ("solicitation", _solicit),
}


def _notify(value: str) -> _GivenToRecipient:
    words = value.upper().split(",")
    if words == ["NEVER"]:
        return {"notify": Notify.NEVER}
    notify = Notify.NEVER
    for word in words:
        if word not in ("SUCCESS", "FAILURE", "DELAY"):
            raise CommandRefused(reply(501, "5.5.4", "NOTIFY is NEVER, or some of SUCCESS,FAILURE,DELAY"))
        notify |= Notify[word]
    return {"notify": notify}


def _original(value: str) -> _GivenToRecipient:
    kind, _, text = value.partition(";")
    refused = CommandRefused(reply(501, "5.5.4", "ORCPT is up to 500 octets of type;xtext (RFC 3461)"))
    if not re.fullmatch(r"[A-Za-z0-9-]+", kind) or not text or len(value) > 500:  # RFC 3461 section 4.2
        raise refused
    if kind.lower() == "utf-8":  # RFC 6533 section 3: utf-8-addr-xtext, utf-8-addr-unitext
        decoded = _EMBEDDED.sub(lambda match: _character(match[1]), text)
        if "\\" in decoded or not decoded.isprintable():
            raise refused
        return {"original": f"{kind};{decoded}"}
    try:
        return {"original": f"{kind};{decode_xtext(text)}"}
    except Malformed:
        raise refused from None


def _valid_since(value: str) -> _GivenToRecipient:
    instant, _, action = value.partition(";")
    refused = CommandRefused(reply(501, "5.5.4", "RRVS is an instant such as 2026-01-15T09:00:00Z, and ;C or ;R"))
    if not _INSTANT.fullmatch(instant) or action.upper() not in ("", "C", "R"):
        raise refused
    try:
        seconds = int(datetime.datetime.fromisoformat(instant.upper()).timestamp())
    except (ValueError, OverflowError):
        raise refused from None
    seconds = max(0, min(seconds, _LAST_INSTANT))  # what can be written again
    return {"valid_since": ValidSince(seconds, is_optional=action.upper() == "C")}


_RCPT_PARAMETERS: dict[str, tuple[str, Callable[[str], _GivenToRecipient]]] = {
    "NOTIFY": ("dsn", _notify),
    "ORCPT": ("dsn", _original),
    "RRVS": ("valid_since", _valid_since),
}


def _character(hexadecimal: str) -> str:
    code = int(hexadecimal, 16)
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "\\"
