"""Which of the certificates in a key store serve now: one's own to sign and decrypt with, others' to encrypt to.

Standards: RFC 8550 sections 2.3 and 4 (choosing a certificate), RFC 8551 section 2.7.1 (capabilities).
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from letterlock.errors import LetterlockError, NotAuthentic, OurFault
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.crl import RevocationList
from letterlock.registrar.key_store import KeyStore
from letterlock.trust.pkix import smime_profile
from letterlock.trust.pkix.path import Anchor, check_current
from letterlock.trust.pkix.revocation import Revocation
from letterlock.trust.smime.choose_cipher import Recipient
from letterlock.trust.smime.proof import Trust
from letterlock.trust.smime.recipients import check_recipient

MOST_CANDIDATES = 4


def to_sign_with(
    store: KeyStore, address: str, when: datetime.datetime, crls: tuple[RevocationList, ...] = ()
) -> Certificate:
    """Return the newest certificate of our own for an address that may sign now; `crls` are those at hand.

    Raises OurFault with the reason.
    """
    reason = f"there is no key with a certificate for {address}"
    for each in store.certificates(address):
        if not each.own or not _serves(each.certificate, smime_profile.check_signing):
            continue
        try:
            check_current(each.certificate, when)
            check_not_listed(each.certificate, crls)
        except LetterlockError as error:
            reason = f"no usable certificate for {address}: {error}"
        else:
            return each.certificate
    raise OurFault(reason)


def to_decrypt_with(store: KeyStore, addresses: tuple[str, ...]) -> tuple[Certificate, ...]:
    """Return all certificates of our own for some addresses, ended ones too: old mail was encrypted to them."""
    found = [each.certificate for address in addresses for each in store.certificates(address) if each.own]
    return tuple(dict.fromkeys(found))


def to_keep_readable(store: KeyStore, address: str, when: datetime.datetime) -> Certificate | None:
    """Return a certificate of our own to encrypt the author's copy to, or None where no key here serves that."""
    for each in store.certificates(address):
        if each.own and _serves(each.certificate, smime_profile.check_encryption):
            try:
                check_current(each.certificate, when)
            except NotAuthentic:
                continue
            return each.certificate
    return None


@dataclass(frozen=True, slots=True)
class Encryptable:
    """How to encrypt to somebody, and what is known of the certificate's revocation."""

    recipient: Recipient
    revocation: Revocation


def candidates(store: KeyStore, address: str, when: datetime.datetime) -> tuple[Certificate, ...]:
    """Return the newest certificates for an address that are for encryption, and current: those worth asking about."""
    found = []
    for each in store.certificates(address):
        try:
            smime_profile.check_encryption(each.certificate)
            check_current(each.certificate, when)
        except NotAuthentic:
            continue
        found.append(each.certificate)
    return tuple(found[:MOST_CANDIDATES])


def to_encrypt_to(
    store: KeyStore, address: str, trust: Trust, about: Mapping[Certificate, Trust] | None = None
) -> Encryptable:
    """Return the newest certificate for an address that may be encrypted to, by what is trusted and known.

    `about` is what was found out about some certificates (gather_recipients). Lists of the store's owner, which
    `trust.crls` are, count even where they are no longer fresh. Raises OurFault with the reason.
    """
    reason = ""
    for each in store.certificates(address):
        if not _serves(each.certificate, smime_profile.check_encryption):
            continue
        try:
            check_not_listed(each.certificate, trust.crls)
            state = check_recipient(each.certificate, (about or {}).get(each.certificate, trust))
        except LetterlockError as error:
            reason = reason or f"no usable certificate for {address}: {error}"  # of the newest
            continue
        return Encryptable(recipient_of(store, address, each.certificate), state)
    raise OurFault(reason or f"the key store holds no certificate for {address}")


def recipient_of(store: KeyStore, address: str, certificate: Certificate) -> Recipient:
    """Return somebody to encrypt to, with what is remembered of what they can read."""
    return Recipient(address, certificate, store.remembered(address), store.used(address))


def _serves(certificate: Certificate, check: Callable[[Certificate], None]) -> bool:
    """Tell whether a certificate is for a use at all; one for the other use is no reason to be told."""
    try:
        check(certificate)
    except NotAuthentic:
        return False
    return True


def check_not_listed(certificate: Certificate, crls: tuple[RevocationList, ...]) -> None:
    """Raise NotAuthentic where a list of the certificate's issuer, one's own and believed, has it as revoked."""
    for found in crls:
        if (certificate.issuer, certificate.serial) in found.entries:
            raise NotAuthentic("it was revoked")


def trust_of(store: KeyStore, when: datetime.datetime) -> Trust:
    """Return what the store's owner trusts and knows."""
    kept = store.certificates()
    anchors = tuple(Anchor.of(each.certificate) for each in kept if each.anchor)
    return Trust(when, anchors, tuple(each.certificate for each in kept))
