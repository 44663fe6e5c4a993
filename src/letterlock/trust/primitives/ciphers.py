"""Content encryption: AES in CBC, GCM and CCM mode, ChaCha20-Poly1305; Triple-DES and RC2 for old mail.

Plain text of an authenticated cipher that fails its check is never handed out by `open_whole`; the piecewise
`Opening` hands it out before it knows, and its caller must throw everything away when `finish` raises.

All failures of a CBC decryption raise the same NotAuthentic: replies do not tell a wrong key from wrong padding.

Standards: RFC 3565, RFC 5084, RFC 8103, RFC 3370 section 5, RFC 5652 section 6.3 (padding).
"""

from __future__ import annotations

import hmac
import io
from collections.abc import Sequence
from typing import Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats.asn1 import oids, reader, tags, writer
from letterlock.formats.asn1.reader import Fields
from letterlock.formats.x509.algorithm import AlgorithmIdentifier
from letterlock.trust.primitives import ghash
from letterlock.trust.primitives.rc2 import Rc2

_MAX_BLOCK_OCTETS = 16
FAILED = "the content does not decrypt: it was changed, or the key is not the right one"
_CBC_KEYS = {oids.AES128_CBC: 16, oids.AES192_CBC: 24, oids.AES256_CBC: 32, oids.DES3_CBC: 24, oids.RC2_CBC: 16}
_GCM_KEYS = {oids.AES128_GCM: 16, oids.AES192_GCM: 24, oids.AES256_GCM: 32}
_CCM_KEYS = {oids.AES128_CCM: 16, oids.AES192_CCM: 24, oids.AES256_CCM: 32}
_AEAD_KEYS = {**_GCM_KEYS, **_CCM_KEYS, oids.CHACHA20_POLY1305: 32}
_RC2_VERSIONS = {160: 40, 120: 64, 58: 128}  # RFC 3370 section 5.2
_VERSION_OF_RC2 = {bits: version for version, bits in _RC2_VERSIONS.items()}


