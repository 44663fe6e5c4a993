"""Encoded words, read and written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.formats.defect import Defect, Kind
from letterlock.formats.imf.encoded_words import decode, encode


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        # RFC 2047 section 8
        ("=?ISO-8859-1?Q?a?=", "a"),
        ("=?ISO-8859-1?Q?a?= b", "a b"),
        ("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
        ("=?ISO-8859-1?Q?a?=  \t =?ISO-8859-1?Q?b?=", "ab"),
        ("=?ISO-8859-1?Q?a_b?=", "a b"),
        ("=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"),
        ("=?US-ASCII?Q?Keith_Moore?=", "Keith Moore"),
        ("=?ISO-8859-1?Q?Patrik_F=E4ltstr=F6m?=", "Patrik Fältström"),
        ("=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?= =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
         "If you can read this you understand the example."),
        # RFC 2231 section 5
        ("=?US-ASCII*EN?Q?Keith_Moore?=", "Keith Moore"),
        # the wild
("=?utf-8?q?a?= =?utf-8?q??= =?utf-8?q?b?=", "ab"),
        ("=?utf-8?B?w6?= =?utf-8?B?qQ==?=", "é"),
        ("=?utf-8?Q?Gr=C3?= =?utf-8?Q?=BC=C3=9Fe?=", "Grüße"),
        ("=?utf-8?b?R3LDvMOfZQ?=", "Grüße"),
        ("plain", "plain"),
        ("=?utf-8?X?a?=", "=?utf-8?X?a?="),
        ("=?nonsense?Q?a=FF?=", "a\ufffd"),
        ("a=?utf-8?Q?b?=c", "abc"),
        ("=?utf-8?Q?unfinished", "=?utf-8?Q?unfinished"),
    ],
)  # fmt: skip
def test_decodes(text: str, decoded: str) -> None:
    """RFC 2047 section 8 and what mail really holds."""
    assert decode(text) == decoded


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("=?utf-8?B?%%%?=", Kind.BAD_ENCODED_WORD),
        ("=?utf-8?B?QUI?=", Kind.BAD_ENCODED_WORD),
        ("=?utf-8?Q?never ends", Kind.BAD_ENCODED_WORD),
        ("=?nonsense?Q?a?=", Kind.UNKNOWN_CHARSET),
        ("=?utf-8?Q?=FF?=", Kind.BAD_CHARSET_OCTETS),
        ("a=?utf-8?Q?b?=", Kind.ENCODED_WORD_LOOSE),
        ("=?utf-8?Q?a b?=", Kind.ENCODED_WORD_LOOSE),
        ("=?rot13?Q?abc?=", Kind.UNKNOWN_CHARSET),
    ],
)
def test_names_what_is_wrong(text: str, kind: Kind) -> None:
    """Codecs that are no charsets are none here either."""
    defects: list[Defect] = []
    decode(text, defects)
    assert kind in {defect.kind for defect in defects}


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=200))
def test_what_is_encoded_decodes_to_itself(text: str) -> None:
    """Words are at most 75 characters long (RFC 2047 section 2) and hold nothing a header field could not."""
    encoded = encode(text)
    assert decode(encoded) == text
    assert encoded.isascii()
    if encoded != text:
        assert all(len(word) <= 75 for word in encoded.split(" "))


@given(st.text(max_size=100))
def test_any_text_is_decoded(text: str) -> None:
    """Nothing raises."""
    decode(text, [])
