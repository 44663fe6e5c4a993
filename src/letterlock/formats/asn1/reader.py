"""Read BER and DER where it lies: elements are offsets into the octets, and nothing is copied before it is asked for.

An `Element` knows where its header, its content and its end stand. Its children are read when asked for, its value by
the method named as its type. Everything is linear in the size of the input: the end of an indefinite length is looked
for once, whatever is nested, and remembered.

Raises only Malformed.

Standards: X.690 sections 8 (BER) and 10 (DER), RFC 5280 section 4.1.2.5 (times).
Limits: 64 levels of elements, 16 of constructed strings, integers of 2,112 octets (16,384 bits with room), object
identifiers of 128 octets.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator

import msgspec

from letterlock.errors import Malformed
from letterlock.formats.asn1 import tags

MAX_DEPTH = 64
MAX_STRING_DEPTH = 16
MAX_INTEGER_OCTETS = 2112
MAX_OID_OCTETS = 128
_SMALL_OCTETS = 1024
_RUN = 1024  # small segments that are joined
_CLAUSE = "X.690 section 8.1"


class Element(msgspec.Struct, eq=False, gc=False):
    """One tag, length, value: `start` to `end` with its header, `content` to `content_end` without.

    `content_end` and `end` differ for an indefinite length, whose two end-of-contents octets stand between. `ends` are
    the ends of indefinite lengths found so far, shared by all elements of one input.
    """

    octets: bytes
    tag: int
    constructed: bool
    start: int
    content: int
    content_end: int
    end: int
    depth: int
    ends: dict[int, int]

    def __repr__(self) -> str:
        return f"<{tags.name(self.tag)} at {self.start}, {self.content_end - self.content} octets>"

    @property
    def encoded(self) -> bytes:
        """The whole element as it stands in the input."""
        return self.octets[self.start : self.end]

    @property
    def value(self) -> bytes:
        """The content octets as they stand in the input."""
        return self.octets[self.content : self.content_end]

    def expect(self, tag: int) -> Element:
        """Return this element if it has `tag`; else raise Malformed."""
        if self.tag != tag:
            raise self.fault(f"{tags.name(self.tag)} where {tags.name(tag)} belongs")
        return self

    def fault(self, problem: str, clause: str = _CLAUSE) -> Malformed:
        """Return the error that names `problem` at this element."""
        return Malformed(problem, offset=self.start, clause=clause)

    def check_constructed(self) -> None:
        """Raise Malformed unless there may be elements inside."""
        if not self.constructed:
            raise self.fault(f"a primitive {tags.name(self.tag)} where a constructed one belongs")
        if self.depth >= MAX_DEPTH:
            raise self.fault(f"more than {MAX_DEPTH} levels of elements")

    def children(self) -> Iterator[Element]:
        """Read the elements inside, one after the other."""
        if not self.constructed or self.depth >= MAX_DEPTH:
            self.check_constructed()
        octets, position, limit, depth, ends = self.octets, self.content, self.content_end, self.depth + 1, self.ends
        last = limit - 2
        while position < limit:
            # nearly all elements have a short definite length and a low tag: they are read here without a call
            if position <= last and (length := octets[position + 1]) < 0x80:
                identifier = octets[position]
                content = position + 2
                end = content + length
                if end <= limit and identifier & 0x1F != 0x1F:
                    yield Element(
                        octets, identifier & 0xDF, identifier & 0x20 != 0, position, content, end, end, depth, ends
                    )
                    position = end
                    continue
            child = _read(octets, position, limit, depth, ends)
            yield child
            position = child.end

    def only_child(self) -> Element:
        """Return the one element inside, as explicit tagging has it."""
        if not self.constructed or self.depth >= MAX_DEPTH:
            self.check_constructed()
        if self.content == self.content_end:
            raise self.fault("no element where one belongs")
        child = _read(self.octets, self.content, self.content_end, self.depth + 1, self.ends)
        if child.end != self.content_end:
            raise self.fault("several elements where one belongs")
        return child

    def retagged(self, tag: int) -> Element:
        """Return this implicitly tagged element under its real type's tag."""
        return Element(
            self.octets, tag, self.constructed, self.start, self.content, self.content_end, self.end, self.depth,
            self.ends,
        )  # fmt: skip

    # values, by type

    def boolean(self) -> bool:
        """Return the value of a BOOLEAN."""
        self.expect(tags.BOOLEAN)
        if self.constructed or self.content_end - self.content != 1:
            raise self.fault("a BOOLEAN that is not one octet", "X.690 section 8.2")
        return self.octets[self.content] != 0

    def integer(self) -> int:
        """Return the value of an INTEGER or ENUMERATED."""
        if self.tag != tags.ENUMERATED:
            self.expect(tags.INTEGER)
        size = self.content_end - self.content
        if self.constructed or size == 0:
            raise self.fault("an INTEGER without octets", "X.690 section 8.3")
        if size > MAX_INTEGER_OCTETS:
            raise self.fault(f"an INTEGER of more than {MAX_INTEGER_OCTETS} octets")
        return int.from_bytes(self.octets[self.content : self.content_end], "big", signed=True)

    def oid(self) -> str:
        """Return the value of an OBJECT IDENTIFIER in dotted form."""
        self.expect(tags.OBJECT_IDENTIFIER)
        if self.constructed:
            raise self.fault("a constructed OBJECT IDENTIFIER", "X.690 section 8.19")
        return decode_oid(self.value, self.start)

    def null(self) -> None:
        """Check that this is a NULL."""
        self.expect(tags.NULL)
        if self.content != self.content_end:
            raise self.fault("a NULL with octets", "X.690 section 8.8")

    def octet_string(self) -> bytes:
        """Return the octets of an OCTET STRING, its segments joined."""
        self.expect(tags.OCTET_STRING)
        return self.value if not self.constructed else b"".join(self.pieces())

    def pieces(self) -> Iterable[bytes | memoryview]:
        """Return the octets of a string type: large segments as views, without copying, small ones joined."""
        view = memoryview(self.octets)
        return self._segments(view) if self.constructed else (view[self.content : self.content_end],)

    def _segments(self, view: memoryview) -> Iterator[bytes | memoryview]:
        """Yield the segments in order; runs of small OCTET STRINGs together, since there may be millions of them."""
        self.check_constructed()
        tag = self.tag if self.tag < 0x80 else tags.OCTET_STRING
        small_octets = _SMALL_OCTETS if tag == tags.OCTET_STRING else -1
        octets, at, limit, depth, ends = self.octets, self.content, self.content_end, self.depth + 1, self.ends
        outside: list[tuple[int, int]] = []
        run: list[bytes] = []
        while True:
            if at >= limit:
                if not outside:
                    break
                at, limit = outside.pop()
                depth -= 1
                continue
            segment = _read(octets, at, limit, depth, ends)
            if segment.tag != tag:
                raise segment.fault("a segment of another type in a constructed string", "X.690 section 8.7.3")
            at = segment.end
            if segment.constructed:
                if len(outside) + 1 >= MAX_STRING_DEPTH:
                    raise segment.fault(f"more than {MAX_STRING_DEPTH} levels of constructed strings")
                segment.check_constructed()
                outside.append((at, limit))
                at, limit, depth = segment.content, segment.content_end, depth + 1
            elif at - segment.content <= small_octets and len(run) < _RUN:
                run.append(octets[segment.content : at])
            else:
                if run:
                    yield b"".join(run)
                    run.clear()
                yield view[segment.content : at]
        if run:
            yield b"".join(run)

    def bit_string(self) -> tuple[bytes, int]:
        """Return the octets of a BIT STRING and how many bits of the last are unused."""
        self.expect(tags.BIT_STRING)
        parts = [bytes(piece) for piece in self.pieces()] if self.constructed else [self.value]
        if not parts or not all(parts) or any(part[0] for part in parts[:-1]) or parts[-1][0] > 7:
            raise self.fault("a BIT STRING with a wrong count of unused bits", "X.690 section 8.6")
        unused = parts[-1][0]
        joined = b"".join(part[1:] for part in parts)
        if unused and not joined:
            raise self.fault("an empty BIT STRING with unused bits", "X.690 section 8.6.2.3")
        return joined, unused

    def bit_octets(self) -> bytes:
        """Return the octets of a BIT STRING that holds whole octets (keys, signatures)."""
        at = self.content
        if self.tag == tags.BIT_STRING and not self.constructed and self.content_end > at and not self.octets[at]:
            return self.octets[at + 1 : self.content_end]
        octets, unused = self.bit_string()
        if unused:
            raise self.fault("a BIT STRING that is not whole octets")
        return octets

    def named_bits(self) -> frozenset[int]:
        """Return the numbers of the bits that are set, of at most 64."""
        octets, _unused = self.bit_string()
        return frozenset(
            8 * index + bit for index, octet in enumerate(octets[:8]) for bit in range(8) if octet & 0x80 >> bit
        )

    def text(self) -> str:
        """Return the text of any of the character string types."""
        codec = _CODECS.get(self.tag)
        if codec is None:
            raise self.fault(f"{tags.name(self.tag)} where a character string belongs")
        octets = self.value if not self.constructed else b"".join(self.retagged(tags.OCTET_STRING).pieces())
        try:
            return octets.decode(codec)
        except UnicodeDecodeError:
            raise self.fault(f"octets that are no {codec} text", "X.690 section 8.23") from None

    def time(self) -> datetime.datetime:
        """Return a UTCTime or GeneralizedTime, in UTC."""
        if self.tag not in (tags.UTC_TIME, tags.GENERALIZED_TIME):
            raise self.fault(f"{tags.name(self.tag)} where a time belongs")
        return _decode_time(self)


