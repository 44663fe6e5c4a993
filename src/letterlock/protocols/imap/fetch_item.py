"""The data items of FETCH, and the names they have in its responses.

Standards: RFC 9051 section 6.4.5 and section 7.5.2, RFC 3501 section 6.4.5 (RFC822, RFC822.HEADER, RFC822.TEXT),
RFC 3516 (BINARY), RFC 7162 section 3.1.4 (MODSEQ), RFC 8474 section 5 (object ids), RFC 8514 (SAVEDATE).
Limits: ITEMS_LIMIT items in a command, FIELDS_LIMIT names in a header list, part numbers PART_DEPTH_LIMIT deep.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from letterlock.protocols.imap.response import astring
from letterlock.protocols.imap.scan import Scanner

ITEMS_LIMIT = 200
FIELDS_LIMIT = 200
PART_DEPTH_LIMIT = 60
_CLAUSE = "RFC 9051 section 6.4.5"


class Attribute(Enum):
    """Items without arguments."""

    UID = b"UID"
    FLAGS = b"FLAGS"
    INTERNALDATE = b"INTERNALDATE"
    SIZE = b"RFC822.SIZE"
    ENVELOPE = b"ENVELOPE"
    BODY = b"BODY"
    BODYSTRUCTURE = b"BODYSTRUCTURE"
    MODSEQ = b"MODSEQ"
    EMAIL_ID = b"EMAILID"
    THREAD_ID = b"THREADID"
    SAVE_DATE = b"SAVEDATE"


class Extract(Enum):
    """What of a message or part a section names."""

    WHOLE = b""
    HEADER = b"HEADER"
    HEADER_FIELDS = b"HEADER.FIELDS"
    HEADER_FIELDS_NOT = b"HEADER.FIELDS.NOT"
    TEXT = b"TEXT"
    MIME = b"MIME"


class Coding(Enum):
    """Whether a section is wanted as stored, with its transfer encoding undone, or only the size of that."""

    STORED = b"BODY"
    DECODED = b"BINARY"
    DECODED_SIZE = b"BINARY.SIZE"


@dataclass(frozen=True, slots=True)
class Section:
    """One BODY[...] or BINARY[...] item: `part` as in 1.2.3, `partial` as (first octet, count), `label` as answered."""

    part: tuple[int, ...]
    extract: Extract
    fields: tuple[bytes, ...]
    coding: Coding
    peek: bool
    partial: tuple[int, int] | None
    label: bytes


FetchItem = Attribute | Section

_MACROS = {
    b"FAST": (Attribute.FLAGS, Attribute.INTERNALDATE, Attribute.SIZE),
    b"ALL": (Attribute.FLAGS, Attribute.INTERNALDATE, Attribute.SIZE, Attribute.ENVELOPE),
    b"FULL": (Attribute.FLAGS, Attribute.INTERNALDATE, Attribute.SIZE, Attribute.ENVELOPE, Attribute.BODY),
}
_ATTRIBUTES = {attribute.value: attribute for attribute in Attribute}
_WHOLE_MESSAGE = {
    b"RFC822": Section((), Extract.WHOLE, (), Coding.STORED, False, None, b"RFC822"),
    b"RFC822.HEADER": Section((), Extract.HEADER, (), Coding.STORED, True, None, b"RFC822.HEADER"),
    b"RFC822.TEXT": Section((), Extract.TEXT, (), Coding.STORED, False, None, b"RFC822.TEXT"),
}
_SECTIONED = {
    b"BODY": (Coding.STORED, False),
    b"BODY.PEEK": (Coding.STORED, True),
    b"BINARY": (Coding.DECODED, False),
    b"BINARY.PEEK": (Coding.DECODED, True),
    b"BINARY.SIZE": (Coding.DECODED_SIZE, True),
}


def read_items(scanner: Scanner) -> tuple[FetchItem, ...]:
    """Return the items of a FETCH: a macro, one item or a list."""
    if scanner.peek() == b"(":
        items = scanner.listed(lambda: _item(scanner), limit=ITEMS_LIMIT)
        return tuple(dict.fromkeys(items))
    start = scanner.position
    name = scanner.keyword()
    if name in _MACROS:
        return _MACROS[name]
    scanner.position = start
    return (_item(scanner),)


def _item(scanner: Scanner) -> FetchItem:
    start = scanner.position
    name = _item_name(scanner)
    if scanner.peek() == b"[" and name in _SECTIONED:
        return _section(scanner, *_SECTIONED[name])
    if name in _ATTRIBUTES:
        return _ATTRIBUTES[name]
    if name in _WHOLE_MESSAGE:
        return _WHOLE_MESSAGE[name]
    scanner.position = start
    return scanner.fail("a FETCH item", _CLAUSE)


def _item_name(scanner: Scanner) -> bytes:
    # `[` is an ATOM-CHAR, so BODY[1] is one atom: give back what follows the name.
    start = scanner.position
    name, bracket, _ = scanner.keyword().partition(b"[")
    if bracket:
        scanner.position = start + len(name)
    return name


def _section(scanner: Scanner, coding: Coding, peek: bool) -> Section:
    scanner.expect(b"[", "a section in brackets")
    part = _part(scanner)
    extract = Extract.WHOLE
    fields: tuple[bytes, ...] = ()
    if scanner.peek() != b"]":
        extract, fields = _extract(scanner, bool(part))
        if coding is not Coding.STORED:
            scanner.fail("nothing but a part number in BINARY", "RFC 9051 section 6.4.5")
    scanner.expect(b"]", "the end of a section")
    partial = None
    if coding is not Coding.DECODED_SIZE and scanner.take(b"<"):
        first = scanner.number()
        scanner.expect(b".", "a dot in a partial range")
        partial = (first, scanner.number())
        if not partial[1]:
            scanner.fail("a partial range of at least one octet", _CLAUSE)
        scanner.expect(b">", "the end of a partial range")
    return Section(part, extract, fields, coding, peek, partial, _label(part, extract, fields, coding, partial))


def _part(scanner: Scanner) -> tuple[int, ...]:
    numbers: list[int] = []
    while scanner.peek().isdigit():
        numbers.append(scanner.number())
        if not numbers[-1] or len(numbers) > PART_DEPTH_LIMIT:
            scanner.fail("a part number", _CLAUSE)
        if scanner.peek() == b"]":
            break
        scanner.expect(b".", "a dot or the end of a section")
        if scanner.peek() == b"]":
            scanner.fail("something after the dot of a section", _CLAUSE)
    return tuple(numbers)


def _extract(scanner: Scanner, in_part: bool) -> tuple[Extract, tuple[bytes, ...]]:
    start = scanner.position
    name = scanner.keyword()
    try:
        extract = Extract(name)
    except ValueError:
        extract = Extract.WHOLE
    if extract is Extract.WHOLE or (extract is Extract.MIME and not in_part):
        scanner.position = start
        scanner.fail("HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT, or MIME after a part number", _CLAUSE)
    if extract not in {Extract.HEADER_FIELDS, Extract.HEADER_FIELDS_NOT}:
        return extract, ()
    scanner.space()
    return extract, tuple(scanner.listed(scanner.astring, limit=FIELDS_LIMIT))


def _label(
    part: tuple[int, ...],
    extract: Extract,
    fields: tuple[bytes, ...],
    coding: Coding,
    partial: tuple[int, int] | None,
) -> bytes:
    words = [b"%d" % number for number in part]
    if extract.value:
        words.append(extract.value)
    inner = b".".join(words)
    if fields:
        inner += b" (" + b" ".join(astring(field) for field in fields) + b")"
    # RFC 9051 section 7.5.2: only the first octet of a partial range is told.
    origin = b"<%d>" % partial[0] if partial else b""
    return coding.value + b"[" + inner + b"]" + origin
