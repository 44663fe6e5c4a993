"""The header section as signatures see it: fields in order, each as the octets it arrived in.

Standards: RFC 5322 section 2.2, RFC 6376 section 2.8 and section 3.7.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import NamedTuple

_FIELD_END = re.compile(rb"\r\n(?![ \t])")


class Field(NamedTuple):
    """One field: its name in lower case and its octets with the folds inside, without the CRLF at its end."""

    name: bytes
    octets: bytes

    @property
    def value(self) -> bytes:
        """The octets after the colon."""
        return self.octets.partition(b":")[2]


class Fields:
    """The fields of a header section, in order and by name."""

    __slots__ = ("_by_name", "all")

    def __init__(self, section: bytes) -> None:
        """Take a header section; the empty line that ends it may be there or not."""
        every = []
        by_name: defaultdict[bytes, list[Field]] = defaultdict(list)
        for octets in _FIELD_END.split(section):
            name, colon, _ = octets.partition(b":")
            if colon:
                field = Field(name.rstrip(b" \t").lower(), octets)
                every.append(field)
                by_name[field.name].append(field)
        self.all = tuple(every)
        self._by_name = dict(by_name)

    def named(self, name: bytes) -> list[Field]:
        """Return the fields of a name (lower case), from the top down."""
        return self._by_name.get(name, [])


def header_end(octets: bytes) -> int:
    """Return where the body begins: after the first empty line, or at the end where there is none."""
    if octets.startswith(b"\r\n"):
        return 2
    end = octets.find(b"\r\n\r\n")
    return len(octets) if end < 0 else end + 4