_CODECS = {
    tags.UTF8_STRING: "utf-8",
    tags.NUMERIC_STRING: "ascii",
    tags.PRINTABLE_STRING: "ascii",
    tags.TELETEX_STRING: "latin-1",  # QUIRK teletex-latin1: what everybody writes into it
    tags.IA5_STRING: "ascii",
    tags.VISIBLE_STRING: "ascii",
    tags.UNIVERSAL_STRING: "utf-32-be",
    tags.BMP_STRING: "utf-16-be",
}


class Fields:
    """The elements of a SEQUENCE or SET, taken one after the other as its definition lists them."""

    __slots__ = ("_at", "_last", "_limit", "_octets", "_parent")

    def __init__(self, element: Element, tag: int = tags.SEQUENCE) -> None:
        if element.tag != tag:
            element.expect(tag)
        if not element.constructed or element.depth >= MAX_DEPTH:
            element.check_constructed()
        self._parent = element
        self._octets = element.octets
        self._at = element.content
        self._limit = element.content_end
        self._last = self._limit - 1

    @property
    def more(self) -> bool:
        """Whether an element is left."""
        return self._at < self._limit

    def any(self) -> Element:
        """Take the next element, whatever its tag; Malformed if there is none."""
        parent = self._parent
        if self._at >= self._limit:
            raise parent.fault("a field is missing at the end of this SEQUENCE")
        element = _read(self._octets, self._at, self._limit, parent.depth + 1, parent.ends)
        self._at = element.end
        return element

    def take(self, tag: int) -> Element:
        """Take the next element, which must have `tag`."""
        parent = self._parent
        if self._at >= self._limit:
            raise parent.fault(f"{tags.name(tag)} is missing at the end of this SEQUENCE")
        element = _read(self._octets, self._at, self._limit, parent.depth + 1, parent.ends)
        self._at = element.end
        return element if element.tag == tag else element.expect(tag)

    def optional(self, tag: int) -> Element | None:
        """Take the next element if it has `tag`."""
        at = self._at
        if at >= self._limit or (tag < 0x100 and self._octets[at] & 0xDF != tag):
            return None
        element = _read(self._octets, at, self._limit, self._parent.depth + 1, self._parent.ends)
        if element.tag != tag:
            return None
        self._at = element.end
        return element

    def skip(self, tag: int) -> None:
        """Pass over the next element, which must have `tag`, a universal one of a primitive type."""
        octets, at = self._octets, self._at
        if at < self._last and octets[at] == tag:
            end = at + 2 + octets[at + 1]
            if octets[at + 1] < 0x80 and end <= self._limit:
                self._at = end
                return
        self.take(tag)

    def oid(self) -> str:
        """Take an OBJECT IDENTIFIER and return its dotted form."""
        octets, at = self._octets, self._at
        if at < self._last and octets[at] == tags.OBJECT_IDENTIFIER and (length := octets[at + 1]) < 0x80:
            end = at + 2 + length
            if end <= self._limit and (known := _OIDS.get(octets[at + 2 : end])) is not None:
                self._at = end
                return known
        return self.take(tags.OBJECT_IDENTIFIER).oid()

    @property
    def left(self) -> bytes:
        """The octets of all that is left."""
        return self._octets[self._at : self._limit]

    def rest(self) -> Iterator[Element]:
        """Take all that is left."""
        while self._at < self._limit:
            yield self.any()

    def finish(self) -> None:
        """Check that nothing is left."""
        if self._at < self._limit:
            raise self.any().fault("an element too many in this SEQUENCE")


