"""Paths and revocation lists in the shapes of the x509-limbo suite, made anew with a person's mail certificate at the end.

The suite's own files are for servers' names; what its cases say of paths (pathlen, pathological, rfc5280, cve) and of
revocation lists (crl) is said here of mail, under the same identifiers. `DEVIATES` lists where ours says otherwise, and why.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.crl import RevocationList
from letterlock.trust.pkix import revocation, smime_profile
from letterlock.trust.pkix.path import Anchor, Pool, find
from letterlock.trust.pkix.revocation import Evidence, Status

NOW = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
Extension = tuple[x509.ExtensionType, bool]
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55738.666.1"), b"\x05\x00")
URI = x509.UniformResourceIdentifier("http://example.com/partition.crl")
_USAGES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
           "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # fmt: skip


def usage(*names: str) -> Extension:
    return x509.KeyUsage(**{name: name in names for name in _USAGES}), True


def basic(ca: bool = True, length: int | None = None, *, critical: bool = True) -> Extension:
    return x509.BasicConstraints(ca, length), critical


def names(*addresses: str) -> Extension:
    return x509.SubjectAlternativeName([x509.RFC822Name._init_without_validation(each) for each in addresses]), False


def only(permitted: tuple[str, ...] = (), excluded: tuple[str, ...] = (), *, critical: bool = True) -> Extension:
    one, other = (tuple(map(x509.RFC822Name, each)) or None for each in (permitted, excluded))
    return x509.NameConstraints(one, other), critical


@functools.cache
def key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


CERTIFIES = usage("key_cert_sign", "crl_sign")
MAIL = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
_LEAF = (usage("digital_signature"), MAIL)


def made(
    subject: str,
    issuer: str,
    *extensions: Extension,
    by: str = "",
    own: str = "",
    serial: int = 0,
    begins: datetime.datetime = NOW - 900 * DAY,
    ends: datetime.datetime = NOW + 900 * DAY,
) -> x509.Certificate:
    """A certificate for the key `own` (by itself that of the subject's name), signed with the key `by` (the issuer's)."""
    builder = x509.CertificateBuilder(
        _name(issuer), _name(subject), key(own or subject).public_key(), serial or x509.random_serial_number(), begins, ends
    )  # fmt: skip
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(key(by or issuer), hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name.from_rfc4514_string(f"CN={text}") if text else x509.Name([])


def leaf(issuer: str, *more: Extension, address: str = "user@example.com", **changes: object) -> x509.Certificate:
    kinds = {type(each) for each, _critical in more}
    usual = [each for each in _LEAF if type(each[0]) not in kinds]
    return made("User", issuer, names(address), *usual, *more, **changes)  # type: ignore[arg-type]


def authority(subject: str, issuer: str, *more: Extension, **changes: object) -> x509.Certificate:
    """An authority; what `more` says counts in place of what is usual."""
    kinds = {type(each) for each, _critical in more}
    usual = [each for each in (basic(), CERTIFIES) if type(each[0]) not in kinds]
    return made(subject, issuer, *usual, *more, **changes)  # type: ignore[arg-type]


ROOT = authority("Root", "Root")


@dataclass(frozen=True)
class Case:
    """A person's certificate, what lies around, who is trusted, and what the suite says of it."""

    good: bool
    target: x509.Certificate
    around: tuple[x509.Certificate, ...] = ()
    roots: tuple[x509.Certificate, ...] = (ROOT,)
    when: datetime.datetime = NOW


def _read(certificate: x509.Certificate) -> Certificate:
    return Certificate.parse(certificate.public_bytes(Encoding.DER))


def _ring(*pairs: tuple[str, str]) -> tuple[x509.Certificate, ...]:
    return tuple(authority(subject, issuer) for subject, issuer in pairs)


def _limits(*lengths: int) -> tuple[x509.Certificate, ...]:
    """Authorities one below the other, each with a limit on how many come below it."""
    named = ("Root", *(f"A{number}" for number in range(1, len(lengths) + 1)))
    return tuple(
        authority(named[at + 1], named[at], basic(length=length)) for at, length in enumerate(lengths)
    )  # fmt: skip


