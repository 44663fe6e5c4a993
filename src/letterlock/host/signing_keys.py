"""DKIM keys in files: read, made, written so that only their owner can read them.

Standards: RFC 6376 section 3.6.2.2 (strings of a record), NIST SP 800-177r1 (who may read a signing key).
See also: hostmaster, which publishes the records; host/key_ring.py for the life of a key.
"""

from __future__ import annotations

from pathlib import Path

from letterlock.errors import Malformed
from letterlock.host.files import write_new
from letterlock.trust.dkim import SigningKey
from letterlock.trust.primitives import eddsa, private_keys, rsa


def read_key(domain: str, selector: str, path: Path) -> SigningKey:
    """Read a private key in PEM. Raises Malformed for what is none, OSError."""
    try:
        return SigningKey(domain, selector, private_keys.read_pem(path.read_bytes()))
    except Malformed as error:
        raise Malformed(f"{path}: {error.problem}", clause=error.clause) from None


def generate(domain: str, selector: str, kind: str = "rsa", bits: int = 2048) -> SigningKey:
    """Return a new key, `rsa` or `ed25519`."""
    private = rsa.generate(bits) if kind == "rsa" else eddsa.generate_ed25519()
    return SigningKey(domain, selector, private)


def write_key(path: Path, key: SigningKey) -> None:
    """Write a new file with mode 600, durable when this returns; raises FileExistsError, OSError."""
    write_new(path, written(key))


def written(key: SigningKey) -> bytes:
    """Return the private key in PEM."""
    return private_keys.write_pem(key.private_key)


def quoted_record(key: SigningKey) -> str:
    """Return the record as quoted strings of at most 255 octets, as zone text has it."""
    text = key.record()
    return " ".join(f'"{text[start : start + 255]}"' for start in range(0, len(text), 255))
