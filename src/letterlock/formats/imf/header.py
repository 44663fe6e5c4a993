"""The header section of a message or a part: fields as offsets into the untouched octets, decoded when asked.

`read_header` finds where every field begins and ends and decodes nothing. It bears LF for CRLF, white space before the
colon, and a mailbox file's 'From ' line; a line that is no field ends the section, as it does for the transfer agents
that carried the message, and is named a defect.

Standards: RFC 5322 section 2.2 (fields), section 2.2.3 (folding), section 4.5 (obsolete fields), RFC 6532 section 3.
Limits: `Limits.header_octets`, `Limits.fields`; linear in the section's octets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from letterlock.formats.defect import Defect, Kind
from letterlock.formats.limits import DEFAULT, Limits
from letterlock.formats.octets import unfold

# Name, white space (obsolete), colon, value with its folded lines. No alternative can match the same octets twice.
_FIELD = re.compile(rb"([!-9;-~]++)[ \t]*+:([^\n]*+(?>(?:\n[ \t][^\n]*+)*)\n?)")
_MBOX_FROM = re.compile(rb">?From (?![ \t]*:)[^\n]*+\n")  # "From :" is an obsolete From field (RFC 5322 section 4.5)


class Field:
    """One header field: `name` as written, and the offsets of its name, its value and its end in `octets`.

    The span [start, end) holds the whole field with its line end; [value_start, end) what follows the colon.
    """

    __slots__ = ("end", "name_end", "octets", "start", "value_start")

    def __init__(self, octets: bytes, start: int, name_end: int, value_start: int, end: int) -> None:
        self.octets = octets
        self.start = start
        self.name_end = name_end
        self.value_start = value_start
        self.end = end

    @property
    def name(self) -> str:
        """The name as written (ASCII)."""
        return self.octets[self.start : self.name_end].decode("ascii")

    @property
    def raw(self) -> bytes:
        """The whole field byte for byte, with its line ends."""
        return self.octets[self.start : self.end]

    @property
    def value(self) -> bytes:
        """What follows the colon byte for byte, with folding and the final line end."""
        return self.octets[self.value_start : self.end]

    @property
    def unfolded(self) -> bytes:
        """The value with folding undone and white space at both ends removed (RFC 5322 section 2.2.3)."""
        return unfold(self.octets[self.value_start : self.end])

    @property
    def text(self) -> str:
        """The unfolded value as text: UTF-8 (RFC 6532 section 3.1); other octets become U+FFFD."""
        return self.unfolded.decode("utf-8", "replace")

    def __repr__(self) -> str:
        return f"Field({self.name!r}, {self.unfolded!r})"


class Header:
    """A header section: an ordered sequence of fields over `octets`, looked up without regard to case.

    [start, body_start) is the section with the empty line that ends it, [start, end) without that line.
    """

    __slots__ = ("_index", "_spans", "body_start", "defects", "end", "octets", "start")

    def __init__(
        self,
        octets: bytes,
        start: int,
        end: int,
        body_start: int,
        spans: list[tuple[int, int, int, int]],
        defects: tuple[Defect, ...],
    ) -> None:
        self.octets = octets
        self.start = start
        self.end = end
        self.body_start = body_start
        self.defects = defects
        self._spans = spans
        self._index: dict[bytes, list[int]] | None = None

    def __len__(self) -> int:
        return len(self._spans)

    def __iter__(self) -> Iterator[Field]:
        octets = self.octets
        return (Field(octets, *span) for span in self._spans)

    def __getitem__(self, index: int) -> Field:
        return Field(self.octets, *self._spans[index])

    def __contains__(self, name: str) -> bool:
        return name.lower().encode() in self._names()

    def get(self, name: str) -> Field | None:
        """Return the first field of this name, or None."""
        at = self._names().get(name.lower().encode())
        return Field(self.octets, *self._spans[at[0]]) if at else None

    def get_all(self, name: str) -> list[Field]:
        """Return all fields of this name from the top down."""
        return [Field(self.octets, *self._spans[at]) for at in self._names().get(name.lower().encode(), ())]

    def text(self, name: str, default: str = "") -> str:
        """Return the unfolded text of the first field of this name, or `default`."""
        field = self.get(name)
        return default if field is None else field.text

    def names(self) -> tuple[str, ...]:
        """Return the lower-case names that occur, in order of first occurrence."""
        return tuple(name.decode("ascii") for name in self._names())

    @property
    def spans(self) -> Sequence[tuple[int, int, int, int]]:
        """Start, end of the name, start of the value and end of each field, for who reads many headers fast."""
        return self._spans

    @property
    def raw(self) -> bytes:
        """The section byte for byte, with the empty line that ends it."""
        return self.octets[self.start : self.body_start]

    def _names(self) -> dict[bytes, list[int]]:
        index = self._index
        if index is None:
            index = {}
            octets = self.octets
            for number, (start, name_end, _, _) in enumerate(self._spans):
                name = octets[start:name_end].lower()
                if name in index:
                    index[name].append(number)
                else:
                    index[name] = [number]
            self._index = index
        return index


def read_header(
    octets: bytes, start: int = 0, end: int | None = None, *, in_multipart: bool = False, limits: Limits = DEFAULT
) -> Header:
    """Read the header section that begins at `start`. Never raises.

    With `in_multipart`, a line that begins with two hyphens ends the section, since it may be a delimiter.
    """
    end = len(octets) if end is None else end
    defects: list[Defect] = []
    at = start
    bound = min(end, start + limits.header_octets)
    is_mbox = not in_multipart and octets[at : at + 6].lstrip(b">")[:5] == b"From "
    if is_mbox and (mbox := _MBOX_FROM.match(octets, at, bound)):
        defects.append(Defect(Kind.MBOX_FROM, at))  # QUIRK mbox-from: the line that parts messages in a mailbox file
        at = mbox.end()
    most = limits.fields
    spans: list[tuple[int, int, int, int]] = []
    match = _FIELD.match
    too_large = False
    while field := match(octets, at, bound):
        if in_multipart and octets[at : at + 2] == b"--":
            break
        after = field.end()
        too_large = after == bound < end
        if too_large or len(spans) == most:
            break
        spans.append((at, field.end(1), field.start(2), after))
        at = after
    body_start = _end_of_section(octets, at, end, in_multipart)
    if body_start is None:
        too_large |= bound < end and octets.find(b"\n", at, bound) < 0
        kind = Kind.TOO_MANY_FIELDS if len(spans) == most else Kind.HEADER_TOO_LARGE if too_large else Kind.HEADER_JUNK
        # QUIRK header-junk: a line that is no field ends the section, as transfer agents see it
        defects.append(Defect(kind, at))
        body_start = at
    return Header(octets, start, at, body_start, spans, tuple(defects))


def _end_of_section(octets: bytes, at: int, end: int, in_multipart: bool) -> int | None:
    """Return where the body begins if the section ends rightly at `at`, else None."""
    if at >= end:
        return end
    if octets.startswith(b"\r\n", at, end):
        return at + 2
    if octets.startswith(b"\n", at, end):  # QUIRK bare-lf: a line end without CR, as files of this kind of machine have
        return at + 1
    return at if in_multipart and octets.startswith(b"--", at, end) else None
