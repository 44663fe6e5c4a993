"""The tree of a message: header sections, bodies and parts as offsets into the untouched octets.

`parse` finds the structure in one sweep without recursion and decodes nothing but what the structure needs, the
Content-Type of each entity. Everything else is read when it is asked for. It never raises; what is wrong stands in
`defects` of the entity it concerns.

    tree = parse(octets)
    for number, entity in tree.walk():
        print(number, entity.content_type.full, entity.size)

Standards: RFC 2045, RFC 2046 section 5.1 (multipart), section 5.2.1 (message/rfc822), RFC 6532 section 3.7
(message/global).
Limits: `Limits.nesting`, `parts`, `header_octets`, `fields`; linear in the octets.
See also: mime/transfer for contents, mime/view for what to show people.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from letterlock.formats.charset import decode_text
from letterlock.formats.defect import Defect, Kind
from letterlock.formats.imf.header import Header, read_header
from letterlock.formats.limits import DEFAULT, Limits
from letterlock.formats.mime.content_type import (
    MESSAGE,
    TEXT_PLAIN,
    ContentType,
    Disposition,
    parse_content_type,
    parse_disposition,
    parse_encoding,
)
from letterlock.formats.mime.delimiters import Delimiters
from letterlock.formats.mime.transfer import IDENTITY, decode, decode_base64
from letterlock.formats.octets import count_lines

_MESSAGES = frozenset(("rfc822", "global", "news"))
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,\-./:=? ]*[0-9A-Za-z'()+_,\-./:=?]")  # RFC 2046 section 5.1.1


class Entity:
    """A message or a part of one, over the octets of the whole.

    [header_start, body_start) is the header section with its empty line, [body_start, end) the body. The line end
    before a delimiter belongs to the delimiter, so `end` of a part is before it. `children` are the parts of a
    multipart, or the one message of a message/rfc822 or message/global.
    """

    __slots__ = ("_disposition", "_encoding", "_lines", "body_start", "children", "content_type", "defects",
                 "end", "epilogue_start", "header", "octets")  # fmt: skip

    def __init__(self, octets: bytes, header: Header, content_type: ContentType, defects: list[Defect]) -> None:
        self.octets = octets
        self.header = header
        self.body_start = header.body_start
        self.end = len(octets)
        self.content_type = content_type
        self.children: tuple[Entity, ...] = ()
        self.defects: list[Defect] = defects
        self.epilogue_start = -1  # where the text after the closing delimiter begins; -1 without one
        self._lines = -1
        self._encoding: str | None = None
        self._disposition: Disposition | bool | None = False

    @property
    def header_start(self) -> int:
        """Where the header section begins."""
        return self.header.start

    @property
    def raw(self) -> bytes:
        """Header section and body byte for byte."""
        return self.octets[self.header.start : self.end]

    @property
    def body(self) -> bytes:
        """The body byte for byte, still encoded."""
        return self.octets[self.body_start : self.end]

    @property
    def size(self) -> int:
        """Octets of the body as it stands."""
        return self.end - self.body_start

    @property
    def lines(self) -> int:
        """Lines of the body as it stands; counted once, when first asked."""
        if self._lines < 0:
            self._lines = count_lines(self.octets, self.body_start, self.end)
        return self._lines

    @property
    def encoding(self) -> str:
        """The transfer encoding's name in lower case; "7bit" where no field names one (RFC 2045 section 6.1)."""
        if self._encoding is None:
            field = self.header.get("content-transfer-encoding")
            self._encoding = "7bit" if field is None else parse_encoding(field.text) or "7bit"
        return self._encoding

    @property
    def disposition(self) -> Disposition | None:
        """Content-Disposition, or None without one."""
        if isinstance(self._disposition, bool):
            field = self.header.get("content-disposition")
            self._disposition = None if field is None else parse_disposition(field.text)
        return self._disposition

    @property
    def content_id(self) -> str:
        """Content-ID without angle brackets, or an empty string."""
        return self.header.text("content-id").strip(" \t<>")

    @property
    def is_multipart(self) -> bool:
        """Whether this is a multipart that was split into parts."""
        return bool(self.children) and self.content_type.type == "multipart"

    @property
    def is_message(self) -> bool:
        """Whether this is a message/rfc822 or message/global whose message is `children[0]`."""
        return bool(self.children) and self.content_type.type == "message"

    def content(self, defects: list[Defect] | None = None) -> bytes:
        """Return the body with its transfer encoding undone; composite types have none (RFC 2045 section 6.4)."""
        if self.children:
            return self.body
        if self.encoding == "base64":  # decoded where it lies
            body = memoryview(self.octets)[self.body_start : self.end]
            return decode_base64(body, [] if defects is None else defects, self.body_start)
        return decode(self.body, self.encoding, defects, self.body_start)

    def text(self, defects: list[Defect] | None = None) -> str:
        """Return the content as text in its charset, lines as they stand. Never raises."""
        problems: list[Defect] = [] if defects is None else defects
        charset = self.content_type.charset
        return decode_text(self.content(problems), charset, self.body_start, problems)

    def walk(self) -> Iterator[tuple[str, Entity]]:
        """Yield every entity with its part number as IMAP counts (RFC 9051 section 6.4.5.1), this one first.

        A multipart that is a message has the number of the part that carries the message, "" for the whole; a message
        that is no multipart is part 1 of what carries it.
        """
        pending: list[tuple[str, Entity]] = [("" if self.is_multipart else "1", self)]
        while pending:
            number, entity = pending.pop()
            yield number, entity
            if entity.is_multipart:
                prefix = f"{number}." if number else ""
                pending += [(f"{prefix}{n}", child) for n, child in enumerate(entity.children, 1)][::-1]
            elif entity.is_message:
                inner = entity.children[0]
                pending.append((number if inner.is_multipart else f"{number}.1", inner))

    def entities(self) -> Iterator[Entity]:
        """Yield every entity in the order of the octets, this one first."""
        pending = [self]
        while pending:
            entity = pending.pop()
            yield entity
            pending += entity.children[::-1]

    def all_defects(self) -> list[Defect]:
        """Return the defects of this entity and all below it that finding the structure showed."""
        found: list[Defect] = []
        for entity in self.entities():
            found += entity.header.defects
            found += entity.content_type.defects
            found += entity.defects
        return found

    def __repr__(self) -> str:
        return f"Entity({self.content_type.full!r}, {self.header.start}..{self.body_start}..{self.end})"


