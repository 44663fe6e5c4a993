"""The mail list agent: one message in, encrypted to the list; one out, for every member, signed by the list.

Content keys are passed on, contents are not encrypted anew, so what the author signed and sealed stays as it was. The
outer signature is the list's and carries the expansion history, by which a loop is seen.

Standards: RFC 2634 sections 4.1 to 4.4; the rules of section 4.2 with its examples 1 to 6.
Limits: 16 layers, 64 lists on the way.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field

from letterlock.errors import LetterlockError, Malformed, NotAuthentic
from letterlock.formats.asn1 import oids, reader
from letterlock.formats.cms import enveloped, identifiers
from letterlock.formats.cms.attributes import Attribute
from letterlock.formats.cms.enveloped import EnvelopedData
from letterlock.formats.cms.ess import expansion
from letterlock.formats.cms.ess.expansion import Expansion, PolicyKind, ReceiptPolicy
from letterlock.formats.imf.write import write_field
from letterlock.formats.mime.entity import parse
from letterlock.trust.smime import labels, protect
from letterlock.trust.smime.decrypt import KeyRing, open_with_key
from letterlock.trust.smime.encrypt import To, recipient_infos
from letterlock.trust.smime.entities import is_enveloping, split, with_crlf, wrap
from letterlock.trust.smime.labels import LabelPolicy
from letterlock.trust.smime.sign import Signer
from letterlock.trust.smime.unwrap import EncryptedLayer, SignedLayer, Unwrapped, unwrap

# made anew by the list's own signature; every other signed attribute is carried over
_OWN = frozenset({
    oids.CONTENT_TYPE, oids.MESSAGE_DIGEST, oids.SIGNING_TIME, oids.SIGNING_CERTIFICATE, oids.SIGNING_CERTIFICATE_V2,
    oids.ALGORITHM_PROTECTION, oids.SMIME_CAPABILITIES, oids.ML_EXPANSION_HISTORY, oids.MULTIPLE_SIGNATURES,
    oids.ENCRYPTION_KEY_PREFERENCE,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class MailList:
    """A list: its address, the keys it decrypts with, the one it signs with, and by address the members it can encrypt to."""

    address: str
    ring: KeyRing
    signer: Signer
    members: Mapping[str, To]
    receipt_policy: ReceiptPolicy | None = None
    label_policies: Mapping[str, LabelPolicy] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Expanded:
    """What goes out, to whom, and the history it carries; `encrypted` where only these recipients can read it."""

    message: bytes
    recipients: tuple[str, ...]
    history: tuple[Expansion, ...]
    encrypted: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a message was not expanded; a `loop` is for the list's administrator to mend."""

    reason: str
    loop: bool = False


def expand(message: bytes, mail_list: MailList, when: datetime.datetime, token: str) -> Expanded | Refused:
    """Expand `message` for all members; whatever is wrong with it is a Refused with the reason."""
    message = with_crlf(message)
    unwrapped = unwrap(message, mail_list.ring)
    if unwrapped.fault:
        return Refused(unwrapped.fault)
    try:
        return _Expansion(message, mail_list, when, token, unwrapped).run()
    except LetterlockError as error:
        return Refused(str(error))


