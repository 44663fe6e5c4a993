"""Charsets by the names mail uses."""

import codecs
import encodings
import pkgutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.formats.charset import codec_name, decode_text
from letterlock.formats.defect import Defect, Kind


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        ("", "ascii"), ("US-ASCII", "ascii"), ("utf-8", "utf-8"), ("UTF8", "utf-8"), ("'utf-8'", "utf-8"),
        ("iso-8859-1", "iso8859-1"), ("ISO_8859-15", "iso8859-15"), ("windows-1252", "cp1252"), ("koi8-r", "koi8-r"),
        ("KOI8-U", "koi8-u"), ("gb2312", "gb18030"), ("ks_c_5601-1987", "cp949"), ("Shift_JIS", "cp932"),
        ("iso-8859-8-i", "iso8859-8"), ("cp874", "cp874"), ("utf-7", "utf-7"), ("macintosh", "mac-roman"),
    ],
)  # fmt: skip
def test_knows_the_names_of_mail(charset: str, codec: str) -> None:
    """Any case, and what writers mean by a name."""
    assert codec_name(charset) == codec


_NONE = ["klingon", "rot13", "hex", "base64", "zlib", "unicode_escape", "idna", "punycode", "undefined", "aliases", "uu",
         "raw_unicode_escape", "a" * 1000, "ü", "\0", "\0utf-8", "mbcs"]  # fmt: skip


@pytest.mark.parametrize("charset", _NONE)
def test_what_is_no_charset(charset: str) -> None:
    """Python's other codecs run no code on mail, and names are not remembered for ever."""
    assert codec_name(charset) is None
    if charset.startswith(("klingon", "a" * 9)):
        assert charset not in encodings._cache  # type: ignore[attr-defined]


def test_every_text_codec_of_python_is_known_but_those_left_out() -> None:
    """So that none is forgotten when Python learns another."""
    left_out = {
        "idna",
        "punycode",
        "undefined",
        "unicode_escape",
        "raw_unicode_escape",
        "charmap",
        "mbcs",
        "oem",
        "palmos",
    }
    for module in pkgutil.iter_modules(encodings.__path__):
        try:
            known = codecs.lookup(module.name)
        except (LookupError, TypeError):
            continue
        if known._is_text_encoding and module.name not in left_out:
            assert codec_name(module.name) is not None, module.name


@given(
    st.binary(max_size=50),
    st.sampled_from(["utf-8", "utf-7", "utf-16", "iso-2022-jp", "big5", "hz", "us-ascii", "x", "cp932"]),
)
def test_any_octets_are_text(octets: bytes, charset: str) -> None:
    """Nothing raises."""
    defects: list[Defect] = []
    decode_text(octets, charset, 0, defects)


def test_us_ascii_that_is_utf_8_is_shown_and_named() -> None:
    """A quirk."""
    defects: list[Defect] = []
    assert decode_text("ü".encode(), "us-ascii", 7, defects) == "ü"
    assert defects == [Defect(Kind.BAD_CHARSET_OCTETS, 7, "us-ascii")]
