"""Signed receipts as one person meets them: asked for, answered when they wish it, and matched when one arrives.

    attribute = request_for(message_id, to)                                                  # who asks, with the signature
    asking = asked(unwrapped, proof, "bob@harbor.test")                                      # who is asked
    composed = answered(asking, signer, composed, when)
    found = arrived(unwrapped, header)                                                       # who asked, again
    matched = match(found, proof, sent, header_of_sent)

A receipt is never sent by itself. The request names the message by its Message-ID, so that whoever asked finds the sent message
again in the mailbox for sent mail; what a receipt proves is checked against that message, not against what a field says.

Standards: RFC 2634 sections 2.1 to 2.10 and 4.3.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
from dataclasses import dataclass

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats.asn1 import oids, reader, writer
from letterlock.formats.cms.attributes import Attribute
from letterlock.formats.cms.ess.receipts import Receipt
from letterlock.formats.cms.signed import SignedData
from letterlock.formats.imf.encoded_words import decode
from letterlock.formats.imf.header import Header
from letterlock.formats.imf.message_ids import parse_message_ids
from letterlock.mua.compose import Composed
from letterlock.trust.smime import receipts
from letterlock.trust.smime.entities import split, wrap
from letterlock.trust.smime.proof import Proof
from letterlock.trust.smime.receipts import Wanted
from letterlock.trust.smime.sign import Signer
from letterlock.trust.smime.unwrap import EncryptedLayer, SignedLayer, Unwrapped
from letterlock.trust.smime.verify import Check

SUBJECT = "Signed receipt"
MOST_CANDIDATES = 8
_MESSAGE_ID = re.compile(rb"<[!-;=?-~]{3,900}>")


def request_for(message_id: str, receipts_to: str) -> Attribute:
    """Return the signed attribute that asks everybody who gets a message for a receipt to an address.

    Raises Malformed for a message without Message-ID.
    """
    if not message_id:
        raise Malformed("a message without Message-ID cannot ask for receipts", clause="RFC 2634 section 2.2")
    return receipts.request(f"<{message_id}>".encode(), receipts_to)


@dataclass(frozen=True, slots=True)
class Asking:
    """Whether a receipt is asked of somebody, or why not, and whether the message came encrypted."""

    wanted: Wanted
    was_encrypted: bool
    check: Check | None = None


def asked(unwrapped: Unwrapped, proof: Proof, address: str) -> Asking | None:
    """Return whether the author of a message wants a receipt of `address`; None where none was asked of anybody."""
    layers = _signed(unwrapped)
    if not layers or unwrapped.content_type == oids.RECEIPT:
        return None
    was_encrypted = any(isinstance(layer, EncryptedLayer) for layer in unwrapped.layers)
    try:
        asking = [
            (check, found)
            for check in layers[-1].checks
            if (found := check.signer.signed.single(oids.RECEIPT_REQUEST)) is not None
        ]
    except Malformed as fault:
        return Asking(Wanted(False, f"the request cannot be read: {fault.problem}"), was_encrypted)
    if not asking:
        return None
    good = [(check, found) for check, found in asking if check.good]
    if not good or not proof.good:
        return Asking(
            Wanted(False, "the signature proves nothing, and a receipt would say that it does"), was_encrypted
        )
    if any(found != good[0][1] for _check, found in good):
        # RFC 2634 section 2.3: of requests that differ none is answered
        return Asking(Wanted(False, "its signers ask for different receipts"), was_encrypted)
    outer = layers[0].checks[0]
    if not outer.good:
        return Asking(Wanted(False, f"a signature around it does not hold: {outer.fault}"), was_encrypted)
    return Asking(receipts.wanted(good[0][0], (address,), outer.signer), was_encrypted, good[0][0])


def answered(asking: Asking, signer: Signer, composed: Composed, when: datetime.datetime) -> Composed:
    """Return `composed`, a message that has no body yet, with the receipt as its body. Raises NotAuthentic, Malformed."""
    if asking.check is None or not asking.wanted.send:
        raise NotAuthentic(asking.wanted.reason)
    named = asking.check.signer.signed.first(oids.CONTENT_TYPE)
    content_type = oids.DATA if named is None else named.oid()
    made = receipts.make(asking.check, content_type, signer, when)
    return dataclasses.replace(composed, content=wrap(split(composed.content).outer, made, "signed-receipt"))


def hinted(signer: Signer) -> Signer:
    """Return a signer for around an encrypted receipt, who says that there is one inside (RFC 2634 section 2.4 item 11)."""
    hints = Attribute.of(oids.CONTENT_HINTS, writer.sequence(writer.oid(oids.RECEIPT)))
    return dataclasses.replace(signer, attributes=(*signer.attributes, hints))


@dataclass(frozen=True, slots=True)
class Arrived:
    """A receipt that came: what it says, its signature's check, and Message-IDs the message it is for may have."""

    receipt: Receipt
    signed: SignedData
    check: Check
    candidates: tuple[str, ...]


def arrived(unwrapped: Unwrapped, header: Header) -> Arrived | None:
    """Return the receipt a message with this header is, None for any other message."""
    layers = _signed(unwrapped)
    if not layers or layers[-1].signed.content_type != oids.RECEIPT:
        return None
    try:
        found = Receipt.parse(reader.parse(layers[-1].content))
    except Malformed:
        return None
    # fields only say where to look: what is found there must fit the receipt
    named = [found.identifier[1:-1].decode("ascii")] if _MESSAGE_ID.fullmatch(found.identifier) else []
    for name in ("in-reply-to", "references"):
        named += parse_message_ids(header.text(name))
    return Arrived(found, layers[-1].signed, layers[-1].checks[0], tuple(dict.fromkeys(named))[:MOST_CANDIDATES])


@dataclass(frozen=True, slots=True)
class Matched:
    """Whether a receipt proves that somebody received a message of ours, in a sentence."""

    proved: bool
    sentence: str
    address: str = ""
    message_id: str = ""


def match(found: Arrived, proof: Proof, sent: Unwrapped | None, header: Header | None) -> Matched:
    """Match a receipt with the message it is for, as it was sent; None where no such message was found."""
    if sent is None or header is None:
        return Matched(
            False, "This is a receipt for a message that is not among those sent from here: it proves nothing"
        )
    what = f'"{decode(header.text("subject"))}" of {header.text("date")}'
    message_id = header.text("message-id").strip("<> ")
    layers = _signed(sent)
    if any(isinstance(layer, EncryptedLayer) and layer.opened is None for layer in sent.layers):
        return Matched(False, f"This may be a receipt for {what}, which cannot be opened here any more", "", message_id)
    signers = [check.signer for check in layers[-1].checks] if layers else []
    signer = next((each for each in signers if each.signature == found.receipt.signature), None)
    try:
        if signer is None:
            raise NotAuthentic("it is for another signature than that of the message sent")
        named = signer.signed.first(oids.CONTENT_TYPE)
        receipts.match(found.signed, found.check, signer, oids.DATA if named is None else named.oid())
    except (NotAuthentic, Malformed) as fault:
        return Matched(False, f"This receipt for {what} proves nothing: {fault}", "", message_id)
    if not proof.good:
        why = proof.faults[0] if proof.faults else "its signature does not cover all of it"
        return Matched(False, f"This receipt fits {what}, and who gave it is not proved: {why}", "", message_id)
    address = next(each.address for each in proof.signers if each.good)
    return Matched(True, f"{address} received {what} and verified its signature", address, message_id)


def _signed(unwrapped: Unwrapped) -> list[SignedLayer]:
    return [layer for layer in unwrapped.layers if isinstance(layer, SignedLayer) and layer.checks]
