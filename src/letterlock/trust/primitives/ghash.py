"""What associated data adds to a GCM tag, for associated data that comes behind the cipher text.

AuthEnvelopedData has its authenticated attributes behind the content they are authenticated with, while GCM takes
associated data first. But the tag is a sum in GF(2^128), in which the associated data is a term of its own: so the
content can be decrypted as it comes, and `difference` tells how the tag with associated data differs from that without.

Standards: NIST SP 800-38D sections 6.3, 6.4 and 7.2, RFC 5083 section 2.
Limits: about 40 + 8 log2(blocks of content) multiplications of 128 steps; 64 KiB of associated data are the caller's.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_POLYNOMIAL = 0xE1 << 120  # x^128 + x^7 + x^2 + x + 1, the lowest power in the highest bit
_ONE = 1 << 127


def _times(left: int, right: int) -> int:
    """Multiply in GF(2^128) (NIST SP 800-38D section 6.3)."""
    product = 0
    for bit in range(127, -1, -1):
        if left >> bit & 1:
            product ^= right
        right = right >> 1 ^ (_POLYNOMIAL if right & 1 else 0)
    return product


def _power(base: int, exponent: int) -> int:
    result = _ONE
    while exponent:
        if exponent & 1:
            result = _times(result, base)
        base = _times(base, base)
        exponent >>= 1
    return result


def difference(key: bytes, associated: bytes, content_octets: int) -> bytes:
    """Return what to add (by exclusive or) to the tag of content of this size with `associated`, to get that without.

    `key` is an AES key. Both tags are for the same key, nonce and cipher text.
    """
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - the hash key is one block
    hash_key = int.from_bytes(encryptor.update(bytes(16)) + encryptor.finalize(), "big")
    hashed = 0
    for at in range(0, len(associated), 16):
        block = associated[at : at + 16].ljust(16, b"\0")
        hashed = _times(hashed ^ int.from_bytes(block, "big"), hash_key)
    # behind it come the blocks of the content and that with the two lengths, each one more factor of the hash key
    blocks = -(-content_octets // 16) + 1
    term = _times(hashed, _power(hash_key, blocks))
    term ^= _times(8 * len(associated) << 64, hash_key)
    return term.to_bytes(16, "big")