def parse(octets: bytes, *, limits: Limits = DEFAULT) -> Entity:
    """Return the tree of a message. Never raises; `octets` is kept and not copied."""
    return _Parser(octets, limits).parse()


class _Level:
    """An entity that is being read: its children so far, and the level of its boundary while that is open, else -1."""

    __slots__ = ("boundary", "children", "entity")

    def __init__(self, entity: Entity, boundary: int) -> None:
        self.entity = entity
        self.boundary = boundary
        self.children: list[Entity] = []


class _Parser:
    """One sweep over the octets with a stack of the entities that are open, the message itself at its bottom."""

    def __init__(self, octets: bytes, limits: Limits) -> None:
        self._octets = octets
        self._limits = limits
        self._stack: list[_Level] = []
        self._defects: list[Defect] = []
        self._delimiters = Delimiters(octets, self._defects)
        self._parts = 0

    def parse(self) -> Entity:
        position = self._begin(0)
        root = self._stack[0].entity
        while self._delimiters and (delimiter := self._delimiters.next(position)):
            self._end_down_to(delimiter.level, delimiter.content_end)
            if delimiter.closes:
                self._delimiters.close(delimiter.level)
                self._stack[-1].boundary = -1
                self._stack[-1].entity.epilogue_start = position = delimiter.after
                continue
            self._delimiters.close(delimiter.level + 1)
            if self._parts >= self._limits.parts:
                root.defects.append(Defect(Kind.TOO_MANY_PARTS, delimiter.after))
                break
            position = self._begin(delimiter.after)
        while self._stack:
            self._end(len(self._octets))
        root.defects.extend(self._defects)
        return root

    def _begin(self, start: int) -> int:
        """Open the entity that begins at `start`, and messages directly inside; return where the body begins."""
        while True:
            header = read_header(self._octets, start, in_multipart=bool(self._delimiters), limits=self._limits)
            entity = self._entity(header)
            self._parts += 1
            level = _Level(entity, -1)
            if self._stack:
                self._stack[-1].children.append(entity)
            self._stack.append(level)
            start = header.body_start
            kind = entity.content_type.type
            if kind == "multipart":
                level.boundary = self._boundary(entity)
            elif kind == "message" and self._holds_message(entity):
                continue
            return start

    def _entity(self, header: Header) -> Entity:
        defects: list[Defect] = []
        fields = header.get_all("content-type")
        if fields:
            if len(fields) > 1:
                defects.append(Defect(Kind.DUPLICATE_CONTENT_TYPE, fields[1].start))
            content_type = parse_content_type(fields[0].text, limits=self._limits)
        elif self._stack and self._stack[-1].entity.content_type.full == "multipart/digest":
            content_type = MESSAGE  # RFC 2046 section 5.1.5
        else:
            content_type = TEXT_PLAIN
        return Entity(self._octets, header, content_type, defects)

    def _boundary(self, entity: Entity) -> int:
        """Open the boundary of a multipart; -1 and a defect where it has none that can be used."""
        boundary = entity.content_type.boundary.encode("utf-8", "replace")
        if not self._may_nest(entity):
            return -1
        if not boundary or b"\n" in boundary or b"\r" in boundary:
            entity.defects.append(Defect(Kind.BOUNDARY_MISSING, entity.header.start))
            return -1
        if boundary in self._delimiters:
            entity.defects.append(Defect(Kind.BOUNDARY_REUSED, entity.header.start))
            return -1
        if len(boundary) > 70 or not _BOUNDARY.fullmatch(boundary):
            entity.defects.append(Defect(Kind.BOUNDARY_ODD, entity.header.start))
        if entity.encoding not in IDENTITY:
            entity.defects.append(Defect(Kind.ENCODED_COMPOSITE, entity.header.start, entity.encoding[:60]))
        self._delimiters.push(boundary)
        return len(self._delimiters) - 1

    def _holds_message(self, entity: Entity) -> bool:
        """Tell whether this part's body is a message to be read as one."""
        if entity.content_type.subtype not in _MESSAGES or not self._may_nest(entity):
            return False
        if entity.encoding not in IDENTITY:  # RFC 2046 section 5.2.1; RFC 6532 section 3.7 would let message/global
            entity.defects.append(Defect(Kind.ENCODED_COMPOSITE, entity.header.start, entity.encoding[:60]))
            return False
        return True

    def _may_nest(self, entity: Entity) -> bool:
        if len(self._stack) <= self._limits.nesting and self._parts < self._limits.parts:
            return True
        kind = Kind.NESTING_TOO_DEEP if len(self._stack) > self._limits.nesting else Kind.TOO_MANY_PARTS
        entity.defects.append(Defect(kind, entity.header.start))
        return False

    def _end_down_to(self, boundary: int, end: int) -> None:
        """End every entity inside the multipart whose boundary this is."""
        while self._stack[-1].boundary != boundary:
            self._end(end)

    def _end(self, end: int) -> None:
        """End the innermost open entity at `end`."""
        level = self._stack.pop()
        entity = level.entity
        entity.end = end
        entity.children = tuple(level.children)
        if level.boundary >= 0:
            kind = Kind.CLOSE_DELIMITER_MISSING if level.children else Kind.BOUNDARY_ABSENT
            entity.defects.append(Defect(kind, end))
        elif entity.header.start == end and self._stack and self._stack[-1].boundary >= 0:
            entity.defects.append(Defect(Kind.EMPTY_PART, end))
        elif entity.epilogue_start >= 0 and not level.children:
            entity.defects.append(Defect(Kind.NO_PARTS, entity.header.start))
