"""Certificates for mail in every shape: the S/MIME cases of the x509-limbo suite and name constraints on addresses.

The certificates are made here, after the descriptions of the suite, which follows the baseline requirements for public
S/MIME authorities; where RFC 8550 and RFC 5280 ask for less of a relying party, `DEVIATES` says by which section.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field, replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose

from letterlock.errors import NotAuthentic
from letterlock.formats.imf.header import read_header
from letterlock.formats.x509.certificate import Certificate
from letterlock.trust.pkix import smime_profile
from letterlock.trust.pkix.path import Anchor
from letterlock.trust.primitives import key_pairs
from letterlock.trust.smime import protect
from letterlock.trust.smime.proof import Trust, prove
from letterlock.trust.smime.sign import Signer
from letterlock.trust.smime.unwrap import unwrap

NOW = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)
_KEYS: dict[str, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey] = {
    **{name: ec.generate_private_key(ec.SECP256R1()) for name in ("root", "middle", "leaf")},
    "rsa": rsa.generate_private_key(65537, 2048),
}
MAIL = Purpose.EMAIL_PROTECTION
SIGN, SEAL, AGREE, CERTIFY, LIST = "digital_signature", "key_encipherment", "key_agreement", "key_cert_sign", "crl_sign"
_USAGES = (
    SIGN,
    "content_commitment",
    SEAL,
    "data_encipherment",
    AGREE,
    CERTIFY,
    LIST,
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True)
class Shape:
    """How a certificate looks; None leaves an extension out."""

    names: tuple[x509.GeneralName, ...] | None = (x509.RFC822Name("user@example.com"),)
    names_critical: bool = False
    subject: str = "CN=User"
    purposes: tuple[x509.ObjectIdentifier, ...] | None = (MAIL,)
    usages: tuple[str, ...] | None = (SIGN,)
    usages_critical: bool = True
    permitted: tuple[x509.GeneralName, ...] = ()
    excluded: tuple[x509.GeneralName, ...] = ()
    key: str = "leaf"


LEAF = Shape()
AUTHORITY = Shape(None, purposes=None, usages=(CERTIFY, LIST), subject="CN=Authority")


@dataclass(frozen=True)
class Case:
    """A chain, the address looked for, and whether it is good for a signature."""

    good: bool
    leaf: Shape = LEAF
    middle: Shape | None = None
    root: Shape = field(default=AUTHORITY)
    address: str = "user@example.com"


def _certify(shape: Shape, own: str, issuer: str, issuer_subject: str, *, is_authority: bool) -> x509.Certificate:
    builder = x509.CertificateBuilder(
        x509.Name.from_rfc4514_string(issuer_subject), x509.Name.from_rfc4514_string(shape.subject),
        _KEYS[own].public_key(), x509.random_serial_number(), NOW, NOW + datetime.timedelta(days=90),
    )  # fmt: skip
    if is_authority:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    if shape.names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(shape.names), critical=shape.names_critical)
    if shape.purposes is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(shape.purposes), critical=False)
    if shape.usages is not None:
        usage = x509.KeyUsage(**{name: name in shape.usages for name in _USAGES})
        builder = builder.add_extension(usage, critical=shape.usages_critical)
    if shape.permitted or shape.excluded:
        builder = builder.add_extension(
            x509.NameConstraints(shape.permitted or None, shape.excluded or None), critical=True
        )
    return builder.sign(_KEYS[issuer], hashes.SHA256())


def _chain(case: Case) -> list[Certificate]:
    """Return leaf, middle if there is one, root."""
    made = [_certify(case.root, "root", "root", case.root.subject, is_authority=True)]
    if case.middle is not None:
        made.insert(0, _certify(case.middle, "middle", "root", case.root.subject, is_authority=True))
    issuer = "root" if case.middle is None else "middle"
    above = case.root if case.middle is None else case.middle
    made.insert(0, _certify(case.leaf, case.leaf.key, issuer, above.subject, is_authority=False))
    return [Certificate.parse(each.public_bytes(Encoding.DER)) for each in made]


def _middle(**changes: object) -> Shape:
    return replace(AUTHORITY, subject="CN=Middle", **changes)  # type: ignore[arg-type]


def _mail(*addresses: str) -> tuple[x509.GeneralName, ...]:
    return tuple(map(x509.RFC822Name, addresses))


OTHER = "other@example.com"
CASES = {
    # names
    "address in the names": Case(True),
    "one address of two": Case(True, replace(LEAF, names=_mail(OTHER, "user@example.com"))),
    "no names, the address as common name": Case(False, replace(LEAF, names=None, subject="CN=user@example.com")),
    "a domain name alone": Case(False, replace(LEAF, names=(x509.DNSName("example.com"),))),
    "critical names, a subject": Case(True, replace(LEAF, names_critical=True)),
    "critical names, no subject": Case(True, replace(LEAF, names_critical=True, subject="")),
    "another local part": Case(False, address=OTHER),
    "another domain": Case(False, address="user@example.org"),
    "another case of the domain": Case(True, address="user@EXAMPLE.com"),
    # purposes
    "no purposes": Case(True, replace(LEAF, purposes=None)),
    "for clients": Case(False, replace(LEAF, purposes=(Purpose.CLIENT_AUTH,))),
    "for mail and servers": Case(True, replace(LEAF, purposes=(MAIL, Purpose.SERVER_AUTH))),
    "for mail and code": Case(True, replace(LEAF, purposes=(MAIL, Purpose.CODE_SIGNING))),
    "for mail and time stamps": Case(True, replace(LEAF, purposes=(MAIL, Purpose.TIME_STAMPING))),
    "for mail and anything": Case(True, replace(LEAF, purposes=(MAIL, Purpose.ANY_EXTENDED_KEY_USAGE))),
    "root for mail": Case(True, root=replace(AUTHORITY, purposes=(MAIL,))),
    "middle for servers": Case(False, middle=_middle(purposes=(Purpose.SERVER_AUTH,))),
    "middle for mail": Case(True, middle=_middle(purposes=(MAIL,))),
    "middle for mail and servers": Case(True, middle=_middle(purposes=(MAIL, Purpose.SERVER_AUTH))),
    "middle for mail and anything": Case(True, middle=_middle(purposes=(MAIL, Purpose.ANY_EXTENDED_KEY_USAGE))),
    "middle for mail and code": Case(True, middle=_middle(purposes=(MAIL, Purpose.CODE_SIGNING))),
    "middle for mail and time stamps": Case(True, middle=_middle(purposes=(MAIL, Purpose.TIME_STAMPING))),
    # usages
    "to sign": Case(True),
    "to sign and commit": Case(True, replace(LEAF, usages=(SIGN, "content_commitment"))),
    "to sign and seal": Case(True, replace(LEAF, usages=(SIGN, SEAL))),
    "to sign, RSA": Case(True, replace(LEAF, key="rsa")),
    "to sign and commit, RSA": Case(True, replace(LEAF, key="rsa", usages=(SIGN, "content_commitment"))),
    "to sign and seal, RSA": Case(True, replace(LEAF, key="rsa", usages=(SIGN, SEAL))),
    "to seal alone, RSA": Case(False, replace(LEAF, key="rsa", usages=(SEAL,))),
    "to seal alone": Case(False, replace(LEAF, usages=(SEAL,))),
    "to agree alone": Case(False, replace(LEAF, usages=(AGREE,))),
    "to certify, without being an authority": Case(True, replace(LEAF, usages=(SIGN, CERTIFY))),
    "no usages": Case(True, replace(LEAF, usages=None)),
    "usages not critical": Case(True, replace(LEAF, usages_critical=False)),
    "middle that may not certify": Case(False, middle=_middle(usages=(LIST,))),
    "middle that may not list": Case(True, middle=_middle(usages=(CERTIFY,))),
    # constraints on names (RFC 5280 section 4.2.1.10)
    "host permitted": Case(True, middle=_middle(permitted=_mail("example.com"))),
    "other host permitted": Case(False, middle=_middle(permitted=_mail("example.org"))),
    "host permitted, address below it": Case(
        False, replace(LEAF, names=_mail("user@a.example.com")), _middle(permitted=_mail("example.com")),
        address="user@a.example.com",
    ),
    "domain permitted, address below it": Case(
        True, replace(LEAF, names=_mail("user@a.example.com")), _middle(permitted=_mail(".example.com")),
        address="user@a.example.com",
    ),
    "domain permitted, address at it": Case(False, middle=_middle(permitted=_mail(".example.com"))),
    "mailbox permitted": Case(True, middle=_middle(permitted=_mail("user@example.com"))),
    "other mailbox permitted": Case(False, middle=_middle(permitted=_mail(OTHER))),
    "host excluded": Case(False, middle=_middle(excluded=_mail("example.com"))),
    "other host excluded": Case(True, middle=_middle(excluded=_mail("example.org"))),
    "mailbox excluded": Case(False, middle=_middle(excluded=_mail("user@example.com"))),
    "mailbox excluded in another case of its domain": Case(False, middle=_middle(excluded=_mail("user@EXAMPLE.com"))),
    "one of two addresses outside": Case(
        False, replace(LEAF, names=_mail("user@example.com", "user@example.org")), _middle(permitted=_mail("example.com")),
    ),
    "host permitted and mailbox excluded": Case(
        False, middle=_middle(permitted=_mail("example.com"), excluded=_mail("user@example.com")),
    ),
    "only domain names constrained": Case(True, middle=_middle(permitted=(x509.DNSName("example.org"),))),
    "address in the subject, outside": Case(
        False, replace(LEAF, names=None, subject="1.2.840.113549.1.9.1=user@example.com,CN=User"),
        _middle(permitted=_mail("example.org")),
    ),
    "address in the subject, inside": Case(
        True, replace(LEAF, names=None, subject="1.2.840.113549.1.9.1=user@example.com,CN=User"),
        _middle(permitted=_mail("example.com")),
    ),
    "constraint at the root": Case(False, root=replace(AUTHORITY, permitted=_mail("example.org"))),
}  # fmt: skip
# Where the suite, as a check of what authorities issue, says no and a relying party says yes
DEVIATES = {
    "critical names, a subject": "RFC 5280 section 4.2.1.6: SHOULD be non-critical",
    "no purposes": "RFC 8550 section 4.4.4: absent is for anything",
    "for mail and servers": "RFC 8550 section 4.4.4: emailProtection is enough",
    "for mail and code": "RFC 8550 section 4.4.4",
    "for mail and time stamps": "RFC 8550 section 4.4.4",
    "for mail and anything": "RFC 8550 section 4.4.4",
    "root for mail": "RFC 5280 section 6.2: what an anchor's certificate may say is for mail",
    "middle for mail and servers": "RFC 8550 section 4.4.4",
    "middle for mail and anything": "RFC 8550 section 4.4.4",
    "middle for mail and code": "RFC 8550 section 4.4.4",
    "middle for mail and time stamps": "RFC 8550 section 4.4.4",
    "to certify, without being an authority": "RFC 5280 section 6.1: the leaf issues nothing",
    "no usages": "RFC 8550 section 4.4.2: absent means any",
    "usages not critical": "RFC 5280 section 4.2.1.3: SHOULD be critical",
    "middle that may not list": "RFC 5280 section 6.1.4: only keyCertSign is asked for",
}


# The suite's identifiers of what is made anew here; those it lets pass stand first
PASSES = {
    "smime::san::exact-rfc822-san": "address in the names",
    "smime::san::multiple-rfc822-sans": "one address of two",
    "smime::san::san-critical-with-empty-subject": "critical names, no subject",
    "smime::eku::ee-email-protection": "address in the names",
    "smime::ku::signing-only-rsa-digital-signature": "to sign, RSA",
    "smime::ku::signing-only-rsa-with-nonrepudiation": "to sign and commit, RSA",
    "smime::ku::dual-use-rsa": "to sign and seal, RSA",
    "smime::ku::signing-only-ec": "to sign",
}
FAILS = {
    "smime::san::no-san": "no names, the address as common name",
    "smime::san::san-without-rfc822name": "a domain name alone",
    "smime::san::san-critical-with-nonempty-subject": "critical names, a subject",
    "smime::san::mismatch-rfc822-san": "another local part",
    "smime::san::mismatch-domain-rfc822-san": "another domain",
    "smime::eku::ee-missing-email-protection": "for clients",
    "smime::eku::ee-without-eku": "no purposes",
    "smime::eku::ee-has-server-auth": "for mail and servers",
    "smime::eku::ee-has-code-signing": "for mail and code",
    "smime::eku::ee-has-time-stamping": "for mail and time stamps",
    "smime::eku::ee-has-any-eku": "for mail and anything",
    "smime::eku::root-has-eku": "root for mail",
    "smime::eku::intermediate-missing-email-protection": "middle for servers",
    "smime::eku::intermediate-has-server-auth": "middle for mail and servers",
    "smime::eku::intermediate-has-any-eku": "middle for mail and anything",
    "smime::eku::intermediate-has-code-signing": "middle for mail and code",
    "smime::eku::intermediate-has-time-stamping": "middle for mail and time stamps",
    "smime::ku::ee-key-cert-sign": "to certify, without being an authority",
    "smime::ku::ee-missing-key-usage": "no usages",
    "smime::ku::ee-key-usage-not-critical": "usages not critical",
    "smime::ku::intermediate-missing-key-cert-sign": "middle that may not certify",
    "smime::ku::intermediate-missing-crl-sign": "middle that may not list",
}
# The suite lets these pass for whatever use; here they pass to encrypt to, and fail to sign with
TO_ENCRYPT = {
    "smime::ku::key-management-only-rsa": "to seal alone, RSA",
    "smime::ku::key-management-only-ec": "to agree alone",
}


def test_the_suite_and_where_ours_differs() -> None:
    """All 32 cases; what it rules out and ours takes is what DEVIATES gives a reason for."""
    assert len(PASSES) + len(FAILS) + len(TO_ENCRYPT) == 32
    assert all(CASES[name].good for name in PASSES.values())
    assert {name for name in FAILS.values() if CASES[name].good} == set(DEVIATES)
    for name in TO_ENCRYPT.values():
        assert not CASES[name].good
        smime_profile.check_encryption(_chain(CASES[name])[0])


@pytest.mark.parametrize("name", CASES)
def test_a_signature_by_it(name: str) -> None:
    """A letter signed with the certificate is proved, or not, as the case says."""
    case = CASES[name]
    leaf, *others = _chain(case)
    signer = Signer(key_pairs.wrap(_KEYS[case.leaf.key]), leaf)
    letter = f"From: {case.address}\r\nContent-Type: text/plain\r\n\r\nHi\r\n".encode()
    message = protect.sign_message(letter, (signer,), NOW, certificates=tuple(others[:-1]), token="t")
    proof = prove(read_header(message), unwrap(message), Trust(NOW, (Anchor.of(others[-1]),)))
    assert proof.good is case.good, proof.faults


def test_deviations_are_of_cases_that_are_taken() -> None:
    """Each deviation is a case here, and one that is good."""
    assert all(CASES[name].good for name in DEVIATES)


@pytest.mark.parametrize(
    ("usages", "good"), [((SEAL,), True), ((AGREE,), True), ((SIGN, SEAL), True), ((SIGN,), False)]
)
def test_for_encryption(usages: tuple[str, ...], good: bool) -> None:
    """Key management alone: to encrypt to, not to sign with (RFC 8550 section 4.4.2)."""
    leaf = _chain(Case(False, replace(LEAF, usages=usages)))[0]
    if good:
        smime_profile.check_encryption(leaf)
    else:
        with pytest.raises(NotAuthentic):
            smime_profile.check_encryption(leaf)
