"""The certification authority: from request to revocation, by command and by mail."""

from __future__ import annotations

import base64
import datetime
import re

import pytest

from letterlock.errors import LetterlockError, NotAuthentic, OurFault
from letterlock.formats.address import Address
from letterlock.formats.imf.header import read_header
from letterlock.formats.mime.build import Binary, build
from letterlock.formats.mime.entity import parse
from letterlock.formats.x509 import request as requests
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.crl import Reason
from letterlock.formats.x509.extensions import KeyUsage
from letterlock.formats.x509.name import Name
from letterlock.formats.x509.ocsp import CertificateStatus, OcspResponse, encode_request
from letterlock.formats.x509.request import Request
from letterlock.registrar import by_mail
from letterlock.registrar.authority import AuthoritySettings, CertificationAuthority
from letterlock.registrar.key_store import KeyStore
from letterlock.registrar.registry import Registry, State
from letterlock.registrar.signature_log import LoggedSignature
from letterlock.trust.dane.owner_names import smimea_name
from letterlock.trust.pkix import issue, ocsp_check, path
from letterlock.trust.pkix.path import Anchor, Pool
from letterlock.trust.pkix.revocation import Evidence, Status, check_path
from letterlock.trust.primitives import key_pairs, signatures
from letterlock.trust.primitives.key_pairs import PrivateKey
from letterlock.trust.smime.capabilities import OURS, Remembered
from letterlock.trust.smime.unwrap import unwrap

NOW = datetime.datetime(2026, 11, 23, 12, 0, tzinfo=datetime.UTC)
CA = "ca@rosewood.test"


@pytest.fixture
def authority() -> CertificationAuthority:
    founded = issue.found(key_pairs.generate("p256"), Name.make(O="Rosewood", CN="CA"), NOW, 3650, 1)
    return CertificationAuthority(founded, Registry(":memory:"), AuthoritySettings(("rosewood.test",)))


def _request(*addresses: str, kind: str = "p256", key: PrivateKey | None = None) -> Request:
    key = key or key_pairs.generate(kind)
    scheme = signatures.scheme_for(key.public)
    return requests.make(
        Name.make(CN="Ada"), addresses, key.public, frozenset({KeyUsage.DIGITAL_SIGNATURE, KeyUsage.KEY_AGREEMENT}),
        signatures.algorithm_of(scheme), lambda octets: signatures.sign(key, scheme, octets), "please",
    )  # fmt: skip


def _issued(authority: CertificationAuthority) -> Certificate:
    record = authority.submit(_request("ada@rosewood.test").octets, NOW)
    authority.approve(record.id)
    return authority.issue(record.id, NOW)


def test_from_request_to_a_valid_path(authority: CertificationAuthority) -> None:
    """Submitted, approved, issued: the certificate is for the address and leads to the anchor."""
    certificate = _issued(authority)
    anchor = Anchor.of(authority.authority.certificate)
    found = path.find(certificate, Pool(), (anchor,), NOW)
    assert found.target.addresses == ("ada@rosewood.test",)
    assert certificate.extensions.key_usage == {KeyUsage.DIGITAL_SIGNATURE, KeyUsage.KEY_AGREEMENT}
    assert certificate.serial.bit_length() <= 128 < 160
    assert [each.state for each in authority.registry.requests()] == [State.ISSUED]


@pytest.mark.parametrize(
    "addresses", [(), ("ada@elsewhere.test",), ("nobody",), tuple(f"a{n}@rosewood.test" for n in range(9))]
)
def test_what_is_not_certified(authority: CertificationAuthority, addresses: tuple[str, ...]) -> None:
    """Only addresses of its own domains, and not too many."""
    with pytest.raises(LetterlockError):
        authority.submit(_request(*addresses).octets, NOW)


def test_the_key_must_be_the_askers(authority: CertificationAuthority) -> None:
    """A request signed with another key is somebody else's."""
    ada, eve = key_pairs.generate("p256"), key_pairs.generate("p256")
    scheme = signatures.scheme_for(eve.public)
    stolen = requests.make(
        Name.make(CN="Eve"), ("eve@rosewood.test",), ada.public, frozenset(), signatures.algorithm_of(scheme),
        lambda octets: signatures.sign(eve, scheme, octets),
    )  # fmt: skip
    with pytest.raises(NotAuthentic):
        authority.submit(stolen.octets, NOW)