MIDDLE = authority("Middle", "Root")
FROM, TO = NOW - 10 * DAY, NOW + 10 * DAY
_BRIEF = {"begins": FROM, "ends": TO}
CASES: dict[str, Callable[[], Case]] = {
    "pathlen::ee-with-intermediate-pathlen-0": lambda: Case(True, leaf("A1"), _limits(0)),
    "pathlen::ee-with-intermediate-pathlen-1": lambda: Case(True, leaf("A1"), _limits(1)),
    "pathlen::ee-with-intermediate-pathlen-2": lambda: Case(True, leaf("A1"), _limits(2)),
    "pathlen::intermediate-violates-pathlen-0": lambda: Case(False, leaf("A2"), _limits(0, 0)),
    "pathlen::validation-ignores-pathlen-in-leaf": lambda: Case(
        True, leaf("A1", basic(length=0), usage("digital_signature", "key_cert_sign")), _limits(0)
    ),
    "pathological::multiple-chains-expired-intermediate": lambda: Case(
        True, leaf("Root"), (authority("Root", "Root 2", ends=NOW - DAY),), (ROOT, authority("Root 2", "Root 2"))
    ),
    "pathological::intermediate-cycle-distinct-cas": lambda: Case(False, leaf("A"), _ring(("A", "B"), ("B", "A"))),
    "pathological::intermediate-cycle-same-logical-ca": lambda: Case(
        False, leaf("A", by="A1"), (authority("A", "A", by="A2", own="A1"), authority("A", "A", by="A1", own="A2"))
    ),
    "cve::cve-2024-0567": lambda: Case(
        True, leaf("A1"), _ring(("A1", "Root"), ("Root", "B"), ("Root", "C"), ("B1", "B"), ("B", "Root"), ("B", "C"),
                                ("C1", "C"), ("C", "Root"), ("C", "B"))
    ),
    "invalid::invalid-issuer-key": lambda: Case(False, leaf("Middle", by="another"), (MIDDLE,)),
    "rfc5280::ee-empty-issuer": lambda: Case(False, leaf("", by="Root")),
    "rfc5280::ca-empty-subject": lambda: Case(False, leaf("", by="Nobody"), (), (authority("", "", by="Nobody"),)),
    "rfc5280::unknown-critical-extension-ee": lambda: Case(False, leaf("Root", (UNKNOWN, True))),
    "rfc5280::unknown-critical-extension-intermediate": lambda: Case(
        False, leaf("Middle"), (authority("Middle", "Root", (UNKNOWN, True)),)
    ),
    "rfc5280::unknown-critical-extension-root": lambda: Case(
        False, leaf("Root"), (), (authority("Root", "Root", (UNKNOWN, True)),)
    ),
    "rfc5280::chain-untrusted-root": lambda: Case(
        False, leaf("Middle"), (MIDDLE, ROOT), (authority("Other", "Other"),)
    ),
    "rfc5280::intermediate-ca-without-ca-bit": lambda: Case(
        False, leaf("Middle"), (authority("Middle", "Root", basic(ca=False)),)
    ),
    "rfc5280::intermediate-ca-missing-basic-constraints": lambda: Case(
        False, leaf("Middle"), (made("Middle", "Root", CERTIFIES),)
    ),
    "rfc5280::root-missing-basic-constraints": lambda: Case(False, leaf("Root"), (), (made("Root", "Root", CERTIFIES),)),
    "rfc5280::root-non-critical-basic-constraints": lambda: Case(
        False, leaf("Root"), (), (authority("Root", "Root", basic(critical=False)),)
    ),
    "rfc5280::root-inconsistent-ca-extensions": lambda: Case(
        False, leaf("Root"), (), (authority("Root", "Root", usage("crl_sign")),)
    ),
    "rfc5280::ica-ku-keycertsign": lambda: Case(
        False, leaf("Middle"), (authority("Middle", "Root", basic(length=0), usage("crl_sign")),)
    ),
    "rfc5280::no-keyusage": lambda: Case(True, made("User", "Root", names("user@example.com"), MAIL)),
    "rfc5280::no-basicconstraints": lambda: Case(True, leaf("Root")),
    "rfc5280::leaf-ku-keycertsign": lambda: Case(
        False, made("User", "Root", names("user@example.com"), MAIL, basic(ca=False), usage("digital_signature", "key_cert_sign"))
    ),
    "rfc5280::aki::leaf-missing-aki": lambda: Case(False, leaf("Root")),
    "rfc5280::aki::intermediate-missing-aki": lambda: Case(False, leaf("Middle"), (MIDDLE,)),
    "rfc5280::aki::self-signed-root-missing-aki": lambda: Case(True, leaf("Root")),
    "rfc5280::nc::not-allowed-in-ee-critical": lambda: Case(False, leaf("Root", only(("example.com",)))),
    "rfc5280::nc::intermediate-with-san-rejected-by-intermediate-nc": lambda: Case(
        False, leaf("A2", address="user@permitted.example.com"),
        (authority("A1", "Root", only(("permitted.example.com",), ("forbidden.example.com",))),
         authority("A2", "A1", names("ca@forbidden.example.com"))),
    ),
    "rfc5280::nc::intermediate-with-san-rejected-by-root-nc": lambda: Case(
        False, leaf("A2", address="user@permitted.example.com"),
        (authority("A1", "Root"), authority("A2", "A1", names("ca@forbidden.example.com"))),
        (authority("Root", "Root", only(("permitted.example.com",), ("forbidden.example.com",))),),
    ),
    "rfc5280::nc::restrictive-permits-in-intermediates-narrows": lambda: Case(
        False, leaf("A2", address="user@foo.example.com"),
        (authority("A1", "Root", only(("foo.example.com", "bar.example.com"))),
         authority("A2", "A1", only(("bar.example.com",)))),
    ),
    "rfc5280::nc::restrictive-permits-in-intermediates-widens": lambda: Case(
        False, leaf("A2", address="user@foo.example.com"),
        (authority("A1", "Root", only(("bar.example.com",))),
         authority("A2", "A1", only(("foo.example.com", "bar.example.com")))),
    ),
    "rfc5280::nc::nc-permits-invalid-email-san": lambda: Case(
        False, made("User", "Middle", names("good@example.com", "invalid@address@example.com"), *_LEAF),
        (authority("Middle", "Root", only(("example.com",))),),
    ),
    "rfc5280::nc::nc-forbids-alternate-chain-ica": lambda: Case(
        True, leaf("B", address="user@permitted.example.com"),
        (authority("A", "Root", only(("permitted.example.com",), ("forbidden.example.com",))),
         authority("B", "Discarded", names("ca@forbidden.example.com")), authority("B", "A")),
    ),
    "rfc5280::nc::nc-forbids-same-chain-ica": lambda: Case(
        True, leaf("B"),
        (authority("A", "Root", only((), ("forbidden.example.com",))),
         authority("B", "A", names("ca@forbidden.example.com")), authority("B", "Root 2")),
        (ROOT, authority("Root 2", "Root 2")),
    ),
    "rfc5280::nc::permitted-dns-match-noncritical": lambda: Case(
        False, leaf("Middle"), (authority("Middle", "Root", only(("example.com",), critical=False)),)
    ),
    "rfc5280::validity::expired-root": lambda: Case(
        False, leaf("Middle"), (MIDDLE,), (authority("Root", "Root", ends=NOW - DAY),)
    ),
    "rfc5280::validity::expired-intermediate": lambda: Case(
        False, leaf("Middle"), (authority("Middle", "Root", ends=NOW - DAY),)
    ),
    "rfc5280::validity::expired-leaf": lambda: Case(False, leaf("Middle", ends=NOW - DAY), (MIDDLE,)),
    "rfc5280::validity::notbefore-exact": lambda: Case(True, leaf("Middle", **_BRIEF), (MIDDLE,), when=FROM),
    "rfc5280::validity::notafter-exact": lambda: Case(True, leaf("Middle", **_BRIEF), (MIDDLE,), when=TO),
    "rfc5280::validity::notbefore-fractional": lambda: Case(
        False, leaf("Middle", **_BRIEF), (MIDDLE,), when=FROM - datetime.timedelta(milliseconds=1)
    ),
    "rfc5280::validity::notafter-fractional": lambda: Case(
        True, leaf("Middle", **_BRIEF), (MIDDLE,), when=TO + datetime.timedelta(milliseconds=5)
    ),
}  # fmt: skip
_ANCHOR = "RFC 5280 section 6.1.1: an anchor is a name and a key; its certificate is asked for constraints alone"
_ISSUING = "asks it of who issues certificates, not of who reads them"
DEVIATES = {
    "rfc5280::unknown-critical-extension-root": _ANCHOR,
    "rfc5280::root-missing-basic-constraints": _ANCHOR,
    "rfc5280::root-non-critical-basic-constraints": _ANCHOR,
    "rfc5280::root-inconsistent-ca-extensions": _ANCHOR,
    "rfc5280::validity::expired-root": _ANCHOR,
    "rfc5280::leaf-ku-keycertsign": f"RFC 5280 section 4.2.1.9 {_ISSUING}",
    "rfc5280::aki::leaf-missing-aki": f"RFC 5280 section 4.2.1.1 {_ISSUING}",
    "rfc5280::aki::intermediate-missing-aki": f"RFC 5280 section 4.2.1.1 {_ISSUING}",
    "rfc5280::nc::not-allowed-in-ee-critical": f"RFC 5280 section 4.2.1.10 {_ISSUING}",
    "rfc5280::nc::permitted-dns-match-noncritical": f"RFC 5280 section 4.2.1.10 {_ISSUING}; the constraint is kept to",
    "rfc5280::validity::notafter-fractional": "the suite calls it ambiguous; messages are judged at whole seconds",
}


