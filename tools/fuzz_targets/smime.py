"""CMS objects and S/MIME messages taken apart whole and in pieces, with keys that do not fit."""

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats.asn1 import oids, writer
from letterlock.formats.cms import content, signed
from letterlock.trust.primitives import key_pairs
from letterlock.trust.smime import stream
from letterlock.trust.smime.compress import compress
from letterlock.trust.smime.decrypt import KeyRing, Own
from letterlock.trust.smime.encrypt import ToSharedKey, encrypt
from letterlock.trust.smime.unwrap import unwrap, unwrap_cms

_RING = KeyRing((Own(key_pairs.generate("p256")),), {b"k": bytes(16)})
SEEDS = (
    signed.encode(oids.DATA, b"content", ()),
    encrypt(b"content", (ToSharedKey(b"k", bytes(16)),)),
    encrypt(b"content", (ToSharedKey(b"k", bytes(16)),), cipher=oids.AES128_CBC),
    compress(compress(b"content" * 20)),
    content.encode(oids.DIGESTED_DATA, writer.sequence(writer.integer(0))),
    b'Content-Type: multipart/signed; protocol="application/pkcs7-signature"; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n'
    b"Content-Type: application/pkcs7-signature\r\n\r\nMAA=\r\n--b--\r\n",
)


def fuzz(octets: bytes) -> None:
    """`unwrap` raises nothing; what streams raises only what it says."""
    unwrap_cms(octets, _RING)
    unwrap(octets, _RING)
    pieces = [octets[at : at + 7] for at in range(0, len(octets), 7)]
    for read in (lambda: stream.verify(pieces, len), lambda: stream.decrypt(pieces, _RING, len)):
        try:
            read()
        except (Malformed, NotAuthentic):
            continue
