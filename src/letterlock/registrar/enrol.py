"""Keys and certificates for somebody of the domain, made and certified at once by whoever runs the domain.

Signing and encryption have keys of their own: one that is lost, given away or kept for others to read old mail with is
then not the other (RFC 8551 section 4.1).
"""

from __future__ import annotations

import datetime

from letterlock.formats.x509.certificate import Certificate
from letterlock.registrar.authority import CertificationAuthority
from letterlock.registrar.key_store import KeyStore
from letterlock.trust.pkix import issue
from letterlock.trust.primitives import key_pairs

KINDS = ("p256", "p384", "p521", "rsa2048", "rsa3072", "rsa4096")


def enrol(
    store: KeyStore,
    authority: CertificationAuthority,
    addresses: tuple[str, ...],
    when: datetime.datetime,
    kind: str = "p256",
) -> tuple[Certificate, Certificate]:
    """Put a signing and an encryption key with their certificates into the store, the authority as an anchor.

    Returns the two certificates. Raises OurFault, Malformed, Unavailable.
    """
    made = []
    for signing in (True, False):
        key = key_pairs.generate(kind)
        usages = issue.usages_of(key.public, signing=signing, encryption=not signing)
        certificate = authority.certify(key.public, addresses, usages, when)
        store.add_key(key, when)
        store.add_certificate(certificate, "enrolled here", when)
        made.append(certificate)
    store.add_certificate(authority.authority.certificate, "the domain's authority", when, anchor=True)
    return made[0], made[1]
