"""Transfer encodings, whole and streaming."""

import base64
import binascii
import quopri
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.formats.defect import Defect, Kind
from letterlock.formats.mime import transfer
from letterlock.formats.mime.transfer import (
    decode,
    decode_stream,
    encode_base64,
    encode_base64_stream,
    encode_quoted_printable,
    encode_quoted_printable_stream,
)


@pytest.mark.parametrize(
    ("octets", "decoded", "kinds"),
    [
        (b"AAEC\r\nAwQ=\r\n", b"\0\1\2\3\4", []),
        (b"AAEC AwQ=", b"\0\1\2\3\4", []),
        (b"AAEC*AwQ=", b"\0\1\2\3\4", [Kind.BAD_BASE64]),
        (b"AAECAwQ", b"\0\1\2\3\4", [Kind.BASE64_END]),
        (b"AAECA", b"\0\1\2", [Kind.BASE64_END]),
        (b"AA==AA==", b"\0\0", [Kind.BASE64_AFTER_END]),
        (b"====", b"", [Kind.BASE64_END]),
        (b"=AAAA", b"\0\0\0", [Kind.BASE64_AFTER_END]),
        (b"AAE==", b"\0\1", [Kind.BASE64_END]),
        (b"", b"", []),
        (b"\xff", b"", [Kind.BAD_BASE64]),
    ],
)
def test_base64(octets: bytes, decoded: bytes, kinds: list[Kind]) -> None:
    """RFC 2045 section 6.8: what is not of the alphabet is skipped, and named."""
    defects: list[Defect] = []
    assert decode(octets, "base64", defects) == decoded
    assert [defect.kind for defect in defects] == kinds


@pytest.mark.parametrize(
    ("octets", "decoded", "kinds"),
    [
        (b"a=3Db=\r\nc=E4", b"a=bc\xe4", []),
        (b"a=  \r\nb \t\r\nc  ", b"ab\r\nc", []),
        (b"a=3db", b"a=b", []),
        (b"a=zz =", b"a=zz ", [Kind.BAD_QUOTED_PRINTABLE]),
        (b"a==3D", b"a==", [Kind.BAD_QUOTED_PRINTABLE]),
        (b"a=\rb", b"a=\rb", [Kind.BAD_QUOTED_PRINTABLE]),
        (b"a\nb=\nc", b"a\nbc", []),
        (b"\xe4", b"\xe4", []),
    ],
)
def test_quoted_printable(octets: bytes, decoded: bytes, kinds: list[Kind]) -> None:
    """RFC 2045 section 6.7: trailing space goes, a stray equals sign stays."""
    defects: list[Defect] = []
    assert decode(octets, "quoted-printable", defects) == decoded
    assert [defect.kind for defect in defects] == kinds


def test_an_unknown_encoding_is_kept_never_guessed() -> None:
    """RFC 2045 section 6.4."""
    defects: list[Defect] = []
    assert decode(b"begin 644 x", "x-uuencode", defects) == b"begin 644 x"
    assert [defect.kind for defect in defects] == [Kind.UNKNOWN_ENCODING]


@given(st.binary(max_size=1000))
def test_base64_round_trip(octets: bytes) -> None:
    """Lines of at most 76 characters; strict readers agree."""
    encoded = encode_base64(octets)
    assert max(map(len, encoded.split(b"\r\n"))) <= 76
    defects: list[Defect] = []
    assert decode(encoded, "base64", defects) == octets == binascii.a2b_base64(encoded)
    assert defects == []


@pytest.mark.parametrize("lines", [0, 1, 2, 1023, 1024, 1025, 2048])
@pytest.mark.parametrize("more", [0, 1, 2, 3, 56])
def test_base64_lines_are_those_of_others(lines: int, more: int) -> None:
    """Blocks of lines join without a seam: the standard library writes the same, but for its line ends."""
    octets = random.Random(lines + more).randbytes(57 * lines + more)
    assert encode_base64(octets, after=b"head") == b"head" + base64.encodebytes(octets).replace(b"\n", b"\r\n")


