"""Check the signatures of a SignedData: the cryptography and what the signed attributes promise, not yet the people.

Every signature gives one `Check`, good or with the reason why not; whose certificate it is and what that is worth is
for trust/pkix and proof to say.

Standards: RFC 5652 sections 5.4 to 5.6 and 11, RFC 5035 section 5.4, RFC 6211 section 3, RFC 8551 section 2.5.
Limits: those of formats/cms; 8 counter-signatures a signature, 64 a message.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Iterable
from typing import Protocol

import msgspec

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats.asn1 import oids, reader, tags
from letterlock.formats.asn1.reader import Fields
from letterlock.formats.cms.attributes import Attributes
from letterlock.formats.cms.ess import signing_certificate
from letterlock.formats.cms.forms import MAX_FORMS
from letterlock.formats.cms.signed import SignedData
from letterlock.formats.cms.signer import SignerInfo
from letterlock.formats.x509.algorithm import NULL, AlgorithmIdentifier, PublicKeyInfo
from letterlock.formats.x509.certificate import Certificate
from letterlock.trust.pkix.path import MAX_LENGTH
from letterlock.trust.primitives import digests, public_keys, signatures
from letterlock.trust.primitives.digests import Digester

MAX_COUNTER_SIGNATURES = 8
MAX_COUNTER_SIGNATURES_TOGETHER = 64
MAX_ATTRIBUTE_OCTETS = 1 << 16
MAX_REMEMBERED_OCTETS = 1024


class Check(msgspec.Struct, frozen=True):
    """One signature: `fault` is empty when it holds; `certificate` is None if it was not found."""

    signer: SignerInfo
    certificate: Certificate | None
    scheme: str
    digest: str
    fault: str = ""
    signing_time: datetime.datetime | None = None
    names_certificate: bool = False
    counter_signatures: tuple[Check, ...] = ()

    @property
    def good(self) -> bool:
        """Whether the signature holds."""
        return not self.fault


class Content(Protocol):
    """What was signed, as the check of a signature asks for it."""

    def digest(self, oid: str) -> bytes:
        """Return the content's digest; Malformed if it was not foreseen, or is not known."""

    @property
    def octets(self) -> bytes | None:
        """The content itself, if it is at hand."""

    @property
    def is_attributes(self) -> bool:
        """Whether the content is the signed attributes of a signature."""


class Whole:
    """Content that is in memory, in pieces; each digest is made when it is first asked for."""

    def __init__(self, pieces: Iterable[bytes | memoryview]) -> None:
        self._pieces = tuple(pieces)
        self._digests: dict[str, bytes] = {}

    def digest(self, oid: str) -> bytes:
        """Return the content's digest; Malformed if it is not known."""
        found = self._digests.get(oid)
        if found is None:
            found = self._digests[oid] = digests.digest(oid, *self._pieces)
        return found

    @property
    def octets(self) -> bytes:
        """The content itself."""
        return b"".join(self._pieces)

    @property
    def is_attributes(self) -> bool:
        """Whether the content is the signed attributes of a signature."""
        return _looks_like_attributes(self.octets)


class Passing:
    """Content taken piece by piece and not kept: a digest for each algorithm that was announced."""

    def __init__(self, digest_oids: Iterable[str]) -> None:
        self._digesters: dict[str, Digester] = {
            oid: digests.digester(oid) for oid in dict.fromkeys(digest_oids) if digests.is_known(oid)
        }
        self._head = b""  # enough to recognise attributes passed off as content
        self._size = 0

    def update(self, octets: bytes | memoryview) -> None:
        """Take more octets."""
        for digester in self._digesters.values():
            digester.update(octets)
        if self._size < MAX_ATTRIBUTE_OCTETS:
            self._head += octets[: MAX_ATTRIBUTE_OCTETS - self._size]
        self._size += len(octets)

    def digest(self, oid: str) -> bytes:
        """Return the content's digest; Malformed if it was not foreseen in the message's list, or is not known."""
        if oid not in self._digesters:
            raise Malformed(f"a digest not announced or not known: {oids.label(oid)}", clause="RFC 5652 section 5.1")
        return self._digesters[oid].digest()

    @property
    def octets(self) -> None:
        """Nothing: the content has passed."""

    @property
    def is_attributes(self) -> bool:
        """Whether the content is the signed attributes of a signature (which are never larger than the limit here)."""
        return self._size <= MAX_ATTRIBUTE_OCTETS and _looks_like_attributes(self._head)


def verify(signed: SignedData, content: bytes | None = None, known: Iterable[Certificate] = ()) -> tuple[Check, ...]:
    """Check all signatures of `signed`; `content` is what a detached one covers, `known` further certificates.

    Raises Malformed if content stands inside and outside at once, or nowhere.
    """
    # content attached inside multipart/signed would be checked in place of what is shown
    if signed.content is not None and content is not None:
        raise Malformed("a detached signature that brings content of its own", clause="RFC 8551 section 3.5.3.1")
    if signed.content is None and content is None and signed.signers:
        raise Malformed("a detached signature without its content", clause="RFC 5652 section 5.2")
    whole = Whole(signed.pieces() if content is None else (content,))
    return check_all(signed.signers, signed.content_type, whole, candidates(signed.certificates, known))


