"""Which of the certificates in a key store serve now: one's own to sign and decrypt with, others' to encrypt to.

Standards: RFC 8550 sections 2.3 and 4 (choosing a certificate), RFC 8551 section 2.7.1 (capabilities).
"""

from __future__ import annotations

import datetime
from collections.abc import Callable

from letterlock.errors import LetterlockError, NotAuthentic, OurFault
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.crl import RevocationList
from letterlock.registrar.key_store import KeyStore
from letterlock.trust.pkix import smime_profile
from letterlock.trust.pkix.path import Anchor, Pool, check_current, find
from letterlock.trust.smime.choose_cipher import Recipient
from letterlock.trust.smime.proof import Trust


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


def to_encrypt_to(
    store: KeyStore,
    address: str,
    when: datetime.datetime,
    more_anchors: tuple[Anchor, ...] = (),
    crls: tuple[RevocationList, ...] = (),
) -> Recipient:
    """Return the newest certificate for an address that leads to an anchor and may be encrypted to.

    `more_anchors` are trusted beside the store's, `crls` are those at hand. Raises OurFault with the reason.
    """
    reason = f"the key store holds no certificate for {address}"
    own = store.anchors()
    anchors = (*map(Anchor.of, own), *more_anchors)
    known = (*own, *(each.certificate for each in store.certificates(address)))
    for each in store.certificates(address):
        if not _serves(each.certificate, smime_profile.check_encryption):
            continue
        try:
            find(each.certificate, Pool(known), anchors, when)
            check_not_listed(each.certificate, crls)
        except LetterlockError as error:
            reason = f"no usable certificate for {address}: {error}"
            continue
        remembered = store.remembered(address)
        return Recipient(address, each.certificate, None if remembered is None else remembered.capabilities)
    raise OurFault(reason)


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
