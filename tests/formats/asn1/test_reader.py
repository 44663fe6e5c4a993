"""ASN.1 read where it lies, and written."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from letterlock.errors import Malformed
from letterlock.formats.asn1 import reader, stream, tags, writer
from letterlock.formats.asn1.reader import Element, Fields


def _everything(element: Element, depth: int = 0) -> int:
    """Read every value below `element` in every way its tag allows."""
    count = 1
    for read in (
        Element.boolean, Element.integer, Element.oid, Element.octet_string, Element.bit_string, Element.text, Element.time,
    ):  # fmt: skip
        try:
            read(element)
        except Malformed:
            count += 1
    if element.constructed:
        try:
            count += sum(_everything(child, depth + 1) for child in element.children())
        except Malformed:
            count += 1
    return count


@given(st.binary(max_size=200))
def test_random_octets_raise_only_malformed(octets: bytes) -> None:
    """Whatever the octets, reading all of them ends, with values or Malformed."""
    try:
        element = reader.parse(octets, trailing=True)
    except Malformed:
        return
    _everything(element)


@given(st.integers(-(1 << 300), 1 << 300))
def test_integers_round_trip(value: int) -> None:
    """X.690 section 8.3: two's complement, shortest form."""
    encoded = writer.integer(value)
    assert reader.parse(encoded).integer() == value
    content = encoded[2:]
    assert len(content) == 1 or content[:1] not in (b"\0", b"\xff") or content[0] >> 7 != content[1] >> 7


@given(st.lists(st.integers(0, 1 << 64), max_size=10), st.sampled_from([0, 1, 2]), st.integers(0, 39))
def test_object_identifiers_round_trip(arcs: list[int], first: int, second: int) -> None:
    """X.690 section 8.19."""
    dotted = ".".join(map(str, (first, second, *arcs)))
    assert reader.parse(writer.oid(dotted)).oid() == dotted


@given(st.frozensets(st.integers(0, 63)))
def test_named_bits_round_trip(bits: frozenset[int]) -> None:
    """X.690 section 11.2.2: no trailing zero bits."""
    assert reader.parse(writer.named_bits(bits)).named_bits() == bits


@given(st.datetimes(datetime.datetime(1000, 1, 1), datetime.datetime(9999, 12, 31)))
def test_times_round_trip(moment: datetime.datetime) -> None:
    """RFC 5280 section 4.1.2.5: UTCTime from 1950 to 2049, GeneralizedTime outside."""
    moment = moment.replace(microsecond=0, tzinfo=datetime.UTC)
    assert reader.parse(writer.time(moment)).time() == reader.decode_time(writer.time(moment)) == moment


@pytest.mark.parametrize(
    ("tag", "octets", "expected"),
    [
        (tags.UTC_TIME, b"491231235959Z", (2049, 12, 31, 23, 59, 59)),
        (tags.UTC_TIME, b"500101000000Z", (1950, 1, 1)),
        (tags.UTC_TIME, b"9912312359Z", (1999, 12, 31, 23, 59)),
        (tags.GENERALIZED_TIME, b"20261123120000.25Z", (2026, 11, 23, 12, 0, 0, 250_000)),
        (tags.GENERALIZED_TIME, b"20261123120000.1234567Z", (2026, 11, 23, 12, 0, 0, 123_456)),
        (tags.UTC_TIME, b"261123240000Z", None),
        (tags.UTC_TIME, b"261123120060Z", None),
        (tags.UTC_TIME, b"261123T20000Z", None),
        (tags.UTC_TIME, b"261123120000.5Z", None),
        (tags.UTC_TIME, b"2611231200000", None),
        (tags.GENERALIZED_TIME, b"20261123240000Z", None),
        (tags.GENERALIZED_TIME, b"00001123120000Z", None),
        (tags.GENERALIZED_TIME, b"2026-11-2312:0Z", None),
    ],
)
def test_times(tag: int, octets: bytes, expected: tuple[int, ...] | None) -> None:
    """RFC 5280 section 4.1.2.5: in UTC, years of two digits from 1950 to 2049; read from octets or from an element."""
    encoded = writer.element(tag, octets)
    if expected is not None:
        moment = datetime.datetime(*expected, tzinfo=datetime.UTC)
        assert reader.decode_time(encoded) == reader.parse(encoded).time() == moment
        return
    for read in (reader.decode_time, lambda octets: reader.parse(octets).time()):
        with pytest.raises(Malformed, match="not a time"):
            read(encoded)


