"""The header section as signatures see it: fields in order, each as the octets it arrived in.

Where the section ends and what a field is, formats/imf/header.py decides, here as for every reader of the message, so
that what is verified is what is shown.

Standards: RFC 5322 section 2.2, RFC 6376 section 2.8 and section 3.7.
"""

from __future__ import annotations

from typing import NamedTuple

from letterlock.formats.imf.header import Header, read_header


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

    def __init__(self, header: Header) -> None:
        octets = header.octets
        self.all = tuple(
            Field(octets[start:name_end].lower(), octets[start:end].removesuffix(b"\r\n"))
            for start, name_end, _, end in header.spans
        )
        by_name: dict[bytes, list[Field]] = {}
        for field in self.all:
            by_name.setdefault(field[0], []).append(field)
        self._by_name = by_name

    @classmethod
    def of(cls, section: bytes) -> Fields:
        """Return the fields of a header section in memory."""
        return cls(read_header(section))

    @property
    def repeated(self) -> dict[str, int]:
        """How often each name occurs that occurs more than once."""
        return {name.decode("ascii"): len(found) for name, found in self._by_name.items() if len(found) > 1}

    def named(self, name: bytes) -> list[Field]:
        """Return the fields of a name (lower case), from the top down."""
        return self._by_name.get(name, [])
