"""The decision on one access token: signed by the provider, for us, now, and for whom.

Standards: RFC 9068 section 4 (what a resource server checks), RFC 7519 section 4.1 (claims), RFC 8725 section 3.8 to 3.11,
RFC 6749 section 3.3 (scope).
Limits: tokens of 16,384 characters; clocks may differ by a minute.
"""

from __future__ import annotations

from dataclasses import dataclass

from letterlock.errors import NotAuthentic
from letterlock.trust.primitives.web_tokens import Claims, TokenKeys, verify

_LONGEST_TOKEN = 16_384
_LEEWAY_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Expectations:
    """What a token must say. `audiences` are names for us, one of which it must be for; `kinds` the header's typ allowed.

    `user_claim` names the claim that holds the user's address or name; `scope`, if not empty, must be granted.
    """

    issuer: str
    audiences: tuple[str, ...]
    user_claim: str = "email"
    scope: str = ""
    kinds: tuple[str, ...] = ("at+jwt",)


def user_of(token: str, keys: TokenKeys, expected: Expectations, now: float) -> str:
    """Return the user a token is for. Raises NotAuthentic with the reason, UnknownKey where its key is not known."""
    if len(token) > _LONGEST_TOKEN:
        raise NotAuthentic("the token is too long")
    signed = verify(token, keys)
    kind = signed.kind.lower().removeprefix("application/")
    if kind not in (one.lower() for one in expected.kinds):
        # RFC 9068 section 4: or a token made for something else would open the mailbox.
        raise NotAuthentic(f"the token is of type {kind[:40]!r}, not {' or '.join(expected.kinds)}")
    claims = signed.claims
    if claims.get("iss") != expected.issuer:
        raise NotAuthentic("the token is of another issuer")
    audience = claims.get("aud")
    meant = audience if isinstance(audience, list) else [audience]
    if not any(one in meant for one in expected.audiences):
        raise NotAuthentic("the token is for another audience")
    _check_time(claims, now)
    scopes = claims.get("scope")
    if expected.scope and (not isinstance(scopes, str) or expected.scope not in scopes.split()):
        raise NotAuthentic(f"the token does not grant {expected.scope}")
    return _user(claims, expected.user_claim)


def _check_time(claims: Claims, now: float) -> None:
    if not _instant(claims, "exp", 0.0) > now - _LEEWAY_SECONDS:
        raise NotAuthentic("the token has ended")
    if not _instant(claims, "nbf", now) <= now + _LEEWAY_SECONDS:
        raise NotAuthentic("the token has not begun yet")
    if not _instant(claims, "iat", now) <= now + _LEEWAY_SECONDS:
        raise NotAuthentic("the token was made in the future")


def _instant(claims: Claims, name: str, otherwise: float) -> float:
    value = claims.get(name, otherwise)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotAuthentic(f"the token's {name} is no instant")
    return value


def _user(claims: Claims, name: str) -> str:
    user = claims.get(name)
    if not isinstance(user, str) or not user or not user.isprintable():
        raise NotAuthentic(f"the token does not say who it is for: there is no {name}")
    if name == "email" and claims.get("email_verified", True) is not True:
        raise NotAuthentic("the provider has not verified that the address is the user's")
    return user
