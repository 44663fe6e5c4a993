"""Certification requests (PKCS#10): who asks for a certificate, for which key and addresses.

Standards: RFC 2986 section 4, RFC 2985 section 5.4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from letterlock.formats.asn1 import oids, reader, tags, writer
from letterlock.formats.asn1.reader import Fields
from letterlock.formats.x509 import extension_writer, extensions
from letterlock.formats.x509.algorithm import AlgorithmIdentifier, PublicKeyInfo
from letterlock.formats.x509.certificate import signed, signed_fields
from letterlock.formats.x509.extensions import Extensions, KeyUsage
from letterlock.formats.x509.name import GeneralName, Name


@dataclass(frozen=True, slots=True)
class Request:
    """A request: `info` is what its own key signed, `extensions` those it asks for."""

    octets: bytes
    info: bytes = field(compare=False, repr=False)
    subject: Name = field(compare=False)
    public_key: PublicKeyInfo = field(compare=False, repr=False)
    extensions: Extensions = field(compare=False)
    challenge: str = field(compare=False, repr=False)
    signature_algorithm: AlgorithmIdentifier = field(compare=False)
    signature: bytes = field(compare=False, repr=False)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The mail addresses it asks for."""
        names = self.extensions.subject_alt_names
        found = [name.text for name in names if name.kind.value == 1 or name.type_id == oids.SMTP_UTF8_MAILBOX]
        return tuple(dict.fromkeys((*found, *self.subject.values(oids.EMAIL_ADDRESS))))

    @classmethod
    def parse(cls, octets: bytes) -> Request:
        """Read a PKCS#10 request in DER; raises Malformed."""
        info, algorithm, signature = signed_fields(reader.parse(octets))
        fields = Fields(info)
        fields.take(tags.INTEGER)
        subject = Name.parse(fields.any())
        key = PublicKeyInfo.parse(fields.take(tags.SEQUENCE))
        attributes = fields.optional(tags.context(0))
        fields.finish()
        asked, challenge = Extensions(), ""
        for child in [] if attributes is None else attributes.children():
            pair = Fields(child)
            oid, values = pair.take(tags.OBJECT_IDENTIFIER).oid(), pair.take(tags.SET)
            if oid == oids.EXTENSION_REQUEST:
                asked = extensions.parse(values.only_child())
            elif oid == oids.CHALLENGE_PASSWORD:
                challenge = values.only_child().text()
        return cls(octets, info.encoded, subject, key, asked, challenge, algorithm, signature)


def make(
    subject: Name,
    addresses: tuple[str, ...],
    public_key: PublicKeyInfo,
    usages: frozenset[KeyUsage],
    algorithm: AlgorithmIdentifier,
    sign: Callable[[bytes], bytes],
    challenge: str = "",
) -> Request:
    """Return a request for a mail certificate, signed with the key it is for."""
    asked = [extension_writer.key_usage(usages), extension_writer.extended_key_usage(oids.EMAIL_PROTECTION)]
    if addresses:
        names = tuple(map(GeneralName.email, addresses))
        asked.append(extension_writer.subject_alt_names(names, critical=not subject))
    attributes = [_attribute(oids.EXTENSION_REQUEST, writer.sequence(*asked))]
    if challenge:
        attributes.append(_attribute(oids.CHALLENGE_PASSWORD, writer.utf8_string(challenge)))
    info = writer.sequence(
        writer.integer(0), subject.encoded, public_key.encoded, writer.implicit(0, writer.set_of(attributes))
    )
    return Request.parse(signed(info, algorithm, sign))


def _attribute(oid: str, value: bytes) -> bytes:
    return writer.sequence(writer.oid(oid), writer.set_of([value]))