def parse(octets: bytes, *, trailing: bool = False) -> Element:
    """Return the element that `octets` hold; what follows it is Malformed unless `trailing`."""
    element = _read(octets, 0, len(octets), 0, {})
    if element.end != len(octets) and not trailing:
        raise Malformed("octets after the end of the element", offset=element.end, clause=_CLAUSE)
    return element


def _read(octets: bytes, start: int, limit: int, depth: int, ends: dict[int, int]) -> Element:
    try:
        identifier = octets[start]
        length = octets[start + 1]
    except IndexError:
        raise Malformed("the input ends within a header", offset=start, clause=_CLAUSE) from None
    tag, content = identifier & 0xDF, start + 2
    if length == 0x82 and identifier & 0x1F != 0x1F and start + 4 <= limit:  # nearly all that are not short
        length, content = octets[start + 2] << 8 | octets[start + 3], start + 4
    elif length == 0x81 and identifier & 0x1F != 0x1F and start + 3 <= limit:
        length, content = octets[start + 2], start + 3
    elif length == 0x83 and identifier & 0x1F != 0x1F and start + 5 <= limit:  # large segments
        length, content = int.from_bytes(octets[start + 2 : start + 5], "big"), start + 5
    elif length >= 0x80 or identifier & 0x1F == 0x1F:
        tag, content, length = read_header(octets, start, limit)
    constructed = identifier & 0x20 != 0
    if length >= 0:
        end = content + length
        if end > limit:
            raise Malformed(f"a length of {length} reaches past the end", offset=start, clause=_CLAUSE)
        return Element(octets, tag, constructed, start, content, end, end, depth, ends)
    if not constructed:
        raise Malformed("a primitive element of indefinite length", offset=start, clause="X.690 section 8.1.3.2")
    if content not in ends:
        _find_ends(octets, content, limit, ends)
    content_end = ends[content]
    if content_end + 2 > limit:
        raise Malformed("an indefinite length reaches past the end", offset=start, clause=_CLAUSE)
    return Element(octets, tag, True, start, content, content_end, content_end + 2, depth, ends)


