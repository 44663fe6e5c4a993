"""NIST's Public Key Interoperability Test Suite: every end entity certificate with its expected verdict."""

from __future__ import annotations

import datetime
import functools
from pathlib import Path as FilePath

import cryptography_vectors
import pytest

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats.asn1.oids import ANY_POLICY
from letterlock.formats.imf.header import read_header
from letterlock.formats.mime.entity import parse
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.crl import RevocationList
from letterlock.trust.pkix.path import Anchor, Pool, Rules, find
from letterlock.trust.pkix.revocation import Evidence, Status, check_path
from letterlock.trust.smime.proof import Trust, prove
from letterlock.trust.smime.unwrap import SignedLayer, unwrap

_FOLDER = FilePath(cryptography_vectors.__file__).parent / "x509" / "PKITS_data"
_WHEN = datetime.datetime(2012, 1, 1, tzinfo=datetime.UTC)
# These names do not say what they expect; section 4.8 of the suite does
_INVALID = {
    "DifferentPoliciesTest4EE", "DifferentPoliciesTest5EE", "DifferentPoliciesTest7EE", "DifferentPoliciesTest8EE",
    "DifferentPoliciesTest9EE", "DifferentPoliciesTest12EE",
}  # fmt: skip
# A BIT STRING that is not whole octets cannot be a signature: it is refused while it is read, as it should be
_UNREADABLE = {"InvalidDSASignatureTest6EE", "BadSignedCACert"}


@functools.cache
def _suite() -> tuple[dict[str, Certificate], tuple[RevocationList, ...], Pool, Anchor]:
    certificates = {}
    for file in (_FOLDER / "certs").glob("*.crt"):
        try:
            certificates[file.stem] = Certificate.parse(file.read_bytes())
        except Malformed:
            assert file.stem in _UNREADABLE
    crls = []
    for file in (_FOLDER / "crls").glob("*.crl"):
        try:
            crls.append(RevocationList.parse(file.read_bytes()))
        except Malformed:
            assert file.stem == "BadCRLSignatureCACRL"
    anchor = Anchor.of(certificates["TrustAnchorRootCertificate"])
    return certificates, tuple(crls), Pool(certificates.values()), anchor


def _targets() -> list[str]:
    return sorted(file.stem for file in (_FOLDER / "certs").glob("*EE.crt"))


def _verdict(target: Certificate, rules: Rules) -> tuple[bool, str]:
    _certificates, crls, pool, anchor = _suite()
    try:
        path = find(target, pool, (anchor,), _WHEN, rules)
    except NotAuthentic as error:
        return False, str(error)
    state = check_path(path, Evidence(crls, (), pool), _WHEN)
    return state.status is Status.GOOD, state.reason


def test_the_suite_is_whole() -> None:
    """All end entities of the suite are there."""
    assert len(_targets()) == 223


@pytest.mark.parametrize("name", _targets())
def test_verdict(name: str) -> None:
    """The certificate validates, revocation known, exactly when the suite says so."""
    expected = not name.startswith("Invalid") and name not in _INVALID
    certificates = _suite()[0]
    if name not in certificates:
        assert name in _UNREADABLE
        assert not expected
        return
    good, reason = _verdict(certificates[name], Rules())
    assert good is expected, reason


_P = {str(number): f"2.16.840.1.101.3.2.1.48.{number}" for number in range(1, 7)}


@pytest.mark.parametrize(
    ("name", "policies", "explicit", "inhibit_mapping", "inhibit_any", "expected"),
    [
        ("ValidCertificatePathTest1EE", "", True, False, False, True),
        ("ValidCertificatePathTest1EE", "1", True, False, False, True),
        ("ValidCertificatePathTest1EE", "2", True, False, False, False),
        ("ValidCertificatePathTest1EE", "12", True, False, False, True),
        ("AllCertificatesNoPoliciesTest2EE", "", False, False, False, True),
        ("AllCertificatesNoPoliciesTest2EE", "", True, False, False, False),
        ("DifferentPoliciesTest3EE", "", False, False, False, True),
        ("DifferentPoliciesTest3EE", "", True, False, False, False),
        ("DifferentPoliciesTest3EE", "12", True, False, False, False),
        ("OverlappingPoliciesTest6EE", "1", False, False, False, True),
        ("OverlappingPoliciesTest6EE", "2", False, False, False, False),
        ("AllCertificatesSamePoliciesTest10EE", "1", False, False, False, True),
        ("AllCertificatesSamePoliciesTest10EE", "2", False, False, False, True),
        ("AllCertificatesanyPolicyTest11EE", "1", False, False, False, True),
        ("AllCertificatesSamePoliciesTest13EE", "3", False, False, False, True),
        ("AnyPolicyTest14EE", "1", False, False, False, True),
        ("AnyPolicyTest14EE", "2", False, False, False, False),
        ("ValidPolicyMappingTest1EE", "1", False, False, False, True),
        ("ValidPolicyMappingTest1EE", "2", False, False, False, False),
        ("ValidPolicyMappingTest1EE", "", False, True, False, False),
        ("ValidPolicyMappingTest5EE", "1", False, False, False, True),
        ("ValidPolicyMappingTest5EE", "6", False, False, False, False),
    ],
)
def test_initial_policies(
    name: str, policies: str, explicit: bool, inhibit_mapping: bool, inhibit_any: bool, expected: bool
) -> None:
    """What the user asks for (RFC 5280 section 6.1.1 c to g) decides as section 4.8 and 4.10 of the suite list."""
    wanted = frozenset(_P[number] for number in policies) or frozenset({ANY_POLICY})
    good, reason = _verdict(_suite()[0][name], Rules(wanted, explicit, inhibit_mapping, inhibit_any))
    assert good is expected, reason


@pytest.mark.parametrize("file", sorted((_FOLDER / "smime").glob("*.eml")), ids=lambda file: file.stem)
def test_signed_mail_of_the_suite_is_read(file: FilePath) -> None:
    """Every message of the suite is signed, and every signature over the content itself holds."""
    message = file.read_bytes()
    unwrapped = unwrap(message, known=_suite()[0].values())
    layer = unwrapped.layers[0]
    assert isinstance(layer, SignedLayer)
    assert unwrapped.fault == ""
    assert parse(unwrapped.content).content_type.full == "text/plain"
    (check,) = layer.checks
    if file.stem == "SignedInvalidDSASignatureTest6":
        assert "is not there" in check.fault  # its certificate is one of the unreadable
    else:
        assert check.fault == ""


@pytest.mark.parametrize("file", sorted((_FOLDER / "smime").glob("*.eml")), ids=lambda file: file.stem)
def test_signed_mail_of_the_suite_is_judged(file: FilePath) -> None:
    """The whole verdict, with the anchor and what each message brings itself; their sender is in no certificate."""
    message, anchor = file.read_bytes(), _suite()[3]
    trust = Trust(_WHEN, (anchor,), accept_legacy=True, require_revocation=True)
    (signer,) = prove(read_header(message), unwrap(message), trust).signers
    name = f"{file.stem.removeprefix('Signed')}EE"
    expected = not name.startswith(("Invalid", "MissingCRL")) and name not in _INVALID
    faults = [fault for fault in signer.faults if not fault.startswith("the certificate is for")]
    assert (not faults) is expected, faults
