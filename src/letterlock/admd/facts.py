"""What the domain's DNS records are made of, read from its settings, certificate and keys."""

from __future__ import annotations

import ssl

from letterlock.admd.settings import Settings, split_endpoint
from letterlock.admd.signing import load_keys
from letterlock.hostmaster.records import DomainFacts

_PUBLISHED = ("submissions", "submission", "imaps", "imap", "pop3s", "pop3")


def domain_facts(settings: Settings, addresses: tuple[str, ...] = ()) -> DomainFacts:
    """Return the facts; `addresses` are the server's public ones. Raises SettingsFault, OSError."""
    certificate = settings.path(settings.tls.certificate).read_text(encoding="ascii")
    ports = {}
    for service in _PUBLISHED:
        endpoints = getattr(settings.listen, service)
        if endpoints:
            ports[service] = split_endpoint(endpoints[0])[1]
    return DomainFacts(
        settings.domain,
        settings.host_name,
        addresses,
        dkim=tuple((key.selector, key.record().encode()) for key in load_keys(settings, settings.domain)),
        certificates=(ssl.PEM_cert_to_DER_cert(_first(certificate)),),
        report_address=f"postmaster@{settings.domain}",
        smtp_port=settings.transfer.port,
        ports=ports,
    )


def _first(chain: str) -> str:
    end = "-----END CERTIFICATE-----"
    return chain[chain.index("-----BEGIN") : chain.index(end) + len(end)]
