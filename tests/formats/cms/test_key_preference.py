"""What signers say of the key to encrypt to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.errors import Malformed
from letterlock.formats.asn1 import oids, writer
from letterlock.formats.cms import key_preference
from letterlock.formats.cms.attributes import Attribute, Attributes
from letterlock.formats.cms.identifiers import CertificateIdentifier, IssuerAndSerial, KeyIdentifier
from letterlock.formats.x509.name import Name

NAMED = IssuerAndSerial(Name.make(CN="An authority"), 5)
KEY = KeyIdentifier(b"\x01\x02\x03")


def _read(value: bytes) -> CertificateIdentifier | None:
    return key_preference.preferred(Attributes((Attribute.of(oids.ENCRYPTION_KEY_PREFERENCE, value),)))


def test_what_is_written_is_read() -> None:
    """By issuer and serial number; without the attribute, nothing is preferred."""
    assert key_preference.preferred(Attributes((key_preference.attribute(NAMED),))) == NAMED
    assert key_preference.preferred(Attributes()) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"\xa0" + NAMED.encode()[1:], NAMED),
        (b"\xa1" + writer.sequence(writer.octet_string(KEY.octets))[1:], KEY),
        (b"\x82" + writer.octet_string(KEY.octets)[1:], KEY),
    ],
)
def test_all_three_forms_are_read(value: bytes, expected: CertificateIdentifier) -> None:
    """RFC 8551 appendix A: [0] issuerAndSerialNumber, [1] receipentKeyId, [2] subjectAltKeyIdentifier, all implicit."""
    assert _read(value) == expected


@given(st.binary(max_size=40))
def test_anything_else_is_malformed(octets: bytes) -> None:
    """Octets of strangers raise Malformed or are read, and nothing else."""
    for tag in (b"", b"\xa0", b"\xa1", b"\x82", b"\x30"):
        try:
            _read(tag + octets)
        except Malformed:
            continue
