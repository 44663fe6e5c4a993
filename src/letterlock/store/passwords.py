"""Password proofs: argon2id for a password that is shown, SCRAM keys for one that is not, and equal work for nobody.

Promises:
- Whoever asks for a user who is not there waits as long and learns as much as for a wrong password: argon2id runs
  against a hash that nothing fits, and SCRAM is given false keys that are the same each time (RFC 5802 section 9).
- At most `workers` hashes run at once and `MOST_WAITING` wait; more is Unavailable. Hashing never runs on the loop.
- A password that was right is remembered for a short while as a keyed digest with the hash it was checked against, so
  that a changed password counts at once.

Standards: RFC 9106 section 4 (argon2id), RFC 5802 section 3, RFC 7677 (SCRAM-SHA-256).
Limits: argon2id takes 19 MiB and 2 passes, about 26 ms.
"""

from __future__ import annotations

import asyncio
import hmac
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from letterlock.errors import Unavailable
from letterlock.host.clock import Clock
from letterlock.host.entropy import Entropy
from letterlock.protocols.sasl.scram import derive_keys
from letterlock.protocols.sasl.step import ScramKeys

MOST_WAITING = 100
SCRAM_ITERATIONS = 30_000
_SALT_OCTETS = 16
_REMEMBERED_SECONDS = 300.0
_MOST_REMEMBERED = 10_000
_DIGEST_OCTETS = {"sha256": 32, "sha1": 20}

_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, hash_len=32, salt_len=16, type=Type.ID)


def hash_password(password: str, entropy: Entropy) -> str:
    """Return the argon2id hash of a prepared password, in its usual text form. Blocks."""
    return _hasher.hash(password, salt=entropy.octets(_SALT_OCTETS))


def scram_keys(password: str, digest: str, entropy: Entropy) -> ScramKeys:
    """Return new SCRAM keys of a password. Blocks."""
    return derive_keys(password, entropy.octets(_SALT_OCTETS), SCRAM_ITERATIONS, digest)


def false_keys(user: str, digest: str, secret: bytes) -> ScramKeys:
    """Return keys for a user who has none: always the same for the same name, and no password fits them."""
    seed = hmac.digest(secret, f"{digest}\0{user}".encode(), "sha512")
    length = _DIGEST_OCTETS.get(digest, 32)
    return ScramKeys(
        seed[:_SALT_OCTETS],
        SCRAM_ITERATIONS,
        hmac.digest(seed, b"stored", "sha256")[:length],
        hmac.digest(seed, b"server", "sha256")[:length],
    )


class Verifier:
    """Checks passwords in a bounded pool of threads."""

    def __init__(self, clock: Clock, entropy: Entropy, *, workers: int = 2) -> None:
        self._clock = clock
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="password")
        self._waiting = 0
        self._key = entropy.octets(32)
        self._remembered: dict[bytes, float] = {}
        self._nobody = _hasher.hash(entropy.octets(32), salt=entropy.octets(_SALT_OCTETS))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Tell whether `password` fits the hash `stored` (None for a user who is not there). Raises Unavailable."""
        digest = hmac.digest(self._key, f"{stored}\0{password}".encode(), "sha256")
        now = self._clock.elapsed()
        if stored is not None and self._remembered.get(digest, -1.0) > now:
            return True
        if self._waiting >= MOST_WAITING:
            raise Unavailable("too many passwords are being checked at once")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            fits = await loop.run_in_executor(self._pool, _fits, stored or self._nobody, password)
        finally:
            self._waiting -= 1
        if not fits or stored is None:
            return False
        if len(self._remembered) >= _MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[digest] = now + _REMEMBERED_SECONDS
        return True

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)


def _fits(stored: str, password: str) -> bool:
    try:
        return _hasher.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False
