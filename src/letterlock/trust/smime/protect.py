"""Protect messages: each verb takes a message and returns a message, so that they nest in any order.

    sign_message(encrypt_message(sign_message(message, ...), ...), ...)   # triple wrapping, RFC 2634 section 1.1

Standards: RFC 8551 sections 3.3 to 3.8, RFC 1847 (multipart/signed), RFC 9788 (header protection).
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterable, Sequence

from letterlock.errors import OurFault
from letterlock.formats.asn1 import oids
from letterlock.formats.mime.entity import parse
from letterlock.formats.mime.transfer import encode_base64
from letterlock.formats.x509.certificate import Certificate
from letterlock.trust.smime import header_protection
from letterlock.trust.smime.compress import compress
from letterlock.trust.smime.encrypt import Recipient, encrypt
from letterlock.trust.smime.entities import Pieces, is_enveloping, mentions, split, split_prepared, with_crlf, wrap
from letterlock.trust.smime.multiple import sign_together
from letterlock.trust.smime.sign import Signer, certs_only, sign_parts

_MICALG = {
    oids.MD5: "md5",
    oids.SHA1: "sha-1",
    oids.SHA224: "sha-224",
    oids.SHA256: "sha-256",
    oids.SHA384: "sha-384",
    oids.SHA512: "sha-512",
    oids.SHAKE256: "shake256",
}


def sign_message(
    message: bytes,
    signers: tuple[Signer, ...],
    signing_time: datetime.datetime,
    *,
    opaque: bool = False,
    protect_header: bool = False,
    together: bool = False,
    certificates: tuple[Certificate, ...] = (),
    token: str,
) -> bytes:
    """Return `message` signed: as multipart/signed with the boundary made from `token`, or `opaque`.

    With `together` the signatures name each other, so that none can be taken off (RFC 5752).

    A multipart/signed is prepared for every transport; what is signed inside application/pkcs7-mime too, since it may
    be forwarded in clear later (RFC 8551 section 3.1.2).
    """
    parts = split_prepared(message)
    outer, inner = parts.outer, parts.pieces
    if protect_header:
        outer, entity = header_protection.protect(outer, parts.inner, encrypted=False)
        inner = (entity,)
    cms: Sequence[bytes | memoryview]
    if together:
        content = b"".join(inner)
        cms = (sign_together(content, signers, signing_time, detached=not opaque, certificates=certificates),)
    else:
        cms = sign_parts(inner, signers, signing_time, detached=not opaque, certificates=certificates)
    if opaque:
        return wrap(outer, cms, "signed-data")
    return multipart_signed(outer, inner, b"".join(cms), signers, token)


def multipart_signed(outer: bytes, inner: Pieces, cms: bytes, signers: tuple[Signer, ...], token: str) -> bytes:
    """Return the message with `inner` in clear and its detached signature beside it (RFC 8551 section 3.5.3)."""
    return clear_signed(outer, inner, cms, (signer.digest_algorithm.oid for signer in signers), token)


def clear_signed(outer: bytes, inner: Pieces, cms: bytes, digest_algorithms: Iterable[str], token: str) -> bytes:
    """Return the message with `inner` in clear beside a detached signature made with these digests."""
    boundary = f"=_{token}_s".encode()
    while mentions(inner, boundary):
        boundary += b"_"
    digests = dict.fromkeys(_MICALG.get(oid, "unknown") for oid in digest_algorithms)  # RFC 8551 section 3.5.3.2
    micalg = ",".join(digests)
    value = f"{micalg}" if len(digests) == 1 else f'"{micalg}"'
    return b"".join(
        (
            outer,
            b"MIME-Version: 1.0\r\n" if outer else b"",
            b'Content-Type: multipart/signed; protocol="application/pkcs7-signature";\r\n micalg=',
            value.encode(),
            b';\r\n boundary="',
            boundary,
            b'"\r\n\r\nThis is a message signed with S/MIME.\r\n--',
            boundary,
            b"\r\n",
            *inner,
            b"\r\n--",
            boundary,
            b"\r\nContent-Type: application/pkcs7-signature; name=smime.p7s\r\n"
            b"Content-Transfer-Encoding: base64\r\n"
            b"Content-Disposition: attachment; filename=smime.p7s\r\n"
            b"Content-Description: S/MIME signature\r\n\r\n",
            encode_base64(cms),
            b"\r\n--",
            boundary,
            b"--\r\n",
        )
    )


def encrypt_message(
    message: bytes,
    recipients: tuple[Recipient, ...],
    *,
    cipher: str = oids.AES256_GCM,
    protect_header: bool = False,
    bind_key: bool = False,
    legacy: bool = False,
    entropy: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """Return `message` encrypted; with `protect_header` its subject is readable only inside, `bind_key` as in `encrypt`."""
    parts = split(with_crlf(message))
    outer, inner = parts.outer, parts.inner
    if protect_header:
        outer, inner = header_protection.protect(outer, inner, encrypted=True)
    cms = encrypt(inner, recipients, cipher=cipher, bind_key=bind_key, legacy=legacy, entropy=entropy)
    kind = "authEnveloped-data" if cipher in oids.AUTHENTICATED_CIPHERS else "enveloped-data"
    return wrap(outer, cms, kind)


def compress_message(message: bytes) -> bytes:
    """Return `message` compressed; OurFault for one that is encrypted, which would only grow."""
    parts = split(with_crlf(message))
    entity = parse(parts.inner)
    smime_type = entity.content_type.parameters.get("smime-type", "").lower()
    if is_enveloping(entity) and smime_type in ("enveloped-data", "authenveloped-data", "compressed-data"):
        # RFC 8551 section 3.7: encrypted octets do not compress
        raise OurFault("an encrypted or compressed message does not become smaller: compress it before")
    return wrap(parts.outer, compress(parts.inner), "compressed-data")


def certificates_message(outer: bytes, certificates: tuple[Certificate, ...], crls: tuple[bytes, ...] = ()) -> bytes:
    """Return a message that brings certificates and revocation lists (RFC 8551 section 3.8)."""
    return wrap(outer, certs_only(certificates, crls), "certs-only")
