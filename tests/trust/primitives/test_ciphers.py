"""Content ciphers over cipher text in segments."""

from __future__ import annotations

import os

import pytest

from letterlock.errors import NotAuthentic
from letterlock.formats.asn1 import oids
from letterlock.trust.primitives import ciphers

PLAIN = bytes(range(256)) * 16
CIPHERS = (oids.AES256_GCM, oids.AES256_CBC, oids.DES3_CBC, oids.RC2_CBC, oids.CHACHA20_POLY1305)


@pytest.mark.parametrize("oid", CIPHERS, ids=oids.label)
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, len(PLAIN)])
def test_segments_decrypt_to_what_the_whole_does(oid: str, size: int) -> None:
    """Segments of any size, empty and odd ones too; one octet less, or changed in any of them, is noticed or seen."""
    cipher = ciphers.fresh(oid, os.urandom(16))
    key = os.urandom(cipher.key_octets)
    sealed, tag = ciphers.seal_whole(cipher, key, PLAIN[:size])
    octets = b"".join(sealed)
    segments = [b"", octets[:1], octets[1:18], octets[18:40], b"", octets[40:]]
    assert ciphers.open_whole(cipher, key, [octets], tag) == PLAIN[:size]
    assert ciphers.open_whole(cipher, key, segments, tag) == PLAIN[:size]
    for number, segment in enumerate(segments):
        if not segment:
            continue
        changed = [*segments[:number], bytes((segment[0] ^ 0x80,)) + segment[1:], *segments[number + 1 :]]
        assert _opened(cipher, key, changed, tag) != PLAIN[:size]
        assert _opened(cipher, key, [*segments[:number], segment[:-1], *segments[number + 1 :]], tag) is None
    if cipher.is_authenticated:
        assert _opened(cipher, key, segments, tag[:-1]) is None
        assert _opened(cipher, key, segments, bytes(16)) is None


def _opened(cipher: ciphers.ContentCipher, key: bytes, segments: list[bytes], tag: bytes) -> bytes | None:
    """Return the plain text, None if what was wrong was noticed."""
    try:
        return ciphers.open_whole(cipher, key, segments, tag)
    except NotAuthentic:
        return None
