"""RecipientInfo: how each recipient of encrypted content comes to its key.

Standards: RFC 5652 section 6.2, RFC 5753 section 3.1, RFC 8418 section 2.
Limits: 1,024 recipients.
"""

from __future__ import annotations

import functools

import msgspec

from letterlock.formats.asn1 import tags, writer
from letterlock.formats.asn1.reader import Element, Fields
from letterlock.formats.cms import identifiers
from letterlock.formats.cms.identifiers import CertificateIdentifier, IssuerAndSerial, KeyIdentifier
from letterlock.formats.x509.algorithm import AlgorithmIdentifier, PublicKeyInfo

MAX_RECIPIENTS = 1024


class KeyTransport(msgspec.Struct, frozen=True):
    """The content key encrypted to the recipient's key."""

    identifier: CertificateIdentifier
    algorithm: AlgorithmIdentifier
    encrypted_key: bytes

    def encode(self) -> bytes:
        """Return the DER."""
        return writer.sequence(_encode_named(self.identifier, self.algorithm), writer.octet_string(self.encrypted_key))


@functools.lru_cache(maxsize=1024)
def _encode_named(identifier: CertificateIdentifier, algorithm: AlgorithmIdentifier) -> bytes:
    """Write what stands before the key once: correspondents stay the same."""
    version = 2 if isinstance(identifier, KeyIdentifier) else 0  # RFC 5652 section 6.2.1
    return writer.integer(version) + identifier.encode() + algorithm.encode()


class KeyAgreement(msgspec.Struct, frozen=True):
    """The content key wrapped under a key both sides derive; `originator` is the sender's public key, or who it is."""

    originator: PublicKeyInfo | CertificateIdentifier
    keying_material: bytes | None
    algorithm: AlgorithmIdentifier
    encrypted_keys: tuple[tuple[CertificateIdentifier, bytes], ...]

    def encode(self) -> bytes:
        """Return the DER."""
        if isinstance(self.originator, PublicKeyInfo):
            originator = writer.implicit(1, self.originator.encoded)
        else:
            originator = self.originator.encode()
        material = self.keying_material
        body = writer.sequence(
            writer.integer(3),
            writer.explicit(0, originator),
            b"" if material is None else writer.explicit(1, writer.octet_string(material)),
            self.algorithm.encode(),
            writer.sequence(*(_encode_encrypted_key(*pair) for pair in self.encrypted_keys)),
        )
        return writer.implicit(1, body)


def _encode_encrypted_key(identifier: CertificateIdentifier, key: bytes) -> bytes:
    if isinstance(identifier, KeyIdentifier):
        encoded = writer.implicit(0, writer.sequence(writer.octet_string(identifier.octets)))
    else:
        encoded = identifier.encode()
    return writer.sequence(encoded, writer.octet_string(key))


class SharedKey(msgspec.Struct, frozen=True):
    """The content key wrapped under a key both sides already have, named by `key_id`."""

    key_id: bytes
    algorithm: AlgorithmIdentifier
    encrypted_key: bytes

    def encode(self) -> bytes:
        """Return the DER."""
        body = writer.sequence(
            writer.integer(4),
            writer.sequence(writer.octet_string(self.key_id)),
            self.algorithm.encode(),
            writer.octet_string(self.encrypted_key),
        )
        return writer.implicit(2, body)


class Password(msgspec.Struct, frozen=True):
    """The content key wrapped under a key derived from a password."""

    derivation: AlgorithmIdentifier | None
    algorithm: AlgorithmIdentifier
    encrypted_key: bytes

    def encode(self) -> bytes:
        """Return the DER."""
        body = writer.sequence(
            writer.integer(0),
            writer.implicit(0, self.derivation.encode()) if self.derivation else b"",
            self.algorithm.encode(),
            writer.octet_string(self.encrypted_key),
        )
        return writer.implicit(3, body)


class Other(msgspec.Struct, frozen=True):
    """A recipient of a kind not known here, as encoded."""

    encoded: bytes

    def encode(self) -> bytes:
        """Return it as it came."""
        return self.encoded


RecipientInfo = KeyTransport | KeyAgreement | SharedKey | Password | Other


def parse_all(element: Element) -> tuple[RecipientInfo, ...]:
    """Read RecipientInfos; raises Malformed."""
    found: list[RecipientInfo] = []
    for child in element.expect(tags.SET).children():
        if len(found) >= MAX_RECIPIENTS:
            raise child.fault(f"more than {MAX_RECIPIENTS} recipients", "RFC 5652 section 6.1")
        found.append(_parse(child))
    return tuple(found)


def _parse(element: Element) -> RecipientInfo:
    fields = Fields(element.retagged(tags.SEQUENCE)) if element.constructed else None
    if fields is None or element.tag == tags.context(4):
        return Other(element.encoded)
    if element.tag == tags.SEQUENCE:
        fields.take(tags.INTEGER)
        identifier = identifiers.parse(fields.any())
        transport = KeyTransport(identifier, _algorithm(fields), fields.take(tags.OCTET_STRING).octet_string())
        fields.finish()
        return transport
    if element.tag == tags.context(1):
        return _parse_agreement(fields)
    if element.tag == tags.context(2):
        fields.take(tags.INTEGER)
        key_id = Fields(fields.take(tags.SEQUENCE)).take(tags.OCTET_STRING).octet_string()
        return SharedKey(key_id, _algorithm(fields), fields.take(tags.OCTET_STRING).octet_string())
    if element.tag == tags.context(3):
        fields.take(tags.INTEGER)
        derivation = fields.optional(tags.context(0))
        parsed = None if derivation is None else AlgorithmIdentifier.parse(derivation.retagged(tags.SEQUENCE))
        return Password(parsed, _algorithm(fields), fields.take(tags.OCTET_STRING).octet_string())
    raise element.fault("no RecipientInfo", "RFC 5652 section 6.2")


def _algorithm(fields: Fields) -> AlgorithmIdentifier:
    return AlgorithmIdentifier.parse(fields.take(tags.SEQUENCE))


def _parse_agreement(fields: Fields) -> KeyAgreement:
    fields.take(tags.INTEGER)
    choice = fields.take(tags.context(0)).only_child()
    is_key = choice.tag == tags.context(1)
    originator = _parse_public_key(choice.retagged(tags.SEQUENCE)) if is_key else identifiers.parse(choice)
    material = fields.optional(tags.context(1))
    algorithm = _algorithm(fields)
    keys: list[tuple[CertificateIdentifier, bytes]] = []
    for child in fields.take(tags.SEQUENCE).children():
        inner = Fields(child)
        who = inner.any()
        keys.append((_parse_agreement_identifier(who), inner.take(tags.OCTET_STRING).octet_string()))
        inner.finish()
        if len(keys) > MAX_RECIPIENTS:
            raise child.fault(f"more than {MAX_RECIPIENTS} recipients", "RFC 5652 section 6.1")
    fields.finish()
    ukm = None if material is None else material.only_child().octet_string()
    return KeyAgreement(originator, ukm, algorithm, tuple(keys))


def _parse_public_key(element: Element) -> PublicKeyInfo:
    parsed = PublicKeyInfo.parse(element)
    return PublicKeyInfo.make(parsed.algorithm, parsed.key)  # encoded as a SEQUENCE again, not as the [1]


def _parse_agreement_identifier(element: Element) -> CertificateIdentifier:
    if element.tag == tags.context(0):
        inner = Fields(element.retagged(tags.SEQUENCE))
        return KeyIdentifier(inner.take(tags.OCTET_STRING).octet_string())
    return IssuerAndSerial.parse(element)