@given(st.binary(max_size=300), st.integers(0, 500), st.sampled_from([b"", b"=", b"A", b"*", b"\r", b"\r\n", b"===="]))
def test_even_lines_are_read_as_any_other(octets: bytes, at: int, change: bytes) -> None:
    """The quick way for lines of one length gives what the slow one gives, octets and defects, whatever was changed."""
    lines = encode_base64(octets)
    changed = lines[:at] + change + lines[at + 1 :]
    quick: list[Defect] = []
    slow: list[Defect] = []
    # an empty line in front makes the lines uneven, and is no defect
    assert decode(changed, "base64", quick, 2) == decode(b"\r\n" + changed, "base64", slow)
    assert [defect.kind for defect in quick] == [defect.kind for defect in slow]


@given(st.binary(min_size=400, max_size=900), st.integers(0, 1200), st.sampled_from([b"", b"=", b"*", b"\r\n"]))
def test_even_lines_in_several_blocks(octets: bytes, at: int, change: bytes) -> None:
    """Blocks of four lines join without a seam, whatever stands where one ends."""
    lines = encode_base64(octets)
    changed = lines[:at] + change + lines[at + 1 :]
    quick: list[Defect] = []
    slow: list[Defect] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transfer, "_BLOCK_CHARACTERS", 4 * 78)
        assert decode(lines, "base64", quick) == octets
        assert not quick
        assert decode(changed, "base64", quick) == decode(b"\r\n" + changed, "base64", slow)
    assert [defect.kind for defect in quick] == [defect.kind for defect in slow]


_AWKWARD = [b"a", b" ", b"=", b"\t", b".", b"From ", b"\r\n", b"\r", b"\n", b"\xe4", b"x" * 75]


@given(st.binary(max_size=400) | st.lists(st.sampled_from(_AWKWARD)).map(b"".join))
def test_quoted_printable_round_trip(octets: bytes) -> None:
    """Any octets survive; lines are short, ASCII, and end in nothing a relay would take away."""
    encoded = encode_quoted_printable(octets)
    defects: list[Defect] = []
    assert decode(encoded, "quoted-printable", defects) == octets
    assert quopri.decodestring(encoded) == octets
    assert defects == []
    assert encoded.isascii()
    for line in encoded.split(b"\r\n"):
        assert len(line) <= 76
        assert not line.endswith((b" ", b"\t"))
        assert line != b"."
        assert not line.startswith(b"From ")


_pieces = st.lists(st.binary(max_size=50), max_size=10)


@given(_pieces)
def test_streams_encode_like_the_whole(pieces: list[bytes]) -> None:
    """However the octets are cut."""
    assert b"".join(encode_base64_stream(pieces)) == encode_base64(b"".join(pieces))


_text_pieces = st.lists(
    st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"\xe4 ", b"", b"x" * 80, b"\n\r\n\r"]), max_size=20
)


@given(_text_pieces)
def test_text_streams_encode_like_the_whole(pieces: list[bytes]) -> None:
    """A line end may be cut in two."""
    assert b"".join(encode_quoted_printable_stream(pieces)) == encode_quoted_printable(b"".join(pieces))


_encoded = st.lists(st.sampled_from([b"QUJD", b"Q", b"=", b"\r\n", b"*", b"=4", b"1", b" ", b"a", b"=\n"]), max_size=30)


@given(_encoded, st.sampled_from(["base64", "quoted-printable", "7bit"]), st.integers(1, 9))
def test_streams_decode_like_the_whole(pieces: list[bytes], encoding: str, size: int) -> None:
    """However the octets are cut, for right and wrong input."""
    octets = b"".join(pieces)
    cut = [octets[at : at + size] for at in range(0, len(octets), size)]
    assert b"".join(decode_stream(cut, encoding)) == decode(octets, encoding)
