"""The DNS records that a domain's mail needs, from its settings and keys, as values and as zone text.

`wanted_records` names them, those without which mail does not work apart from those that make it better; each says why
it is there. `compare` (see check.py) finds out what is published already.

Standards: RFC 5321 section 5 (MX), RFC 7208 section 3 (SPF), RFC 6376 section 3.6.2 (DKIM), RFC 7489 section 6.1
(DMARC), RFC 7672 section 3.1.1 (TLSA 3 1 1), RFC 7671 section 8.1 (the next key before it is used), RFC 8461
section 3.1 (MTA-STS), RFC 8460 section 3 (TLSRPT), RFC 6186 and RFC 8314 section 5.1 (SRV), RFC 8162 (SMIMEA),
RFC 8659 (CAA).
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field

from letterlock.formats import domain as domains
from letterlock.formats.address import Address
from letterlock.formats.dns import rdata_text, rdata_wire
from letterlock.formats.dns.rdata import A, Aaaa, Caa, Mx, Rdata, Smimea, Srv, Tlsa, Txt
from letterlock.trust.dane.owner_names import smimea_name
from letterlock.trust.dane.records import DANE_EE, associate
from letterlock.trust.primitives import peer_chain

SERVICES = ("submissions", "submission", "imaps", "imap", "pop3s", "pop3")
_SPKI, _SHA256 = 1, 1


class Importance(enum.Enum):
    """How much depends on a record."""

    REQUIRED = "required"  # without it mail does not arrive, or is refused by others
    RECOMMENDED = "recommended"  # it protects, or spares people settings


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """What the records are made of.

    `dkim` are pairs of selector and record text; `certificates` the server's current certificate (DER) and any others
    in use; `next_keys` public keys (SubjectPublicKeyInfo, DER) that will be used next; `certificate_policy` who may
    issue for the domain (CAA), empty for no statement; `mta_sts_id` the id of the policy served over HTTPS, if one is;
    `smime` addresses with their certificates (DER). `ports` are those of the services people use.
    """

    domain: str
    host_name: str
    addresses: tuple[str, ...] = ()
    dkim: tuple[tuple[str, bytes], ...] = ()
    certificates: tuple[bytes, ...] = ()
    next_keys: tuple[bytes, ...] = ()
    dmarc_policy: str = "reject"
    report_address: str = ""
    mta_sts_id: str = ""
    certificate_policy: tuple[str, ...] = ()
    smime: tuple[tuple[Address, bytes], ...] = ()
    smtp_port: int = 25
    ports: dict[str, int] = field(default_factory=dict)
    ttl: int = 3600


@dataclass(frozen=True, slots=True)
class WantedRecord:
    """One record: its owner name, its data, and why it should be there."""

    owner: str
    data: Rdata
    importance: Importance
    why: str
    ttl: int = 3600

    @property
    def type(self) -> str:
        """The mnemonic of its type."""
        return rdata_wire.type_of(self.data)

    def line(self) -> str:
        """Return the record as a line of zone text."""
        return f"{self.owner}. {self.ttl} IN {self.type} {rdata_text.write(self.data)}"


def wanted_records(facts: DomainFacts) -> tuple[WantedRecord, ...]:
    """Return the records of a domain, the required ones first."""
    wanted = [
        WantedRecord(owner, data, importance, why, facts.ttl)
        for part in (_arrival, _authorship, _transport, _services, _people)
        for owner, data, importance, why in part(facts)
    ]
    return tuple(sorted(wanted, key=lambda record: record.importance is not Importance.REQUIRED))


_Wanted = Iterator[tuple[str, Rdata, Importance, str]]
_REQUIRED, _RECOMMENDED = Importance.REQUIRED, Importance.RECOMMENDED


def _text(text: str) -> Txt:
    return _octets_as_text(text.encode())


def _octets_as_text(octets: bytes) -> Txt:
    # RFC 6376 section 3.6.2.2: long text is cut into strings of at most 255 octets, to be joined without spaces.
    return Txt(tuple(octets[start : start + 255] for start in range(0, len(octets), 255)) or (b"",))


def _arrival(facts: DomainFacts) -> _Wanted:
    yield facts.domain, Mx(10, facts.host_name), _REQUIRED, "mail for the domain goes to this server"
    if domains.is_within(facts.host_name, facts.domain):
        for text in facts.addresses:
            address = ipaddress.ip_address(text)
            data = A(str(address)) if address.version == 4 else Aaaa(str(address))
            yield facts.host_name, data, _REQUIRED, "where the server is"


def _authorship(facts: DomainFacts) -> _Wanted:
    yield facts.domain, _text("v=spf1 mx -all"), _REQUIRED, "only the server sends for the domain (SPF)"
    if facts.host_name != facts.domain and domains.is_within(facts.host_name, facts.domain):
        why = "bounces, which have no sender address, are judged by the server's name"
        yield facts.host_name, _text("v=spf1 a -all"), _RECOMMENDED, why
    for selector, record in facts.dkim:
        owner = f"{selector}._domainkey.{facts.domain}"
        yield owner, _octets_as_text(record), _REQUIRED, "the key that signs the domain's mail (DKIM)"
    policy = f"v=DMARC1; p={facts.dmarc_policy}"
    if facts.report_address:
        policy += f"; rua=mailto:{facts.report_address}"
    why = "what others do with mail that only claims to be from the domain (DMARC)"
    yield f"_dmarc.{facts.domain}", _text(policy), _REQUIRED, why


def _transport(facts: DomainFacts) -> _Wanted:
    owner = f"_{facts.smtp_port}._tcp.{facts.host_name}"
    for data in tlsa_records(facts.certificates, facts.next_keys):
        yield owner, data, _RECOMMENDED, "others authenticate the server (DANE); needs a signed zone"
    # RFC 7673 section 3.3: services have records of their own, at the ports on which people reach them.
    for port in sorted({port for service, port in facts.ports.items() if service in SERVICES} - {facts.smtp_port}):
        for data in tlsa_records(facts.certificates, facts.next_keys):
            why = "mail programs authenticate the services people use (DANE); needs a signed zone"
            yield f"_{port}._tcp.{facts.host_name}", data, _RECOMMENDED, why
    if facts.mta_sts_id:
        why = "a policy for TLS is served over HTTPS (MTA-STS)"
        yield f"_mta-sts.{facts.domain}", _text(f"v=STSv1; id={facts.mta_sts_id}"), _RECOMMENDED, why
        for text in facts.addresses:
            place = A(text) if ipaddress.ip_address(text).version == 4 else Aaaa(text)
            yield f"mta-sts.{facts.domain}", place, _RECOMMENDED, why
    if facts.report_address:
        why = "others report when TLS to the server fails (TLSRPT)"
        record = _text(f"v=TLSRPTv1; rua=mailto:{facts.report_address}")
        yield f"_smtp._tls.{facts.domain}", record, _RECOMMENDED, why
    for issuer in facts.certificate_policy:
        why = "nobody else may issue certificates for the domain"
        yield facts.domain, Caa(0, b"issue", issuer.encode()), _RECOMMENDED, why


def tlsa_records(certificates: tuple[bytes, ...], next_keys: tuple[bytes, ...] = ()) -> tuple[Tlsa, ...]:
    """Return the TLSA 3 1 1 records of certificates (DER) and of keys to be used next (SubjectPublicKeyInfo, DER)."""
    keys = [peer_chain.read(certificate).public_key for certificate in certificates] + list(next_keys)
    return tuple(Tlsa(DANE_EE, _SPKI, _SHA256, associate(b"", key, _SPKI, _SHA256)) for key in dict.fromkeys(keys))


def _services(facts: DomainFacts) -> _Wanted:
    for service in SERVICES:
        port = facts.ports.get(service)
        if port is not None:
            # RFC 8314 section 5.1: implicit TLS is preferred to STARTTLS.
            priority = 0 if service.endswith("s") else 10
            data = Srv(priority, 1, port, facts.host_name)
            yield f"_{service}._tcp.{facts.domain}", data, _RECOMMENDED, "mail programs find the service by themselves"


def _people(facts: DomainFacts) -> _Wanted:
    for address, certificate in facts.smime:
        data = Smimea(DANE_EE, 0, 0, certificate)
        yield smimea_name(address), data, _RECOMMENDED, f"others find the S/MIME certificate of {address}"


def zone_text(wanted: tuple[WantedRecord, ...]) -> str:
    """Return records as zone text, each group under a comment, ready to be put into a zone file."""
    lines = []
    for importance in Importance:
        group = [record for record in wanted if record.importance is importance]
        if group:
            lines.append(f"; {importance.value}")
            why = ""
            for record in group:
                if record.why != why:
                    why = record.why
                    lines.append(f";   {why}")
                lines.append(record.line())
    return "".join(f"{line}\n" for line in lines)
