"""SORT: the messages a search found, in the order of given keys, from the fields kept for lists.

Standards: RFC 5256 section 2.1 (base subject), section 2.2 (sent date) and section 3 (SORT); RFC 5957 (DISPLAYFROM, DISPLAYTO).
Limits: of a subject SUBJECT_LIMIT characters count; a field is read once a message.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC

from letterlock.access.imap import header_fields
from letterlock.access.imap.contents import chunks
from letterlock.access.imap.view import Slots
from letterlock.formats.imf.addresses import parse_addresses
from letterlock.formats.imf.dates import parse_date
from letterlock.formats.imf.encoded_words import decode
from letterlock.protocols.imap.command import SortCriterion, SortKey
from letterlock.store.interface import Contents
from letterlock.store.snapshot import Snapshot

SUBJECT_LIMIT = 1000
Key = str | int

_BLOB = r"\[[^\[\]]*+\][ \t]*+"
_LEADER = re.compile(rf"(?>(?:{_BLOB})*)(?:re|fwd?)[ \t]*+(?>(?:{_BLOB})?):|[ \t]", re.IGNORECASE)
_LEADING_BLOB = re.compile(_BLOB)
_FIELD = {
    SortKey.CC: b"cc",
    SortKey.DATE: b"date",
    SortKey.FROM: b"from",
    SortKey.SUBJECT: b"subject",
    SortKey.TO: b"to",
    SortKey.DISPLAY_FROM: b"from",
    SortKey.DISPLAY_TO: b"to",
}


async def sort(store: Contents, snapshot: Snapshot, slots: list[int], criteria: Sequence[SortCriterion]) -> list[int]:
    """Return `slots` in order; what is equal by every criterion stays in the order of arrival."""
    # The last criterion first: a stable sort keeps what it has done (RFC 5256 section 3).
    for criterion in reversed(criteria):
        keys = dict(zip(slots, await _keys(store, snapshot, slots, criterion.key), strict=True))
        slots = sorted(slots, key=keys.__getitem__, reverse=criterion.reverse)
    return slots


async def _keys(store: Contents, snapshot: Snapshot, slots: list[int], key: SortKey) -> list[Key]:
    if key is SortKey.ARRIVAL:
        return [snapshot.internal_dates[slot] for slot in slots]
    if key is SortKey.SIZE:
        return [snapshot.sizes[slot] for slot in slots]
    keys: list[Key] = []
    for chunk in chunks(snapshot, slots, by_size=False):
        found = await header_fields.values(store, snapshot, chunk, _FIELD[key])
        keys += _of_fields(snapshot, chunk, key, found)
    return keys


def _of_fields(snapshot: Snapshot, slots: Slots, key: SortKey, found: list[list[bytes]]) -> list[Key]:
    texts = [values[0].decode("utf-8", "replace") if values else "" for values in found]
    if key is SortKey.DATE:
        return [sent_instant(text, snapshot.internal_dates[slot]) for slot, text in zip(slots, texts, strict=True)]
    return [_TEXT_KEYS[key](text) for text in texts]


def sent_instant(text: str, internal_date: int) -> int:
    """Return the sent date of a Date field in seconds since 1970, the internal date where it cannot be read."""
    moment = parse_date(text)
    if moment is None:  # RFC 5256 section 2.2
        return internal_date
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def collated(text: str) -> str:
    """Return text in a form whose order and equality disregard case (RFC 5255's i;unicode-casemap, nearly)."""
    return unicodedata.normalize("NFKD", text).casefold()


def _mailbox_name(text: str) -> str:
    people = parse_addresses(text).mailboxes
    return collated(people[0].local_part) if people else ""


def _display_name(text: str) -> str:
    people = parse_addresses(text).mailboxes
    return collated(people[0].display_name or people[0].address) if people else ""


def _subject(text: str) -> str:
    return collated(base_subject(text))


_TEXT_KEYS: dict[SortKey, Callable[[str], str]] = {
    SortKey.CC: _mailbox_name,
    SortKey.FROM: _mailbox_name,
    SortKey.TO: _mailbox_name,
    SortKey.SUBJECT: _subject,
    SortKey.DISPLAY_FROM: _display_name,
    SortKey.DISPLAY_TO: _display_name,
}


def base_subject(subject: str) -> str:
    """Return a subject without "Re:", "Fwd:", list names in brackets and "(fwd)" (RFC 5256 section 2.1)."""
    return read_subject(subject)[0]


def read_subject(subject: str) -> tuple[str, bool]:
    """Return the base subject, and whether the subject is that of a reply or a forward (RFC 5256 section 3)."""
    text = re.sub(r"[ \t\r\n]+", " ", decode(subject[:SUBJECT_LIMIT]))
    is_reply = False
    while True:
        text, trailed = _without_trailers(text)
        text, led = _without_leaders(text)
        is_reply = is_reply or trailed or led
        if text[:5].lower() != "[fwd:" or not text.endswith("]"):
            return text, is_reply
        text, is_reply = text[5:-1], True


def _without_trailers(text: str) -> tuple[str, bool]:
    found = False
    while True:
        text = text.rstrip(" ")
        if text[-5:].lower() != "(fwd)":
            return text, found
        text, found = text[:-5], True


def _without_leaders(text: str) -> tuple[str, bool]:
    found = False
    while True:
        if leader := _LEADER.match(text):
            found = found or leader[0] != " "
            text = text[leader.end() :]
        elif (blob := _LEADING_BLOB.match(text)) and blob.end() < len(text):
            text = text[blob.end() :]
        else:
            return text, found
