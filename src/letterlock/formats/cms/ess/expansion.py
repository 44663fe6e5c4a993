"""Mail list expansion history: through which lists a message came, and what they say about receipts.

Standards: RFC 2634 section 4.4.
Limits: 64 lists, as the standard has it.
"""

from __future__ import annotations

import datetime
import enum
from dataclasses import dataclass

from letterlock.errors import Malformed
from letterlock.formats.asn1 import tags, writer
from letterlock.formats.asn1.reader import Element, Fields
from letterlock.formats.cms.identifiers import CertificateIdentifier, IssuerAndSerial, KeyIdentifier
from letterlock.formats.x509.name import GeneralName, encode_general_names, parse_general_names

MAX_LISTS = 64


class PolicyKind(enum.Enum):
    """What a list says about the receipts its author asked for."""

    NONE = 0
    INSTEAD_OF = 1
    IN_ADDITION_TO = 2


@dataclass(frozen=True, slots=True)
class ReceiptPolicy:
    """No receipts, or receipts to `names` instead of, or in addition to, where the author wants them."""

    kind: PolicyKind
    names: tuple[tuple[GeneralName, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Expansion:
    """One list's entry: which list by its certificate, when, and its receipt policy if it has one."""

    mail_list: CertificateIdentifier
    when: datetime.datetime
    receipt_policy: ReceiptPolicy | None = None

    @classmethod
    def parse(cls, element: Element) -> Expansion:
        """Read an MLData; raises Malformed."""
        fields = Fields(element)
        who = fields.any()
        identifier: CertificateIdentifier
        if who.tag == tags.OCTET_STRING:
            identifier = KeyIdentifier(who.octet_string())
        else:
            identifier = IssuerAndSerial.parse(who)
        when = fields.take(tags.GENERALIZED_TIME).time()
        policy = _parse_policy(fields.any()) if fields.more else None
        fields.finish()
        return cls(identifier, when, policy)

    def encode(self) -> bytes:
        """Return the DER."""
        if isinstance(self.mail_list, KeyIdentifier):
            who = writer.octet_string(self.mail_list.octets)
        else:
            who = self.mail_list.encode()
        policy = b"" if self.receipt_policy is None else _encode_policy(self.receipt_policy)
        return writer.sequence(who, writer.generalized_time(self.when), policy)


def _parse_policy(element: Element) -> ReceiptPolicy:
    try:
        kind = PolicyKind(element.tag ^ 0x80)
    except ValueError:
        raise element.fault("no receipt policy", "RFC 2634 section 4.4") from None
    if kind is PolicyKind.NONE:
        return ReceiptPolicy(kind)
    return ReceiptPolicy(kind, tuple(parse_general_names(each) for each in element.children()))


def _encode_policy(policy: ReceiptPolicy) -> bytes:
    if policy.kind is PolicyKind.NONE:
        return writer.implicit(0, writer.null())
    return writer.implicit(policy.kind.value, writer.sequence(*map(encode_general_names, policy.names)))


def parse(element: Element) -> tuple[Expansion, ...]:
    """Read an MLExpansionHistory, the first list first; raises Malformed."""
    found: list[Expansion] = []
    for child in element.expect(tags.SEQUENCE).children():
        if len(found) >= MAX_LISTS:
            raise Malformed(f"an expansion history of more than {MAX_LISTS} lists", clause="RFC 2634 section 4.4")
        found.append(Expansion.parse(child))
    return tuple(found)


def encode(history: tuple[Expansion, ...]) -> bytes:
    """Return an MLExpansionHistory in DER."""
    if not 1 <= len(history) <= MAX_LISTS:
        raise Malformed(f"an expansion history has 1 to {MAX_LISTS} entries", clause="RFC 2634 section 4.4")
    return writer.sequence(*(entry.encode() for entry in history))
