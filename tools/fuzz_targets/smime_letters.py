"""Whole S/MIME letters, most with the CMS object in the open: taken apart, proved and restored."""

import datetime

from letterlock.formats.asn1 import oids
from letterlock.formats.imf.header import read_header
from letterlock.formats.x509.name import Name
from letterlock.trust.pkix import issue
from letterlock.trust.pkix.path import Anchor
from letterlock.trust.primitives import key_pairs
from letterlock.trust.smime import protect
from letterlock.trust.smime.decrypt import KeyRing, Own
from letterlock.trust.smime.encrypt import To, encrypt
from letterlock.trust.smime.header_protection import restore
from letterlock.trust.smime.proof import Trust, prove
from letterlock.trust.smime.sign import Signer, sign
from letterlock.trust.smime.unwrap import unwrap

_NOW = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)
_KEY = key_pairs.generate("p256")
_AUTHORITY = issue.found(_KEY, Name.make(CN="CA"), _NOW, 3650, 1)
_OWN = issue.certify(
    _AUTHORITY, _KEY.public, Name.make(CN="a"), ("a@b.test",), issue.usages_of(_KEY.public), when=_NOW, days=9, serial=2
)
_SIGNERS = (Signer(_KEY, _OWN),)
_RING = KeyRing((Own(_KEY, _OWN),), content_keys=(bytes(16),))
_TRUST = Trust(_NOW, (Anchor.of(_AUTHORITY.certificate),), (_OWN,), accept_legacy=True)
_LETTER = b"From: a@b.test\r\nSender: c@d.test\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nHello.\r\n"
_CLEAR = protect.sign_message(_LETTER, _SIGNERS, _NOW, protect_header=True, token="t")
_OPEN = b"From: a@b.test\r\nContent-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: binary\r\n\r\n"
SEEDS = (
    _CLEAR,
    protect.encrypt_message(_CLEAR, (To(_OWN),), protect_header=True),
    protect.compress_message(_CLEAR),
    _OPEN + sign(_LETTER, _SIGNERS, _NOW),
    _OPEN + sign(_LETTER, (*_SIGNERS, Signer(_KEY, _OWN, with_attributes=False, by_key_id=True)), _NOW),
    _OPEN + encrypt(_LETTER, (To(_OWN),)),
    _OPEN + encrypt(sign(_LETTER, _SIGNERS, _NOW), (To(_OWN),), cipher=oids.AES128_CBC),
)


def fuzz(octets: bytes) -> None:
    """Nothing is raised, and what is said can be printed."""
    unwrapped = unwrap(octets, _RING)
    proof = prove(read_header(octets), unwrapped, _TRUST)
    assert proof.sentence.isprintable(), proof.sentence
    assert all(text.isprintable() for text in (*proof.faults, *proof.warnings, *proof.layers)), proof
    restore(b"From: x@y\r\n", unwrapped.content)
