"""SignedData: content, the signatures over it, and the certificates and lists to check them with.

The content is not copied: `SignedData.pieces` are views of the segments it came in.

Standards: RFC 5652 section 5, RFC 5940 (OCSP answers among the lists).
Limits: 64 signers, 256 certificates of together 2 MiB, 64 lists.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

import msgspec

from letterlock.errors import Malformed
from letterlock.formats.asn1 import oids, reader, tags, writer
from letterlock.formats.asn1.reader import Element, Fields
from letterlock.formats.cms import content, forms, heads
from letterlock.formats.cms.forms import Tail
from letterlock.formats.cms.identifiers import KeyIdentifier
from letterlock.formats.cms.signer import SignerInfo
from letterlock.formats.x509.algorithm import AlgorithmIdentifier

MAX_SIGNERS = 64
MAX_CERTIFICATES = 256
MAX_CERTIFICATES_OCTETS = 2 << 20
_REMEMBERED_OCTETS = 64
_OCSP_RESPONSE = "1.3.6.1.5.5.7.16.2"  # RFC 5940 section 2.1


class SignedData(msgspec.Struct, frozen=True, gc=False):
    """A SignedData as it came. `content` is None when detached, or when there is none (certs-only)."""

    content_type: str
    content: Element | None
    digest_algorithms: tuple[str, ...]
    certificates: tuple[bytes, ...]
    crls: tuple[bytes, ...]
    ocsp_responses: tuple[bytes, ...]
    signers: tuple[SignerInfo, ...]

    @classmethod
    def read(cls, octets: bytes) -> SignedData:
        """Read a ContentInfo with a SignedData; raises Malformed."""
        found = cls.recognise(octets)
        if found is not None:
            return found
        content_type, element = content.parse(octets)
        if content_type != oids.SIGNED_DATA:
            raise element.fault(f"{oids.label(content_type)} where signed-data belongs", "RFC 5652 section 5.1")
        return cls.parse(element)

    @classmethod
    def recognise(cls, octets: bytes) -> SignedData | None:
        """Return what `read` does if the octets are those of a usual SignedData, without fault; else None."""
        head = heads.recognise(octets)
        if head is None:
            return None
        try:
            tail = forms.recall(head.tail) or parse_tail(Fields(reader.parse(writer.sequence(head.tail))))
            return cls(oids.DATA, head.content, _digests_once(head.digests), *tail)
        except Malformed:
            return None  # the reader of everything will say what is wrong

    @classmethod
    def parse(cls, element: Element) -> SignedData:
        """Read a SignedData; raises Malformed."""
        fields = Fields(element)
        fields.skip(tags.INTEGER)
        digests = _digests(fields.take(tags.SET))
        inner = Fields(fields.take(tags.SEQUENCE))
        content_type = inner.oid()
        wrapped = inner.optional(tags.context(0))
        inner.finish()
        tail = parse_tail(fields)
        body = None if wrapped is None else wrapped.only_child().expect(tags.OCTET_STRING)
        return cls(content_type, body, digests, *tail)

    def pieces(self) -> Iterable[bytes | memoryview]:
        """Return the content: large segments as views, small ones joined."""
        return () if self.content is None else self.content.pieces()


def _digests(element: Element) -> tuple[str, ...]:
    """Read DigestAlgorithmIdentifiers."""
    encoded = element.encoded
    if len(encoded) <= _REMEMBERED_OCTETS:
        return _digests_once(encoded)
    return tuple(AlgorithmIdentifier.parse(each).oid for each in element.children())


@functools.lru_cache(maxsize=128)
def _digests_once(encoded: bytes) -> tuple[str, ...]:
    """Read a short set once: all messages have one of the same few."""
    return tuple(AlgorithmIdentifier.parse(each).oid for each in reader.parse(encoded).children())


def parse_tail(fields: Fields) -> Tail:
    """Read what follows the content: certificates, CRLs, OCSP responses and signers.

    What is the same in all messages of a signer is read once.
    """
    octets = fields.left
    tail = forms.recall(octets)
    if tail is None:
        tail = _read_tail(fields)
        forms.remember(octets, tail)
    return tail


def _read_tail(fields: Fields) -> Tail:
    certificates = parse_certificates(fields.optional(tags.context(0)))
    crls, responses = parse_crls(fields.optional(tags.context(1)))
    signers: list[SignerInfo] = []
    for child in fields.take(tags.SET).children():
        if len(signers) >= MAX_SIGNERS:
            raise child.fault(f"more than {MAX_SIGNERS} signers", "RFC 5652 section 5.1")
        signers.append(SignerInfo.parse(child))
    fields.finish()
    return certificates, crls, responses, tuple(signers)


def parse_certificates(element: Element | None) -> tuple[bytes, ...]:
    """Return the X.509 certificates of a CertificateSet; attribute certificates and others are passed over."""
    found: list[bytes] = []
    if element is not None and element.end - element.start > MAX_CERTIFICATES_OCTETS:
        raise element.fault(f"certificates of more than {MAX_CERTIFICATES_OCTETS} octets", "RFC 5652 section 10.2.3")
    for child in () if element is None else element.children():
        if len(found) >= MAX_CERTIFICATES:
            raise child.fault(f"more than {MAX_CERTIFICATES} certificates", "RFC 5652 section 10.2.3")
        if child.tag == tags.SEQUENCE:
            found.append(child.encoded)
    return tuple(found)


def parse_crls(element: Element | None) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Return the CRLs and the OCSP responses of RevocationInfoChoices."""
    crls, responses = [], []
    for child in () if element is None else element.children():
        if child.tag == tags.SEQUENCE:
            crls.append(child.encoded)
        elif child.tag == tags.context(1):
            other = Fields(child.retagged(tags.SEQUENCE))
            if other.oid() == _OCSP_RESPONSE:
                responses.append(other.take(tags.SEQUENCE).encoded)
    return tuple(crls), tuple(responses)


