"""Attributes of CMS."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.errors import Malformed
from letterlock.formats.asn1 import oids, reader, writer
from letterlock.formats.cms import attributes
from letterlock.formats.cms.attributes import Attribute, Attributes

_types = st.sampled_from([oids.MESSAGE_DIGEST, oids.SIGNING_TIME, oids.CONTENT_TYPE])
_values = st.lists(st.binary(max_size=140).map(writer.octet_string), max_size=2).map(tuple)


@given(st.lists(st.builds(Attribute, _types, _values), max_size=4), st.integers(0, 400), st.integers(0, 255))
def test_read_quickly_or_slowly(items: list[Attribute], at: int, octet: int) -> None:
    """What is read without looking twice is what the slow way reads, whichever octet was changed."""
    encoded = bytearray(writer.element(0x31, *(item.encode() for item in items)))
    if at < len(encoded):
        encoded[at] = octet
    source = bytes(encoded)
    try:
        expected = tuple(map(attributes._parse, reader.parse(source).children()))
    except Malformed:
        with pytest.raises(Malformed):
            Attributes.parse(reader.parse(source))
        return
    assert Attributes.parse(reader.parse(source)).items == expected


def test_attributes_are_counted() -> None:
    """More than 64 of them, or 64 values of one, are refused."""
    one = Attribute.of("1.2.3", writer.null())
    for items in ((one,) * 65, (Attribute("1.2.3", (writer.null(),) * 65),)):
        encoded = writer.element(0x31, *(item.encode() for item in items))
        with pytest.raises(Malformed, match="more than 64"):
            Attributes.parse(reader.parse(encoded))
    assert len(Attributes.parse(reader.parse(writer.element(0x31, *(one.encode(),) * 64))).items) == 64
