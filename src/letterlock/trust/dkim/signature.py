"""The DKIM-Signature field as a value; ARC-Message-Signature shares its syntax.

Standards: RFC 6376 section 3.5, RFC 8463 section 3, RFC 8616 section 5 (internationalised domains), RFC 8617 section 4.1.2.
"""

from __future__ import annotations

import binascii
import functools
import re
from dataclasses import dataclass

from letterlock.errors import Malformed
from letterlock.formats import domain as domains
from letterlock.formats import tag_list
from letterlock.trust.dkim.canonicalize import BodyHashKind, Canonicalization

_CLAUSE = "RFC 6376 section 3.5"
_REQUIRED = ("v", "a", "b", "bh", "d", "h", "s")
_NUMBER = re.compile(r"[0-9]{1,76}")
_FIELD_NAME = re.compile(r"[!-9;-~]+")
_B_VALUE = re.compile(rb";[ \t\r\n]*b[ \t\r\n]*=([^;]*)")
# a=: (key type, digest) that RFC 6376 section 3.3 and RFC 8463 section 3 name
ALGORITHMS = {"rsa-sha1": ("rsa", "sha1"), "rsa-sha256": ("rsa", "sha256"), "ed25519-sha256": ("ed25519", "sha256")}
MOST_FIELDS = 1000


@dataclass(frozen=True, slots=True)
class Signature:
    """What a signature field says.

    `headers` are lower-case names in the order of h=; `identity` is i= as it stands, or `@` and the domain;
    `timestamp` and `expiration` are seconds since 1970 or None.
    """

    algorithm: str
    domain: str
    selector: str
    signature: bytes
    body_hash: bytes
    headers: tuple[str, ...]
    header_canonicalization: Canonicalization = Canonicalization.SIMPLE
    body_canonicalization: Canonicalization = Canonicalization.SIMPLE
    identity: str = ""
    length: int | None = None
    timestamp: int | None = None
    expiration: int | None = None

    @property
    def key_type(self) -> str:
        """The first half of the algorithm: rsa or ed25519."""
        return ALGORITHMS[self.algorithm][0]

    @property
    def digest(self) -> str:
        """The second half of the algorithm."""
        return ALGORITHMS[self.algorithm][1]

    @property
    def identity_domain(self) -> str:
        """The domain of i= as A-labels, or the text itself where it is none."""
        return ascii_or_same(self.identity.rpartition("@")[2])

    @property
    def body_hash_kind(self) -> BodyHashKind:
        """The hash of the body that this signature needs."""
        return BodyHashKind(self.body_canonicalization, self.digest, self.length)

    @property
    def key_name(self) -> str:
        """Where the public key is published (RFC 6376 section 3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"


def parse(value: bytes) -> Signature:
    """Read the value of a DKIM-Signature field. Raises Malformed with the clause it breaks."""
    tags = tag_list.parse(value)
    missing = [name for name in _REQUIRED if not tags.get(name)]
    if missing:
        raise Malformed(f"{missing[0]}= is missing or empty", clause=_CLAUSE)
    if tags["v"] != "1":
        raise Malformed(f"version {tags['v']!r}; only 1 is known", clause=_CLAUSE)
    return from_tags(tags)


def from_tags(tags: dict[str, str]) -> Signature:
    """Read the tags that DKIM-Signature and ARC-Message-Signature share. Raises Malformed."""
    algorithm = tags["a"].lower()
    if algorithm not in ALGORITHMS:
        raise Malformed(f"the algorithm {algorithm[:40]!r} is not known", clause="RFC 6376 section 3.3")
    header_canonicalization, body_canonicalization = _canonicalizations(tags.get("c", "simple/simple"))
    if "q" in tags and "dns/txt" not in (method.lower() for method in tag_list.colon_list(tags["q"])):
        raise Malformed("q= names no way to the key but dns/txt", clause=_CLAUSE)
    timestamp, expiration = _number(tags, "t"), _number(tags, "x")
    if timestamp is not None and expiration is not None and expiration <= timestamp:
        raise Malformed("x= is not later than t=", clause=_CLAUSE)
    domain = key_domain(tags["d"])
    identity = tag_list.without_space(tags.get("i", "")) or f"@{domain}"
    if "@" not in identity:
        raise Malformed("i= has no @", clause=_CLAUSE)
    return Signature(
        algorithm,
        domain,
        key_domain(tags["s"]),
        base64(tags["b"]),
        base64(tags["bh"]),
        _headers(tags["h"]),
        header_canonicalization,
        body_canonicalization,
        identity,
        _number(tags, "l"),
        timestamp,
        expiration,
    )


@functools.lru_cache(maxsize=4096)
def key_domain(text: str) -> str:
    """Return a d= or s= value as lower-case A-labels. Raises Malformed."""
    return domains.to_ascii(tag_list.without_space(text), underscores=True)


@functools.lru_cache(maxsize=4096)
def ascii_or_same(domain: str) -> str:
    """Return a domain as A-labels, or as it is where it is no domain name."""
    try:
        return domains.to_ascii(domain, underscores=True)
    except Malformed:
        return domain


def base64(text: str) -> bytes:
    """Decode base64 with folding white space inside. Raises Malformed."""
    try:
        return binascii.a2b_base64(b"".join(text.encode().split()), strict_mode=True)
    except (binascii.Error, ValueError):
        raise Malformed("a value that is not base64", clause="RFC 6376 section 2.10") from None


def without_signature(octets: bytes) -> bytes:
    """Return a signature field with the value of its b= taken out (RFC 6376 section 3.7)."""
    start = octets.index(b":")
    value = b";" + octets[start + 1 :]  # so that a b= that comes first is found like any other
    found = _B_VALUE.search(value)
    if found is None:
        return octets
    return octets[: start + 1] + value[1 : found.start(1)] + value[found.end(1) :]


def _canonicalizations(text: str) -> tuple[Canonicalization, Canonicalization]:
    header, _, body = text.lower().partition("/")
    try:
        return Canonicalization(header.strip()), Canonicalization(body.strip() or "simple")
    except ValueError:
        raise Malformed(f"the canonicalization {text[:40]!r} is not known", clause="RFC 6376 section 3.4") from None


@functools.lru_cache(maxsize=1024)
def _headers(text: str) -> tuple[str, ...]:
    names = tuple(name.lower() for name in tag_list.colon_list(text))
    if len(names) > MOST_FIELDS:
        raise Malformed(f"h= names {len(names)} fields", clause=_CLAUSE)
    if not all(map(_FIELD_NAME.fullmatch, names)):
        raise Malformed("h= is no list of field names", clause=_CLAUSE)
    return names


def _number(tags: dict[str, str], name: str) -> int | None:
    text = tags.get(name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise Malformed(f"{name}= is no number", clause=_CLAUSE)
    return int(text)
