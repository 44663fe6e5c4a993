"""Tags as small integers: universal tags are their number, context tags carry 0x80.

Whether an element is constructed is not part of the tag here: BER lets any string be either.

Standards: X.690 section 8.1.2.
"""

from __future__ import annotations

BOOLEAN = 1
INTEGER = 2
BIT_STRING = 3
OCTET_STRING = 4
NULL = 5
OBJECT_IDENTIFIER = 6
ENUMERATED = 10
UTF8_STRING = 12
SEQUENCE = 16
SET = 17
NUMERIC_STRING = 18
PRINTABLE_STRING = 19
TELETEX_STRING = 20
IA5_STRING = 22
UTC_TIME = 23
GENERALIZED_TIME = 24
VISIBLE_STRING = 26
UNIVERSAL_STRING = 28
BMP_STRING = 30

_HIGH = 1 << 32  # keeps tag numbers above 30 apart from the small ones


def context(number: int) -> int:
    """Return the tag [number] of the context class."""
    return 0x80 | number


def high(tag_class: int, number: int) -> int:
    """Return the tag of class octet `tag_class` (0x00 to 0xC0) whose number needs more than one octet."""
    return _HIGH | tag_class << 24 | number


NAMES = {
    BOOLEAN: "BOOLEAN",
    INTEGER: "INTEGER",
    BIT_STRING: "BIT STRING",
    OCTET_STRING: "OCTET STRING",
    NULL: "NULL",
    OBJECT_IDENTIFIER: "OBJECT IDENTIFIER",
    ENUMERATED: "ENUMERATED",
    UTF8_STRING: "UTF8String",
    SEQUENCE: "SEQUENCE",
    SET: "SET",
    UTC_TIME: "UTCTime",
    GENERALIZED_TIME: "GeneralizedTime",
}


def name(tag: int) -> str:
    """Return a tag as the standard writes it: "SEQUENCE", "[0]"."""
    if tag in NAMES:
        return NAMES[tag]
    return f"[{tag & 0x1F}]" if tag & 0xC0 == 0x80 and not tag & _HIGH else f"tag {tag:#x}"
