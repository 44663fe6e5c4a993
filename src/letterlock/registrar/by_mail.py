"""Enrolment by mail: a request comes in, a challenge goes out to the address, its answer brings the certificate.

`receive` takes one message to the authority's address and returns those to be sent. It never answers what is automatic
or has no sender, so that two of its kind do not talk for ever.

Standards: RFC 8551 sections 3.6 (application/pkcs10) and 3.8 (certs-only), RFC 3834 (automatic answers); the challenge
follows the idea of RFC 8823.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass

from letterlock.errors import LetterlockError, Unavailable
from letterlock.formats.imf.addresses import parse_addresses
from letterlock.formats.imf.dates import write_date
from letterlock.formats.imf.header import Header
from letterlock.formats.imf.write import write_field
from letterlock.formats.mime.build import Text, build
from letterlock.formats.mime.entity import Entity, parse
from letterlock.registrar.authority import CertificationAuthority, Challenge
from letterlock.registrar.registry import RequestRecord, State
from letterlock.trust.pkix.smime_profile import comparable
from letterlock.trust.smime.protect import certificates_message

_TOKEN = re.compile(r"\b([0-9a-f]{40})\b")
_TYPES = frozenset({"application/pkcs10", "application/x-pkcs10"})


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message the authority sends, and to whom."""

    recipient: str
    message: bytes


def receive(
    message: bytes, authority: CertificationAuthority, own_address: str, when: datetime.datetime, source: str = ""
) -> tuple[Outgoing, ...]:
    """Handle one message to the authority; whatever it holds, the answer is a tuple of messages, perhaps empty.

    `source` names the message: handled again, it is answered again. Raises Unavailable.
    """
    tree = parse(message)
    sender = _sender(tree.header)
    if not sender or _is_automatic(tree.header) or comparable(sender) == comparable(own_address):
        return ()
    request = next((entity for _number, entity in tree.walk() if entity.content_type.full in _TYPES), None)
    try:
        if request is not None:
            return _take_request(request, sender, authority, own_address, when, source)
        return _take_answer(tree, sender, authority, own_address, when, source)
    except Unavailable:
        raise
    except LetterlockError as error:
        text = f"Your request for a certificate was not accepted: {error}.\n"
        return (_letter(own_address, sender, "Certificate request refused", text, when),)


def _sender(header: Header) -> str:
    mailboxes = [box for field in header.get_all("from") for box in parse_addresses(field.text).mailboxes]
    return mailboxes[0].address if len(mailboxes) == 1 else ""


def _is_automatic(header: Header) -> bool:
    # RFC 3834 section 2
    automatic = header.text("auto-submitted").split(";")[0].strip().lower()
    return automatic not in ("", "no") or "list-id" in header or header.text("precedence").lower() in ("bulk", "junk")


def _take_request(
    entity: Entity,
    sender: str,
    authority: CertificationAuthority,
    own_address: str,
    when: datetime.datetime,
    source: str,
) -> tuple[Outgoing, ...]:
    record = authority.submit(entity.content(), when, sender, source)
    return tuple(_challenge_letter(each, own_address, when) for each in authority.challenge(record.id, when))


def _challenge_letter(challenge: Challenge, own_address: str, when: datetime.datetime) -> Outgoing:
    text = (
        f"Somebody asks for a certificate for {challenge.address}.\n\n"
        "If that was you, answer this message and leave the line below in it.\n"
        "If it was not, do nothing: no certificate will be made.\n\n"
        f"{challenge.token}\n"
    )
    subject = f"Confirm your certificate request {challenge.request}"
    return _letter(own_address, challenge.address, subject, text, when)


def _take_answer(
    tree: Entity,
    sender: str,
    authority: CertificationAuthority,
    own_address: str,
    when: datetime.datetime,
    source: str,
) -> tuple[Outgoing, ...]:
    for token in _tokens(tree):
        record = authority.answer(token, sender, when, source)
        if record is None:
            continue
        if record.state is State.CONFIRMED and not authority.settings.challenge_suffices:
            text = f"Your address is confirmed. Request {record.id} now waits for an administrator.\n"
            return (_letter(own_address, record.answer_to, "Certificate request confirmed", text, when),)
        letter = _certificate_letter(record, authority, own_address, when)
        authority.registry.note_letter(record.id)  # from the same source it is made again
        return (letter,)
    return ()


def _tokens(tree: Entity) -> list[str]:
    """Return what looks like a token in the first text part and the subject, at most eight."""
    texts = [tree.header.text("subject")]
    texts += [entity.text() for _number, entity in tree.walk() if entity.content_type.type == "text"][:1]
    return [match[1] for text in texts for match in _TOKEN.finditer(text[: 1 << 16])][:8]


def _certificate_letter(
    record: RequestRecord, authority: CertificationAuthority, own_address: str, when: datetime.datetime
) -> Outgoing:
    certificate = authority.registry.certificate_of(record.id) if record.state is State.ISSUED else None
    if certificate is None:
        certificate = authority.issue(record.id, when)
    fields = _fields(own_address, record.answer_to, "Your certificate", when)
    head = b"".join(write_field(name, value) for name, value in fields)
    message = certificates_message(head, (certificate, authority.authority.certificate))
    return Outgoing(record.answer_to, message)


def decided(
    authority: CertificationAuthority, own_address: str, when: datetime.datetime
) -> tuple[tuple[int, Outgoing], ...]:
    """Return what an administrator's decisions owe to those who asked by mail, by the number of the request.

    A letter is owed until the caller has taken it on and said so (`registry.note_letter`). Raises OurFault, Unavailable.
    """
    found = []
    for record in authority.registry.owed_letters():
        if record.state is State.REFUSED:
            text = f"Your request for a certificate was refused: {record.reason or 'without a reason'}.\n"
            found.append((record.id, _letter(own_address, record.answer_to, "Certificate request refused", text, when)))
        else:
            found.append((record.id, _certificate_letter(record, authority, own_address, when)))
    return tuple(found)


def _letter(own_address: str, recipient: str, subject: str, text: str, when: datetime.datetime) -> Outgoing:
    return Outgoing(recipient, build(Text(text), _fields(own_address, recipient, subject, when), token="registrar"))  # noqa: S106 - makes a boundary


def _fields(own_address: str, recipient: str, subject: str, when: datetime.datetime) -> list[tuple[str, str]]:
    return [
        ("From", own_address),
        ("To", recipient),
        ("Subject", subject),
        ("Date", write_date(when)),
        ("Auto-Submitted", "auto-replied"),
    ]
