"""What S/MIME asks of a certificate beyond a valid path: its uses, and the address it is for.

Standards: RFC 8550 sections 3, 4.4 and 4.4.4, RFC 9598 (SmtpUTF8Mailbox), RFC 5280 section 4.2.1.12.
"""

from __future__ import annotations

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats import domain as domains
from letterlock.formats.asn1 import oids
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.extensions import KeyUsage
from letterlock.trust.pkix.path import Path

_SIGNING = frozenset({KeyUsage.DIGITAL_SIGNATURE, KeyUsage.NON_REPUDIATION})
_ENCRYPTION = frozenset({KeyUsage.KEY_ENCIPHERMENT, KeyUsage.KEY_AGREEMENT})


def check_signing(certificate: Certificate) -> None:
    """Raise NotAuthentic if the certificate may not sign mail."""
    _check_purpose(certificate)
    usage = certificate.extensions.key_usage
    if usage is not None and not usage & _SIGNING:  # RFC 8550 section 4.4.2: absent means any
        raise NotAuthentic("the certificate's key is not for signing")


def check_encryption(certificate: Certificate) -> None:
    """Raise NotAuthentic if mail may not be encrypted to the certificate."""
    _check_purpose(certificate)
    usage = certificate.extensions.key_usage
    if usage is not None and not usage & _ENCRYPTION:
        raise NotAuthentic("the certificate's key is not for encryption")


def check_authorities(path: Path) -> None:
    """Raise NotAuthentic if an authority between the anchor and the signer is limited to purposes other than mail."""
    for authority in path.certificates[:-1]:
        if not _is_for_mail(authority):
            raise NotAuthentic(f"the authority {authority.subject} is not for mail")


def _check_purpose(certificate: Certificate) -> None:
    if not _is_for_mail(certificate):
        raise NotAuthentic("the certificate is not for mail")


def _is_for_mail(certificate: Certificate) -> bool:
    purposes = certificate.extensions.extended_key_usage
    # RFC 8550 section 4.4.4: absent, for mail, or for anything
    return purposes is None or bool({oids.EMAIL_PROTECTION, oids.ANY_EXTENDED_KEY_USAGE} & set(purposes))


def comparable(address: str) -> str:
    """Return an address so that equal ones are equal text: the domain as lower-case A-labels, the local part as it is.

    An address that is none compares only with itself.
    """
    local, at, host = address.strip().rpartition("@")
    try:
        return f"{local}@{domains.to_ascii(host)}" if at and local else address
    except Malformed:
        return address


def matching_address(certificate: Certificate, addresses: tuple[str, ...]) -> str | None:
    """Return the first of `addresses` the certificate is for, or None.

    Local parts are compared with case first, and without it as mail systems do in practice (RFC 8550 section 3): that of
    ASCII alone, since other letters are compared octet by octet (RFC 8398 section 5).
    """
    certified = {comparable(each) for each in certificate.addresses}
    folded = {_fold(each) for each in certified}
    for address in addresses:
        if comparable(address) in certified or _fold(comparable(address)) in folded:
            return address
    return None


def _fold(address: str) -> str:
    return address.encode("utf-8", "surrogateescape").lower().decode("utf-8", "surrogateescape")