def read_header(octets: bytes, start: int, limit: int) -> tuple[int, int, int]:
    """Return the tag, where the content begins, and the length (-1: indefinite) of the element at `start`."""
    position = start + 1
    try:
        identifier = octets[start]
        tag = identifier & 0xDF
        if identifier & 0x1F == 0x1F:
            number = 0
            if octets[position] == 0x80:
                raise Malformed("a tag number with a leading zero", offset=start, clause="X.690 section 8.1.2.4.2")
            while True:
                octet = octets[position]
                position += 1
                number = number << 7 | octet & 0x7F
                if octet < 0x80:
                    break
                if number >= 1 << 21:
                    raise Malformed("a tag number of more than 28 bits", offset=start, clause=_CLAUSE)
            if number < 31:
                raise Malformed("a small tag number in the long form", offset=start, clause="X.690 section 8.1.2.2")
            tag = tags.high(identifier & 0xC0, number)
        length = octets[position]
        position += 1
        if length == 0x80:
            length = -1
        elif length > 0x80:
            count = length & 0x7F
            if count > 8:
                raise Malformed("a length of more than 64 bits", offset=start, clause=_CLAUSE)
            if position + count > limit:
                raise IndexError
            length = int.from_bytes(octets[position : position + count], "big")
            position += count
    except IndexError:
        raise Malformed("the input ends within a header", offset=start, clause=_CLAUSE) from None
    return tag, position, length