class ContentCipher(msgspec.Struct, frozen=True):
    """A content encryption algorithm with its parameters: the initial vector or nonce, and what else it needs."""

    oid: str
    initial: bytes
    key_octets: int
    tag_octets: int = 0
    rc2_bits: int = 0

    @property
    def is_authenticated(self) -> bool:
        """Whether it detects changes by itself."""
        return self.oid in _AEAD_KEYS

    @property
    def label(self) -> str:
        """The name people know it by."""
        return f"RC2-CBC/{self.rc2_bits}" if self.rc2_bits else oids.label(self.oid)

    @property
    def name(self) -> str:
        """Its identifier; RC2 carries its bits: "1.2.840.113549.3.2/40"."""
        return f"{self.oid}/{self.rc2_bits}" if self.rc2_bits else self.oid

    @classmethod
    def parse(cls, algorithm: AlgorithmIdentifier) -> ContentCipher:
        """Read a content encryption AlgorithmIdentifier; raises Malformed for one not known here."""
        oid = algorithm.oid
        if algorithm.parameters is None or oid not in _CBC_KEYS | _AEAD_KEYS:
            raise Malformed(f"a content cipher not known here: {algorithm.label}", clause="RFC 5652 section 10.1.4")
        element = reader.parse(algorithm.parameters)
        if oid == oids.RC2_CBC:
            return cls._parse_rc2(element)
        if oid in _CBC_KEYS or oid == oids.CHACHA20_POLY1305:
            nonce = element.octet_string()
            size = {oids.DES3_CBC: 8, oids.CHACHA20_POLY1305: 12}.get(oid, 16)
            if len(nonce) != size:
                raise element.fault(f"an initial vector of {len(nonce)} octets", "RFC 3565 section 4.1")
            return cls(oid, nonce, (_CBC_KEYS | _AEAD_KEYS)[oid], 16 if oid in _AEAD_KEYS else 0)
        fields = Fields(element)
        nonce = fields.take(tags.OCTET_STRING).octet_string()
        size_field = fields.optional(tags.INTEGER)
        fields.finish()
        size = 12 if size_field is None else size_field.integer()  # RFC 5084 section 3.2: twelve by default
        if not (12 <= size <= 16 if oid in _GCM_KEYS else size in (8, 10, 12, 14, 16)) or not 7 <= len(nonce) <= 64:
            raise element.fault("GCM or CCM parameters out of range", "RFC 5084 section 3.2")
        return cls(oid, nonce, _AEAD_KEYS[oid], size)

    @classmethod
    def _parse_rc2(cls, element: reader.Element) -> ContentCipher:
        fields = Fields(element)
        version = fields.take(tags.INTEGER).integer()
        initial = fields.take(tags.OCTET_STRING).octet_string()
        fields.finish()
        bits = _RC2_VERSIONS.get(version, version if 256 <= version <= 1024 else 0)
        if not bits or len(initial) != 8:
            raise element.fault("RC2 parameters out of range", "RFC 3370 section 5.2")
        return cls(oids.RC2_CBC, initial, bits // 8, rc2_bits=bits)

    def encode(self) -> AlgorithmIdentifier:
        """Return the AlgorithmIdentifier."""
        initial = writer.octet_string(self.initial)
        if self.rc2_bits:
            version = _VERSION_OF_RC2.get(self.rc2_bits, self.rc2_bits)
            return AlgorithmIdentifier(self.oid, writer.sequence(writer.integer(version), initial))
        if self.oid in _GCM_KEYS or self.oid in _CCM_KEYS:
            size = writer.integer(self.tag_octets) if self.tag_octets != 12 else b""
            return AlgorithmIdentifier(self.oid, writer.sequence(initial, size))
        return AlgorithmIdentifier(self.oid, initial)

    @property
    def entropy_octets(self) -> int:
        """How many octets the initial vector has."""
        return len(self.initial)


def fresh(oid: str, entropy: bytes) -> ContentCipher:
    """Return the cipher `oid` with its initial vector from `entropy` (16 octets or more).

    RC2 has 128 bits, or those that stand behind the identifier: "1.2.840.113549.3.2/40".
    """
    oid, _, named_bits = oid.partition("/")
    if oid in _GCM_KEYS or oid in _CCM_KEYS or oid == oids.CHACHA20_POLY1305:
        return ContentCipher(oid, entropy[:12], _AEAD_KEYS[oid], 16)
    if oid not in _CBC_KEYS:
        raise Malformed(f"a content cipher not known here: {oids.label(oid)}", clause="RFC 5652 section 10.1.4")
    size = 8 if oid in (oids.DES3_CBC, oids.RC2_CBC) else 16
    if oid != oids.RC2_CBC:
        return ContentCipher(oid, entropy[:size], _CBC_KEYS[oid])
    bits = int(named_bits or 128)
    return ContentCipher(oid, entropy[:size], bits // 8, rc2_bits=bits)


class Transform(Protocol):
    """What changes octets piece by piece."""

    def update(self, octets: bytes | memoryview, /) -> bytes:
        """Take octets, return those that are ready."""

    def update_into(self, octets: bytes | memoryview, place: memoryview, /) -> int:
        """Take octets, write those that are ready; return how many."""

    def finalize(self) -> bytes:
        """Return what is left."""


class _Rc2Transform:
    def __init__(self, cipher: Rc2, *, decrypt: bool) -> None:
        self._run = cipher.decrypt if decrypt else cipher.encrypt
        self._waiting = b""

    def update(self, octets: bytes | memoryview, /) -> bytes:
        octets = b"".join((self._waiting, octets))
        whole = len(octets) // 8 * 8
        self._waiting = octets[whole:]
        return self._run(octets[:whole])

    def update_into(self, octets: bytes | memoryview, place: memoryview, /) -> int:
        ready = self.update(octets)
        place[: len(ready)] = ready
        return len(ready)

    def finalize(self) -> bytes:
        if self._waiting:
            raise ValueError("not whole blocks")
        return b""


def _transform(cipher: ContentCipher, key: bytes, *, decrypt: bool) -> Transform:
    if cipher.oid == oids.RC2_CBC:
        return _Rc2Transform(Rc2(key, cipher.rc2_bits, cipher.initial), decrypt=decrypt)
    block = TripleDES(key) if cipher.oid == oids.DES3_CBC else algorithms.AES(key)
    context = Cipher(block, modes.CBC(cipher.initial))
    return context.decryptor() if decrypt else context.encryptor()


def block_octets(cipher: ContentCipher) -> int:
    """Return the block size of a CBC cipher."""
    return 8 if cipher.oid in (oids.DES3_CBC, oids.RC2_CBC) else 16


def _check_key(cipher: ContentCipher, key: bytes) -> None:
    if len(key) != cipher.key_octets and not (cipher.oid == oids.RC2_CBC and 1 <= len(key) <= 128):
        raise NotAuthentic(FAILED)


def seal_whole(
    cipher: ContentCipher, key: bytes, octets: bytes, associated: bytes = b""
) -> tuple[tuple[bytes | memoryview, ...], bytes]:
    """Encrypt `octets`; return the cipher text in pieces and the authentication tag (empty for CBC)."""
    if cipher.is_authenticated:
        sealed = _aead(cipher, key).encrypt(cipher.initial, octets, associated or None)
        return (memoryview(sealed)[: -cipher.tag_octets],), sealed[-cipher.tag_octets :]
    block = block_octets(cipher)
    count = block - len(octets) % block
    engine = _transform(cipher, key, decrypt=False)
    return (engine.update(octets + bytes((count,)) * count), engine.finalize()), b""


def sealed_octets(cipher: ContentCipher, octets: int) -> int:
    """Return the size of the cipher text of content of this size: CBC fills up the last block."""
    block = 1 if cipher.is_authenticated else block_octets(cipher)
    return octets if block == 1 else octets + block - octets % block


def seal_into(cipher: ContentCipher, key: bytes, octets: bytes, place: memoryview, associated: bytes = b"") -> bytes:
    """Encrypt `octets` into `place`, which has the size `sealed_octets` tells; return the tag. AES-CBC and GCM only."""
    sealing = Sealing(cipher, key, associated)
    block = 1 if cipher.is_authenticated else block_octets(cipher)
    whole = len(octets) - len(octets) % block
    sealing.update_into(memoryview(octets)[:whole], place)
    rest = sealing.update(octets[whole:])
    last, tag = sealing.finish()
    place[whole:] = rest + last
    return tag


def _aead(cipher: ContentCipher, key: bytes) -> AESGCM | AESCCM | ChaCha20Poly1305:
    if cipher.oid in _GCM_KEYS:
        return AESGCM(key)
    return AESCCM(key, cipher.tag_octets) if cipher.oid in _CCM_KEYS else ChaCha20Poly1305(key)


def open_whole(
    cipher: ContentCipher, key: bytes, sealed: Sequence[bytes | memoryview], tag: bytes = b"", associated: bytes = b""
) -> bytes:
    """Decrypt cipher text in pieces; NotAuthentic if anything does not fit, with nothing of the plain text."""
    _check_key(cipher, key)
    if cipher.is_authenticated and cipher.oid not in _GCM_KEYS:
        if len(tag) != cipher.tag_octets:
            raise NotAuthentic(FAILED)
        try:
            return _aead(cipher, key).decrypt(cipher.initial, b"".join((*sealed, tag)), associated or None)
        except (InvalidTag, ValueError):
            raise NotAuthentic(FAILED) from None
    opening = Opening(cipher, key, associated)
    if len(sealed) > 1:
        return _open_pieces(opening, sealed, tag)
    plain = b"".join(map(opening.update, sealed))
    last = opening.finish(tag)
    return plain + last if last else plain


def _open_pieces(opening: Opening, sealed: Sequence[bytes | memoryview], tag: bytes) -> bytes:
    """Decrypt pieces into the place where their plain text belongs, rather than join what each of them gives."""
    memory = io.BytesIO(bytes(sum(map(len, sealed)) + _MAX_BLOCK_OCTETS))  # gives away the octets it was written into
    at = 0
    with memory.getbuffer() as view:
        for piece in sealed:
            with view[at:] as place:
                at += opening.update_into(piece, place)
        with view[:at] as plain:
            size = opening.finish_in_place(plain, tag)
    memory.truncate(size)
    return memory.getvalue()


class Sealing:
    """Encryption piece by piece, in CBC or GCM mode."""

    def __init__(self, cipher: ContentCipher, key: bytes, associated: bytes = b"") -> None:
        self._cipher = cipher
        self._size = 0
        if cipher.oid in _GCM_KEYS:
            self._gcm = Cipher(algorithms.AES(key), modes.GCM(cipher.initial)).encryptor()
            if associated:
                self._gcm.authenticate_additional_data(associated)
            self._run: Transform = self._gcm
        elif cipher.is_authenticated:
            raise Malformed(f"{cipher.label} does not work piece by piece", clause="RFC 5084")
        else:
            self._run = _transform(cipher, key, decrypt=False)

    def update(self, octets: bytes) -> bytes:
        """Encrypt more octets."""
        self._size += len(octets)
        return self._run.update(octets)

    def update_into(self, octets: memoryview, place: memoryview) -> None:
        """Encrypt whole blocks into `place`, which has room for one block more (CBC)."""
        self._size += len(octets)
        self._run.update_into(octets, place)

    def finish(self) -> tuple[bytes, bytes]:
        """Return the last cipher text and the authentication tag (empty for CBC)."""
        if self._cipher.is_authenticated:
            last = self._run.finalize()
            return last, self._gcm.tag[: self._cipher.tag_octets]
        block = block_octets(self._cipher)
        count = block - self._size % block
        return self._run.update(bytes((count,)) * count) + self._run.finalize(), b""


class Opening:
    """Decryption piece by piece, in CBC or GCM mode. Nothing it gave may be used unless `finish` returned."""

    def __init__(self, cipher: ContentCipher, key: bytes, associated: bytes = b"") -> None:
        _check_key(cipher, key)
        self._cipher = cipher
        self._key = key
        self._size = 0
        self._held = b""
        if cipher.oid in _GCM_KEYS:
            self._gcm = Cipher(algorithms.AES(key), modes.GCM(cipher.initial)).decryptor()
            if associated:
                self._gcm.authenticate_additional_data(associated)
            self._run: Transform = self._gcm
        elif cipher.is_authenticated:
            raise Malformed(f"{cipher.label} does not work piece by piece", clause="RFC 5084")
        else:
            self._run = _transform(cipher, key, decrypt=True)

    def update(self, sealed: bytes | memoryview) -> bytes:
        """Decrypt more octets; the last block of CBC is held back until its padding is checked."""
        self._size += len(sealed)
        if self._cipher.is_authenticated:
            return self._run.update(sealed)
        # what is held back is cipher text, so that large pieces are not copied
        block = block_octets(self._cipher)
        if len(sealed) <= block:
            sealed = b"".join((self._held, sealed))
            ready, self._held = sealed[:-block], bytes(sealed[-block:])
            return self._run.update(ready)
        before = self._run.update(self._held) if self._held else b""
        view = memoryview(sealed)
        self._held = bytes(view[-block:])
        plain = self._run.update(view[:-block])
        return before + plain if before else plain

    def update_into(self, sealed: bytes | memoryview, place: memoryview) -> int:
        """Decrypt more octets into `place`, which has room for a block more than they have; return how many came.

        In place of `update`, not beside it: padding is not held back, and `finish_in_place` ends it.
        """
        self._size += len(sealed)
        return self._run.update_into(sealed, place)

    def finish(self, tag: bytes = b"", late: bytes = b"") -> bytes:
        """Return the rest of the plain text; NotAuthentic if tag or padding are wrong.

        `late` is associated data that was not known in the beginning, in place of `associated` there (GCM only).
        """
        try:
            if self._cipher.is_authenticated:
                if len(tag) != self._cipher.tag_octets:
                    raise NotAuthentic(FAILED)
                if late:
                    change = ghash.difference(self._key, late, self._size)
                    tag = bytes(octet ^ other for octet, other in zip(tag, change, strict=False))
                return self._gcm.finalize_with_tag(tag)
            self._held = self._run.update(self._held) + self._run.finalize()
        except (InvalidTag, ValueError):
            raise NotAuthentic(FAILED) from None
        return self._unpad()

    def finish_in_place(self, plain: memoryview, tag: bytes) -> int:
        """Return how many octets of `plain`, all that was written, are plain text; NotAuthentic as `finish`."""
        if self._cipher.is_authenticated:
            return len(plain) + len(self.finish(tag))  # nothing is left with GCM
        block = block_octets(self._cipher)
        try:
            self._run.finalize()
        except ValueError:
            raise NotAuthentic(FAILED) from None
        self._held = bytes(plain[-block:])
        return len(plain) - block + len(self._unpad())

    def _unpad(self) -> bytes:
        block = block_octets(self._cipher)
        last = self._held
        count = last[-1] if last else 0
        if len(last) != block or not 1 <= count <= block:
            raise NotAuthentic(FAILED)
        if not hmac.compare_digest(last[-count:], bytes((count,)) * count):
            raise NotAuthentic(FAILED)
        return last[:-count]


def unwrap_for_password(cipher: ContentCipher, key: bytes, wrapped: bytes) -> bytes:
    """Undo the double wrap of RFC 3211 section 2.3.2; NotAuthentic if the password is not the right one."""
    block = block_octets(cipher)
    if cipher.is_authenticated or len(wrapped) % block or len(wrapped) < 2 * block:
        raise NotAuthentic(FAILED)

    def run(initial: bytes, octets: bytes) -> bytes:
        context = _transform(msgspec.structs.replace(cipher, initial=initial), key, decrypt=True)
        return context.update(octets) + context.finalize()

    last = run(wrapped[-2 * block : -block], wrapped[-block:])
    plain = run(cipher.initial, run(last, wrapped[:-block]) + last)
    size = plain[0]
    checks = all(plain[1 + index] ^ plain[4 + index] == 0xFF for index in range(3))
    if not checks or size < 3 or 4 + size > len(plain):
        raise NotAuthentic(FAILED)
    return plain[4 : 4 + size]
