"""Which certificate a signer wants mail encrypted to, where it is not the one that signs: a signed attribute.

Standards: RFC 8551 section 2.5.3 (SMIMEEncryptionKeyPreference; the module of its appendix tags implicitly).
"""

from __future__ import annotations

from letterlock.errors import Malformed
from letterlock.formats.asn1 import oids, reader, tags, writer
from letterlock.formats.asn1.reader import Fields
from letterlock.formats.cms.attributes import Attribute, Attributes
from letterlock.formats.cms.identifiers import CertificateIdentifier, IssuerAndSerial, KeyIdentifier

_CLAUSE = "RFC 8551 section 2.5.3"


def attribute(preferred: IssuerAndSerial) -> Attribute:
    """Return the attribute that names a certificate."""
    return Attribute.of(oids.ENCRYPTION_KEY_PREFERENCE, writer.implicit(0, preferred.encode()))


def preferred(signed: Attributes) -> CertificateIdentifier | None:
    """Return which certificate the signed attributes of a signer name, None where they name none. Raises Malformed."""
    value = signed.single(oids.ENCRYPTION_KEY_PREFERENCE)
    if value is None:
        return None
    element = reader.parse(value)
    match element.tag:
        case number if number == tags.context(0):
            return IssuerAndSerial.parse(reader.parse(b"\x30" + value[1:]))  # a SEQUENCE under another tag
        case number if number == tags.context(1):  # RecipientKeyIdentifier, of which the rest is of no use here
            return KeyIdentifier(Fields(element.retagged(tags.SEQUENCE)).take(tags.OCTET_STRING).octet_string())
        case number if number == tags.context(2):
            return KeyIdentifier(element.retagged(tags.OCTET_STRING).octet_string())
        case _:
            raise Malformed("a preference for a key of no known kind", clause=_CLAUSE)
