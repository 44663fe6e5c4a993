"""What a domain's DNS records are made of, gathered from its settings."""

from __future__ import annotations

from letterlock.admd.settings import Settings, split_endpoint
from letterlock.errors import Malformed
from letterlock.hostmaster.records import SERVICES, DomainFacts
from letterlock.trust.primitives.peer_chain import read_pem


def facts_of(settings: Settings, domain: str = "") -> DomainFacts:
    """Return the facts of one of the local domains, by default the first. Raises Malformed for a bad certificate."""
    domain = domain or settings.domain
    ports = {
        service: split_endpoint(endpoints[0])[1]
        for service in SERVICES
        if (endpoints := getattr(settings.listen, service))
    }
    certificate = settings.path(settings.tls.certificate)
    try:
        certificates = (read_pem(certificate.read_bytes())[0],)
    except OSError as error:
        raise Malformed(f"{certificate}: {error.strerror}") from None
    smtp = split_endpoint(settings.listen.smtp[0])[1] if settings.listen.smtp else 25
    return DomainFacts(
        domain,
        settings.host_name,
        certificates=certificates,
        report_address=f"postmaster@{domain}",
        smtp_port=smtp,
        ports=ports,
    )
