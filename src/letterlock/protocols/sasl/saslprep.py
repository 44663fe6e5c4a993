"""Preparing user names and passwords so that equal ones compare equal.

Standards: RFC 4013 (SASLprep), RFC 3454 (stringprep tables); RFC 4616 section 2 and RFC 5802 section 5.1 ask for it.
"""

from __future__ import annotations

import stringprep
import unicodedata

from letterlock.errors import Malformed

_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def saslprep(text: str) -> str:
    """Return `text` prepared. Raises Malformed for what a user name or password may not contain."""
    if text.isascii() and text.isprintable():
        return text
    # RFC 4013 section 2.1: other spaces become a space, what is commonly mapped to nothing vanishes.
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character
        for character in text
        if not stringprep.in_table_b1(character)
    )
    # RFC 3454 is fixed to Unicode 3.2.
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    for offset, character in enumerate(prepared):
        if any(prohibits(character) for prohibits in _PROHIBITED):
            raise Malformed("a character that no name or password may contain", offset=offset,
                            clause="RFC 4013 section 2.3")  # fmt: skip
    _check_direction(prepared)
    return prepared


def _check_direction(text: str) -> None:
    # RFC 3454 section 6: right-to-left text begins and ends so, and holds no left-to-right letter.
    if any(stringprep.in_table_d1(character) for character in text) and (
        any(stringprep.in_table_d2(character) for character in text)
        or not stringprep.in_table_d1(text[0])
        or not stringprep.in_table_d1(text[-1])
    ):
        raise Malformed("text of mixed direction", clause="RFC 4013 section 2.4")
