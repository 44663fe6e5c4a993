"""Certificates, revocation lists, OCSP answers and requests, certification requests, and the attributes of RFC 2634."""

import datetime

from letterlock.errors import LetterlockError, Malformed, NotAuthentic
from letterlock.formats.asn1 import reader
from letterlock.formats.cms import capabilities
from letterlock.formats.cms.ess import expansion, labels, receipts, signing_certificate
from letterlock.formats.x509 import crl, ocsp
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.extensions import KeyUsage
from letterlock.formats.x509.name import Name
from letterlock.formats.x509.request import Request
from letterlock.trust.pkix import issue
from letterlock.trust.pkix.path import Anchor, Pool, find
from letterlock.trust.primitives import key_pairs, public_keys

_NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
_AUTHORITY = issue.found(key_pairs.generate("p256"), Name.make(CN="CA"), _NOW, 100, 1)
SEEDS = (
    _AUTHORITY.certificate.octets,
    issue.certify(_AUTHORITY, _AUTHORITY.key.public, Name.make(CN="A"), ("a@b.test",), frozenset(KeyUsage), when=_NOW,
                  days=1, serial=2).octets,
    issue.revocation_list(_AUTHORITY, (crl.Revoked(2, _NOW),), 1, _NOW, _NOW).octets,
    issue.answer_ocsp(_AUTHORITY, ocsp.encode_request((ocsp.CertificateId("1.3.14.3.2.26", b"", b"", 2),)),
                      lambda _serial: ocsp.CertificateStatus.GOOD, _NOW, _NOW),
)  # fmt: skip


def fuzz(octets: bytes) -> None:
    """Every reader raises only Malformed; a certificate that is read can be judged."""
    for read in (crl.RevocationList.parse, ocsp.OcspResponse.parse, ocsp.parse_request, Request.parse):
        try:
            read(octets)
        except Malformed:
            continue
    for read_element in (
        receipts.ReceiptRequest.parse, receipts.Receipt.parse, labels.SecurityLabel.parse, labels.parse_equivalent,
        expansion.parse, capabilities.parse, lambda element: signing_certificate.parse(element, version=2),
    ):  # fmt: skip
        try:
            read_element(reader.parse(octets))
        except Malformed:
            continue
    try:
        certificate = Certificate.parse(octets)
    except Malformed:
        return
    str(certificate.subject)
    public_keys.describe(certificate.public_key)
    try:
        find(certificate, Pool((certificate,)), (Anchor.of(_AUTHORITY.certificate),), _NOW)
    except NotAuthentic:
        return
    except LetterlockError as error:
        raise AssertionError("a path raises only NotAuthentic") from error
