"""A submitted message made ready: what it must say is checked, what it should say and does not is put before it.

Nothing in it is changed or written anew: fields that are missing are prepended, and the rest stays octet for octet.

Standards: RFC 6409 section 6.1 (what may be refused), section 8.2 and 8.3 (Date, Message-ID); RFC 5322 section 3.6 (which
fields, how often).
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass

from letterlock.errors import Malformed
from letterlock.formats.address import Address
from letterlock.formats.imf.addresses import parse_addresses
from letterlock.formats.imf.dates import write_date
from letterlock.formats.imf.header import Header, read_header
from letterlock.protocols.smtp.reply import Reply, reply

_LONGEST_HEADER = 1 << 20
_AT_MOST_ONCE = ("from", "sender", "reply-to", "to", "cc", "bcc", "message-id", "in-reply-to", "references", "subject",
                 "date")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Prepared:
    """The fields to put before a message, and the domain of its first author."""

    fields: bytes
    author_domain: str


def header_of(content: tuple[bytes, ...]) -> bytes:
    """Return the header section of a message in pieces, with as little copied as can be."""
    gathered = b""
    for piece in content:
        gathered += piece
        if b"\r\n\r\n" in gathered or len(gathered) > _LONGEST_HEADER:
            break
    return gathered[:_LONGEST_HEADER]


def prepare(
    content: tuple[bytes, ...], *, may_send_as: Callable[[Address], bool], identifier: str, host_name: str, now: float
) -> Prepared | Reply:
    """Return what is to stand before the message, or the reply that refuses it.

    `may_send_as` tells whether an address is the submitter's own.
    """
    header = read_header(header_of(content))
    for name in _AT_MOST_ONCE:
        if len(header.get_all(name)) > 1:
            return reply(550, "5.6.0", f"The message has more than one {name.title()} field (RFC 5322 section 3.6)")
    author = _first_author(header, may_send_as)
    if isinstance(author, Reply):
        return author
    fields = b""
    if "date" not in header:
        moment = write_date(datetime.datetime.fromtimestamp(int(now), datetime.UTC))
        fields += f"Date: {moment}\r\n".encode()
    if "message-id" not in header:
        fields += f"Message-ID: <{identifier}@{host_name}>\r\n".encode()
    return Prepared(fields, author.domain)


def _first_author(header: Header, may_send_as: Callable[[Address], bool]) -> Address | Reply:
    mailboxes = parse_addresses(header.text("from")).mailboxes
    if not mailboxes:
        return reply(550, "5.6.0", "The message has no From field with an address (RFC 5322 section 3.6)")
    authors = []
    for mailbox in (*mailboxes, *parse_addresses(header.text("sender")).mailboxes):
        try:
            author = mailbox.to_address()
        except Malformed as error:
            return reply(550, "5.1.7", f"{mailbox.address} in From or Sender is no address: {error.problem}")
        if not may_send_as(author):
            return reply(550, "5.7.1", f"{author} in From or Sender is not an address of yours")
        authors.append(author)
    return authors[0]
