"""Signed web tokens: a provider's public keys, and what a token says once its signature holds.

Only asymmetric algorithms are known here, so that nobody can sign with a public key taken for a secret, and `none` is no
algorithm. PyJWT does the work.

Standards: RFC 7515 (signatures), RFC 7517 (keys), RFC 7519 (tokens), RFC 8037 (EdDSA), RFC 8725 (what goes wrong).
Limits: 100 keys; RSA keys of 2,048 bits and more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from letterlock.errors import Malformed, NotAuthentic

# The algorithms, by the kind of key they need (RFC 8725 section 3.1: what is allowed stands here, not in the token).
_KINDS = {
    "RS256": "RSA", "RS384": "RSA", "RS512": "RSA", "PS256": "RSA", "PS384": "RSA", "PS512": "RSA",
    "ES256": "EC", "ES384": "EC", "ES512": "EC", "EdDSA": "OKP",
}  # fmt: skip
_MOST_KEYS = 100
_SIGNATURES = jwt.PyJWS(options={"verify_signature": True, "enforce_minimum_key_length": True})

Claims = Mapping[str, Any]  # what JSON holds


class UnknownKey(NotAuthentic):
    """The token names a key that is not among those known: perhaps the provider has a new one."""


@dataclass(frozen=True, slots=True)
class TokenKeys:
    """A provider's public keys, as its JSON tells them."""

    keys: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class SignedToken:
    """A token whose signature holds: its `kind` (the header's typ) and its claims."""

    kind: str
    claims: Claims


def read_keys(octets: bytes) -> TokenKeys:
    """Read a JSON Web Key Set. Raises Malformed."""
    try:
        keys = json.loads(octets)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Malformed("no JSON Web Key Set", clause="RFC 7517 section 5") from None
    if not isinstance(keys, list) or len(keys) > _MOST_KEYS:
        raise Malformed("no list of keys, or too many", clause="RFC 7517 section 5")
    # RFC 7517 section 5: keys of a kind not known here are passed over.
    usable = [key for key in keys if isinstance(key, dict) and key.get("kty") in _KINDS.values()]
    return TokenKeys(tuple(key for key in usable if key.get("use", "sig") == "sig"))


def verify(token: str, keys: TokenKeys) -> SignedToken:
    """Return a token whose signature one of `keys` made. Raises NotAuthentic, UnknownKey."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, RecursionError):
        raise NotAuthentic("the token is no signed web token") from None
    algorithm, key_id = str(header.get("alg")), header.get("kid")
    kind = _KINDS.get(algorithm)
    if kind is None:
        raise NotAuthentic(f"tokens are not signed with {algorithm[:20]!r} here")
    candidates = [key for key in keys.keys if key["kty"] == kind and key.get("alg", algorithm) == algorithm]
    if key_id is not None:
        candidates = [key for key in candidates if key.get("kid") == key_id]
    if not candidates:
        raise UnknownKey(f"no key of the provider is known that made this token ({algorithm})")
    problem = ""
    for key in candidates:
        try:
            payload = _SIGNATURES.decode(token, jwt.PyJWK(dict(key), algorithm), [algorithm])
            claims = json.loads(payload)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            problem = f"{type(error).__name__}: {error}"
            continue
        if isinstance(claims, dict):
            return SignedToken(str(header.get("typ", "")), claims)
        problem = "it holds no claims"
    raise NotAuthentic(f"the token's signature does not hold ({problem})")
