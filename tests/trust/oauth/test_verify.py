"""trust/oauth: whom a token lets in, and every way it may not."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from tests.trust.oauth.tokens import ISSUER, PrivateKey, claims_for, encoded, make_token, web_key

from letterlock.errors import Malformed, NotAuthentic
from letterlock.trust.oauth import Expectations, TokenKeys, UnknownKey, read_keys, user_of

NOW = 1_800_000_000.0
EXPECTED = Expectations(ISSUER, ("mx.rosewood.test",))
ADA = "ada@rosewood.test"
RSA = rsa.generate_private_key(65537, 2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
EDWARDS = ed25519.Ed25519PrivateKey.generate()


def keys(*known: dict[str, str]) -> TokenKeys:
    """A provider's set."""
    return read_keys(json.dumps({"keys": known}).encode())


KEYS = keys(web_key(RSA, "r"), web_key(CURVE, "c", use="sig"), web_key(EDWARDS, "e", alg="EdDSA"))


@pytest.mark.parametrize(("key", "key_id"), [(RSA, "r"), (CURVE, "c"), (EDWARDS, "e")])
def test_a_token_lets_its_user_in(key: PrivateKey, key_id: str) -> None:
    """RS256, ES256 and EdDSA; the key named or, where none is named, any that fits."""
    claims = claims_for(ADA, NOW)
    assert user_of(make_token(key, claims, key_id=key_id), KEYS, EXPECTED, NOW) == ADA
    claims["aud"] = ["other", "mx.rosewood.test"]
    claims["email_verified"] = True
    token = make_token(key, claims, key_id=key_id, header={"typ": "application/AT+JWT"})
    assert user_of(token, KEYS, EXPECTED, NOW) == ADA


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"iss": "https://evil.test"}, "issuer"), ({"iss": None}, "issuer"), ({"iss": [ISSUER]}, "issuer"),
        ({"aud": "other"}, "audience"), ({"aud": None}, "audience"), ({"aud": {"mx.rosewood.test": 1}}, "audience"),
        ({"aud": "xmx.rosewood.test"}, "audience"),
        ({"exp": NOW - 61}, "ended"), ({"exp": None}, "ended"), ({"exp": "2099"}, "exp"), ({"exp": True}, "exp"),
        ({"exp": float("nan")}, "ended"), ({"nbf": NOW + 61}, "begun"), ({"nbf": "x"}, "nbf"), ({"iat": NOW + 61}, "future"),
        ({"email": None}, "email"), ({"email": ""}, "email"), ({"email": 7}, "email"), ({"email": "a\r\nb@x"}, "email"),
        ({"email_verified": False}, "verified"), ({"email_verified": "true"}, "verified"),
    ],
)  # fmt: skip
def test_what_it_says_must_fit(change: dict[str, Any], reason: str) -> None:
    """RFC 9068 section 4: issuer, audience, time, and who it is for."""
    with pytest.raises(NotAuthentic, match=reason):
        user_of(make_token(CURVE, claims_for(ADA, NOW, **change), key_id="c"), KEYS, EXPECTED, NOW)


def test_the_scope_that_is_asked_for() -> None:
    """RFC 6749 section 3.3: words, not their beginnings."""
    token = make_token(CURVE, claims_for(ADA, NOW), key_id="c")
    assert user_of(token, KEYS, Expectations(ISSUER, ("mx.rosewood.test",), scope="mail"), NOW) == ADA
    for scope in ("mai", "mail.send"):
        with pytest.raises(NotAuthentic, match="grant"):
            user_of(token, KEYS, Expectations(ISSUER, ("mx.rosewood.test",), scope=scope), NOW)


@pytest.mark.parametrize("kind", ["JWT", "", "id+jwt", "at+jwtx"])
def test_tokens_for_something_else_open_nothing(kind: str) -> None:
    """RFC 8725 section 3.11: an ID token or a logout token is not an access token, unless the settings say so."""
    token = make_token(CURVE, claims_for(ADA, NOW), key_id="c", header={"typ": kind})
    with pytest.raises(NotAuthentic, match="type"):
        user_of(token, KEYS, EXPECTED, NOW)
    assert user_of(token, KEYS, Expectations(ISSUER, ("mx.rosewood.test",), kinds=(kind,)), NOW) == ADA


def forged(header: dict[str, Any], sign: Any) -> str:
    """A token with this header, signed by `sign`."""
    text = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims_for(ADA, NOW)).encode())}"
    return f"{text}.{encoded(sign(text.encode()))}"