def test_nothing_is_issued_unasked_or_twice(authority: CertificationAuthority) -> None:
    """A request must be approved, and is used once."""
    record = authority.submit(_request("ada@rosewood.test").octets, NOW)
    with pytest.raises(OurFault):
        authority.issue(record.id, NOW)
    authority.approve(record.id)
    authority.issue(record.id, NOW)
    for again in (authority.issue, lambda number, _when: authority.approve(number)):
        with pytest.raises(OurFault):
            again(record.id, NOW)


def test_revocation_by_list_delta_and_ocsp(authority: CertificationAuthority) -> None:
    """What is revoked is on the next list, on a delta, and in every OCSP answer."""
    certificate = _issued(authority)
    anchor = Anchor.of(authority.authority.certificate)
    found = path.find(certificate, Pool(), (anchor,), NOW)
    clean = authority.revocation_list(NOW)
    assert check_path(found, Evidence((clean,)), NOW).status is Status.GOOD
    later = NOW + datetime.timedelta(hours=1)
    authority.revoke(certificate.serial, Reason.SUPERSEDED, later)
    delta = authority.delta_list(later)
    assert (delta.base_number, delta.number) == (1, 2)
    assert check_path(found, Evidence((clean, delta)), later).status is Status.REVOKED
    whole = authority.revocation_list(later)
    state = check_path(found, Evidence((whole,)), later)
    assert state.revoked is not None
    assert (state.status, state.revoked.reason) == (Status.REVOKED, Reason.SUPERSEDED)
    asked = ocsp_check.certificate_id(certificate.issuer, anchor.public_key, certificate.serial)
    response = OcspResponse.parse(authority.ocsp(encode_request((asked,), b"n"), later))
    assert response.responses[0].status is CertificateStatus.REVOKED
    assert response.nonce
    with pytest.raises(OurFault):
        authority.revoke(certificate.serial, Reason.SUPERSEDED, later)
    with pytest.raises(OurFault):
        authority.renew(certificate.serial, later)
    assert authority.ocsp(b"garbage", later) == bytes.fromhex("30030a0101")


def test_renewal_and_smimea(authority: CertificationAuthority) -> None:
    """The same key and address, a new number; both stand in the DNS while they last."""
    old = _issued(authority)
    new = authority.renew(old.serial, NOW + datetime.timedelta(days=300))
    assert new.serial != old.serial
    assert (new.public_key, new.addresses) == (old.public_key, old.addresses)
    records = authority.smimea_records(NOW)
    assert {each.name for each in records} == {smimea_name(Address.parse("ada@rosewood.test"))}
    assert {each.data.data for each in records} == {old.octets, new.octets}


def _mail(sender: str, body: bytes, *more: tuple[str, str]) -> bytes:
    head = f"From: {sender}\r\nTo: {CA}\r\nSubject: Re: Confirm\r\n".encode()
    return head + b"".join(f"{name}: {value}\r\n".encode() for name, value in more) + b"\r\n" + body


def _asking(sender: str, *addresses: str) -> bytes:
    part = Binary(_request(*addresses).octets, "application/pkcs10", "smime.p10")
    return build(part, [("From", sender), ("To", CA)], token="t")


def test_enrolment_by_mail(authority: CertificationAuthority) -> None:
    """The request brings a challenge to the address, its answer the certificate as a certs-only message."""
    (challenge,) = by_mail.receive(_asking("ada@rosewood.test", "ada@rosewood.test"), authority, CA, NOW)
    assert challenge.recipient == "ada@rosewood.test"
    token = re.search(rb"[0-9a-f]{40}", challenge.message)
    assert token is not None
    (letter,) = by_mail.receive(_mail("ada@rosewood.test", b"> " + token[0]), authority, CA, NOW)
    first, second = (Certificate.parse(octets) for octets in unwrap(letter.message).certificates)
    assert {first.addresses, second.addresses} == {("ada@rosewood.test",), ()}
    assert read_header(letter.message).text("auto-submitted") == "auto-replied"
    assert by_mail.receive(_mail("ada@rosewood.test", token[0]), authority, CA, NOW) == ()


