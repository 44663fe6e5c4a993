"""Distinguished names and general names: how certificates say who.

Names compare by their meaning (case, spaces, Unicode form), not by their octets; what is shown to people has its
control and direction characters escaped.

Standards: RFC 5280 sections 4.1.2.4, 4.2.1.6 and 7.1, RFC 4514 (text form), RFC 9598 (SmtpUTF8Mailbox).
"""

from __future__ import annotations

import enum
import functools
import ipaddress
import unicodedata
from dataclasses import dataclass

from letterlock.errors import Malformed
from letterlock.formats.asn1 import oids, reader, tags, writer
from letterlock.formats.asn1.reader import Element, Fields

_SHORT = {
    oids.COMMON_NAME: "CN", "2.5.4.4": "SN", "2.5.4.5": "serialNumber", oids.COUNTRY: "C", "2.5.4.7": "L",
    "2.5.4.8": "ST", oids.ORGANIZATION: "O", oids.ORGANIZATIONAL_UNIT: "OU", "2.5.4.12": "title", "2.5.4.42": "GN",
    "0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.1": "UID", oids.EMAIL_ADDRESS: "emailAddress",
}  # fmt: skip
_LONG = {short: oid for oid, short in _SHORT.items()}
_TEXT_TAGS = frozenset({12, 18, 19, 20, 22, 26, 28, 30})


def shown(text: str) -> str:
    """Return `text` with everything escaped that could change what people see around it."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char if char == " " or unicodedata.category(char)[0] not in "CZ" else f"\\u{ord(char):04x}" for char in text
    )


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of a name: its type and its value, as text where it is text."""

    type: str
    text: str
    encoded: bytes

    @property
    def comparable(self) -> tuple[str, str | bytes]:
        """What is equal for equal attributes (RFC 5280 section 7.1)."""
        if self.encoded[0] not in _TEXT_TAGS:
            return self.type, self.encoded
        text = self.text
        folded = (text if text.isascii() else unicodedata.normalize("NFKC", text)).casefold()
        return self.type, " ".join(folded.split())


@dataclass(frozen=True, slots=True, eq=False)
class Name:
    """A distinguished name: its relative distinguished names in the order of the encoding."""

    rdns: tuple[tuple[Attribute, ...], ...]
    encoded: bytes
    key: tuple[frozenset[tuple[str, str | bytes]], ...]

    @classmethod
    def parse(cls, element: Element) -> Name:
        """Read a Name; raises Malformed."""
        encoded = element.expect(tags.SEQUENCE).encoded
        return _parse_name(encoded) if len(encoded) <= _REMEMBERED_OCTETS else cls._read(element)

    @classmethod
    def _read(cls, element: Element) -> Name:
        return cls._of(tuple(map(_parse_rdn, element.children())), element.encoded)

    @classmethod
    def _of(cls, rdns: tuple[tuple[Attribute, ...], ...], encoded: bytes) -> Name:
        return cls(rdns, encoded, tuple(frozenset(item.comparable for item in rdn) for rdn in rdns))

    @classmethod
    def make(cls, **attributes: str) -> Name:
        """Build a name from short attribute types in order: `Name.make(O="Rosewood", CN="Ada")`."""
        rdns = []
        for short, text in attributes.items():
            oid = _LONG[short]
            if oid == oids.COUNTRY:
                encoded = writer.printable_string(text)
            elif oid in (oids.EMAIL_ADDRESS, _LONG["DC"]):
                encoded = writer.ia5_string(text)
            else:
                encoded = writer.utf8_string(text)
            rdns.append((Attribute(oid, text, encoded),))
        parts = [writer.set_of([writer.sequence(writer.oid(rdn[0].type), rdn[0].encoded)]) for rdn in rdns]
        return cls._of(tuple(rdns), writer.sequence(*parts))

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Name) and self.key == other.key)

    def __hash__(self) -> int:
        return hash(self.key)

    def __bool__(self) -> bool:
        return bool(self.rdns)

    def is_within(self, subtree: Name) -> bool:
        """Tell whether this name stands at or below `subtree` (RFC 5280 section 4.2.1.10)."""
        return self.key[: len(subtree.key)] == subtree.key

    def values(self, oid: str) -> tuple[str, ...]:
        """Return the texts of all attributes of this type."""
        return tuple(item.text for rdn in self.rdns for item in rdn if item.type == oid)

    def __str__(self) -> str:
        """The name for people: "CN=Ada, O=Rosewood", control characters escaped."""
        return ", ".join(
            "+".join(f"{_SHORT.get(item.type, item.type)}={shown(item.text)}" for item in rdn)
            for rdn in reversed(self.rdns)
        )


_REMEMBERED_OCTETS = 1024


@functools.lru_cache(maxsize=2048)
def _parse_name(encoded: bytes) -> Name:
    """Read a name once: the same issuers stand in every message."""
    return Name._read(reader.parse(encoded))