def candidates(octets: Iterable[bytes], known: Iterable[Certificate] = ()) -> tuple[Certificate, ...]:
    """Return the certificates of a message that can be read, and those known otherwise."""
    found = []
    for each in octets:
        try:
            found.append(Certificate.parse(each))
        except Malformed:
            continue  # one bad certificate does not spoil those beside it
    return (*found, *known)


def check_all(
    signers: tuple[SignerInfo, ...], content_type: str, content: Content, certificates: tuple[Certificate, ...]
) -> tuple[Check, ...]:
    """Check every signature over `content`."""
    return tuple([_check(signer, content_type, content, certificates, among=len(signers)) for signer in signers])


class Standing(msgspec.Struct, frozen=True, eq=False):
    """What is the same in all signatures of a signer: with which certificate, how, and what the attributes say of it.

    `content_type` is what they name, None if nothing. `checker` is None where the key cannot be used.
    """

    certificate: Certificate
    names_certificate: bool
    scheme: signatures.Scheme
    scheme_label: str
    content_type: str | None
    checker: signatures.Checker | None


def _standing(signer: SignerInfo, certificates: tuple[Certificate, ...]) -> Standing:
    """Look at all of a signature that is not of its message; raises NotAuthentic or Malformed."""
    found = _certificates_of(signer, certificates)
    if not found:
        raise NotAuthentic(f"the signer's certificate ({signer.identifier}) is not there")
    scheme = signatures.scheme_of(signer.signature_algorithm, signer.digest_algorithm.oid)
    certificate, names = _named(found, signer.signed)
    _check_protection(signer.signed, signer)
    named_type = signer.signed.first(oids.CONTENT_TYPE)
    try:
        checker = signatures.checker(_key_of(certificate, certificates), scheme)
    except (NotAuthentic, Malformed):
        checker = None  # will be said when the rest was looked at
    return Standing(certificate, names, scheme, scheme.label, None if named_type is None else named_type.oid(), checker)


_remembered_standing = functools.lru_cache(maxsize=MAX_FORMS)(_standing)


def _certificates_of(signer: SignerInfo, certificates: tuple[Certificate, ...]) -> tuple[Certificate, ...]:
    return tuple([each for each in certificates if signer.identifier.names(each)])


def _check(
    signer: SignerInfo,
    content_type: str,
    content: Content,
    certificates: tuple[Certificate, ...],
    *,
    among: int,
    is_counter: bool = False,
) -> Check:
    """Check one signature `among` as many."""
    like, standing = signer.like, None
    fault, time = "", None
    try:
        time = signer.signed.signing_time
        standing = _standing(signer, certificates) if like is None else _remembered_standing(like, certificates)
        checker = standing.checker or signatures.checker(_key_of(standing.certificate, certificates), standing.scheme)
        if signer.signed_octets is None:
            _check_bare(signer, checker, content_type, content, counter=is_counter)
        else:
            _check_content_type(standing.content_type, content_type, counter=is_counter)
            _check_one(signer, signer.signed_octets, checker, content)
    except (NotAuthentic, Malformed) as error:
        fault = str(error)
    counters = _counter_signatures(signer, certificates, among) if signer.unsigned.items and not is_counter else ()
    digest = oids.label(signer.digest_algorithm.oid)
    if standing is None:
        certificate = next(iter(_certificates_of(signer, certificates)), None)
        scheme = oids.label(signer.signature_algorithm.oid)
        return Check(signer, certificate, scheme, digest, fault, time, False, counters)
    names = standing.names_certificate
    return Check(signer, standing.certificate, standing.scheme_label, digest, fault, time, names, counters)


def _check_one(signer: SignerInfo, covered: bytes, checker: signatures.Checker, content: Content) -> None:
    """Check what is of the message: its digest, and the signature over the attributes."""
    expected = signer.signed.single(oids.MESSAGE_DIGEST)
    if expected is None:
        raise NotAuthentic("the signed attributes lack the message digest")
    digest = content.digest(signer.digest_algorithm.oid)
    if expected != b"\x04%c%b" % (len(digest), digest) and reader.parse(expected).octet_string() != digest:
        raise NotAuthentic("the content was changed: its digest is not the one that was signed")
    try:
        checker.check(signer.signature, covered)
    except NotAuthentic:
        canonical = signer.canonical_octets
        if canonical == covered:
            raise
        checker.check(signer.signature, canonical)