def forgeries() -> dict[str, str]:
    """Tokens that claim to be good."""
    pem = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    stranger = ec.generate_private_key(ec.SECP256R1())
    good = make_token(CURVE, claims_for(ADA, NOW), key_id="c")
    head, body, signature = good.split(".")
    other = encoded(json.dumps(claims_for("eve@rosewood.test", NOW)).encode())
    own = {"jwk": web_key(stranger, "c")}
    return {
        "unsigned": forged({"alg": "none", "typ": "at+jwt"}, lambda _: b""),
        "unsigned in capitals": forged({"alg": "NONE", "typ": "at+jwt", "kid": "c"}, lambda _: b""),
        "no algorithm": forged({"typ": "at+jwt", "kid": "c"}, lambda _: b""),
        "the public key as a secret": forged(
            {"alg": "HS256", "typ": "at+jwt", "kid": "r"}, lambda octets: hmac.digest(pem, octets, hashlib.sha256)
        ),
        "another's key under the same name": make_token(stranger, claims_for(ADA, NOW), key_id="c"),
        "another's key brought along": make_token(stranger, claims_for(ADA, NOW), key_id="c", header=own),
        "a body that was not signed": f"{head}.{other}.{signature}",
        "a signature of zeros": f"{head}.{body}.{encoded(bytes(64))}",
        "no signature": f"{head}.{body}.",
        "critical and unknown": make_token(CURVE, claims_for(ADA, NOW), key_id="c", header={"crit": ["x"], "x": 1}),
        "a key of another kind": forged({"alg": "RS256", "typ": "at+jwt", "kid": "c"}, lambda _: b"x"),
        "too long": "a" * 20_000,
        "nothing": "",
        "two parts": "a.b",
        "a deep header": encoded(b"[" * 9000) + ".e30.x",
        "a header that is a list": encoded(b"[]") + ".e30.x",
        "claims that are a list": forged_claims(b"[]"),
        "claims that are deep": forged_claims(b"[" * 9000),
    }


def forged_claims(claims: bytes) -> str:
    """Signed, and of no use."""
    from tests.trust.oauth.tokens import signature

    text = f"{encoded(json.dumps({'alg': 'ES256', 'typ': 'at+jwt', 'kid': 'c'}).encode())}.{encoded(claims)}"
    return f"{text}.{encoded(signature(CURVE, text.encode())[1])}"


@pytest.mark.parametrize("name", forgeries())
def test_forgeries(name: str) -> None:
    """RFC 8725 section 2: what has gone wrong elsewhere."""
    with pytest.raises(NotAuthentic):
        user_of(forgeries()[name], KEYS, EXPECTED, NOW)


def test_a_key_that_is_not_known_is_told_apart() -> None:
    """The provider may have a new one: worth another look."""
    with pytest.raises(UnknownKey):
        user_of(make_token(CURVE, claims_for(ADA, NOW), key_id="new"), KEYS, EXPECTED, NOW)
    encrypting = keys(web_key(CURVE, "c", use="enc"))
    with pytest.raises(UnknownKey):
        user_of(make_token(CURVE, claims_for(ADA, NOW), key_id="c"), encrypting, EXPECTED, NOW)


def test_a_weak_key_proves_nothing() -> None:
    """RFC 7518 section 3.3: 2,048 bits at least."""
    weak = rsa.generate_private_key(65537, 1024)
    with pytest.raises(NotAuthentic, match="2048"):
        user_of(make_token(weak, claims_for(ADA, NOW), key_id="w"), keys(web_key(weak, "w")), EXPECTED, NOW)


@pytest.mark.parametrize("octets", [b"", b"[]", b"{}", b'{"keys": 1}', b'{"keys": "abc"}', b"\xff", b"[" * 99_999,
                                    json.dumps({"keys": [{}] * 101}).encode()])  # fmt: skip
def test_sets_that_are_none(octets: bytes) -> None:
    """Malformed, and nothing else."""
    with pytest.raises(Malformed):
        read_keys(octets)


def test_keys_that_are_none_are_passed_over() -> None:
    """RFC 7517 section 5: one strange key does not hide the others; a secret is no key here."""
    strange: list[Any] = [
        1,
        None,
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "RSA", "kid": "c", "n": "!", "e": 3},
        {"kty": []},
    ]
    found = read_keys(json.dumps({"keys": [*strange, web_key(CURVE, "c")]}).encode())
    assert user_of(make_token(CURVE, claims_for(ADA, NOW), key_id="c"), found, EXPECTED, NOW) == ADA
    with pytest.raises(NotAuthentic):
        user_of(make_token(RSA, claims_for(ADA, NOW), key_id="c"), found, EXPECTED, NOW)


@given(st.text(max_size=200) | st.lists(st.binary(max_size=60).map(encoded), min_size=3, max_size=3).map(".".join))
def test_random_tokens(token: str) -> None:
    """Never anything but NotAuthentic."""
    with pytest.raises(NotAuthentic):
        user_of(token, KEYS, EXPECTED, NOW)