def _find_ends(octets: bytes, content: int, limit: int, ends: dict[int, int]) -> None:
    """Note where the indefinite length whose content begins at `content` ends, and all such nested directly in it."""
    unfinished = [content]
    position, last = content, min(limit, len(octets)) - 1
    while unfinished:
        # nearly all headers are two octets, and are read here without a call
        if position < last and octets[position] & 0x1F != 0x1F and (length := octets[position + 1]) <= 0x80:
            inside = position + 2
            if length == 0x80:
                length = -1
            elif length == 0 and octets[position] == 0:
                ends[unfinished.pop()] = position
                position = inside
                continue
        else:
            _tag, inside, length = read_header(octets, position, limit)
        if length >= 0:
            position = inside + length
            if position > limit:
                raise Malformed(f"a length of {length} reaches past the end", offset=inside, clause=_CLAUSE)
        elif len(unfinished) >= MAX_DEPTH:
            raise Malformed(f"more than {MAX_DEPTH} levels of elements", offset=position, clause=_CLAUSE)
        else:
            unfinished.append(inside)
            position = inside


def decode_oid(octets: bytes, offset: int = 0) -> str:
    """Return the dotted form of an object identifier's content octets."""
    known = _OIDS.get(octets)
    if known is not None:
        return known
    if not octets or len(octets) > MAX_OID_OCTETS or octets[-1] & 0x80:
        raise Malformed("not an OBJECT IDENTIFIER", offset=offset, clause="X.690 section 8.19")
    arcs, value, fresh = [], 0, True
    for octet in octets:
        if fresh and octet == 0x80:
            raise Malformed("an arc with a leading zero", offset=offset, clause="X.690 section 8.19.2")
        value = value << 7 | octet & 0x7F
        fresh = octet < 0x80
        if fresh:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    dotted = ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))
    if len(_OIDS) < 1024:
        _OIDS[octets] = dotted
    return dotted


_OIDS: dict[bytes, str] = {}  # a bounded cache: the same few dozen identifiers stand in every message


def decode_time(encoded: bytes) -> datetime.datetime:
    """Return what an encoded UTCTime or GeneralizedTime says, in UTC; raises Malformed."""
    if len(encoded) == _UTC_TIME_OCTETS and encoded[:2] == b"\x17\x0d" and encoded[14] == 0x5A:  # as all write it
        try:
            return _moment(encoded[2:14])
        except ValueError:
            pass  # the other way says what is wrong with it
    return parse(encoded).time()


_UTC_TIME_OCTETS = 15


def _decode_time(element: Element) -> datetime.datetime:
    octets = element.value
    try:
        if element.constructed or octets[-1:] != b"Z":
            raise ValueError
        digits, fraction = octets[:-1], b""
        if element.tag == tags.UTC_TIME:
            if len(digits) == 10:  # QUIRK utctime-without-seconds
                digits += b"00"
            if len(digits) != 12:
                raise ValueError
        else:
            digits, _, fraction = digits.partition(b".")
            if len(digits) != 14 or (fraction and not fraction.isdigit()):
                raise ValueError
        return _moment(digits, b"." + fraction[:6].ljust(6, b"0") if fraction else b"")
    except ValueError:
        raise element.fault("not a time in UTC with seconds", "RFC 5280 section 4.1.2.5") from None


def _moment(digits: bytes, fraction: bytes = b"") -> datetime.datetime:
    """Return the time that digits from the year to the second say; ValueError for none."""
    if len(digits) == 12:
        # RFC 5280 section 4.1.2.5.1: years 50 to 99 are of the twentieth century
        digits = (b"19" if digits >= b"50" else b"20") + digits
    if not digits.isdigit() or digits[8:10] > b"23":  # an hour 24 is none here, though ISO 8601 has it
        raise ValueError
    return datetime.datetime.fromisoformat((digits[:8] + b"T" + digits[8:] + fraction + b"Z").decode())