def test_the_challenge_goes_to_the_certified_address_alone(authority: CertificationAuthority) -> None:
    """Eve asks for Ada's certificate: Ada is asked, and Eve's answer counts for nothing."""
    (challenge,) = by_mail.receive(_asking("eve@rosewood.test", "ada@rosewood.test"), authority, CA, NOW)
    assert challenge.recipient == "ada@rosewood.test"
    token = re.search(rb"[0-9a-f]{40}", challenge.message)
    assert token is not None
    assert by_mail.receive(_mail("eve@rosewood.test", token[0]), authority, CA, NOW) == ()
    late = NOW + datetime.timedelta(days=8)
    assert by_mail.receive(_mail("ada@rosewood.test", token[0]), authority, CA, late) == ()
    assert authority.registry.certificates() == []


def test_all_addresses_must_answer(authority: CertificationAuthority) -> None:
    """One answer of two is not enough."""
    asked = by_mail.receive(_asking("ada@rosewood.test", "ada@rosewood.test", "bob@rosewood.test"), authority, CA, NOW)
    tokens = [re.search(rb"[0-9a-f]{40}", each.message) for each in asked]
    answers = [
        by_mail.receive(_mail(each.recipient, token[0]), authority, CA, NOW)
        for each, token in zip(asked, tokens, strict=True) if token
    ]  # fmt: skip
    assert [len(each) for each in answers] == [0, 1]


@pytest.mark.parametrize(
    ("sender", "more"),
    [("", ()), ("ada@rosewood.test", (("Auto-Submitted", "auto-replied"),)), (CA, ()),
     ("a@rosewood.test, b@rosewood.test", ()), ("list@rosewood.test", (("List-Id", "<x>"),))],
)  # fmt: skip
def test_what_is_never_answered(authority: CertificationAuthority, sender: str, more) -> None:
    """Automatic mail, lists, oneself and nobody: no loop can begin."""
    octets = base64.b64encode(b"no request")
    body = _mail(sender, octets, ("Content-Type", "application/pkcs10"), *more)
    assert by_mail.receive(body, authority, CA, NOW) == ()


def test_a_bad_request_is_refused_with_its_reason(authority: CertificationAuthority) -> None:
    """Whoever asks learns why not."""
    (letter,) = by_mail.receive(_asking("ada@rosewood.test", "ada@elsewhere.test"), authority, CA, NOW)
    assert "ada@elsewhere.test is not an address of rosewood.test" in parse(letter.message).text().replace("\r\n", " ")


def test_the_key_store(tmp_path, authority: CertificationAuthority) -> None:
    """Keys are encrypted, certificates found by address, the newest announcement wins, the log obeys its switch."""
    file = tmp_path / "keys.db"
    store = KeyStore(file, b"tulip")
    key = key_pairs.generate("p256")
    key_id = store.add_key(key, NOW)
    old = key_pairs.generate("dh2048", legacy=True)
    assert store.key(store.add_key(old, NOW)).key == old.key
    record = authority.submit(_request("Ada@Rosewood.test", key=key).octets, NOW)
    authority.approve(record.id)
    store.add_certificate(authority.issue(record.id, NOW), "own", NOW)
    (found,) = store.certificates("ada@rosewood.TEST")
    assert (found.own, found.anchor, store.key(key_id).public) == (True, False, key.public)
    for capabilities, year in ((OURS, 2026), ((), 2025)):
        store.remember(Remembered("ada@rosewood.test", capabilities, NOW.replace(year=year)))
    remembered = store.remembered("ADA@rosewood.test")
    assert remembered is not None
    assert remembered.capabilities == OURS
    entry = LoggedSignature(NOW, True, "bob@rosewood.test", "1@x", "good", b"cms")
    store.signatures.add(entry)
    assert store.signatures.search() == []
    store.signatures.switch(True)
    store.signatures.add(entry)
    assert store.signatures.search(address="bob@rosewood.test") == store.signatures.search(message_id="1@x") == [entry]
    assert store.signatures.search(address="eve@rosewood.test") == []
    store.close()
    with pytest.raises(NotAuthentic):
        KeyStore(file, b"rose").key(key_id)
    assert b"PRIVATE KEY" not in file.read_bytes().replace(b"ENCRYPTED PRIVATE KEY", b"")
    with pytest.raises(OurFault):
        KeyStore(file, b"")