def test_known_octets() -> None:
    """The encodings the standard prints."""
    assert writer.oid("1.2.840.113549") == bytes.fromhex("06062a864886f70d")
    assert writer.integer(-129) == bytes.fromhex("0202ff7f")
    assert writer.sequence(writer.boolean(True), writer.null()) == bytes.fromhex("30050101ff0500")
    assert writer.set_of([b"\x02\x01\x02", b"\x02\x01\x01"]) == bytes.fromhex("3106020101020102")


def _indefinite(tag: int, *inside: bytes) -> bytes:
    return bytes((tag, 0x80)) + b"".join(inside) + b"\0\0"


def test_indefinite_lengths_and_constructed_strings() -> None:
    """BER's long way to say the same is read as the same, and turned into DER."""
    string = _indefinite(0x24, b"\x04\x02ab", _indefinite(0x24, b"\x04\x01c", b"\x24\x03\x04\x01d"))
    element = reader.parse(_indefinite(0x30, string, b"\x02\x01\x05"))
    first, second = element.children()
    assert (first.octet_string(), second.integer()) == (b"abcd", 5)
    assert writer.canonical(element) == writer.sequence(writer.octet_string(b"abcd"), writer.integer(5))
    assert writer.content_of(element) == writer.canonical(element)


@pytest.mark.parametrize(
    "octets",
    [
        b"", b"\x30", b"\x30\x05\x02", b"\x30\x80", b"\x04\x80\0\0", b"\x30\x80\x02\x01\x01", b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x89" + b"\x01" * 9, b"\x1f\x81", b"\x30\x02\x04\x05", b"\x30\x00\x00", b"\x3f" + b"\xff" * 9 + b"\x01\x00",
        b"\x9f\x80\x22\x00", b"\x9f\x02\x00",
    ],
)  # fmt: skip
def test_what_is_no_element_is_malformed(octets: bytes) -> None:
    """Lengths that lead out of the input, headers that break off, octets behind the end."""
    with pytest.raises(Malformed):
        list(reader.parse(octets).children())


@pytest.mark.parametrize(
    ("octets", "read"),
    [
        (b"\x01\x02\x00\x00", Element.boolean), (b"\x02\x00", Element.integer), (b"\x06\x01\x80", Element.oid),
        (b"\x06\x02\x80\x01", Element.oid), (b"\x03\x00", Element.bit_string), (b"\x03\x02\x08\x00", Element.bit_string),
        (b"\x03\x01\x01", Element.bit_string), (b"\x24\x03\x02\x01\x01", Element.octet_string),
        (b"\x17\x0d991332235959Z", Element.time), (b"\x17\x0b9912312359Z0", Element.time), (b"\x0c\x01\xff", Element.text),
        (b"\x02\x82\x10\x00" + b"\x01" * 4096, Element.integer), (b"\x05\x01\x00", Element.null),
    ],
)  # fmt: skip
def test_what_is_no_value_is_malformed(octets: bytes, read: Callable[[Element], object]) -> None:
    """Values that break the rule of their type."""
    with pytest.raises(Malformed):
        read(reader.parse(octets))


def test_a_field_missing_or_too_many_is_malformed() -> None:
    """A SEQUENCE is read to its end, and no further."""
    fields = Fields(reader.parse(writer.sequence(writer.integer(1))))
    assert fields.optional(tags.NULL) is None
    fields.take(tags.INTEGER)
    with pytest.raises(Malformed):
        fields.any()
    with pytest.raises(Malformed):
        Fields(reader.parse(writer.sequence(writer.null()))).finish()


@pytest.mark.parametrize("nest", [lambda n: b"\x30\x80" * n + b"\0\0" * n, lambda n: b"\x24\x80" * n + b"\0\0" * n])
def test_nesting_is_bounded(nest: Callable[[int], bytes]) -> None:
    """A million levels are refused at once, not followed."""
    with pytest.raises(Malformed):
        reader.parse(nest(1_000_000))


def test_work_is_linear() -> None:
    """Many small segments, and indefinite lengths inside each other, cost as much per octet as few."""

    def seconds(count: int) -> float:
        deep = _indefinite(0x30, *[_indefinite(0x30, _indefinite(0x30, _indefinite(0x24, b"\x04\x01x")))] * count)
        started = time.process_time()
        for child in reader.parse(deep).children():
            for inner in child.children():
                for string in inner.children():
                    string.octet_string()
        return time.process_time() - started

    small = min(seconds(500) for _ in range(3))
    assert seconds(10_000) < 20 * small * 4