class _Expansion:
    def __init__(
        self, message: bytes, mail_list: MailList, when: datetime.datetime, token: str, unwrapped: Unwrapped
    ) -> None:
        self._message = message
        self._list = mail_list
        self._when = when
        self._token = token
        self._layers = unwrapped.layers

    def run(self) -> Expanded | Refused:
        """Follow RFC 2634 section 4.2."""
        before = self._signed_before_encryption()
        for layer in before:
            if not layer.checks or not all(check.good for check in layer.checks):
                fault = next((check.fault for check in layer.checks if check.fault), "nobody signed it")
                return Refused(f"a signature does not hold: {fault}")
        reading = self._labels()
        if not reading.allowed:
            return Refused(reading.reason)
        history, outer = self._history(before)
        identifier = identifiers.of(self._list.signer.certificate)
        if any(entry.mail_list == identifier for entry in history):
            return Refused(f"the message came through {self._list.address} before", loop=True)
        entity, outer = self._entity(before, outer)
        policy = combined(next((e.receipt_policy for e in reversed(history) if e.receipt_policy), None), self._policy)
        history = (*history, Expansion(identifier, self._when, policy))
        encrypted = any(isinstance(layer, EncryptedLayer) for layer in self._layers)
        return Expanded(self._signed(entity, outer, history), tuple(self._list.members), history, encrypted)

    @property
    def _policy(self) -> ReceiptPolicy | None:
        return self._list.receipt_policy

    def _signed_before_encryption(self) -> list[SignedLayer]:
        """Return the signed layers outside any encryption, from the outside in."""
        found: list[SignedLayer] = []
        for layer in self._layers:
            if not isinstance(layer, SignedLayer):
                break
            found.append(layer)
        return found

    def _labels(self) -> labels.Reading:
        """Judge every label of every layer for the list itself (RFC 2634 section 4.2, access control)."""
        for layer in self._layers:
            if isinstance(layer, SignedLayer):
                signed = tuple(check.signer.signed for check in layer.checks if check.good)
                reading = labels.may_read(signed, self._list.address, self._list.label_policies)
                if not reading.allowed:
                    return reading
        return labels.Reading(True, "no label forbids it")

    def _history(self, before: list[SignedLayer]) -> tuple[tuple[Expansion, ...], SignedLayer | None]:
        """Return the history and the layer that carries it; all signatures must carry the same (section 4.1)."""
        for layer in before:
            values = {check.signer.signed.single(oids.ML_EXPANSION_HISTORY) for check in layer.checks} - {None}
            if len(values) > 1:
                raise Malformed("signatures with different expansion histories", clause="RFC 2634 section 4.1")
            for value in values:
                if value is not None:
                    return expansion.parse(reader.parse(value)), layer
        return (), None

    def _entity(self, before: list[SignedLayer], outer: SignedLayer | None) -> tuple[bytes, SignedLayer | None]:
        """Return what the list signs, and the layer whose attributes it carries over."""
        encrypted = next((layer for layer in self._layers if isinstance(layer, EncryptedLayer)), None)
        is_outermost = encrypted is not None and self._layers.index(encrypted) == len(before)
        if encrypted is not None and is_outermost:
            # all signatures around the encryption would break, and are taken off (examples 3 to 6)
            return self._reencrypted(encrypted.enveloped), outer or (before[-1] if before else None)
        if outer is not None:
            return outer.content, outer  # a list's own layer is replaced
        return split(self._message).inner, None  # examples 1 and 2

    def _reencrypted(self, source: EnvelopedData) -> bytes:
        """Give the content key to every member in place of the list (RFC 2634 section 4.2.3.1)."""
        _opened, key = open_with_key(source, self._list.ring)
        infos = recipient_infos(tuple(self._list.members.values()), key)
        cms = enveloped.encode(
            source.content_info_type,
            infos,
            source.content_type,
            source.algorithm,
            _cipher_text(source),
            authenticated=source.authenticated_octets,
            tag=source.tag,
        )
        is_auth = source.content_info_type == oids.AUTH_ENVELOPED_DATA
        return wrap(b"", cms, "authEnveloped-data" if is_auth else "enveloped-data")

    def _signed(self, entity: bytes, outer: SignedLayer | None, history: tuple[Expansion, ...]) -> bytes:
        attributes = [Attribute.of(oids.ML_EXPANSION_HISTORY, expansion.encode(history))]
        if outer is not None:
            attributes += [item for item in outer.checks[0].signer.signed.items if item.type not in _OWN]
        signer = dataclasses.replace(self._list.signer, attributes=tuple(attributes))
        head = b"".join(
            field.raw
            for field in parse(self._message).header
            if not field.name.lower().startswith(("content-", "mime-version")) and field.name.lower() != "sender"
        )
        whole = head + write_field("Sender", self._list.address) + b"MIME-Version: 1.0\r\n" + entity
        opaque = is_enveloping(parse(entity))
        return protect.sign_message(whole, (signer,), self._when, opaque=opaque, token=self._token)


def _cipher_text(source: EnvelopedData) -> list[bytes | memoryview]:
    if source.content is None:
        raise NotAuthentic("encrypted content that is not there")
    return list(source.content.pieces())


def combined(one: ReceiptPolicy | None, two: ReceiptPolicy | None) -> ReceiptPolicy | None:
    """Return the policy of list A's policy `one` and list B's `two` together (the table of RFC 2634 section 4.3)."""
    if one is None or two is None:
        return one or two
    if PolicyKind.NONE in (one.kind, two.kind):
        return ReceiptPolicy(PolicyKind.NONE)
    if two.kind is PolicyKind.INSTEAD_OF:
        return two
    return ReceiptPolicy(one.kind, tuple(dict.fromkeys((*one.names, *two.names))))
