"""The certification authority of a domain: requests in, certificates out, revocation published.

Whoever asks must have the key (the request is signed with it) and the addresses: they are confirmed by mail, a token
sent to each and sent back from there, or an administrator approves. Only addresses of the authority's own domains are
certified.

Standards: RFC 2986, RFC 5280, RFC 6960, RFC 8550, RFC 8162 (SMIMEA); the mail challenge follows the idea of RFC 8823.
Limits: 8 addresses a request, 64 KiB a request, a week for an answer to a challenge; 1000 requests wait, 4 challenges an
address.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from letterlock.errors import Malformed, OurFault
from letterlock.formats import domain as domains
from letterlock.formats.address import Address
from letterlock.formats.dns.rdata import Smimea
from letterlock.formats.x509.algorithm import PublicKeyInfo
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.crl import Reason, RevocationList, Revoked
from letterlock.formats.x509.extensions import KeyUsage
from letterlock.formats.x509.name import Name
from letterlock.formats.x509.ocsp import CertificateStatus
from letterlock.formats.x509.request import Request
from letterlock.registrar.registry import Registry, RequestRecord, State
from letterlock.trust.dane.owner_names import smimea_name
from letterlock.trust.pkix import issue
from letterlock.trust.pkix.issue import Authority

MAX_ADDRESSES = 8
MAX_REQUEST_OCTETS = 1 << 16
MAX_WAITING = 1000
MAX_CHALLENGES = 4
CHALLENGE_LIFE = datetime.timedelta(days=7)


@dataclass(frozen=True, slots=True)
class AuthoritySettings:
    """For which domains, how long certificates and lists live, and whether an answered challenge is enough."""

    domains: tuple[str, ...]
    certificate_days: int = 365
    list_life: datetime.timedelta = datetime.timedelta(days=7)
    ocsp_life: datetime.timedelta = datetime.timedelta(hours=12)
    challenge_suffices: bool = True


@dataclass(frozen=True, slots=True)
class Challenge:
    """A token to be sent to an address, for it to be sent back from there."""

    address: str
    token: str
    request: int


@dataclass(frozen=True, slots=True)
class SmimeaRecord:
    """A DNS record for hostmaster to publish: owner name below the domain, and data."""

    name: str
    data: Smimea


@dataclass(slots=True)
class CertificationAuthority:
    """An authority with its registry. `entropy` gives octets nobody can foretell."""

    authority: Authority
    registry: Registry
    settings: AuthoritySettings
    entropy: Callable[[int], bytes] = field(default=os.urandom)

    def submit(self, octets: bytes, when: datetime.datetime, answer_to: str = "", source: str = "") -> RequestRecord:
        """Take a PKCS#10 request; raises Malformed, NotAuthentic or OurFault with the reason it is refused.

        `source` names the message it came in: the same request from the same source is one.
        """
        if len(octets) > MAX_REQUEST_OCTETS:
            raise Malformed(f"a request of more than {MAX_REQUEST_OCTETS} octets", clause="RFC 2986 section 4")
        request = Request.parse(octets)
        issue.check_request(request)
        addresses = request.addresses
        if not 1 <= len(addresses) <= MAX_ADDRESSES:
            raise OurFault(f"a request names 1 to {MAX_ADDRESSES} addresses, this one {len(addresses)}")
        for address in addresses:
            self._check_address(address)
        self.registry.forget_waiting(when - 2 * CHALLENGE_LIFE)
        if self.registry.waiting() >= MAX_WAITING:
            raise OurFault("too many requests wait already: try again later")
        return self.registry.add_request(octets, addresses, when, answer_to or addresses[0], source)

    def _check_address(self, text: str) -> None:
        address = Address.parse(text)
        if not any(domains.is_within(address.domain, domain) for domain in self.settings.domains):
            raise OurFault(f"{text} is not an address of {', '.join(self.settings.domains)}")

    def challenge(self, number: int, when: datetime.datetime) -> tuple[Challenge, ...]:
        """Return a fresh token for each address of a request."""
        record = self.registry.request(number)
        made = []
        for address in record.addresses:
            if self.registry.challenged(address, when) >= MAX_CHALLENGES:
                raise OurFault(f"{address} has {MAX_CHALLENGES} challenges to answer already")
            token = self.entropy(20).hex()
            self.registry.add_challenge(token, number, address, when + CHALLENGE_LIFE)
            made.append(Challenge(address, token, number))
        return tuple(made)

    def answer(self, token: str, address: str, when: datetime.datetime, source: str = "") -> RequestRecord | None:
        """Take back a token from an address; return the request if all its addresses are confirmed now."""
        number = self.registry.answer_challenge(token, address, when, source)
        return None if number is None else self.registry.request(number)

    def approve(self, number: int) -> None:
        """Approve a request as administrator."""
        record = self.registry.request(number)
        if record.state not in (State.WAITING, State.CONFIRMED):
            raise OurFault(f"request {number} is {record.state.value} and cannot be approved")
        self.registry.set_state(number, State.APPROVED)

    def refuse(self, number: int, reason: str) -> None:
        """Refuse a request, with the reason for whoever asked."""
        if self.registry.request(number).state is State.ISSUED:
            raise OurFault(f"request {number} was issued: revoke the certificate")
        self.registry.set_state(number, State.REFUSED, reason)

    def issue(self, number: int, when: datetime.datetime) -> Certificate:
        """Issue the certificate of an approved (or, where that suffices, confirmed) request."""
        record = self.registry.request(number)
        enough = (State.APPROVED, State.CONFIRMED) if self.settings.challenge_suffices else (State.APPROVED,)
        if record.state not in enough:
            raise OurFault(f"request {number} is {record.state.value}: it must be approved first")
        request = Request.parse(record.octets)
        usages = self._usages(request)
        certificate = issue.certify(
            self.authority,
            request.public_key,
            request.subject or Name.make(CN=record.addresses[0]),
            record.addresses,
            usages,
            when=when,
            days=self.settings.certificate_days,
            serial=issue.serial_number(self.entropy(16)),
        )
        self.registry.add_certificate(certificate, number, when)
        return certificate

    @staticmethod
    def _usages(request: Request) -> frozenset[KeyUsage]:
        possible = issue.usages_of(request.public_key)
        wanted = request.extensions.key_usage
        usages = possible if wanted is None else possible & wanted
        if not usages:
            raise OurFault("the key cannot be used as the request asks")
        return usages

    def certify(
        self, key: PublicKeyInfo, addresses: tuple[str, ...], usages: frozenset[KeyUsage], when: datetime.datetime
    ) -> Certificate:
        """Issue a certificate without a request, to whoever holds the authority's key; raises OurFault, Malformed."""
        if not 1 <= len(addresses) <= MAX_ADDRESSES:
            raise OurFault(f"a certificate names 1 to {MAX_ADDRESSES} addresses, not {len(addresses)}")
        for address in addresses:
            self._check_address(address)
        certificate = issue.certify(
            self.authority,
            key,
            Name.make(CN=addresses[0]),
            addresses,
            usages,
            when=when,
            days=self.settings.certificate_days,
            serial=issue.serial_number(self.entropy(16)),
        )
        self.registry.add_certificate(certificate, None, when)
        return certificate

    def renew(self, serial: int, when: datetime.datetime) -> Certificate:
        """Issue a new certificate for the key and addresses of an old one that was not revoked."""
        record = self.registry.certificate(serial)
        if record is None or record.revoked is not None:
            raise OurFault(f"no certificate {serial:x} that can be renewed")
        old = record.certificate
        certificate = issue.certify(
            self.authority,
            old.public_key,
            old.subject,
            old.addresses,
            old.extensions.key_usage or issue.usages_of(old.public_key),
            when=when,
            days=self.settings.certificate_days,
            serial=issue.serial_number(self.entropy(16)),
        )
        self.registry.add_certificate(certificate, record.request, when)
        return certificate

    def revoke(self, serial: int, reason: Reason, when: datetime.datetime) -> None:
        """Revoke a certificate; the next list and every OCSP answer say so."""
        self.registry.revoke(serial, when, reason)

    def revocation_list(self, when: datetime.datetime) -> RevocationList:
        """Sign a complete list of what is revoked and not long expired, and remember it."""
        return self._list(when, None)

    def delta_list(self, when: datetime.datetime) -> RevocationList:
        """Sign a delta since the last complete list; OurFault without one."""
        last = self.registry.last_complete_list()
        if last is None:
            raise OurFault("a delta needs a complete list before it")
        return self._list(when, RevocationList.parse(last[1]))

    def current_list(self, when: datetime.datetime) -> RevocationList:
        """Return the complete list to publish now: the last one, or a new one where that is half through or outdated."""
        last = self.registry.last_complete_list()
        if last is not None:
            found = RevocationList.parse(last[1])
            listed = {serial for _issuer, serial in found.entries}
            is_fresh = when < found.this_update + self.settings.list_life / 2
            if is_fresh and listed >= {each.serial for each in self._revoked(when)}:
                return found
        return self.revocation_list(when)

    def _list(self, when: datetime.datetime, base: RevocationList | None) -> RevocationList:
        number = self.registry.next_list_number()
        entries = self._revoked(when)
        if base is not None:
            entries = tuple(each for each in entries if each.when >= base.this_update)
        until = when + self.settings.list_life
        made = issue.revocation_list(
            self.authority, entries, number, when, until, None if base is None else base.number
        )
        self.registry.add_list(number, made.octets, when, complete=base is None)
        return made

    def _revoked(self, when: datetime.datetime) -> tuple[Revoked, ...]:
        """Return what is revoked; an entry stays until one list after its certificate expired (RFC 5280 section 3.3)."""
        kept = when - self.settings.list_life
        return tuple(
            record.revoked
            for record in self.registry.certificates()
            if record.revoked is not None and record.certificate.not_after >= kept
        )

    def ocsp(self, request: bytes, when: datetime.datetime) -> bytes:
        """Answer an OCSP request."""

        def status(serial: int) -> Revoked | CertificateStatus:
            record = self.registry.certificate(serial)
            if record is None:
                return CertificateStatus.UNKNOWN
            return record.revoked or CertificateStatus.GOOD

        return issue.answer_ocsp(self.authority, request, status, when, when + self.settings.ocsp_life)

    def smimea_records(self, when: datetime.datetime) -> tuple[SmimeaRecord, ...]:
        """Return a record for each certificate in force (usage 3, whole certificate: RFC 8162 section 2)."""
        records = []
        for each in self.registry.certificates():
            if each.revoked is None and each.certificate.not_after > when:
                data = Smimea(3, 0, 0, each.certificate.octets)
                names = [smimea_name(Address.parse(address)) for address in each.certificate.addresses]
                records += [SmimeaRecord(name, data) for name in names]
        return tuple(records)
