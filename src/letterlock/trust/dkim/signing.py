"""Sign messages: one DKIM-Signature field for each key, RSA and Ed25519 side by side.

What a reader sees is signed once more than it occurs, so that nobody can add a second From, Subject or Content-Type
without breaking the signature.

Standards: RFC 6376 section 5 (signing), section 5.4.1 (what to sign), section 8.15 (oversigning), RFC 8463, RFC 8301.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field

from letterlock.errors import Malformed, OurFault
from letterlock.formats.imf.header import read_header
from letterlock.trust.dkim.canonicalize import BodyHashes, BodyHashKind, Canonicalization
from letterlock.trust.dkim.fields import Field, Fields
from letterlock.trust.dkim.verification import signed_octets
from letterlock.trust.primitives import eddsa, private_keys, rsa

# Signed once more than they occur, whether they occur or not
OVERSIGNED = (
    "from",
    "to",
    "cc",
    "subject",
    "date",
    "message-id",
    "reply-to",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
)
# Signed as often as they occur (RFC 6376 section 5.4.1)
SIGNED = (
    "sender",
    "in-reply-to",
    "references",
    "content-id",
    "content-description",
    "list-id",
    "list-help",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "list-subscribe",
    "list-post",
    "list-owner",
    "list-archive",
    "autocrypt",
    "openpgp",
    "feedback-id",
)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and where its public half is published: `selector._domainkey.domain`."""

    domain: str
    selector: str
    private_key: private_keys.SigningPrivateKey = field(repr=False)

    @property
    def algorithm(self) -> str:
        """What it signs with."""
        return "rsa-sha256" if isinstance(self.private_key, rsa.PrivateKey) else "ed25519-sha256"

    @property
    def key_type(self) -> str:
        """The k= of its record."""
        return self.algorithm.partition("-")[0]

    def record(self) -> str:
        """Return the text to publish for this key (RFC 6376 section 3.6.1)."""
        if isinstance(self.private_key, rsa.PrivateKey):
            public = private_keys.public_der(self.private_key)
        else:  # RFC 8463 section 4
            public = eddsa.ed25519_public_octets(self.private_key)
        return f"v=DKIM1; k={self.key_type}; p={base64.b64encode(public).decode()}"

    def sign(self, octets: bytes) -> bytes:
        """Return the signature over canonical octets."""
        if isinstance(self.private_key, rsa.PrivateKey):
            return rsa.sign(self.private_key, octets, "sha256")
        return eddsa.sign_ed25519(self.private_key, hashlib.sha256(octets).digest())


@dataclass(frozen=True, slots=True)
class Manner:
    """How to sign. `lifetime_seconds` sets x=; `identity` sets i=."""

    header_canonicalization: Canonicalization = Canonicalization.RELAXED
    body_canonicalization: Canonicalization = Canonicalization.RELAXED
    lifetime_seconds: int | None = None
    identity: str = ""


DEFAULT_MANNER = Manner()


def sign(octets: bytes, keys: tuple[SigningKey, ...], now: int, manner: Manner = DEFAULT_MANNER) -> bytes:
    """Return the DKIM-Signature fields to put before a message, one for each key, each ending in CRLF.

    Raises Malformed where the message has no From or more than one, or a bare CR or LF.
    """
    header = read_header(octets)
    fields = Fields(header)
    if len(fields.named(b"from")) != 1:
        raise Malformed("a message to sign has exactly one From", clause="RFC 6376 section 5.4")
    line_ends = octets.count(b"\r\n")
    if octets.count(b"\n") != line_ends or octets.count(b"\r") != line_ends:
        raise Malformed("a bare CR or LF, which transport would change", clause="RFC 6376 section 5.3")
    bodies = BodyHashes()
    kind = BodyHashKind(manner.body_canonicalization, "sha256")
    bodies.add(kind)
    bodies.feed(octets[header.body_start :])
    body_hash = bodies.digest(kind)
    return b"".join(_sign_one(fields, body_hash, key, now, manner) for key in keys)


def names_to_sign(fields: Fields) -> tuple[str, ...]:
    """Return the h= for a message: what occurs of SIGNED, and OVERSIGNED once more than it occurs."""
    names: list[str] = []
    for name in OVERSIGNED:
        names += [name] * (len(fields.named(name.encode())) + 1)
    for name in SIGNED:
        names += [name] * len(fields.named(name.encode()))
    return tuple(names)


def _sign_one(fields: Fields, body_hash: bytes, key: SigningKey, now: int, manner: Manner) -> bytes:
    names = names_to_sign(fields)
    tags = [
        ("v", "1"),
        ("a", key.algorithm),
        ("c", f"{manner.header_canonicalization.value}/{manner.body_canonicalization.value}"),
        ("d", key.domain),
        ("s", key.selector),
        ("t", str(now)),
    ]
    if manner.lifetime_seconds is not None:
        tags.append(("x", str(now + manner.lifetime_seconds)))
    if manner.identity:
        tags.append(("i", manner.identity))
    unsigned = folded_field("DKIM-Signature", tags, names, body_hash)
    how = manner.header_canonicalization
    signature = key.sign(signed_octets(fields, Field(b"dkim-signature", unsigned), names, how))
    return with_signature(unsigned, signature)


def folded_field(name: str, tags: list[tuple[str, str]], signed: tuple[str, ...], body_hash: bytes) -> bytes:
    """Write a signature field with an empty b= at its end, folded, without its final CRLF."""
    lines = [f"{name}:"]
    words = [f"{tag}={value};" for tag, value in tags]
    words += [f"bh={base64.b64encode(body_hash).decode()};"]
    words += [f"{'h=' if i == 0 else ''}{word}{':' if i < len(signed) - 1 else ';'}" for i, word in enumerate(signed)]
    for word in words:
        # h= is one tag value: white space may stand around its colons only
        if len(lines[-1]) + 1 + len(word) > 76:
            lines.append("")
        lines[-1] += f" {word}"
    lines.append(" b=")
    return "\r\n".join(lines).encode()


def with_signature(unsigned: bytes, signature: bytes) -> bytes:
    """Fill in b=, folded, and end the field."""
    if not unsigned.endswith(b"b="):
        raise OurFault("a signature field ends in an empty b= until it is signed")
    text = base64.b64encode(signature)
    lines = [text[start : start + 72] for start in range(0, len(text), 72)]
    return unsigned + b"\r\n  ".join(lines) + b"\r\n"