def encode_certificates(certificates: tuple[bytes, ...]) -> bytes:
    """Return the [0] with a CertificateSet, or nothing."""
    return writer.implicit(0, writer.set_of(dict.fromkeys(certificates))) if certificates else b""


def encode_tail(certificates: tuple[bytes, ...], crls: tuple[bytes, ...], signers: tuple[SignerInfo, ...]) -> bytes:
    """Return what follows the content."""
    lists = writer.implicit(1, writer.set_of(crls)) if crls else b""
    return encode_certificates(certificates) + lists + writer.set_of(signer.encode() for signer in signers)


def encode_head(content_type: str, digests: tuple[AlgorithmIdentifier, ...], signers: tuple[SignerInfo, ...]) -> bytes:
    """Return version and digest algorithms, which stand before the content."""
    # RFC 5652 section 5.1
    by_key = any(isinstance(signer.identifier, KeyIdentifier) for signer in signers)
    version = 3 if by_key or content_type != oids.DATA else 1
    return writer.integer(version) + writer.set_of(dict.fromkeys(digest.encode() for digest in digests))


def encode(
    content_type: str,
    body: bytes | None,
    signers: tuple[SignerInfo, ...],
    certificates: tuple[bytes, ...] = (),
    crls: tuple[bytes, ...] = (),
) -> bytes:
    """Return the DER of a ContentInfo with a SignedData; `body` None leaves the content out (detached)."""
    return b"".join(encode_parts(content_type, None if body is None else (body,), signers, certificates, crls))


def encode_parts(
    content_type: str,
    body: Sequence[bytes | memoryview] | None,
    signers: tuple[SignerInfo, ...],
    certificates: tuple[bytes, ...] = (),
    crls: tuple[bytes, ...] = (),
) -> list[bytes | memoryview]:
    """Return what `encode` does for content in pieces, in parts among which are those pieces."""
    digests = tuple(signer.digest_algorithm for signer in signers)
    encapsulated, size = writer.oid(content_type), 0
    if body is not None:
        size = sum(map(len, body))
        encapsulated += writer.beginning(0xA0, writer.header(0x04, size), size)
    head = encode_head(content_type, digests, signers) + writer.beginning(0x30, encapsulated, size)
    tail = encode_tail(certificates, crls, signers)
    following = size + len(tail)
    return [
        content.beginning(oids.SIGNED_DATA, writer.beginning(0x30, head, following), following),
        *(body or ()),
        tail,
    ]
