"""TLSA records against certificate chains, in every combination."""

import datetime
import itertools

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from letterlock.formats.dns.rdata import Tlsa
from letterlock.trust.dane.authenticate import ALL_USAGES, authenticate
from letterlock.trust.dane.records import DANE_EE, DANE_TA, PKIX_EE, PKIX_TA, associate, usable
from letterlock.trust.primitives.server_certificates import Identity, Validity, authority, server

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
YEAR = Validity(START, datetime.timedelta(days=365))
NOW = int(START.timestamp()) + 86400
LATE = NOW + 400 * 86400
CA = authority("Test Root", YEAR, 1)
OTHER = authority("Other Root", YEAR, 2)
SERVER = server(("mx.test",), YEAR, 3, CA)
SELF = server(("mx.test",), YEAR, 4)


def _der(identity: Identity) -> bytes:
    return x509.load_pem_x509_certificate(identity.certificate).public_bytes(Encoding.DER)


def _spki(identity: Identity) -> bytes:
    key = x509.load_pem_x509_certificate(identity.certificate).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _tlsa(usage: int, selector: int, matching_type: int, identity: Identity) -> Tlsa:
    return Tlsa(usage, selector, matching_type, associate(_der(identity), _spki(identity), selector, matching_type))


CHAIN = [_der(SERVER), _der(CA)]
KINDS = list(itertools.product((0, 1), (0, 1, 2)))


@pytest.mark.parametrize(("selector", "matching_type"), KINDS)
def test_dane_ee_asks_for_nothing_but_the_key(selector: int, matching_type: int) -> None:
    """RFC 7671 section 5.1: neither name nor date nor chain counts."""
    record = _tlsa(DANE_EE, selector, matching_type, SERVER)
    assert authenticate([record], [_der(SERVER)], ["other.test"], LATE).is_authentic
    assert not authenticate([record], [_der(SELF)], ["mx.test"], NOW).is_authentic


@pytest.mark.parametrize(("selector", "matching_type"), KINDS)
def test_dane_ta_needs_name_date_and_chain(selector: int, matching_type: int) -> None:
    """RFC 7671 section 5.2: the chain leads to the authority, and the certificate is for the host, now."""
    record = _tlsa(DANE_TA, selector, matching_type, CA)
    assert authenticate([record], CHAIN, ["mx.test"], NOW).depth == 1
    assert authenticate([record], CHAIN, ["next.test", "mx.test"], NOW).is_authentic
    assert "not other.test" in authenticate([record], CHAIN, ["other.test"], NOW).reason
    assert "only" in authenticate([record], CHAIN, ["mx.test"], LATE).reason
    wrong = _tlsa(DANE_TA, selector, matching_type, OTHER)
    assert not authenticate([wrong], [*CHAIN, _der(OTHER)], ["mx.test"], NOW).is_authentic


@pytest.mark.parametrize("selector", [0, 1])
def test_an_authority_that_is_whole_in_the_record_may_be_left_out(selector: int) -> None:
    record = _tlsa(DANE_TA, selector, 0, CA)
    assert authenticate([record], [_der(SERVER)], ["mx.test"], NOW).is_authentic
    assert not authenticate([record], [_der(SELF)], ["mx.test"], NOW).is_authentic


def test_the_own_certificate_is_no_authority() -> None:
    """RFC 7671 section 5.2: not even a self-signed one."""
    for selector, matching_type in KINDS:
        record = _tlsa(DANE_TA, selector, matching_type, SELF)
        assert not authenticate([record], [_der(SELF), _der(SELF)], ["mx.test"], NOW).is_authentic


@pytest.mark.parametrize(("usage", "identity"), [(PKIX_TA, CA), (PKIX_EE, SERVER)])
def test_pkix_usages_narrow_an_ordinary_validation(usage: int, identity: Identity) -> None:
    """They never count for SMTP; elsewhere they need the validated path."""
    record = _tlsa(usage, 1, 1, identity)
    assert not authenticate([record], CHAIN, ["mx.test"], NOW).is_authentic
    assert not authenticate([record], CHAIN, ["mx.test"], NOW, usages=ALL_USAGES).is_authentic
    assert authenticate([record], CHAIN, ["mx.test"], NOW, usages=ALL_USAGES, validated=CHAIN).is_authentic
    wrong = _tlsa(usage, 1, 1, OTHER)
    assert not authenticate([wrong], CHAIN, ["mx.test"], NOW, usages=ALL_USAGES, validated=CHAIN).is_authentic


def test_only_the_strongest_digest_counts() -> None:
    """RFC 7671 section 9: a SHA-256 record that fits is ignored beside a SHA-512 record that does not."""
    weak, strong, whole = _tlsa(3, 1, 1, SERVER), _tlsa(3, 1, 2, OTHER), _tlsa(3, 1, 0, OTHER)
    assert not authenticate([weak, strong], CHAIN, ["mx.test"], NOW).is_authentic
    assert set(usable([weak, strong, whole], ALL_USAGES)) == {strong, whole}
    assert authenticate([weak, whole], CHAIN, ["mx.test"], NOW).is_authentic


@pytest.mark.parametrize(
    "record",
    [Tlsa(4, 0, 1, b"x" * 32), Tlsa(3, 2, 1, b"x" * 32), Tlsa(3, 1, 3, b"x"), Tlsa(3, 1, 1, b"x"), Tlsa(3, 1, 0, b"")],
)
def test_records_out_of_form_do_not_count(record: Tlsa) -> None:
    assert usable([record], ALL_USAGES) == ()
    assert not authenticate([record], CHAIN, ["mx.test"], NOW).is_authentic


def test_garbage_for_a_certificate_is_a_verdict() -> None:
    record = _tlsa(3, 1, 1, SERVER)
    assert "no certificate" in authenticate([record], [b"garbage"], ["mx.test"], NOW).reason
    assert "no certificate" in authenticate([record], [], ["mx.test"], NOW).reason
