"""Sign, verify, encrypt, decrypt and expand content that does not fit into memory, octets or whole messages.

Everything takes an iterable of pieces and yields pieces or hands them to a sink. What `decrypt` and `verify` hand out
before they return is worth nothing if they raise: the caller writes to a place it can throw away (EFAIL, RFC 5083
section 5).

Standards: RFC 5652, RFC 5083, RFC 8551 section 3.
Limits: memory of one piece, of the certificates and signatures, and of 256 KiB segments; a header of 256 KiB.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from letterlock.errors import Malformed, NotAuthentic, OurFault
from letterlock.formats.asn1 import oids
from letterlock.formats.asn1.stream import Source
from letterlock.formats.cms import stream as cms
from letterlock.formats.cms.signed import SignedData
from letterlock.formats.cms.signer import SignerInfo
from letterlock.formats.imf.header import Header, read_header
from letterlock.formats.mime.content_type import parse_content_type, parse_encoding
from letterlock.formats.mime.transfer import decode_stream, encode_base64_stream
from letterlock.formats.x509.certificate import Certificate
from letterlock.trust.primitives.ciphers import Opening, Sealing
from letterlock.trust.smime import decrypt as opening
from letterlock.trust.smime import encrypt as sealing
from letterlock.trust.smime.decrypt import KeyRing
from letterlock.trust.smime.encrypt import Recipient
from letterlock.trust.smime.entities import split, wrap
from letterlock.trust.smime.sign import Signer, sign_digest
from letterlock.trust.smime.verify import Check, Passing, candidates, check_all

MAX_HEADER_OCTETS = 1 << 18
Sink = Callable[[bytes | memoryview], object]


def sign(
    pieces: Iterable[bytes],
    signers: tuple[Signer, ...],
    signing_time: datetime,
    *,
    detached: bool = False,
    certificates: tuple[Certificate, ...] = (),
) -> Iterator[bytes]:
    """Yield a ContentInfo (BER) with the content signed. EdDSA works too, for it signs the attributes."""
    if not all(signer.with_attributes for signer in signers):
        raise OurFault("content in pieces is signed with attributes")
    taken = Passing(signer.digest_algorithm.oid for signer in signers)

    def tail() -> tuple[tuple[bytes, ...], tuple[SignerInfo, ...]]:
        digests = {signer.digest_algorithm.oid: taken.digest(signer.digest_algorithm.oid) for signer in signers}
        infos = tuple(sign_digest(signer, digests, signing_time) for signer in signers)
        chain = (*(each for signer in signers for each in signer.certificates), *certificates)
        return tuple(each.octets for each in chain), infos

    def watched() -> Iterator[bytes]:
        for piece in pieces:
            taken.update(piece)
            yield piece

    algorithms = tuple(signer.digest_algorithm for signer in signers)
    if detached:
        for _piece in watched():
            pass
    yield from cms.write_signed(oids.DATA, algorithms, None if detached else watched(), tail)


@dataclass(frozen=True, slots=True)
class Verified:
    """The checks of a SignedData that came in pieces, and itself without its content, which has passed."""

    signed: SignedData
    checks: tuple[Check, ...]


def verify(
    pieces: Iterable[bytes], sink: Sink, known: Iterable[Certificate] = (), detached: Iterable[bytes] | None = None
) -> Verified:
    """Check all signatures, handing the content to `sink` as it comes.

    `detached` is the content in pieces where the signature brings none. A signature without attributes over content in
    pieces is checked by its digest, which EdDSA cannot. Raises Malformed.
    """
    source = Source(pieces)
    if cms.open_content_info(source) != oids.SIGNED_DATA:
        raise Malformed("not a SignedData", clause="RFC 5652 section 5.1")
    reader = cms.SignedReader(source)
    if reader.head.attached == (detached is not None):
        raise Malformed("content inside and outside of the signature, or nowhere", clause="RFC 5652 section 5.2")
    taken = Passing(reader.head.digest_algorithms)
    for piece in reader.content():
        taken.update(piece)
        sink(piece)
    for piece in detached or ():
        taken.update(piece)
        sink(piece)
    tail = reader.tail()
    cms.close_content_info(source)
    signed = SignedData(reader.head.content_type, None, reader.head.digest_algorithms, *tail)
    return Verified(
        signed, check_all(signed.signers, signed.content_type, taken, candidates(signed.certificates, known))
    )


def encrypt(
    pieces: Iterable[bytes],
    recipients: tuple[Recipient, ...],
    *,
    cipher: str = oids.AES256_GCM,
    content_type: str = oids.DATA,
    bind_key: bool = False,
    legacy: bool = False,
    entropy: Callable[[int], bytes] = os.urandom,
) -> Iterator[bytes]:
    """Yield a ContentInfo (BER) with the content encrypted, in CBC or GCM mode; for `bind_key` see `encrypt`."""
    chosen, key = sealing.prepare(cipher, legacy=legacy, entropy=entropy)
    infos = sealing.recipient_infos(recipients, key)
    algorithm, content_key = sealing.described(chosen, key, bind_key=bind_key)
    associated = sealing.associated_attributes(content_type) if chosen.is_authenticated else b""
    engine = Sealing(chosen, content_key, associated)
    tag = b""

    def sealed() -> Iterator[bytes]:
        nonlocal tag
        for piece in pieces:
            yield engine.update(piece)
        last, tag = engine.finish()
        yield last

    kind = sealing.content_info_type(chosen)
    yield from cms.write_enveloped(kind, infos, content_type, algorithm, filter(None, sealed()))
    yield cms.close_enveloped(associated, tag)


@dataclass(frozen=True, slots=True)
class Decrypted:
    """What content that came in pieces is, and under which cipher it was."""

    content_type: str
    cipher: str


def decrypt(pieces: Iterable[bytes], ring: KeyRing, sink: Sink) -> Decrypted:
    """Decrypt, handing plain text to `sink` as it comes.

    Raises NotAuthentic if anything was changed or no key fits: what the sink got must then be thrown away.
    """
    source = Source(pieces)
    kind = cms.open_content_info(source)
    if kind not in (oids.ENVELOPED_DATA, oids.AUTH_ENVELOPED_DATA):
        raise Malformed("not enveloped data", clause="RFC 5652 section 6.1")
    reader = cms.EnvelopedReader(kind, source)
    cipher, bound = opening.content_cipher(reader.head.algorithm)
    if cipher.is_authenticated != (kind == oids.AUTH_ENVELOPED_DATA):
        raise Malformed("content type and cipher do not go together", clause="RFC 5083 section 2.1")
    keys = opening.content_keys(reader.head, ring, cipher)
    if not keys:
        raise NotAuthentic("none of the keys at hand is that of a recipient")
    key = opening.bind(keys[0][2], bound) if bound else keys[0][2]
    engine = Opening(cipher, key)
    for piece in reader.content():
        plain = engine.update(piece)
        if plain:
            sink(plain)
    attributes, tag = reader.finish()
    cms.close_content_info(source)
    last = engine.finish(tag, attributes)  # RFC 5083 section 2.2: they stand behind the content
    if last:
        sink(last)
    return Decrypted(reader.head.content_type, cipher.label)


def sign_message(
    pieces: Iterable[bytes],
    signers: tuple[Signer, ...],
    signing_time: datetime,
    certificates: tuple[Certificate, ...] = (),
) -> Iterator[bytes]:
    """Yield a message signed as application/pkcs7-mime (opaque); its line ends must be CRLF already."""
    yield from _wrapped(
        pieces, lambda inner: sign(inner, signers, signing_time, certificates=certificates), "signed-data"
    )


def encrypt_message(
    pieces: Iterable[bytes],
    recipients: tuple[Recipient, ...],
    *,
    cipher: str = oids.AES256_GCM,
    bind_key: bool = False,
    legacy: bool = False,
) -> Iterator[bytes]:
    """Yield a message encrypted; its line ends must be CRLF already."""
    kind = "authEnveloped-data" if cipher in oids.AUTHENTICATED_CIPHERS else "enveloped-data"

    def sealed(inner: Iterator[bytes]) -> Iterator[bytes]:
        return encrypt(inner, recipients, cipher=cipher, bind_key=bind_key, legacy=legacy)

    yield from _wrapped(pieces, sealed, kind)


def _wrapped(
    pieces: Iterable[bytes], protect: Callable[[Iterator[bytes]], Iterator[bytes]], smime_type: str
) -> Iterator[bytes]:
    header, rest = _read_header(iter(pieces))
    parts = split(header)

    def inner() -> Iterator[bytes]:
        yield parts.inner
        yield from rest

    yield wrap(parts.outer, b"", smime_type)
    yield from encode_base64_stream(protect(inner()))


def _read_header(pieces: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return the header section with its empty line, and the body in pieces."""
    held = b""
    for piece in pieces:
        held += piece
        end = held.find(b"\r\n\r\n")
        if end >= 0:
            header, first = held[: end + 4], held[end + 4 :]

            def body(first: bytes = first) -> Iterator[bytes]:
                yield first
                yield from pieces

            return header, body()
        if len(held) > MAX_HEADER_OCTETS:
            break
    raise Malformed("no empty line after a header section of bounded size", clause="RFC 5322 section 2.1")


def cms_of_message(pieces: Iterable[bytes]) -> tuple[Header, Iterator[bytes]]:
    """Return the header of an application/pkcs7-mime message and its CMS object in pieces; raises Malformed."""
    octets, body = _read_header(iter(pieces))
    header = read_header(octets)
    content_type = parse_content_type(header.text("content-type"))
    if content_type.subtype not in ("pkcs7-mime", "x-pkcs7-mime"):
        raise Malformed(f"a message of type {content_type.full}, not application/pkcs7-mime", clause="RFC 8551")
    return header, decode_stream(body, parse_encoding(header.text("content-transfer-encoding")) or "7bit")
