"""A provider in miniature: keys and tokens made with the crypto library alone, so that the reader is not its own judge."""

from __future__ import annotations

import base64
import json
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

ISSUER = "https://id.rosewood.test"
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def encoded(octets: bytes) -> str:
    """Base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _number(number: int, octets: int = 0) -> str:
    return encoded(number.to_bytes(octets or (number.bit_length() + 7) // 8))


def web_key(key: PrivateKey, key_id: str, **more: str) -> dict[str, str]:
    """The public key as JSON (RFC 7518 section 6, RFC 8037 section 2)."""
    named = {"kid": key_id} | more
    match key:
        case rsa.RSAPrivateKey():
            numbers = key.public_key().public_numbers()
            return {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)} | named
        case ec.EllipticCurvePrivateKey():
            point = key.public_key().public_numbers()
            return {"kty": "EC", "crv": "P-256", "x": _number(point.x, 32), "y": _number(point.y, 32)} | named
        case ed25519.Ed25519PrivateKey():
            return {"kty": "OKP", "crv": "Ed25519", "x": encoded(key.public_key().public_bytes_raw())} | named


def signature(key: PrivateKey, octets: bytes) -> tuple[str, bytes]:
    """The algorithm's name, and its signature (RFC 7518 section 3)."""
    match key:
        case rsa.RSAPrivateKey():
            return "RS256", key.sign(octets, padding.PKCS1v15(), hashes.SHA256())
        case ec.EllipticCurvePrivateKey():
            r, s = decode_dss_signature(key.sign(octets, ec.ECDSA(hashes.SHA256())))
            return "ES256", r.to_bytes(32) + s.to_bytes(32)
        case ed25519.Ed25519PrivateKey():
            return "EdDSA", key.sign(octets)


def make_token(
    key: PrivateKey, claims: dict[str, Any], *, header: dict[str, Any] | None = None, key_id: str = "k"
) -> str:
    """A signed token; `header` adds to what stands in it, or replaces it."""
    algorithm = signature(key, b"")[0]
    head = {"alg": algorithm, "typ": "at+jwt", "kid": key_id} | (header or {})
    text = f"{encoded(json.dumps(head).encode())}.{encoded(json.dumps(claims).encode())}"
    return f"{text}.{encoded(signature(key, text.encode())[1])}"


def claims_for(user: str, now: float, **more: Any) -> dict[str, Any]:
    """What a good token says; None takes a claim out."""
    said = {"iss": ISSUER, "aud": "mx.rosewood.test", "sub": "u-1", "client_id": "app", "iat": int(now), "exp": int(now) + 600,
            "email": user, "scope": "openid mail"} | more  # fmt: skip
    return {name: value for name, value in said.items() if value is not None}
