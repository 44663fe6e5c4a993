"""Charsets: names as mail writes them, and octets to text without ever failing.

Only codecs that turn octets into text and back are used; Python's others (`rot13`, `unicode_escape`, `idna`, ...) are
no charsets. US-ASCII with octets above 127 is read as UTF-8 where it is UTF-8, and named a defect.

Standards: RFC 2046 section 4.1.2, RFC 2049 section 2, RFC 6657 (defaults), the IANA charset registry's aliases.
"""

from __future__ import annotations

import codecs
import encodings
import encodings.aliases
import functools

from letterlock.formats.defect import Defect, Kind

_NOT_CHARSETS = frozenset(("base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec",
                          "mbcs", "tactis"))  # fmt: skip
_WITHOUT_ALIAS = "cp1006 cp720 cp737 cp856 cp874 cp875 koi8_t koi8_u mac_arabic mac_croatian mac_farsi mac_romanian"
# Only these are ever looked up: Python remembers every name it is asked for, and imports a module to find it.
_CODECS = (
    frozenset(alias for alias, codec in encodings.aliases.aliases.items() if codec not in _NOT_CHARSETS)
    | (frozenset(encodings.aliases.aliases.values()) - _NOT_CHARSETS)
    | frozenset(_WITHOUT_ALIAS.split())
    | {"utf_8_sig"}
)
# Names of the wild that Python does not know, or knows as something smaller than what writers mean.
_ALIASES = {
    "unicode-1-1-utf-7": "utf-7",
    "x-unknown": "us-ascii",
    "unknown-8bit": "us-ascii",
    "8bit": "us-ascii",
    "iso-8859-8-i": "iso-8859-8",
    "iso-8859-8-e": "iso-8859-8",
    "iso-8859-6-i": "iso-8859-6",
    "iso-8859-6-e": "iso-8859-6",
    "x-sjis": "cp932",
    "shift_jis": "cp932",
    "x-gbk": "gb18030",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "ks_c_5601-1987": "cp949",
    "euc-kr": "cp949",
    "x-windows-949": "cp949",
    "big5": "big5hkscs",
    "x-mac-roman": "mac-roman",
    "macintosh": "mac-roman",
    "tis-620": "cp874",
    "windows-874": "cp874",
    "iso-2022-jp": "iso-2022-jp-2",
    "cp-850": "cp850",
    "utf-8mb4": "utf-8",
    "utf8mb4": "utf-8",
}


@functools.lru_cache(maxsize=256)
def codec_name(charset: str) -> str | None:
    """Return the codec that reads `charset` (any case), or None if nobody knows it."""
    name = charset.strip().strip("'\"").lower()
    name = _ALIASES.get(name, name) or "ascii"
    if not name.isascii() or not name.isprintable():
        return None
    codec = encodings.normalize_encoding(name)
    return codecs.lookup(codec).name if codec in _CODECS else None


def decode_text(octets: bytes, charset: str, offset: int, defects: list[Defect]) -> str:
    """Return `octets` as text in `charset` ("" is US-ASCII). Never raises; appends what is wrong to `defects`."""
    codec = codec_name(charset)
    if codec is None:
        defects.append(Defect(Kind.UNKNOWN_CHARSET, offset, charset[:60]))
        return octets.decode("ascii", "replace")
    if codec == "ascii":
        return _ascii(octets, offset, defects)
    try:
        return octets.decode(codec)
    except (UnicodeError, ValueError):
        defects.append(Defect(Kind.BAD_CHARSET_OCTETS, offset, charset[:60]))
    try:
        return octets.decode(codec, "replace")
    except (UnicodeError, ValueError):
        return octets.decode("ascii", "replace")


def _ascii(octets: bytes, offset: int, defects: list[Defect]) -> str:
    if octets.isascii():
        return octets.decode("ascii")
    defects.append(Defect(Kind.BAD_CHARSET_OCTETS, offset, "us-ascii"))
    try:
        return octets.decode("utf-8")  # QUIRK undeclared-utf-8: UTF-8 that is called US-ASCII
    except UnicodeDecodeError:
        return octets.decode("ascii", "replace")
