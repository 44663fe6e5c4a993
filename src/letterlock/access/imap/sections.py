"""Sections of messages: what BODY[...] and BINARY[...] name, cut from the octets as they are stored.

Standards: RFC 9051 section 6.4.5 and section 6.4.5.1 (part numbers), RFC 3516 section 4 (BINARY).
Limits: a session keeps one tree of at most KEPT_OCTETS, and KEPT_PLACES places in larger messages.
"""

from __future__ import annotations

from collections.abc import Iterable

from letterlock.access.imap.answer import No
from letterlock.formats.imf.header import Header, read_header
from letterlock.formats.mime.entity import Entity, parse
from letterlock.formats.mime.transfer import IDENTITY
from letterlock.protocols.imap.fetch_item import Coding, Extract, Section
from letterlock.protocols.imap.response import literal, literal8

_OF_HEADER = frozenset({Extract.HEADER, Extract.HEADER_FIELDS, Extract.HEADER_FIELDS_NOT})
KEPT_OCTETS = 1 << 20
KEPT_PLACES = 32
_DECODABLE = IDENTITY | {"base64", "quoted-printable"}


def is_of_header(section: Section) -> bool:
    """Whether the header section of the message itself is all this needs."""
    return not section.part and section.extract in _OF_HEADER


def is_whole(section: Section) -> bool:
    """Whether this is the message as it stands, or a range of it."""
    return not section.part and section.extract is Extract.WHOLE and section.coding is not Coding.DECODED_SIZE


class Sections:
    """Cuts sections, for one session.

    The tree of a small message is kept for the next section of it; of a large one, only where the section was found, so
    that a client that fetches an attachment range by range costs one parse.
    """

    def __init__(self) -> None:
        self._content = -1
        self._tree: Entity | None = None
        self._places: dict[tuple[int, tuple[int, ...], Extract], tuple[int, int]] = {}

    def of_header(self, section: Section, head: bytes) -> bytes:
        """Return the value of a section that `is_of_header`."""
        return as_literal(_from_header(section, read_header(head)), section)

    def of_message(self, section: Section, content: int, octets: bytes) -> bytes:
        """Return the value of any section of the message that has the content id `content`."""
        if is_whole(section):
            return as_literal(octets, section)
        if section.coding is Coding.DECODED_SIZE and not section.part:
            return b"%d" % len(octets)
        cut = self._cut(section, content, octets)
        if section.coding is Coding.DECODED_SIZE:
            return b"%d" % len(cut or b"")
        return b"NIL" if cut is None else as_literal(cut, section)

    def known_range(self, content: int, section: Section) -> tuple[int, int] | None:
        """Return (first octet, count) of a range of a large message if its section was cut before."""
        place = self._places.get((content, section.part, section.extract))
        if place is None or section.partial is None or section.coding is not Coding.STORED:
            return None
        first, count = section.partial
        start = min(place[0] + first, place[1])
        return start, min(count, place[1] - start)

    def _cut(self, section: Section, content: int, octets: bytes) -> bytes | None:
        tree = self._tree if self._content == content else None
        if tree is None:
            tree = parse(octets)
        if len(octets) <= KEPT_OCTETS:
            self._content, self._tree = content, tree
        entity = find_part(tree, section.part)
        if entity is None:
            return None
        if section.coding is not Coding.STORED:
            return _decoded(entity)
        if section.extract in {Extract.HEADER_FIELDS, Extract.HEADER_FIELDS_NOT}:
            return _from_header(section, entity.children[0].header) if entity.is_message else None
        place = _place(entity, section)
        if place is not None and len(octets) > KEPT_OCTETS:
            while len(self._places) >= KEPT_PLACES:
                del self._places[next(iter(self._places))]
            self._places[content, section.part, section.extract] = place
        return None if place is None else octets[place[0] : place[1]]


def as_literal(octets: bytes, section: Section) -> bytes:
    """Return the octets, or the range of them that the section asks for, as a literal."""
    if section.partial is not None:
        first, count = section.partial
        octets = octets[first : first + count]
    if section.coding is Coding.DECODED and b"\0" in octets:
        return literal8(octets)
    return literal(octets)


def _place(entity: Entity, section: Section) -> tuple[int, int] | None:
    """Return where a section lies in the message's octets: its start and end."""
    message = entity
    if section.part:
        if section.extract is Extract.WHOLE:
            return entity.body_start, entity.end
        if section.extract is Extract.MIME:
            return entity.header.start, entity.body_start
        if not entity.is_message:
            return None  # HEADER and TEXT are of a message only
        message = entity.children[0]
    if section.extract is Extract.TEXT:
        return message.body_start, message.end
    return message.header.start, message.body_start


def _decoded(entity: Entity) -> bytes:
    if entity.encoding not in _DECODABLE:
        raise No("the transfer encoding of this part is unknown", b"UNKNOWN-CTE")  # RFC 3516 section 4.3
    return entity.content()


def _from_header(section: Section, header: Header) -> bytes:
    if section.extract is Extract.HEADER:
        return header.raw
    wanted = section.extract is Extract.HEADER_FIELDS
    return _fields(header, section.fields, wanted=wanted)


def _fields(header: Header, names: Iterable[bytes], *, wanted: bool) -> bytes:
    folded = {name.lower() for name in names}
    # RFC 9051 section 6.4.5.1: the empty line always follows.
    kept = [field.raw for field in header if (field.name.lower().encode("ascii") in folded) is wanted]
    return b"".join(kept) + b"\r\n"


def find_part(tree: Entity, part: tuple[int, ...]) -> Entity | None:
    """Return the part with this number, or None.

    A message that is no multipart has one part, its body (RFC 9051 section 6.4.5.1).
    """
    entity, as_message = tree, True
    for number in part:
        if not as_message and entity.is_message:
            entity, as_message = entity.children[0], True
        if entity.is_multipart:
            if number > len(entity.children):
                return None
            entity, as_message = entity.children[number - 1], False
        elif as_message and number == 1:
            as_message = False
        else:
            return None
    return entity
