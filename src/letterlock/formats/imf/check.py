"""What a header section must hold and may not: counts of fields, authors, octets that do not belong there.

Standards: RFC 5322 section 3.6 (the table of counts), section 3.6.2 (Sender with several authors), RFC 6532 section 3,
RFC 2045 section 4 (MIME-Version).
"""

from __future__ import annotations

from letterlock.formats.defect import Defect, Kind
from letterlock.formats.imf.addresses import AddressList, parse_addresses
from letterlock.formats.imf.dates import parse_date
from letterlock.formats.imf.encoded_words import decode
from letterlock.formats.imf.header import Field, Header
from letterlock.formats.imf.message_ids import parse_message_id

ONCE = frozenset(("date", "from", "sender", "reply-to", "to", "cc", "bcc", "message-id", "in-reply-to", "references",
                  "subject", "mime-version", "content-type", "content-transfer-encoding", "content-disposition",
                  "content-id", "content-description", "return-path"))  # fmt: skip
ADDRESS_FIELDS = ("sender", "reply-to", "to", "cc", "bcc")
_NAMED_APART = {
    "content-type": Kind.DUPLICATE_CONTENT_TYPE,
    "content-transfer-encoding": Kind.DUPLICATE_ENCODING,
    "content-disposition": Kind.DUPLICATE_DISPOSITION,
}


def check_message_header(header: Header) -> list[Defect]:
    """Return what is wrong with the header section of a whole message, beyond what reading it showed."""
    defects = check_fields(header)
    for name in ("from", "date"):  # RFC 5322 section 3.6: the two that must be there
        if name not in header:
            defects.append(Defect(Kind.MISSING_FIELD, header.start, name))
    author = header.get("from")
    if author is not None:
        defects += _check_author(author, header)
    for name in ADDRESS_FIELDS:
        for field in header.get_all(name):
            defects += _check_names(field, parse_addresses(field.text))
    date = header.get("date")
    if date is not None:
        defects += _placed(date, _date_defects(date.text))
    version = header.get("mime-version")
    if version is not None and version.text.partition("(")[0].strip() != "1.0":
        defects.append(Defect(Kind.MIME_VERSION, version.start, version.text[:20]))
    return defects


def check_fields(header: Header) -> list[Defect]:
    """Return what is wrong with the fields of any header section: doubles, stray octets."""
    defects = [
        Defect(_NAMED_APART.get(name, Kind.DUPLICATE_FIELD), fields[1].start, name)
        for name in header.names()
        if name in ONCE and len(fields := header.get_all(name)) > 1
    ]
    for field in header:
        defects += _check_octets(field)
    section = header.octets[header.start : header.end]
    if section.count(b"\n") != section.count(b"\r\n"):
        defects.append(Defect(Kind.BARE_LF, header.start))  # said once for a section
    for name in ("message-id", "content-id"):
        identifier = header.get(name)
        if identifier is not None:
            problems: list[Defect] = []
            parse_message_id(identifier.text, problems)
            defects += _placed(identifier, problems)
    return defects


def check_identity(header: Header) -> list[Defect]:
    """Return what leaves two readers of From and Sender with different people, doubles of them aside."""
    section = header.raw
    defects = []
    if b"\0" in section:
        defects.append(Defect(Kind.NUL, header.start))
    if section.count(b"\r") != section.count(b"\r\n"):  # to some a line of its own begins there
        defects.append(Defect(Kind.BARE_CR, header.start))
    for name in ("from", "sender"):
        for field in header.get_all(name):
            defects += (*_check_octets(field), *_check_author(field, header))
    return [each for each in defects if each.kind.ambiguous]


def _check_octets(field: Field) -> list[Defect]:
    value = field.value
    found: list[Defect] = []
    if field.octets[field.name_end] != 58:
        found.append(Defect(Kind.SPACE_BEFORE_COLON, field.name_end))
    if b"\0" in value:
        found.append(Defect(Kind.NUL, field.start))
    if value.count(b"\r") != value.count(b"\r\n"):
        found.append(Defect(Kind.BARE_CR, field.start))
    if not value.isascii():
        try:
            value.decode("utf-8")
        except UnicodeDecodeError:
            found.append(Defect(Kind.RAW_8BIT, field.start))
    if len(value) > 998 and max(map(len, value.split(b"\n"))) > 999:
        found.append(Defect(Kind.LONG_LINE, field.start))
    return found


def _check_author(field: Field, header: Header) -> list[Defect]:
    addresses = parse_addresses(field.text)
    found, mailboxes = _check_names(field, addresses), addresses.mailboxes
    if len(mailboxes) > 1:
        found.append(Defect(Kind.SEVERAL_AUTHORS, field.start, "" if "sender" in header else "without Sender"))
    if '"=?' in field.text:  # RFC 2047 section 5 (3): not in a quoted string, where some readers decode it all the same
        found.append(Defect(Kind.ENCODED_WORD_LOOSE, field.value_start))
    for mailbox in mailboxes:
        name = mailbox.display_name
        if "@" in name and mailbox.address.lower() not in name.lower():
            found.append(Defect(Kind.NAME_IS_ADDRESS, field.start, name[:60]))
        if not all(character.isprintable() or character in "\u200c\u200d" for character in name):
            found.append(Defect(Kind.CONTROL_CHARACTER, field.start))
    return found


def _check_names(field: Field, addresses: AddressList) -> list[Defect]:
    """Return what is wrong with an address list and with the encoded words in its names."""
    found = list(addresses.defects)
    for mailbox in addresses.mailboxes:
        decode(mailbox.name, found)
    return _placed(field, found)


def _date_defects(text: str) -> list[Defect]:
    defects: list[Defect] = []
    parse_date(text, defects)
    return defects


def _placed(field: Field, defects: list[Defect] | tuple[Defect, ...]) -> list[Defect]:
    """Return the defects of a field's value at the field's offset in the message."""
    return [Defect(one.kind, field.value_start, one.detail) for one in defects]
