"""message/partial: a large message in fragments, and fragments of any order as one message again.

Standards: RFC 2046 section 5.2.2, section 5.2.2.1 (which header fields come from where).
Limits: `Limits.fragments` and `Limits.decoded_octets`; fragments that contradict each other are never joined.
See also: whoever shows or scans mail joins first, since a fragment alone tells nothing of what it carries.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from letterlock.errors import Malformed
from letterlock.formats.defect import Defect, Kind
from letterlock.formats.imf.header import Header, read_header
from letterlock.formats.imf.write import write_field
from letterlock.formats.limits import DEFAULT, Limits
from letterlock.formats.mime.entity import Entity
from letterlock.formats.mime.parameters import write_parameters

_INNER = frozenset(("subject", "message-id", "encrypted", "mime-version"))
_LEAST_OCTETS = 4096


@dataclass(frozen=True, slots=True)
class Fragment:
    """What one message/partial says of itself; `total` is 0 where it does not say (only the last must)."""

    identifier: str
    number: int
    total: int


@dataclass(frozen=True, slots=True)
class Joined:
    """What joining came to: the message, or None with the numbers still missing; and what was wrong."""

    octets: bytes | None
    missing: tuple[int, ...] = ()
    defects: tuple[Defect, ...] = ()


def read_fragment(message: Entity) -> Fragment | None:
    """Return which fragment a message is, or None if it is no message/partial that can be used."""
    content_type = message.content_type
    if content_type.full != "message/partial":
        return None
    parameters = content_type.parameters
    identifier, number, total = (parameters.get(name, "").strip() for name in ("id", "number", "total"))
    if not identifier or not _is_count(number) or not (total == "" or _is_count(total)):
        return None
    if total and int(total) < int(number):
        return None
    return Fragment(identifier, int(number), int(total or 0))


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 6 and int(text) > 0


def split(octets: bytes, *, most_octets: int, identifier: str, message_ids: Sequence[str]) -> list[bytes]:
    """Return a message as fragments whose bodies have at most `most_octets` each.

    `identifier` names the set, `message_ids` (without brackets) the fragments; there must be enough of them. Raises
    Malformed where the message is not 7-bit (RFC 2046 section 5.2.2: nothing else may be split).
    """
    if not octets.isascii():
        raise Malformed("only 7-bit messages may be split", clause="RFC 2046 section 5.2.2")
    header = read_header(octets)
    inner = b"".join(field.raw for field in header if _is_inner(field.name)) + b"\r\n" + octets[header.body_start :]
    outer = b"".join(field.raw for field in header if not _is_inner(field.name))
    bodies = _cut(inner, max(most_octets, _LEAST_OCTETS))
    if len(bodies) > len(message_ids):
        raise Malformed(f"{len(bodies)} fragments but {len(message_ids)} identifiers", clause="RFC 2046 section 5.2.2")
    subject = header.text("subject")
    return [
        outer + _fragment_fields(subject, message_ids[number - 1], identifier, number, len(bodies)) + b"\r\n" + body
        for number, body in enumerate(bodies, 1)
    ]


def _is_inner(name: str) -> bool:
    lowered = name.lower()
    return lowered in _INNER or lowered.startswith("content-")


def _cut(octets: bytes, most_octets: int) -> list[bytes]:
    """Cut after line ends."""
    pieces: list[bytes] = []
    at = 0
    while at < len(octets):
        end = at + most_octets
        if end < len(octets):
            newline = octets.rfind(b"\n", at, end)
            end = end if newline < 0 else newline + 1
        pieces.append(octets[at:end])
        at = end
    return pieces


def _fragment_fields(subject: str, message_id: str, identifier: str, number: int, total: int) -> bytes:
    parameters = write_parameters([("id", identifier), ("number", str(number)), ("total", str(total))])
    return (
        write_field("Subject", f"{subject} ({number}/{total})".strip())
        + write_field("Message-ID", f"<{message_id}>")
        + write_field("MIME-Version", "1.0")
        + write_field("Content-Type", "; ".join(["message/partial", *parameters]))
    )


def join(messages: Iterable[Entity], *, limits: Limits = DEFAULT) -> Joined:
    """Put the fragments of one set together, in whatever order they come.

    Fragments of another set or without numbers are left out with a defect; two different fragments of one number, or
    totals that differ, join nothing: what was meant cannot be known.
    """
    defects: list[Defect] = []
    found: dict[int, Entity] = {}
    total, size, identifier = 0, 0, ""
    for message in messages:
        fragment = read_fragment(message)
        if fragment is None or (identifier and fragment.identifier != identifier):
            defects.append(Defect(Kind.BAD_PARAMETER, 0, "no fragment of this message"))
            continue
        identifier = fragment.identifier
        known = found.get(fragment.number)
        contradicts = (known is not None and known.body != message.body) or (
            total and fragment.total and total != fragment.total
        )
        if contradicts:
            return Joined(None, (), (*defects, Defect(Kind.DUPLICATE_PARAMETER, 0, "fragments contradict each other")))
        total = total or fragment.total
        if known is None:
            size += message.size
            found[fragment.number] = message
        if len(found) > limits.fragments or total > limits.fragments or size > limits.decoded_octets:
            return Joined(None, (), (*defects, Defect(Kind.TOO_LARGE, 0, "fragments")))
    if not total:
        return Joined(None, (), tuple(defects))
    missing = tuple(number for number in range(1, total + 1) if number not in found)
    if missing or max(found) > total:
        return Joined(None, missing, tuple(defects))
    ordered = [found[number] for number in range(1, total + 1)]
    return Joined(_whole(ordered), (), tuple(defects))


def _whole(fragments: list[Entity]) -> bytes:
    """Return the message: most fields from the first fragment, the rest from inside it (RFC 2046 section 5.2.2.1)."""
    body = b"".join(_body(fragment, last=fragment is fragments[-1]) for fragment in fragments)
    inner: Header = read_header(body)
    outer = b"".join(_line(field.raw) for field in fragments[0].header if not _is_inner(field.name))
    return (
        outer
        + b"".join(_line(field.raw) for field in inner if _is_inner(field.name))
        + b"\r\n"
        + body[inner.body_start :]
    )


def _body(fragment: Entity, *, last: bool) -> bytes:
    # Transports end every message with a line end; between fragments that is the line end at which was cut.
    body = fragment.body
    return body if last or body.endswith(b"\n") or not body else body + b"\r\n"


def _line(raw: bytes) -> bytes:
    return raw if raw.endswith(b"\n") else raw + b"\r\n"