@pytest.mark.parametrize("name", CASES)
def test_paths(name: str) -> None:
    """As the suite says, or as `DEVIATES` does."""
    case = CASES[name]()
    try:
        path = find(
            _read(case.target),
            Pool(map(_read, case.around)),
            [Anchor.of(_read(each)) for each in case.roots],
            case.when,
        )
        smime_profile.check_authorities(path)
        smime_profile.check_signing(path.target)
        good = True
    except (NotAuthentic, Malformed):
        good = False
    assert (good is case.good) is (name not in DEVIATES)


TARGET = leaf("Root", serial=4711)


@dataclass(frozen=True)
class Listed:
    """A person's certificate, revocation lists, and whether the suite takes it with them."""

    good: bool
    lists: tuple[x509.CertificateRevocationList, ...]
    target: x509.Certificate = TARGET
    around: tuple[x509.Certificate, ...] = ()
    roots: tuple[x509.Certificate, ...] = (ROOT,)


NUMBER = (x509.CRLNumber(7), False)


def crl(
    *serials: int,
    by: str = "Root",
    issuer: str = "Root",
    more: tuple[Extension, ...] = (NUMBER,),
    at: datetime.datetime = NOW - DAY,
    until: datetime.datetime = NOW + 30 * DAY,
    revoked_at: datetime.datetime = NOW - 2 * DAY,
) -> x509.CertificateRevocationList:
    builder = x509.CertificateRevocationListBuilder(_name(issuer), at, until)
    for serial in serials:
        builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder(serial, revoked_at).build())
    for extension, critical in more:
        builder = builder.add_extension(extension, critical)
    return builder.sign(key(by), hashes.SHA256())


