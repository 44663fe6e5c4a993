"""Receipt requests and signed receipts.

Standards: RFC 2634 sections 2.2 (request), 2.8 (receipt), 2.9 (content hints), 2.10 (message signature digest).
Limits: 256 names in a request.
"""

from __future__ import annotations

from dataclasses import dataclass

from letterlock.errors import Malformed
from letterlock.formats.asn1 import tags, writer
from letterlock.formats.asn1.reader import Element, Fields
from letterlock.formats.x509.name import GeneralName, encode_general_names, parse_general_names

MAX_NAMES = 256


@dataclass(frozen=True, slots=True)
class ReceiptRequest:
    """Who asks for receipts of what, from whom, and where they go.

    `receipts_from` None is everybody, or with `first_tier_only` those who did not get the message through a list.
    """

    identifier: bytes
    receipts_from: tuple[tuple[GeneralName, ...], ...] | None
    receipts_to: tuple[tuple[GeneralName, ...], ...]
    first_tier_only: bool = False

    @classmethod
    def parse(cls, element: Element) -> ReceiptRequest:
        """Read a ReceiptRequest; raises Malformed."""
        fields = Fields(element)
        identifier = fields.take(tags.OCTET_STRING).octet_string()
        choice = fields.any()
        names: tuple[tuple[GeneralName, ...], ...] | None = None
        first_tier = False
        if choice.tag == tags.context(0):
            first_tier = choice.retagged(tags.INTEGER).integer() == 1
        else:
            choice.expect(tags.context(1))
            names = tuple(parse_general_names(each) for each in choice.children())
        to = tuple(parse_general_names(each) for each in fields.take(tags.SEQUENCE).children())
        fields.finish()
        if len(names or ()) > MAX_NAMES or len(to) > MAX_NAMES:
            raise Malformed(f"a receipt request with more than {MAX_NAMES} names", clause="RFC 2634 section 2.2")
        return cls(identifier, names, to, first_tier)

    def encode(self) -> bytes:
        """Return the DER."""
        if self.receipts_from is None:
            choice = writer.implicit(0, writer.integer(int(self.first_tier_only)))
        else:
            choice = writer.implicit(1, writer.sequence(*map(encode_general_names, self.receipts_from)))
        to = writer.sequence(*map(encode_general_names, self.receipts_to))
        return writer.sequence(writer.octet_string(self.identifier), choice, to)


@dataclass(frozen=True, slots=True)
class Receipt:
    """That the message with this identifier and this signature value was received and verified."""

    content_type: str
    identifier: bytes
    signature: bytes

    @classmethod
    def parse(cls, element: Element) -> Receipt:
        """Read a Receipt; raises Malformed."""
        fields = Fields(element)
        if fields.take(tags.INTEGER).integer() != 1:
            raise element.fault("a receipt of another version", "RFC 2634 section 2.8")
        content_type = fields.oid()
        identifier = fields.take(tags.OCTET_STRING).octet_string()
        signature = fields.take(tags.OCTET_STRING).octet_string()
        fields.finish()
        return cls(content_type, identifier, signature)

    def encode(self) -> bytes:
        """Return the DER."""
        return writer.sequence(
            writer.integer(1),
            writer.oid(self.content_type),
            writer.octet_string(self.identifier),
            writer.octet_string(self.signature),
        )
