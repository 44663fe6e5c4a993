"""What authorities signed is checked once; what changes with time is looked at each time."""

from __future__ import annotations

import datetime

import pytest

from letterlock.errors import NotAuthentic
from letterlock.formats.x509.crl import RevocationList, Revoked
from letterlock.formats.x509.name import Name
from letterlock.trust.pkix import issue, path, remembered, revocation
from letterlock.trust.pkix.issue import Authority
from letterlock.trust.pkix.path import Anchor, Pool, Rules
from letterlock.trust.pkix.revocation import Evidence, Status
from letterlock.trust.primitives import key_pairs, signatures
from letterlock.trust.primitives.signatures import Scheme

NOW = datetime.datetime(2026, 11, 23, 12, 0, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The octets under each signature that was really checked, in a memory that begins empty."""
    seen: list[bytes] = []
    really = signatures.verify

    def count(key: signatures.PublicKeyInfo, scheme: Scheme, signature: bytes, octets: bytes) -> None:
        seen.append(octets)
        really(key, scheme, signature, octets)

    monkeypatch.setattr(signatures, "verify", count)
    remembered.forget()
    return seen


def _authority() -> Authority:
    return issue.found(key_pairs.generate("p256"), Name.make(CN="CA"), NOW, 3650, 1)


def test_a_chain_is_validated_once_and_expires_all_the_same(checked: list[bytes]) -> None:
    """No signature is checked again, while the dates are."""
    authority = _authority()
    key = key_pairs.generate("p256").public
    usages = issue.usages_of(key)
    certificate = issue.certify(authority, key, Name.make(CN="A"), ("a@x.test",), usages, when=NOW, days=30, serial=2)
    anchors = (Anchor.of(authority.certificate),)
    for _ in range(3):
        assert path.find(certificate, Pool(), anchors, NOW + DAY).target == certificate
    assert checked.count(certificate.tbs) == 1
    with pytest.raises(NotAuthentic, match="expired on 2026-12-23"):
        path.find(certificate, Pool(), anchors, NOW + 60 * DAY)
    with pytest.raises(NotAuthentic, match="not valid before"):
        path.find(certificate, Pool(), anchors, NOW - 60 * DAY)
    with pytest.raises(NotAuthentic, match="no path leads"):
        path.find(certificate, Pool(), (), NOW + DAY)
    strict = Rules(policies=frozenset({"1.2.3"}), require_explicit_policy=True)
    with pytest.raises(NotAuthentic, match="polic"):
        path.find(certificate, Pool(), anchors, NOW + DAY, strict)


def test_a_list_is_checked_once_and_goes_stale_all_the_same(checked: list[bytes]) -> None:
    """A newer list that revokes counts at once, and an old one not for ever."""
    authority = _authority()
    key = key_pairs.generate("p256").public
    usages = issue.usages_of(key)
    certificate = issue.certify(authority, key, Name.make(CN="A"), ("a@x.test",), usages, when=NOW, days=30, serial=2)
    found = path.find(certificate, Pool(), (Anchor.of(authority.certificate),), NOW)
    good = issue.revocation_list(authority, (), 1, NOW, NOW + 7 * DAY)

    def status(crl: RevocationList, when: datetime.datetime) -> Status:
        return revocation.check_path(found, Evidence((crl,)), when).status

    assert [status(good, NOW + day * DAY) for day in (0, 1, 2, 8)] == [*[Status.GOOD] * 3, Status.UNKNOWN]
    assert checked.count(good.tbs) == 1
    revoked = (Revoked(2, NOW),)
    bad = issue.revocation_list(authority, revoked, 2, NOW, NOW + 7 * DAY)
    assert status(bad, NOW + DAY) is Status.REVOKED


def test_what_does_not_hold_is_not_remembered(checked: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Another octet, another signature or another key is checked anew; the memory stays bounded."""
    monkeypatch.setattr(remembered, "MAX_REMEMBERED", 2)
    key = key_pairs.generate("ed25519")
    scheme = signatures.scheme_for(key.public)
    held = {text: signatures.sign(key, scheme, text) for text in (b"a", b"b", b"c")}
    for text in (b"a", b"b", b"a", b"c", b"a", b"b"):
        remembered.verify(key.public, scheme, held[text], text)
    assert checked == [b"a", b"b", b"c", b"b"]
    for _ in range(2):
        with pytest.raises(NotAuthentic):
            remembered.verify(key.public, scheme, held[b"a"], b"b")
    assert checked[4:] == [b"b", b"b"]