def _parse_rdn(element: Element) -> tuple[Attribute, ...]:
    attributes = []
    for child in element.expect(tags.SET).children():
        fields = Fields(child)
        oid = fields.oid()
        value = fields.any()
        fields.finish()
        text = value.text() if value.tag in _TEXT_TAGS else value.encoded.hex()
        attributes.append(Attribute(oid, text, value.encoded))
    if not attributes:
        raise element.fault("an empty relative distinguished name", "RFC 5280 section 4.1.2.4")
    return tuple(attributes)


EMPTY = Name.make()


class NameKind(enum.Enum):
    """The choices of GeneralName that mean something here, by their tag numbers."""

    OTHER = 0
    EMAIL = 1
    DNS = 2
    X400 = 3
    DIRECTORY = 4
    EDI = 5
    URI = 6
    ADDRESS = 7
    REGISTERED = 8


@dataclass(frozen=True, slots=True)
class GeneralName:
    """A name of any kind: text for EMAIL, DNS and URI (and a SmtpUTF8Mailbox), `name` for DIRECTORY, else octets."""

    kind: NameKind
    text: str = ""
    name: Name | None = None
    octets: bytes = b""
    type_id: str = ""

    @classmethod
    def parse(cls, element: Element) -> GeneralName:
        """Read a GeneralName; raises Malformed."""
        try:
            kind = NameKind(element.tag ^ 0x80)
        except ValueError:
            raise element.fault("no GeneralName", "RFC 5280 section 4.2.1.6") from None
        match kind:
            case NameKind.EMAIL | NameKind.DNS | NameKind.URI:
                return cls(kind, element.retagged(tags.IA5_STRING).text())
            case NameKind.DIRECTORY:
                return cls(kind, name=Name.parse(element.only_child()))
            case NameKind.ADDRESS:
                return cls(kind, octets=element.retagged(tags.OCTET_STRING).octet_string())
            case NameKind.OTHER:
                return cls._parse_other(element)
            case _:
                return cls(kind, octets=element.encoded)

    @classmethod
    def _parse_other(cls, element: Element) -> GeneralName:
        fields = Fields(element, tags.context(0))
        type_id = fields.oid()
        value = fields.take(tags.context(0)).only_child()
        fields.finish()
        text = value.text() if type_id == oids.SMTP_UTF8_MAILBOX else ""
        return cls(NameKind.OTHER, text, octets=value.encoded, type_id=type_id)

    @classmethod
    def email(cls, address: str) -> GeneralName:
        """Return the name that carries a mail address: rfc822Name, or SmtpUTF8Mailbox if it is not ASCII."""
        if address.isascii():
            return cls(NameKind.EMAIL, address)
        return cls(NameKind.OTHER, address, octets=writer.utf8_string(address), type_id=oids.SMTP_UTF8_MAILBOX)

    @classmethod
    def uri(cls, text: str) -> GeneralName:
        """Return the name that carries a URI."""
        return cls(NameKind.URI, text)

    @classmethod
    def directory(cls, name: Name) -> GeneralName:
        """Return the name that carries a distinguished name."""
        return cls(NameKind.DIRECTORY, name=name)

    def encode(self) -> bytes:
        """Return the DER."""
        match self.kind:
            case NameKind.EMAIL | NameKind.DNS | NameKind.URI:
                return writer.implicit(self.kind.value, writer.ia5_string(self.text))
            case NameKind.DIRECTORY:
                assert self.name is not None
                return writer.explicit(4, self.name.encoded)
            case NameKind.ADDRESS:
                return writer.implicit(7, writer.octet_string(self.octets))
            case NameKind.OTHER:
                return writer.explicit(0, writer.oid(self.type_id), writer.explicit(0, self.octets))
            case _:
                return self.octets

    def __str__(self) -> str:
        """The name for people."""
        if self.kind is NameKind.DIRECTORY:
            return str(self.name)
        if self.kind is NameKind.ADDRESS and len(self.octets) in (4, 16):
            return str(ipaddress.ip_address(self.octets))
        return shown(self.text) or self.octets.hex()


def parse_general_names(element: Element) -> tuple[GeneralName, ...]:
    """Read GeneralNames (the elements of a SEQUENCE or of a tag that stands for it)."""
    return tuple(map(GeneralName.parse, element.children()))


def encode_general_names(names: tuple[GeneralName, ...]) -> bytes:
    """Return GeneralNames in DER."""
    return writer.sequence(*(name.encode() for name in names))


def parse_name(octets: bytes) -> Name:
    """Read a Name from its own octets; raises Malformed."""
    return Name.parse(reader.parse(octets))


def parse_text(text: str) -> Name:
    """Read a name as people write it, "CN=Ada, O=Rosewood"; the most specific part comes first. Raises Malformed."""
    attributes: dict[str, str] = {}
    for part in text.split(","):
        short, separator, value = part.strip().partition("=")
        if not separator or short not in _LONG or short in attributes or not value:
            raise Malformed(f"{part.strip()!r} is not TYPE=value with one of {', '.join(_LONG)}", clause="RFC 4514")
        attributes[short] = value.strip()
    return Name.make(**dict(reversed(attributes.items())))
