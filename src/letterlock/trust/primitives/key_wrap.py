"""Content keys wrapped under other keys: AES, and Triple-DES, RC2 and password recipients for reading.

Standards: RFC 3394 and RFC 3565 (AES), RFC 3370 section 4.3 (Triple-DES, RC2), RFC 3211 section 2.3.1 (password).
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from letterlock.errors import Malformed, NotAuthentic, OurFault
from letterlock.formats.asn1 import oids
from letterlock.trust.primitives.rc2 import Rc2

KEY_OCTETS = {oids.WRAP_AES128: 16, oids.WRAP_AES192: 24, oids.WRAP_AES256: 32, oids.WRAP_3DES: 24, oids.WRAP_RC2: 16}
_WRAP_INITIAL = bytes.fromhex("4adda22c79e82105")  # RFC 3370 section 4.3.1, through RFC 3217 section 3.1


def wrap(oid: str, wrapping_key: bytes, content_key: bytes) -> bytes:
    """Wrap a content key; only AES is written. Raises OurFault for a key it cannot wrap, such as one of RC2 with 40 bits."""
    if oid not in (oids.WRAP_AES128, oids.WRAP_AES192, oids.WRAP_AES256):
        raise Malformed(f"{oids.label(oid)} is not written", clause="RFC 8551 section 2.3")
    if len(content_key) < 16:  # RFC 3394 section 2: two blocks of 64 bits at least
        raise OurFault(f"a key of {8 * len(content_key)} bits goes to RSA keys and passwords alone: AES cannot wrap it")
    return aes_key_wrap(wrapping_key, content_key)


def unwrap(oid: str, wrapping_key: bytes, wrapped: bytes) -> bytes:
    """Unwrap a content key; NotAuthentic if the wrapping key is not the right one."""
    try:
        match oid:
            case oids.WRAP_AES128 | oids.WRAP_AES192 | oids.WRAP_AES256:
                return aes_key_unwrap(wrapping_key, wrapped)
            case oids.WRAP_3DES:
                return _unwrap_twice(wrapped, lambda iv, data: triple_des(wrapping_key, iv, data, decrypt=True))
            case oids.WRAP_RC2:
                key = _unwrap_twice(wrapped, lambda iv, data: Rc2(wrapping_key, 128, iv).decrypt(data))
                if not 0 < key[0] < len(key):
                    raise NotAuthentic("the content key does not unwrap")
                return key[1 : 1 + key[0]]
    except (InvalidUnwrap, ValueError):
        raise NotAuthentic("the content key does not unwrap") from None
    raise Malformed(f"a key wrap not known here: {oids.label(oid)}", clause="RFC 5652 section 6.3")


def _unwrap_twice(wrapped: bytes, decrypt: Callable[[bytes, bytes], bytes]) -> bytes:
    """Undo the double CBC wrap of RFC 3217 and check its SHA-1 checksum."""
    if len(wrapped) % 8 or len(wrapped) < 24:
        raise NotAuthentic("the content key does not unwrap")
    turned = decrypt(_WRAP_INITIAL, wrapped)[::-1]
    key_and_sum = decrypt(turned[:8], turned[8:])
    key, checksum = key_and_sum[:-8], key_and_sum[-8:]
    if not hmac.compare_digest(hashlib.sha1(key, usedforsecurity=False).digest()[:8], checksum):
        raise NotAuthentic("the content key does not unwrap")
    return key


def triple_des(key: bytes, initial: bytes, octets: bytes, *, decrypt: bool) -> bytes:
    """Run Triple-DES in CBC mode over whole blocks."""
    cipher = Cipher(TripleDES(key), modes.CBC(initial))
    context = cipher.decryptor() if decrypt else cipher.encryptor()
    return context.update(octets) + context.finalize()


def aes_cbc(key: bytes, initial: bytes, octets: bytes, *, decrypt: bool) -> bytes:
    """Run AES in CBC mode over whole blocks."""
    cipher = Cipher(algorithms.AES(key), modes.CBC(initial))
    context = cipher.decryptor() if decrypt else cipher.encryptor()
    return context.update(octets) + context.finalize()


def wrap_for_password(key: bytes, initial: bytes, content_key: bytes) -> bytes:
    """Wrap a content key under one derived from a password, with AES (RFC 3211 section 2.3.1)."""
    head = bytes((len(content_key), *(octet ^ 0xFF for octet in content_key[:3])))
    plain = head + content_key
    size = max(32, -(-len(plain) // 16) * 16)
    plain += os.urandom(size - len(plain))
    once = aes_cbc(key, initial, plain, decrypt=False)
    return aes_cbc(key, once[-16:], once, decrypt=False)
