"""Writing a message: what a person gives becomes octets and an envelope.

See also: formats/mime/build.py, which makes the octets; mua/submit.py, which hands them over.
"""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass
from datetime import UTC, datetime

from letterlock.errors import Malformed
from letterlock.formats.address import Address
from letterlock.formats.envelope import Body, Envelope, Recipient
from letterlock.formats.imf.addresses import Group, Mailbox, parse_addresses
from letterlock.formats.imf.header import read_header
from letterlock.formats.mime import build
from letterlock.formats.mime.build import Binary
from letterlock.host.clock import Clock
from letterlock.host.entropy import Entropy


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes along; `type` is its media type, empty for the one its name suggests."""

    filename: str
    content: bytes
    type: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a person says: addresses as text ("Anna <anna@rosewood.test>"), the subject, the text, files."""

    author: str
    to: tuple[str, ...]
    subject: str
    text: str
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    in_reply_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Composed:
    """A message ready for submission."""

    envelope: Envelope
    content: bytes
    message_id: str


def compose(draft: Draft, *, clock: Clock, entropy: Entropy) -> Composed:
    """Return the message of a draft. Raises Malformed for addresses that are none."""
    (author,) = _mailboxes((draft.author,), "From", most=1)
    to, cc, bcc = _people(draft.to, "To"), _people(draft.cc, "Cc"), _mailboxes(draft.bcc, "Bcc")
    message_id = f"{entropy.octets(15).hex()}@{author.to_address().domain}"
    content = build.compose(
        author=author,
        to=to,
        cc=cc,
        subject=draft.subject,
        date=datetime.fromtimestamp(clock.now(), UTC).astimezone(),
        message_id=message_id,
        text=draft.text,
        attachments=[_attached(attachment) for attachment in draft.attachments],
        in_reply_to=draft.in_reply_to,
        references=draft.in_reply_to,
        token=entropy.octets(12).hex(),
    )
    everybody = [*_members(to), *_members(cc), *bcc]
    return Composed(_envelope(author, everybody, content), content, message_id)


def compose_raw(content: bytes, *, author: str, recipients: tuple[str, ...] = ()) -> Composed:
    """Return a message that is whole already; without `recipients` it goes to those its header names."""
    header = read_header(content)
    if not header:
        raise Malformed("this is no message: it has no header section", clause="RFC 5322 section 2.1")
    named = [header.text(name) for name in ("to", "cc", "bcc") if name in header]
    people = _mailboxes(recipients or tuple(named), "recipients")
    (sender,) = _mailboxes((author or header.text("from"),), "From", most=1)
    return Composed(_envelope(sender, people, content), content, header.text("message-id").strip("<>"))


def _envelope(author: Mailbox, people: list[Mailbox], content: bytes) -> Envelope:
    addresses: dict[Address, None] = dict.fromkeys(person.to_address() for person in people)
    if not addresses:
        raise Malformed("nobody to send this to")
    return Envelope(
        reverse_path=author.to_address(),
        recipients=tuple(Recipient(address) for address in addresses),
        body=Body.SEVEN_BIT if content.isascii() else Body.EIGHT_BIT,
        smtputf8=not all(str(address).isascii() for address in (author.to_address(), *addresses)),
    )


def _people(texts: tuple[str, ...], where: str) -> list[Mailbox | Group]:
    people: list[Mailbox | Group] = []
    for text in texts:
        parsed = parse_addresses(text)
        if not parsed.items:
            raise Malformed(f"{where}: {text!r} is no address")
        people.extend(parsed.items)
    return people


def _mailboxes(texts: tuple[str, ...], where: str, *, most: int = 10_000) -> list[Mailbox]:
    mailboxes = _members(_people(texts, where))
    if len(mailboxes) > most or (most == 1 and not mailboxes):
        raise Malformed(f"{where}: expected {most} address{'es' if most > 1 else ''}")
    return mailboxes


def _members(people: list[Mailbox | Group]) -> list[Mailbox]:
    return [one for person in people for one in (person.members if isinstance(person, Group) else (person,))]


def _attached(attachment: Attachment) -> Binary:
    guessed, encoding = mimetypes.guess_type(attachment.filename)
    kind = attachment.type or (guessed if guessed and not encoding else None) or "application/octet-stream"
    return Binary(attachment.content, kind, filename=attachment.filename)
