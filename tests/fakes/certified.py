"""A root, an authority below it and one of its people, with the places where lists, responder and certificates are."""

from __future__ import annotations

import dataclasses
import datetime
import functools
from dataclasses import dataclass, field

from letterlock.formats.asn1 import oids, writer
from letterlock.formats.x509 import certificate as certificates
from letterlock.formats.x509 import extension_writer, ocsp
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.crl import Revoked
from letterlock.formats.x509.extensions import DistributionPoint, KeyUsage
from letterlock.formats.x509.name import GeneralName, Name
from letterlock.formats.x509.ocsp import CertificateStatus
from letterlock.trust.pkix import issue
from letterlock.trust.pkix.issue import Authority
from letterlock.trust.pkix.path import Anchor
from letterlock.trust.primitives import key_pairs, public_keys
from letterlock.trust.primitives.key_pairs import PrivateKey
from letterlock.trust.smime.sign import Signer

NOW = datetime.datetime(2026, 11, 23, 12, 0, tzinfo=datetime.UTC)
HOUR = datetime.timedelta(hours=1)
WEB = "http://ca.test"
_MIDDLE, _PERSON = Name.make(O="Rosewood", CN="Middle"), Name.make(CN="Ada")


@functools.cache
def _key(name: str) -> PrivateKey:
    return key_pairs.generate("p256")


def _access(*entries: tuple[str, str]) -> bytes:
    made = (writer.sequence(writer.oid(method), GeneralName.uri(uri).encode()) for method, uri in entries if uri)
    return extension_writer.extension(oids.AUTHORITY_INFO_ACCESS, writer.sequence(*made))


@dataclass(frozen=True)
class Certified:
    """Where things are, by what the certificates say; `now` is when they were made."""

    now: datetime.datetime = NOW
    root_list: str = f"{WEB}/root.crl"
    middle_certificate: str = f"{WEB}/middle.cer"
    middle_list: str = f"{WEB}/middle.crl"
    responder: str = f"{WEB}/ocsp"
    address: str = "ada@rosewood.test"
    revoked: tuple[Revoked, ...] = field(default=())

    @functools.cached_property
    def root(self) -> Authority:
        made = issue.found(_key("root"), Name.make(O="Rosewood", CN="Root"), self.now, 3650, 1)
        unsigned = self._unsigned(made.certificate.subject, made.key, 1, made.certificate.subject)
        extensions = (
            extension_writer.basic_constraints(True),
            extension_writer.key_usage((KeyUsage.KEY_CERT_SIGN, KeyUsage.CRL_SIGN)),
        )
        certificate = dataclasses.replace(unsigned, extensions=extensions).sign(made.algorithm, made.sign)
        return Authority(made.key, certificate)

    @functools.cached_property
    def middle(self) -> Authority:
        unsigned = self._unsigned(_MIDDLE, _key("middle"), 2, self.root.certificate.subject)
        extensions = [
            extension_writer.basic_constraints(True, 0),
            extension_writer.key_usage((KeyUsage.KEY_CERT_SIGN, KeyUsage.CRL_SIGN)),
            extension_writer.subject_key_id(public_keys.key_id(_key("middle").public)),
        ]
        if self.root_list:
            point = DistributionPoint((GeneralName.uri(self.root_list),))
            extensions.append(extension_writer.crl_distribution_points(point))
        made = dataclasses.replace(unsigned, extensions=tuple(extensions))
        return Authority(_key("middle"), made.sign(self.root.algorithm, self.root.sign))

    @functools.cached_property
    def person(self) -> Certificate:
        unsigned = self._unsigned(_PERSON, _key("person"), 3, _MIDDLE)
        extensions = [
            extension_writer.key_usage((KeyUsage.DIGITAL_SIGNATURE, KeyUsage.KEY_AGREEMENT)),
            extension_writer.extended_key_usage(oids.EMAIL_PROTECTION),
            extension_writer.subject_alt_names((GeneralName.email(self.address),)),
            _access((oids.AD_OCSP, self.responder), (oids.AD_CA_ISSUERS, self.middle_certificate)),
        ]
        if self.middle_list:
            point = DistributionPoint((GeneralName.uri("ldap://ca.test/x"), GeneralName.uri(self.middle_list)))
            extensions.append(extension_writer.crl_distribution_points(point))
        made = dataclasses.replace(unsigned, extensions=tuple(extensions))
        return made.sign(self.middle.algorithm, self.middle.sign)

    @property
    def key(self) -> PrivateKey:
        return _key("person")

    @property
    def signer(self) -> Signer:
        return Signer(self.key, self.person)

    @property
    def anchor(self) -> Anchor:
        return Anchor.of(self.root.certificate)

    def list_of(self, authority: Authority, *serials: int, at: datetime.datetime | None = None) -> bytes:
        """Return a list of an authority, a week long."""
        at = at or self.now
        entries = tuple(Revoked(each, at - HOUR) for each in serials)
        return issue.revocation_list(authority, entries, 7, at, at + 168 * HOUR).octets

    def answer(self, request: bytes, *revoked: int, at: datetime.datetime | None = None) -> bytes:
        """Return what the responder says, a day long."""
        at = at or self.now

        def status(serial: int) -> Revoked | CertificateStatus:
            return Revoked(serial, at - HOUR) if serial in revoked else CertificateStatus.GOOD

        return issue.answer_ocsp(self.middle, request, status, at, at + 24 * HOUR)

    def delegate(self, *extensions: bytes, serial: int = 9, use: str = oids.OCSP_SIGNING) -> Certificate:
        """Return a responder's certificate of the authority below the root."""
        unsigned = self._unsigned(Name.make(CN="Responder"), _key("responder"), serial, _MIDDLE)
        purpose = extension_writer.extended_key_usage(use)
        made = dataclasses.replace(unsigned, extensions=(purpose, *extensions))
        return made.sign(self.middle.algorithm, self.middle.sign)

    def answer_by(self, delegate: Certificate, request: bytes, *revoked: int) -> bytes:
        """Return what a responder with this certificate says."""
        said = ocsp.OcspResponse.parse(self.answer(request, *revoked))
        by = Authority(_key("responder"), delegate)
        key_id = public_keys.key_id(by.key.public)
        return ocsp.encode_response(
            key_id, said.produced_at, said.responses, by.algorithm, by.sign, certificates=(delegate,)
        )

    def unknown(self, request: bytes) -> bytes:
        """Return an answer that knows nothing."""
        return issue.answer_ocsp(self.middle, request, lambda _: CertificateStatus.UNKNOWN, self.now, self.now + HOUR)

    def busy(self) -> bytes:
        """Return "try later"."""
        return ocsp.encode_failure(3)

    def _unsigned(self, subject: Name, key: PrivateKey, serial: int, issuer: Name) -> certificates.Unsigned:
        begins, ends = self.now - 24 * HOUR, self.now + 24 * 365 * HOUR
        return certificates.Unsigned(serial, issuer, begins, ends, subject, key.public)
