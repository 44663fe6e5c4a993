"""Signed and enveloped content that does not fit into memory: what stands before, the content in pieces, what follows.

Both forms are read, definite and indefinite lengths alike; written are indefinite lengths (BER), since the size of what
comes is not known.

Standards: RFC 5652 sections 5.1, 5.2, 6.1 and 8, RFC 5083 section 2.1.
Limits: those of asn1.stream: what stands before and after the content fits into 16 MiB; authenticated attributes 64 KiB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from letterlock.errors import Malformed
from letterlock.formats.asn1 import oids, reader, stream, tags, writer
from letterlock.formats.asn1.reader import Fields
from letterlock.formats.asn1.stream import END_OF_CONTENTS, Source
from letterlock.formats.cms import enveloped, signed
from letterlock.formats.cms.attributes import Attributes
from letterlock.formats.cms.enveloped import EnvelopedData
from letterlock.formats.cms.recipients import RecipientInfo
from letterlock.formats.cms.signer import SignerInfo
from letterlock.formats.x509.algorithm import AlgorithmIdentifier

MAX_AUTHENTICATED_OCTETS = 1 << 16
_OPEN_SEQUENCE = b"\x30\x80"
_OPEN_CONTENT = b"\xa0\x80"


def open_content_info(source: Source) -> str:
    """Read on inside a ContentInfo; return its content type."""
    source.enter(tags.SEQUENCE)
    content_type = source.element(64).oid()
    source.enter(tags.context(0))
    return content_type


def close_content_info(source: Source) -> None:
    """Read the end of a ContentInfo; as where it is read whole, only line ends and padding may follow."""
    source.leave()
    source.leave()
    for piece in source.rest():
        if piece.strip(b"\r\n\x00"):
            raise Malformed(
                "octets after the end of the ContentInfo", offset=source.offset, clause="RFC 5652 section 3"
            )


@dataclass(frozen=True, slots=True)
class SignedHead:
    """What stands before signed content: its type and the digests to compute; `attached` tells whether it follows."""

    content_type: str
    digest_algorithms: tuple[str, ...]
    attached: bool


class SignedReader:
    """A SignedData read in order: `head`, then `content()` to its end, then `tail()`."""

    def __init__(self, source: Source) -> None:
        self._source = source
        source.enter(tags.SEQUENCE)
        source.element(64).integer()
        digests = tuple(AlgorithmIdentifier.parse(each).oid for each in source.element().expect(tags.SET).children())
        source.enter(tags.SEQUENCE)
        content_type = source.element(64).oid()
        self.head = SignedHead(content_type, digests, source.more())

    def content(self) -> Iterator[bytes | memoryview]:
        """Yield the content in pieces; nothing where it is detached."""
        if self.head.attached:
            self._source.enter(tags.context(0))
            yield from self._source.string(tags.OCTET_STRING)
            self._source.leave()
        self._source.leave()

    def tail(self) -> tuple[tuple[bytes, ...], tuple[bytes, ...], tuple[bytes, ...], tuple[SignerInfo, ...]]:
        """Return certificates, CRLs, OCSP responses and signers, which follow the content."""
        parts = []
        while self._source.more():
            parts.append(self._source.element().encoded)
            if len(parts) > 3:
                raise Malformed(
                    "elements behind the signers", offset=self._source.offset, clause="RFC 5652 section 5.1"
                )
        self._source.leave()
        return signed.parse_tail(Fields(reader.parse(writer.sequence(*parts))))


def write_signed(
    content_type: str,
    digests: tuple[AlgorithmIdentifier, ...],
    pieces: Iterable[bytes] | None,
    tail: Callable[[], tuple[tuple[bytes, ...], tuple[SignerInfo, ...]]],
) -> Iterator[bytes]:
    """Write a ContentInfo with a SignedData; `tail` is asked for certificates and signers when the content has passed.

    `pieces` None leaves the content out.
    """
    outside = (_OPEN_SEQUENCE, writer.oid(oids.SIGNED_DATA), _OPEN_CONTENT, _OPEN_SEQUENCE)
    head = signed.encode_head(content_type, digests, ())
    yield b"".join((*outside, head, _OPEN_SEQUENCE, writer.oid(content_type)))
    if pieces is not None:
        yield _OPEN_CONTENT
        yield from stream.segments(pieces)
        yield END_OF_CONTENTS
    yield END_OF_CONTENTS
    certificates, signers = tail()
    yield signed.encode_tail(certificates, (), signers)
    yield END_OF_CONTENTS * 3


class EnvelopedReader:
    """Enveloped or authenticated-enveloped data read in order: `head`, then `content()`, then `finish()`."""

    def __init__(self, content_info_type: str, source: Source) -> None:
        self._source = source
        source.enter(tags.SEQUENCE)
        parts = [source.element(64).encoded]
        while source.peek_tag() != tags.SEQUENCE:
            parts.append(source.element().encoded)
        fields = Fields(reader.parse(writer.sequence(*parts)))
        fields.take(tags.INTEGER)
        certificates, infos = enveloped.parse_recipients(fields)
        fields.finish()
        source.enter(tags.SEQUENCE)
        content_type = source.element(64).oid()
        algorithm = AlgorithmIdentifier.parse(source.element(4096))
        self.head = EnvelopedData(content_info_type, certificates, infos, content_type, algorithm, None)

    def content(self) -> Iterator[bytes | memoryview]:
        """Yield the cipher text in pieces."""
        yield from self._source.string(tags.context(0))
        self._source.leave()

    def finish(self) -> tuple[bytes, bytes]:
        """Return the DER of the authenticated attributes and the tag, both empty for EnvelopedData."""
        attributes, tag = b"", b""
        while self._source.more():
            element = self._source.element()
            if element.tag == tags.context(1) and self.head.content_info_type == oids.AUTH_ENVELOPED_DATA:
                if element.end > MAX_AUTHENTICATED_OCTETS:
                    raise element.fault("authenticated attributes too large", "RFC 5083 section 2.1")
                Attributes.parse(element)
                attributes = b"\x31" + writer.content_of(element)[1:]
            elif element.tag == tags.OCTET_STRING:
                tag = element.octet_string()
        self._source.leave()
        return attributes, tag


def write_enveloped(
    content_info_type: str,
    infos: tuple[RecipientInfo, ...],
    content_type: str,
    algorithm: AlgorithmIdentifier,
    sealed: Iterable[bytes],
) -> Iterator[bytes]:
    """Write a ContentInfo with EnvelopedData up to the end of its cipher text; `close_enveloped` writes the rest."""
    outside = (_OPEN_SEQUENCE, writer.oid(content_info_type), _OPEN_CONTENT, _OPEN_SEQUENCE)
    head = enveloped.encode_head(content_info_type, infos)
    yield b"".join((*outside, head, _OPEN_SEQUENCE, writer.oid(content_type), algorithm.encode()))
    yield from stream.segments(sealed, 0xA0)
    yield END_OF_CONTENTS


def close_enveloped(authenticated: bytes, tag: bytes) -> bytes:
    """Return what follows the cipher text: attributes and tag of AuthEnvelopedData, and the ends."""
    attributes = writer.implicit(1, authenticated) if authenticated else b""
    return attributes + (writer.octet_string(tag) if tag else b"") + END_OF_CONTENTS * 3
