"""multipart/report: what a machine tells about a message, with a text for people and the message returned.

The three parts are the explanation, the machine's part (its type named by `report-type`) and, perhaps, the message or
its header section. Every report format stands on this one; its fields look like header fields, in groups parted by
empty lines.

Standards: RFC 6522 section 3, RFC 3464 section 2.1, RFC 6533 section 4 (the UTF-8 types), RFC 5965 section 2.
Limits: `Limits.fields` in a group, `MOST_GROUPS` groups.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from letterlock.formats.imf.header import Header, read_header
from letterlock.formats.imf.write import fold
from letterlock.formats.limits import DEFAULT, Limits
from letterlock.formats.mime.entity import Entity, parse

MOST_GROUPS = 10_000
_RETURNED_MESSAGE = frozenset(("message/rfc822", "message/global", "message/news"))
_RETURNED_HEADER = frozenset(("text/rfc822-headers", "message/global-headers", "text/rfc822-header"))
_LONGEST_WORD = 900


@dataclass(frozen=True, slots=True)
class Typed:
    """A value with the name space it belongs to: `dns;mx.example`, `rfc822;ada@x.test`, `smtp;550 5.1.1 ...`."""

    type: str
    value: str

    def __str__(self) -> str:
        return f"{self.type}; {self.value}"


@dataclass(frozen=True, slots=True)
class Report:
    """A multipart/report taken apart; `returned` is the original message or only its header section."""

    report_type: str
    explanation: str
    machine: Entity
    returned: Entity | None


def find_report(message: Entity) -> Report | None:
    """Return the report a message is, or None. The machine's part is found by type, wherever senders put it."""
    content_type = message.content_type
    if content_type.full != "multipart/report" or not message.children:
        return None
    wanted = content_type.parameters.get("report-type", "").lower()
    machine: Entity | None = None
    returned: Entity | None = None
    explanation = ""
    for part in message.children:
        full = part.content_type.full
        if full in _RETURNED_MESSAGE or full in _RETURNED_HEADER:
            returned = returned or _returned(part)
        elif machine is None and part.content_type.type != "text" and not part.children:
            machine = part
        elif not explanation:
            explanation = _plain_text(part)
    if machine is None:
        return None
    subtype = machine.content_type.subtype.removeprefix("global-")
    return Report(wanted or subtype, explanation, machine, returned)


def _returned(part: Entity) -> Entity:
    """Return the message a report gives back, parsed; a header section alone is a message without a body."""
    return part.children[0] if part.is_message else parse(part.content())


def _plain_text(part: Entity) -> str:
    return next((one.text() for _, one in part.walk() if one.content_type.full == "text/plain"), "")


def read_groups(octets: bytes, *, limits: Limits = DEFAULT) -> list[Header]:
    """Return the groups of fields in a machine's part, in order; several empty lines part groups as one does."""
    groups: list[Header] = []
    at = 0
    while at < len(octets) and len(groups) < MOST_GROUPS:
        group = read_header(octets, at, limits=limits)
        if len(group):
            groups.append(group)
        if group.body_start == at or any(defect.kind.ambiguous for defect in group.defects):
            line = octets.find(
                b"\n", group.body_start
            )  # QUIRK report-junk: a line that is no field is skipped, the fields after it are read
            at = len(octets) if line < 0 else line + 1
        else:
            at = group.body_start
    return groups


def read_typed(value: str) -> Typed:
    """Read `type; value`; without a semicolon the type is empty."""
    # QUIRK untyped-report-value: an address or name without its type
    kind, semicolon, rest = value.partition(";")
    return Typed(kind.strip(" \t").lower(), rest.strip(" \t")) if semicolon else Typed("", value.strip(" \t"))


def write_group(fields: Iterable[tuple[str, str]], *, utf8: bool = False) -> bytes:
    """Return fields as one group, without the empty line after it.

    Control characters become spaces; without `utf8`, other characters than ASCII become question marks
    (RFC 3464 section 2.1 allows only 7bit).
    """
    return b"".join(_write_field(name, value, utf8) for name, value in fields if value)


def _write_field(name: str, value: str, utf8: bool) -> bytes:
    clean = "".join(character if character >= " " and character != "\x7f" else " " for character in value)
    octets = clean.encode("utf-8" if utf8 else "ascii", "replace")
    words = [
        word[at : at + _LONGEST_WORD] for word in octets.split(b" ") for at in range(0, len(word) or 1, _LONGEST_WORD)
    ]
    return b"\r\n".join(fold(name.encode("ascii") + b": " + b" ".join(words))) + b"\r\n"


def written_header(octets: bytes) -> bytes:
    """Return the header section of a message, without the empty line, with CRLF line ends."""
    header = read_header(octets)
    section = octets[header.start : header.end].replace(b"\r\n", b"\n").replace(b"\r", b" ").replace(b"\n", b"\r\n")
    return section if section.endswith(b"\r\n") or not section else section + b"\r\n"