def _check_bare(
    signer: SignerInfo, checker: signatures.Checker, content_type: str, content: Content, *, counter: bool
) -> None:
    """Check a signature over the content itself."""
    if content_type != oids.DATA and not counter:
        raise Malformed("content other than data signed without attributes", clause="RFC 5652 section 5.3")
    if content.is_attributes:
        # a signature over attributes must not pass as one over content that consists of them
        raise NotAuthentic("the content is the attributes of another signature")
    octets = content.octets
    if octets is not None:
        checker.check(signer.signature, octets)
    else:
        checker.check(signer.signature, content.digest(checker.scheme.digest), digested=True)


def _check_content_type(named: str | None, content_type: str, *, counter: bool) -> None:
    if counter:
        if named is not None:
            raise NotAuthentic("a counter-signature that names a content type")  # RFC 5652 section 11.4
    elif named != content_type:
        raise NotAuthentic("the signed attributes name another content type")  # RFC 5652 section 11.1


def _check_protection(attributes: Attributes, signer: SignerInfo) -> None:
    """Check that the algorithms are those that were signed (RFC 6211 section 3)."""
    protection = attributes.single(oids.ALGORITHM_PROTECTION)
    if protection is None:
        return
    quickly = len(protection) <= MAX_REMEMBERED_OCTETS
    digest, algorithm = (_remembered_algorithms if quickly else _protected_algorithms)(protection)
    if digest.oid != signer.digest_algorithm.oid:
        raise NotAuthentic("the digest algorithm is not the one that was signed")
    if algorithm != signer.signature_algorithm:
        raise NotAuthentic("the signature algorithm is not the one that was signed")


def _protected_algorithms(value: bytes) -> tuple[AlgorithmIdentifier, AlgorithmIdentifier | None]:
    """Read an algorithm protection attribute."""
    fields = Fields(reader.parse(value))
    digest = AlgorithmIdentifier.parse(fields.take(tags.SEQUENCE))
    algorithm = fields.optional(tags.context(1))
    return digest, None if algorithm is None else AlgorithmIdentifier.parse(algorithm.retagged(tags.SEQUENCE))


_remembered_algorithms = functools.lru_cache(maxsize=128)(_protected_algorithms)


def _names(value: bytes, version: int, certificate: Certificate) -> bool:
    """Tell whether a signing-certificate attribute names `certificate`."""
    if value == signing_certificate.usual(certificate, digests.digest(oids.SHA256, certificate.octets)):
        return version == 2
    first = signing_certificate.parse(reader.parse(value), version=version)[0]
    return first.may_name(certificate) and digests.digest(first.digest_algorithm, certificate.octets) == first.digest


_remembered_names = functools.lru_cache(maxsize=256)(_names)  # the same in all messages of a signer


def _named(found: tuple[Certificate, ...], attributes: Attributes) -> tuple[Certificate, bool]:
    """Return the certificate that the signing-certificate attributes name, and whether there are any."""
    named = False
    for oid, version in ((oids.SIGNING_CERTIFICATE_V2, 2), (oids.SIGNING_CERTIFICATE, 1)):
        value = attributes.single(oid)
        if value is None:
            continue
        named = True
        # RFC 5035 section 5.4: the first names the certificate the signature is to be checked with
        names = _remembered_names if len(value) <= MAX_REMEMBERED_OCTETS else _names
        found = tuple([each for each in found if names(value, version, each)])
        if not found:
            raise NotAuthentic("the certificate is not the one the signature names")
    return found[0], named


def _key_of(certificate: Certificate, certificates: tuple[Certificate, ...]) -> PublicKeyInfo:
    """Return a certificate's key; a DSA key may inherit its parameters, which the path will confirm (RFC 3279)."""
    key = certificate.public_key
    if key.algorithm.oid != oids.DSA or key.algorithm.parameters not in (None, NULL):
        return key
    name = certificate.issuer
    for _ in range(MAX_LENGTH):
        issuers = [each for each in certificates if each.subject == name and each.public_key.algorithm.oid == oids.DSA]
        for issuer in issuers:
            parameters = issuer.public_key.algorithm.parameters
            if parameters is not None and parameters != NULL:
                return public_keys.with_parameters(key, parameters)
        if not issuers:
            break
        name = issuers[0].issuer
    return key


def _looks_like_attributes(octets: bytes) -> bool:
    if octets[:1] != b"\x31":
        return False
    try:
        parsed = Attributes.parse(reader.parse(octets))
    except Malformed:
        return False
    return any(item.type == oids.MESSAGE_DIGEST for item in parsed.items)


def _counter_signatures(signer: SignerInfo, certificates: tuple[Certificate, ...], among: int) -> tuple[Check, ...]:
    most = min(MAX_COUNTER_SIGNATURES, MAX_COUNTER_SIGNATURES_TOGETHER // among)
    checks = []
    for value in signer.unsigned.all(oids.COUNTER_SIGNATURE)[:most]:
        counter = SignerInfo.parse(reader.parse(value))
        checks.append(_check(counter, "", Whole((signer.signature,)), certificates, among=among, is_counter=True))
    return tuple(checks)
