"""What a domain's DNS records are made of, gathered from its settings, its certificate and its DKIM keys."""

from __future__ import annotations

import datetime

from letterlock.admd.own_policy import policy_id
from letterlock.admd.settings import Settings, key_pairs
from letterlock.admd.signing import load_ring
from letterlock.admd.values import split_endpoint
from letterlock.errors import Malformed, SettingsFault, Unavailable
from letterlock.formats.address import Address
from letterlock.host.clock import SystemClock
from letterlock.hostmaster.records import SERVICES, DomainFacts
from letterlock.trust.primitives.peer_chain import public_key_of, read_pem


def facts_of(settings: Settings, domain: str = "", addresses: tuple[str, ...] = ()) -> DomainFacts:
    """Return the facts of one of the local domains, by default the first; `addresses` are the server's public ones.

    Other domains' servers are expected to find us on the port we look for theirs on, whatever port we listen on behind a
    redirection. Raises Malformed for a bad certificate, SettingsFault for a bad key.
    """
    domain = domain or settings.domain
    ports = {
        service: split_endpoint(endpoints[0])[1]
        for service in SERVICES
        if (endpoints := getattr(settings.listen, service))
    }
    certificates = []
    for pair in key_pairs(settings):
        try:
            certificates.append(read_pem(pair.chain.read_bytes())[0])
        except OSError as error:
            raise Malformed(f"{pair.chain}: {error.strerror}") from None
    return DomainFacts(
        domain,
        settings.host_name,
        addresses,
        dkim=tuple((selector, text.encode()) for selector, text in load_ring(settings).records(domain)),
        certificates=tuple(certificates),
        next_keys=_next_keys(settings),
        report_address=f"postmaster@{domain}",
        mta_sts_id=policy_id(settings),
        smtp_port=settings.transfer.port,
        ports=ports,
        smime=_certificates(settings, domain),
    )


def _certificates(settings: Settings, domain: str) -> tuple[tuple[Address, bytes], ...]:
    """The S/MIME certificates that the domain's authority issued, where it is at work and publishes them."""
    wanted = settings.registrar
    if wanted.password_file is None or not wanted.publish_certificates:
        return ()
    from letterlock.registrar.folder import certificates_in_force

    now = datetime.datetime.fromtimestamp(SystemClock().now(), datetime.UTC)
    try:
        return certificates_in_force(settings.path(wanted.folder), domain, now)
    except Unavailable as trouble:
        raise SettingsFault((f"registrar.folder: {trouble.problem}",)) from None


def _next_keys(settings: Settings) -> tuple[bytes, ...]:
    """The public key of the next certificate, if it was made already (RFC 7671 section 8.1)."""
    if settings.tls.next_key is None:
        return ()
    file = settings.path(settings.tls.next_key)
    try:
        return (public_key_of(file.read_bytes()),)
    except OSError as error:
        raise Malformed(f"{file}: {error.strerror}") from None
