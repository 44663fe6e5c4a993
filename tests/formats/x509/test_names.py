"""Names, certificates, lists and requests as values."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.errors import Malformed, OurFault
from letterlock.formats.asn1 import oids, reader, writer
from letterlock.formats.x509 import crl, extensions, ocsp, request
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.extension_writer import extension, key_usage
from letterlock.formats.x509.extensions import KeyUsage
from letterlock.formats.x509.name import GeneralName, Name, NameKind, parse_name, parse_text, shown


def test_names_compare_by_meaning() -> None:
    """RFC 5280 section 7.1: case, spaces and string types do not tell names apart; order and type do."""
    one = Name.make(O="Rosewood  Ltd", CN="Ada")
    printable = writer.sequence(
        writer.set_of([writer.sequence(writer.oid(oids.ORGANIZATION), writer.printable_string("ROSEWOOD LTD"))]),
        writer.set_of([writer.sequence(writer.oid(oids.COMMON_NAME), writer.printable_string("ada"))]),
    )
    assert parse_name(printable) == one
    assert hash(parse_name(printable)) == hash(one)
    assert Name.make(CN="Ada", O="Rosewood Ltd") != one
    assert Name.make(O="Rosewood Ltd", UID="Ada") != one
    assert one.is_within(Name.make(O="rosewood ltd"))
    assert not Name.make(O="Rosewood Ltd").is_within(one)


def test_text_and_back() -> None:
    """As people write it, the most specific first."""
    name = parse_text("CN=Ada, O=Rosewood, C=DE")
    assert str(name) == "CN=Ada, O=Rosewood, C=DE"
    assert name == Name.make(C="DE", O="Rosewood", CN="Ada")
    for wrong in ("Ada", "CN", "CN=", "XX=1", "CN=a, CN=b"):
        with pytest.raises(Malformed):
            parse_text(wrong)


@given(st.text(max_size=40))
def test_nothing_shown_can_act(text: str) -> None:
    """No control, format or separator character but the space comes through."""
    assert all(char == " " or char.isprintable() for char in shown(text))


@pytest.mark.parametrize("address", ["ada@rosewood.test", "grå@bücher.test"])
def test_general_names_round_trip(address: str) -> None:
    """rfc822Name for ASCII, SmtpUTF8Mailbox for the rest (RFC 9598)."""
    for name in (GeneralName.email(address), GeneralName.uri("http://x.test/a.crl"), GeneralName.directory(Name.make(CN="A")),
                 GeneralName(NameKind.ADDRESS, octets=bytes(4)), GeneralName(NameKind.DNS, "x.test")):  # fmt: skip
        assert GeneralName.parse(reader.parse(name.encode())) == name
    with pytest.raises(OurFault):
        GeneralName(NameKind.EMAIL, "grå@x.test").encode()


def test_an_extension_stands_once() -> None:
    """RFC 5280 section 4.2; one not known and critical is listed."""
    usage = key_usage([KeyUsage.DIGITAL_SIGNATURE])
    with pytest.raises(Malformed):
        extensions.parse(reader.parse(writer.sequence(usage, usage)))
    parsed = extensions.parse(reader.parse(writer.sequence(usage, extension("1.2.3", b"x", critical=True))))
    assert (parsed.key_usage, parsed.unknown_critical) == ({KeyUsage.DIGITAL_SIGNATURE}, ("1.2.3",))


@given(st.binary(max_size=300))
def test_random_octets_raise_only_malformed(octets: bytes) -> None:
    """Every reader of this folder."""
    wrapped = writer.sequence(octets)
    for read in (Certificate.parse, crl.RevocationList.parse, ocsp.OcspResponse.parse, ocsp.parse_request,
                 request.Request.parse, parse_name):  # fmt: skip
        for source in (octets, wrapped):
            try:
                read(source)
            except Malformed:
                continue


def test_ocsp_answers_round_trip() -> None:
    """All three states, with and without a nonce."""
    when = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    named = ocsp.CertificateId(oids.SHA1, bytes(20), bytes(20), 5)
    states = (
        ocsp.SingleResponse(named, ocsp.CertificateStatus.GOOD, when, when),
        ocsp.SingleResponse(named, ocsp.CertificateStatus.REVOKED, when, None, when, crl.Reason.KEY_COMPROMISE),
        ocsp.SingleResponse(named, ocsp.CertificateStatus.UNKNOWN, when),
    )
    from letterlock.formats.x509.algorithm import AlgorithmIdentifier

    octets = ocsp.encode_response(
        bytes(20), when, states, AlgorithmIdentifier(oids.ED25519), lambda _tbs: b"s", nonce=b"n"
    )
    parsed = ocsp.OcspResponse.parse(octets)
    assert (parsed.responses, parsed.nonce, parsed.responder) == (states, b"n", bytes(20))
    assert ocsp.parse_request(ocsp.encode_request((named,), b"n")) == ((named,), writer.octet_string(b"n"))
    for status in (1, 2, 6):
        with pytest.raises(Malformed):
            ocsp.OcspResponse.parse(ocsp.encode_failure(status))
