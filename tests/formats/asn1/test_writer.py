"""Writing DER."""

from hypothesis import given
from hypothesis import strategies as st

from letterlock.formats.asn1 import reader, writer
from letterlock.formats.asn1.writer import Room


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=40)), max_size=8))
def test_room_is_filled_in_its_place(parts: list[tuple[bool, bytes]]) -> None:
    """Octets made while the whole is joined stand where octets that were there before would."""

    def room(octets: bytes) -> Room:
        def fill(place: memoryview) -> None:
            place[:] = octets

        return Room(len(octets), fill)

    size = sum(len(octets) for _late, octets in parts)
    inside = [room(octets) if late else octets for late, octets in parts]
    whole = writer.join([writer.beginning(0x04, b"", size), *inside])
    assert whole == writer.octet_string(b"".join(octets for _late, octets in parts))
    assert reader.parse(whole).octet_string() == b"".join(octets for _late, octets in parts)