@given(st.binary(min_size=1, max_size=400), st.integers(1, 50))
def test_a_stream_reads_what_the_whole_reads(content: bytes, size: int) -> None:
    """Content in segments, delivered in pieces of any size, comes out the same."""
    segments = [content[i : i + 7] for i in range(0, len(content), 7)]
    whole = _indefinite(0x30, writer.integer(3), b"".join(stream.segments(segments)), writer.oid("1.2.3"))
    source = stream.Source(whole[i : i + size] for i in range(0, len(whole), size))
    source.enter(tags.SEQUENCE)
    assert source.element().integer() == 3
    assert b"".join(source.string(tags.OCTET_STRING)) == content
    assert source.element().oid() == "1.2.3"
    source.leave()
    assert not source.more()


@given(st.binary(max_size=100), st.integers(1, 9))
def test_a_stream_of_random_octets_raises_only_malformed(octets: bytes, size: int) -> None:
    """Whatever arrives, in whatever pieces."""
    source = stream.Source(octets[i : i + size] for i in range(0, len(octets), size))
    try:
        source.enter(tags.SEQUENCE)
        while source.more():
            if source.peek_tag() == tags.OCTET_STRING:
                b"".join(source.string(tags.OCTET_STRING))
            else:
                source.element()
        source.leave()
    except Malformed:
        pass


def test_a_stream_bounds_a_small_element() -> None:
    """What must fit into memory is refused when it does not, before it is read."""
    source = stream.Source([b"\x30\x84\x7f\xff\xff\xff"])
    with pytest.raises(Malformed):
        source.element(1000)


def test_long_tag_numbers_stay_what_they_are() -> None:
    """X.690 section 8.1.2.4: numbers above 30 take more octets, also in canonical form."""
    element = reader.parse(bytes.fromhex("bf8148810302012a"))
    assert element.tag == tags.high(0x80, 200)
    assert writer.canonical(element) == writer.content_of(element) == bytes.fromhex("bf81480302012a")


def _string(parts: object, form: int) -> bytes:
    """Return an OCTET STRING of octets, or of the strings in a list, in one of the forms BER has for its length."""
    if isinstance(parts, bytes):
        lengths = (writer.length_octets(len(parts)), b"\x82" + len(parts).to_bytes(2), b"\x84" + len(parts).to_bytes(4))
        return b"\x04" + lengths[form] + parts
    assert isinstance(parts, list)
    inside = b"".join(_string(*each) for each in parts)
    return _indefinite(0x24, inside) if form else writer.element(0x24, inside)


_forms = st.integers(0, 2)
_strings = st.recursive(
    st.tuples(st.binary(max_size=40) | st.sampled_from([b"s" * 1024, b"l" * 1025, b"m" * 3000]), _forms),
    lambda children: st.tuples(st.lists(children, max_size=8), _forms),
    max_leaves=30,
)


@settings(deadline=None)
@given(st.lists(_strings, max_size=8), st.integers(1, 5000), st.integers(0, 400), st.binary(max_size=3))
def test_segments_of_every_kind(parts: list[object], size: int, at: int, change: bytes) -> None:
    """Small and large segments, in all forms, at any depth: whole and in pieces they are the same octets, or no string."""
    made = _string(parts, 1)
    for octets in (made, made[:at] + change + made[at + len(change) :]):
        assert _read_whole(octets) == _read_in_pieces(octets, size)


def _read_whole(octets: bytes) -> bytes | None:
    try:
        return reader.parse(octets).octet_string()
    except Malformed:
        return None


def _read_in_pieces(octets: bytes, size: int) -> bytes | None:
    source = stream.Source(octets[at : at + size] for at in range(0, len(octets), size))
    try:
        taken = b"".join(source.string(tags.OCTET_STRING))
        return None if source.more() else taken
    except Malformed:
        return None


@pytest.mark.parametrize("inside", [b"\x04\x03abc\x00\x00", b"\x24\x80\x04\x01a\x00\x00\x00\x00"])
def test_nothing_reaches_past_what_is_around_it(inside: bytes) -> None:
    """An indefinite length inside a definite one ends before that does, in pieces as whole."""
    whole = b"\x24\x80" + inside
    for size in range(len(whole)):
        octets = b"\x24" + bytes((size,)) + whole
        assert _read_whole(octets) is None
        assert _read_in_pieces(octets, 3) is None
