"""The key record of a selector: what it permits, and the key itself.

Standards: RFC 6376 section 3.6.1 (the record), RFC 8463 section 4 (Ed25519), RFC 8301 section 3.2 (sizes).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from letterlock.errors import Malformed
from letterlock.formats import tag_list
from letterlock.trust.dkim.signature import base64
from letterlock.trust.primitives import eddsa, rsa

_CLAUSE = "RFC 6376 section 3.6.1"


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A record that follows the grammar. `public_key` None is a revoked key; `digests` empty means any digest;
    `bits` is the size of the key.
    """

    key_type: str
    public_key: rsa.PublicKey | eddsa.Ed25519PublicKey | None
    digests: tuple[str, ...] = ()
    services: tuple[str, ...] = ("*",)
    flags: tuple[str, ...] = ()
    notes: str = ""
    bits: int = 0

    @property
    def is_testing(self) -> bool:
        """Whether the domain only tests DKIM (t=y)."""
        return "y" in self.flags

    @property
    def is_strict(self) -> bool:
        """Whether i= may not name a subdomain (t=s)."""
        return "s" in self.flags

    @property
    def is_for_mail(self) -> bool:
        """Whether the service type covers e-mail."""
        return "*" in self.services or "email" in self.services


@functools.lru_cache(maxsize=2048)
def parse(octets: bytes) -> KeyRecord:
    """Read a key record. Raises Malformed."""
    tags = tag_list.parse(octets)
    if "v" in tags and (next(iter(tags)) != "v" or tags["v"] != "DKIM1"):
        raise Malformed("v= is not the first tag, or not DKIM1", clause=_CLAUSE)
    if "p" not in tags:
        raise Malformed("p= is missing", clause=_CLAUSE)
    key_type = tags.get("k", "rsa").lower()
    if key_type not in ("rsa", "ed25519"):
        raise Malformed(f"the key type {key_type[:40]!r} is not known", clause=_CLAUSE)
    octets_of_key = base64(tags["p"])
    public_key = _public_key(key_type, octets_of_key) if octets_of_key else None
    return KeyRecord(
        key_type,
        public_key,
        _lowered(tags["h"]) if "h" in tags else (),
        _lowered(tags.get("s", "*")),
        _lowered(tags.get("t", "")),
        tags.get("n", ""),
        public_key.key_size if isinstance(public_key, rsa.PublicKey) else 256 if public_key else 0,
    )


def _lowered(text: str) -> tuple[str, ...]:
    return tuple(item.lower() for item in tag_list.colon_list(text))


def _public_key(key_type: str, octets: bytes) -> rsa.PublicKey | eddsa.Ed25519PublicKey:
    return rsa.public_key(octets) if key_type == "rsa" else eddsa.ed25519_public_key(octets)