def scope(
    *full: x509.GeneralName,
    relative: str = "",
    users: bool = False,
    authorities: bool = False,
    attributes: bool = False,
    indirect: bool = False,
    reasons: frozenset[x509.ReasonFlags] | None = None,
) -> tuple[Extension, ...]:
    short = x509.RelativeDistinguishedName(_name(relative)) if relative else None
    point = x509.IssuingDistributionPoint(list(full) or None, short, users, authorities, reasons, indirect, attributes)
    return NUMBER, (point, True)


def at_point(*full: x509.GeneralName) -> x509.Certificate:
    point = x509.DistributionPoint(list(full), None, None, None)
    return leaf("Root", (x509.CRLDistributionPoints([point]), False))


def _other(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


def _issuer(*extensions: Extension) -> tuple[x509.Certificate, ...]:
    return (made("Root", "Root", basic(), *extensions),)


DNS = x509.DNSName("example.com")
LISTS: dict[str, Callable[[], Listed]] = {
    "crl::revoked-certificate-with-crl": lambda: Listed(False, (crl(4711),)),
    "crl::certificate-not-on-crl": lambda: Listed(True, (crl(1, 2),)),
    "crl::certificate-serial-on-crl-different-issuer": lambda: Listed(
        True, (crl(), crl(4711, by="Root 2", issuer="Root 2")), roots=(ROOT, authority("Root 2", "Root 2"))
    ),
    "crl::crlnumber-missing": lambda: Listed(False, (crl(1, more=()),)),
    "crl::crlnumber-critical": lambda: Listed(False, (crl(1, more=((x509.CRLNumber(7), True),)),)),
    "crl::issuer-missing-crlsign": lambda: Listed(False, (crl(1),), roots=_issuer(usage("key_cert_sign"))),
    "crl::issuer-no-keyusage-extension": lambda: Listed(True, (crl(1),), roots=_issuer()),
    "crl::issuer-valid-crlsign-and-keycertsign": lambda: Listed(True, (crl(1),), roots=_issuer(CERTIFIES)),
    "crl::crl-invalid-signature": lambda: Listed(False, (crl(1, by="nobody"),)),
    "crl::crl-wrong-signing-key": lambda: Listed(
        False, (crl(1, by="Root 2"),), roots=(ROOT, authority("Root 2", "Root 2"))
    ),
    "crl::crl-empty": lambda: Listed(True, (crl(),)),
    "crl::crl-very-large": lambda: Listed(True, (crl(*range(10_000, 20_000)),)),
    "crl::crl-unknown-critical-extension": lambda: Listed(False, (crl(1, more=(NUMBER, (UNKNOWN, True))),)),
    "crl::crl-unknown-noncritical-extension": lambda: Listed(True, (crl(1, more=(NUMBER, (UNKNOWN, False))),)),
    "crl::crl-duplicate-revoked-serial": lambda: Listed(False, (crl(1, 1),)),
    "crl::this-update-in-future": lambda: Listed(False, (crl(at=NOW + DAY),)),
    "crl::next-update-in-past": lambda: Listed(False, (crl(at=NOW - 60 * DAY, until=NOW - 30 * DAY),)),
    "crl::revocation-date-in-future": lambda: Listed(False, (crl(4711, revoked_at=NOW + DAY),)),
    "crl::revocation-date-before-not-before": lambda: Listed(False, (crl(4711, revoked_at=NOW - 2000 * DAY),)),
    "crl::crl-validity-no-overlap": lambda: Listed(
        False, (crl(at=NOW - 365 * DAY, until=NOW - 180 * DAY),), leaf("Root", begins=NOW - 30 * DAY)
    ),
    "crl::idp-cdp-scope-match": lambda: Listed(True, (crl(more=scope(URI)),), at_point(URI)),
    "crl::idp-cdp-scope-mismatch": lambda: Listed(
        False, (crl(more=scope(_other("http://example.com/other.crl"))),), at_point(URI)
    ),
    "crl::idp-only-contains-user-certs-ca-target": lambda: Listed(
        False, (crl(more=scope(users=True)), crl(by="Middle", issuer="Middle")), leaf("Middle"), (MIDDLE,)
    ),
    "crl::idp-only-contains-ca-certs-ee-target": lambda: Listed(False, (crl(more=scope(authorities=True)),)),
    "crl::idp-present-certificate-missing-cdp": lambda: Listed(False, (crl(more=scope(URI)),)),
    "crl::idp-present-certificate-cdp-non-uri-generalname": lambda: Listed(
        False, (crl(more=scope(URI)),), at_point(URI, DNS)
    ),
    "crl::idp-only-contains-attribute-certs": lambda: Listed(False, (crl(1, more=scope(attributes=True)),)),
    "crl::idp-name-relative-to-crl-issuer": lambda: Listed(False, (crl(more=scope(relative="partition")),)),
    "crl::idp-fullname-non-uri-generalname": lambda: Listed(False, (crl(more=scope(URI, DNS)),), at_point(URI)),
    "crl::idp-indirect-crl": lambda: Listed(False, (crl(more=scope(URI, indirect=True)),), at_point(URI)),
    "crl::idp-only-some-reasons-no-complete-crl": lambda: Listed(
        False, (crl(more=scope(URI, reasons=frozenset([x509.ReasonFlags.key_compromise]))),), at_point(URI)
    ),
    "crl::idp-uri-not-byte-identical": lambda: Listed(
        False, (crl(more=scope(_other("http://example.com/%70artition.crl"))),), at_point(URI)
    ),
}
_PUBLIC = "a rule of public authorities for servers; RFC 5280 section 6.3.3 b compares any name"
LISTS_DEVIATE = {
    "crl::crlnumber-missing": "RFC 5280 section 5.2.3 asks it of who issues lists; without deltas nothing depends on the number",
    "crl::crlnumber-critical": "RFC 5280 section 5.2.3 asks it of who issues lists; the extension is understood",
    "crl::crl-duplicate-revoked-serial": "RFC 5280 does not forbid it; what is listed twice is revoked",
    "crl::idp-present-certificate-cdp-non-uri-generalname": _PUBLIC,
    "crl::idp-fullname-non-uri-generalname": _PUBLIC,
    "crl::idp-indirect-crl": "RFC 5280 section 6.3.3 b: such a list speaks about its own issuer's certificates, too",
}


@pytest.mark.parametrize("name", LISTS)
def test_lists(name: str) -> None:
    """Taken only where it is known not to be revoked: as the suite says, or as `LISTS_DEVIATE` does."""
    case = LISTS[name]()
    pool = Pool(map(_read, (*case.around, *case.roots)))
    path = find(_read(case.target), pool, [Anchor.of(_read(each)) for each in case.roots], NOW)
    try:
        crls = [RevocationList.parse(each.public_bytes(Encoding.DER)) for each in case.lists]
    except Malformed:
        crls = []
    found = revocation.check_path(path, Evidence(crls, (), pool), NOW)
    assert ((found.status is Status.GOOD) is case.good) is (name not in LISTS_DEVIATE), found
