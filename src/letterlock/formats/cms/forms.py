"""What is the same in all messages of a signer: the tail of a SignedData as a form in which three places are open.

Certificates, signer and algorithms repeat from message to message, octet for octet; only the message digest, the
signing time and the signature differ, and they differ inside primitive elements of the same length. A `Form` is such a
tail with these places left open. Where the octets around the places are those of a form, reading them again would give
what was read before with other values in the places. What differs anywhere else, be it by one octet or in length, is
not the form and is read as if for the first time.

Standards: RFC 5652 sections 5.1 and 5.3.
Limits: tails of 8 KiB with one signer who signed attributes, and none unsigned; 1,024 of them are remembered, the latest.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from letterlock.formats.asn1 import oids, reader, tags, writer
from letterlock.formats.asn1.reader import Element
from letterlock.formats.cms.attributes import Attribute, Attributes
from letterlock.formats.cms.signer import SignerInfo

MAX_FORMS = 1024
MAX_OCTETS = 1 << 13
_KEY_OCTETS = 64  # the serial number of the certificate, or the name of the signer, stands there
_SIGNER_FIELDS = 6  # version, signer, digest algorithm, signed attributes, signature algorithm, signature

# what follows the content: certificates, CRLs, OCSP responses, signers
Tail = tuple[tuple[bytes, ...], tuple[bytes, ...], tuple[bytes, ...], tuple[SignerInfo, ...]]


class Open(msgspec.Struct, frozen=True):
    """An attribute whose one value differs: which of them it is, and where the value stands."""

    number: int
    type: str
    value: slice[int, int]


class Form(msgspec.Struct, frozen=True, eq=False):
    """A tail with open places, all counted from its beginning.

    `fixed` are the octets that stand around the places, and where, `signed` is where the signed attributes stand without their
    identifier octet, `signature` where the octets of the signature do.
    """

    tail: Tail
    fixed: list[tuple[int, bytes]]
    open: list[Open]
    signed: slice[int, int]
    signature: slice[int, int]

    def fits(self, octets: bytes) -> bool:
        """Tell whether `octets`, of the same length, are this form filled in."""
        return False not in [octets.startswith(fixed, at) for at, fixed in self.fixed]

    def read(self, octets: bytes) -> Tail:
        """Return what octets that fit say."""
        certificates, crls, responses, (like,) = self.tail
        items = list(like.signed.items)
        for each in self.open:
            items[each.number] = Attribute(each.type, (octets[each.value],))
        # RFC 5652 section 5.4: the SET OF tag stands in place of the [0]
        covered = b"\x31" + octets[self.signed]
        signer = SignerInfo(
            like.identifier, like.digest_algorithm, Attributes(tuple(items)), covered, like.signature_algorithm,
            octets[self.signature], like.unsigned, like,
        )  # fmt: skip
        return certificates, crls, responses, (signer,)


_forms: OrderedDict[tuple[int, bytes], Form | None] = OrderedDict()  # None: seen once


def recall(octets: bytes) -> Tail | None:
    """Return what the tail of a SignedData says, if it is a form that was seen before."""
    form = _forms.get((len(octets), octets[:_KEY_OCTETS]))
    return form.read(octets) if form is not None and form.fits(octets) else None


def remember(octets: bytes, tail: Tail) -> None:
    """Remember the form of a tail that was read from `octets` without fault, if it has one.

    It is learnt when a signer's second message comes: many signers are met once.
    """
    if len(octets) > MAX_OCTETS or len(tail[-1]) != 1:
        return
    key = len(octets), octets[:_KEY_OCTETS]
    if key in _forms:
        _forms[key] = _learn(octets, tail)
        return
    if len(_forms) >= MAX_FORMS:
        _forms.popitem(last=False)
    _forms[key] = None


def forget() -> None:
    """Begin with an empty memory again."""
    _forms.clear()


def _learn(octets: bytes, tail: Tail) -> Form | None:
    whole = writer.sequence(octets)
    before = len(whole) - len(octets)
    *_others, signers = reader.parse(whole).children()
    fields = list(signers.only_child().children())
    if len(fields) != _SIGNER_FIELDS or fields[3].tag != tags.context(0) or fields[5].constructed:
        return None
    values, places = [], []
    for number, (item, element) in enumerate(zip(tail[-1][0].signed.items, fields[3].children(), strict=True)):
        if item.type in (oids.MESSAGE_DIGEST, oids.SIGNING_TIME):
            value = _only_value(element)
            if value is None:
                return None
            values.append(value)
            places.append(Open(number, item.type, slice(value.start - before, value.end - before)))
    fixed, at = [], 0
    for value in (*values, fields[5]):
        fixed.append((at, octets[at : value.content - before]))  # tag and length of an open place are not open
        at = value.content_end - before
    fixed.append((at, octets[at:]))
    signed = slice(fields[3].start + 1 - before, fields[3].end - before)
    signature = slice(fields[5].content - before, fields[5].content_end - before)
    return Form(tail, fixed, places, signed, signature)


def _only_value(attribute: Element) -> Element | None:
    """Return the value of an attribute that has one, in a primitive element."""
    _type, values = attribute.children()
    found = list(values.children())
    return found[0] if len(found) == 1 and not found[0].constructed else None
