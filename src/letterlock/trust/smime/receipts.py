"""Signed receipts: asked for, produced, and matched with what was sent.

Standards: RFC 2634 sections 2.1 to 2.6 and 4.3.
"""

from __future__ import annotations

import datetime
import hmac
from dataclasses import dataclass

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats.asn1 import oids, reader, writer
from letterlock.formats.cms import signed
from letterlock.formats.cms.attributes import Attribute
from letterlock.formats.cms.ess import expansion
from letterlock.formats.cms.ess.expansion import PolicyKind
from letterlock.formats.cms.ess.receipts import Receipt, ReceiptRequest
from letterlock.formats.cms.signed import SignedData
from letterlock.formats.cms.signer import SignerInfo
from letterlock.formats.x509.name import GeneralName, NameKind
from letterlock.trust.pkix.smime_profile import comparable
from letterlock.trust.primitives.digests import digest
from letterlock.trust.smime.sign import Signer, sign_digest
from letterlock.trust.smime.verify import Check


def request(
    identifier: bytes, receipts_to: str, receipts_from: tuple[str, ...] = (), *, first_tier_only: bool = False
) -> Attribute:
    """Return the signed attribute that asks for receipts to an address, of everybody or of those named.

    `identifier` must be another one for every message (RFC 2634 section 2.2): entropy, time and sender make it so.
    """
    named = tuple((GeneralName.email(address),) for address in receipts_from) or None
    asked = ReceiptRequest(identifier, named, ((GeneralName.email(receipts_to),),), first_tier_only)
    return Attribute.of(oids.RECEIPT_REQUEST, asked.encode())


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whether a receipt is to be sent, where to, and why or why not."""

    send: bool
    reason: str
    request: ReceiptRequest | None = None
    addresses: tuple[str, ...] = ()


def wanted(author: Check, addresses: tuple[str, ...], outer: SignerInfo | None = None) -> Wanted:
    """Decide whether a receipt goes out for a message (RFC 2634 section 2.3).

    `author` is the check of the innermost signature, `addresses` are one's own, `outer` is the outermost signer, whose
    expansion history tells what mail lists want. A signature that does not hold gets no receipt.
    """
    if not author.good:
        return Wanted(False, f"the signature does not hold: {author.fault}")
    try:
        found = author.signer.signed.first(oids.RECEIPT_REQUEST)
        asked = None if found is None else ReceiptRequest.parse(found)
        history = () if outer is None else _history(outer)
    except Malformed as error:
        return Wanted(False, str(error))
    if asked is None:
        return Wanted(False, "no receipt was asked for")
    # RFC 2634 section 4.3: the last list carries on what those before it want
    policy = history[-1].receipt_policy if history else None
    if policy is not None and policy.kind is PolicyKind.NONE:
        return Wanted(False, "a mail list on the way wants no receipts", asked)
    if asked.receipts_from is None:
        if asked.first_tier_only and history:
            return Wanted(False, "receipts are wanted only of those who got the message without a list", asked)
    elif not _names_me(asked.receipts_from, addresses):
        return Wanted(False, "receipts are wanted of others", asked)
    names = asked.receipts_to
    if policy is not None:
        names = policy.names if policy.kind is PolicyKind.INSTEAD_OF else (*names, *policy.names)
    to = tuple(dict.fromkeys(name.text for group in names for name in group if name.kind is NameKind.EMAIL))
    if not to:
        return Wanted(False, "the request names no mail address for receipts", asked)
    return Wanted(True, "the author asked for a receipt", asked, to)


def _history(outer: SignerInfo) -> tuple[expansion.Expansion, ...]:
    value = outer.signed.first(oids.ML_EXPANSION_HISTORY)
    return () if value is None else expansion.parse(value)


def _names_me(groups: tuple[tuple[GeneralName, ...], ...], addresses: tuple[str, ...]) -> bool:
    mine = {comparable(address).casefold() for address in addresses}
    return any(comparable(name.text).casefold() in mine for group in groups for name in group)


def make(author: Check, content_type: str, signer: Signer, signing_time: datetime.datetime) -> bytes:
    """Return the ContentInfo of a signed receipt for the message `author` signed; raises NotAuthentic or Malformed."""
    asked = author.signer.signed.first(oids.RECEIPT_REQUEST)
    if not author.good or asked is None or author.signer.signed_octets is None:
        raise NotAuthentic("a receipt is given only for a signature that holds and asks for one")
    receipt = Receipt(content_type, ReceiptRequest.parse(asked).identifier, author.signer.signature).encode()
    # RFC 2634 section 2.4 item 3: the digest of the original's signed attributes, as its author computed it
    original = digest(author.signer.digest_algorithm.oid, author.signer.signed_octets)
    signer = Signer(
        signer.key,
        signer.certificate,
        signer.digest,
        signer.pss,
        signer.by_key_id,
        (*signer.attributes, Attribute.of(oids.MSG_SIG_DIGEST, writer.octet_string(original))),
    )
    oid = signer.digest_algorithm.oid
    info = sign_digest(signer, {oid: digest(oid, receipt)}, signing_time, oids.RECEIPT)
    return signed.encode(oids.RECEIPT, receipt, (info,), (signer.certificate.octets,))


def match(receipt: SignedData, check: Check, sent: SignerInfo, content_type: str = oids.DATA) -> None:
    """Check that a receipt is one for the message we sent with the signature `sent` (RFC 2634 section 2.6).

    `check` is the verification of the receipt's own signature. Raises NotAuthentic if it proves nothing.
    """
    if not check.good:
        raise NotAuthentic(f"the receipt's signature does not hold: {check.fault}")
    if receipt.content_type != oids.RECEIPT or receipt.content is None:
        raise NotAuthentic("no receipt: the signed content is something else")
    found = Receipt.parse(reader.parse(receipt.content.octet_string()))
    asked = sent.signed.first(oids.RECEIPT_REQUEST)
    if asked is None or ReceiptRequest.parse(asked).identifier != found.identifier:
        raise NotAuthentic("the receipt is for another message")
    if found.content_type != content_type or not hmac.compare_digest(found.signature, sent.signature):
        raise NotAuthentic("the receipt is for another signature")
    named = check.signer.signed.first(oids.MSG_SIG_DIGEST)
    expected = digest(sent.digest_algorithm.oid, sent.signed_octets or b"")
    if named is None or not hmac.compare_digest(named.octet_string(), expected):
        raise NotAuthentic("the receipt's digest is not that of the message sent")
