"""RC2 in CBC mode with any effective key length, for reading old mail (and writing it in tests and by legacy name).

The crypto library keeps RC2 only at 128 bits; mail of the nineties used 40.

Standards: RFC 2268.
"""

from __future__ import annotations

import hashlib

_MASK = 0xFFFF


def _pi_table() -> bytes:
    """Return PITABLE of RFC 2268 section 2: a permutation drawn with the digits of pi."""
    return bytes.fromhex(
        "d978f9c419ddb5ed28e9fd794aa0d89dc67e37832b76538e624c6488448bfba2"
        "179a59f587b34f1361456d8d09817d32bd8f40eb86b77b0bf09521225c6b4e82"
        "54d66593ce60b21c7356c014a78cf1dc1275ca1f3bbee4d1423dd430a33cb626"
        "6fbf0eda4669075727f21d9bbc944303f811c7f690ef3ee706c3d52fc8661ed7"
        "08e8eade8052eef784aa72ac354d6a2a961ad2715a1549744b9fd05e0418a4ec"
        "c2e0416e0f51cbcc2491af50a1f47039997c3a8523b8b47afc02365b25559731"
        "2d5dfa98e38a92ae05df2910676cbac9d300e6cfe19ea82c6316013f58e289a9"
        "0d38341bab33ffb0bb480c5fb9b1cd2ec5f3db47e5a59c770aa62068fe7fc1ad"
    )


_PI = _pi_table()
if hashlib.sha256(bytes(sorted(_PI))).digest() != hashlib.sha256(bytes(range(256))).digest():
    raise AssertionError("PITABLE is no permutation")


def _expand(key: bytes, effective_bits: int) -> list[int]:
    octets = bytearray(key)
    size = len(key)
    for index in range(size, 128):
        octets.append(_PI[(octets[-1] + octets[index - size]) & 0xFF])
    tail = (effective_bits + 7) // 8
    octets[128 - tail] = _PI[octets[128 - tail] & 0xFF >> (8 * tail - effective_bits)]
    for index in range(127 - tail, -1, -1):
        octets[index] = _PI[octets[index + 1] ^ octets[index + tail]]
    return [octets[2 * index] | octets[2 * index + 1] << 8 for index in range(64)]


_SHIFTS = (1, 2, 3, 5)


def _encrypt_block(words: list[int], keys: list[int]) -> None:
    position = 0
    for step in range(16):
        for i in range(4):
            before, second, third = words[i - 1], words[i - 2], words[i - 3]
            value = words[i] + keys[position] + (before & second) + (~before & _MASK & third) & _MASK
            words[i] = (value << _SHIFTS[i] | value >> 16 - _SHIFTS[i]) & _MASK
            position += 1
        if step in (4, 10):
            for i in range(4):
                words[i] = words[i] + keys[words[i - 1] & 63] & _MASK


def _decrypt_block(words: list[int], keys: list[int]) -> None:
    position = 63
    for step in range(15, -1, -1):
        if step in (4, 10):
            for i in range(3, -1, -1):
                words[i] = words[i] - keys[words[i - 1] & 63] & _MASK
        for i in range(3, -1, -1):
            value = (words[i] >> _SHIFTS[i] | words[i] << 16 - _SHIFTS[i]) & _MASK
            before, second, third = words[i - 1], words[i - 2], words[i - 3]
            words[i] = value - keys[position] - (before & second) - (~before & _MASK & third) & _MASK
            position -= 1


def _to_words(block: bytes) -> list[int]:
    return [block[i] | block[i + 1] << 8 for i in (0, 2, 4, 6)]


def _to_octets(words: list[int]) -> bytes:
    return b"".join(word.to_bytes(2, "little") for word in words)


class Rc2:
    """RC2 in CBC mode over whole blocks; `encrypt` and `decrypt` keep the chain between calls."""

    def __init__(self, key: bytes, effective_bits: int, initial: bytes) -> None:
        self._keys = _expand(key, effective_bits)
        self._chain = _to_words(initial)

    def encrypt(self, octets: bytes) -> bytes:
        """Return the cipher text of whole blocks."""
        written = bytearray()
        for start in range(0, len(octets), 8):
            words = [a ^ b for a, b in zip(_to_words(octets[start : start + 8]), self._chain, strict=True)]
            _encrypt_block(words, self._keys)
            self._chain = words
            written += _to_octets(words)
        return bytes(written)

    def decrypt(self, octets: bytes) -> bytes:
        """Return the plain text of whole blocks."""
        written = bytearray()
        for start in range(0, len(octets), 8):
            cipher = _to_words(octets[start : start + 8])
            words = list(cipher)
            _decrypt_block(words, self._keys)
            written += _to_octets([a ^ b for a, b in zip(words, self._chain, strict=True)])
            self._chain = cipher
        return bytes(written)
