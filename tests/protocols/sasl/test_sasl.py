"""SASL: the standards' own examples, client against server, and what must fail."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.errors import Malformed, NotAuthentic, PeerFault
from letterlock.protocols.sasl.mechanism import (
    PASSWORD_MECHANISMS,
    ClientExchange,
    ServerExchange,
    client_exchange,
    offered_mechanisms,
    server_exchange,
    token_exchange,
)
from letterlock.protocols.sasl.saslprep import saslprep
from letterlock.protocols.sasl.scram import DIGESTS, ScramClient, ScramServer, derive_keys
from letterlock.protocols.sasl.step import (
    Authenticated,
    Challenge,
    IdentityClaimed,
    KeysWanted,
    PasswordGiven,
    Rejected,
    Step,
    TokenGiven,
)

BINDINGS = {"tls-server-end-point": (b"\x01" * 32, b"\x02" * 32)}


@pytest.mark.parametrize(
    ("mechanism", "nonce", "server_nonce", "salt", "proof", "verifier"),
    [
        ("SCRAM-SHA-1", "fyko+d2lbbFgONRv9qkxdawL", "3rfcNHYJY1ZVvWVs7j", "QSXCR+Q6sek8bf92",
         "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "rmF9pqV8S7suAoZWja4dJRkFsKQ="),
        ("SCRAM-SHA-256", "rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", "W22ZaJ0SNY7soEsUEjb6gQ==",
         "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
    ],
)  # fmt: skip
def test_the_examples_of_the_standards(
    mechanism: str, nonce: str, server_nonce: str, salt: str, proof: str, verifier: str
) -> None:
    """RFC 5802 section 5 and RFC 7677 section 3: every message of both sides, octet for octet."""
    client = ScramClient(mechanism, user="user", password="pencil", nonce=nonce)
    server = ScramServer(mechanism, nonce=server_nonce, bindings={}, offers_plus=False)
    assert client.first() == f"n,,n=user,r={nonce}".encode()
    assert server.begin(client.first()) == KeysWanted("user", DIGESTS[mechanism])
    step = server.supply(derive_keys("pencil", base64.b64decode(salt), 4096, DIGESTS[mechanism]))
    assert step == Challenge(f"r={nonce}{server_nonce},s={salt},i=4096".encode())
    final = client.respond(step.octets)
    assert final == f"c=biws,r={nonce}{server_nonce},p={proof}".encode()
    step = server.respond(final)
    assert step == Challenge(f"v={verifier}".encode())
    assert client.respond(step.octets) == b""
    client.finish()
    assert server.respond(b"") == Authenticated("user")


def meet(client: ClientExchange, server: ServerExchange, *, password: str = "gehéim", users: str = "åda") -> Step:
    """Let a client and a server talk until the server has decided."""
    step = server.begin(client.first())
    for _ in range(10):
        match step:
            case Challenge(octets):
                step = server.respond(client.respond(octets))
            case KeysWanted(user, digest):
                known = password if user == users else "something else"
                step = server.supply(derive_keys(known, b"salt" * 4, 4096, digest))
            case PasswordGiven(user, given_password):
                step = server.decide(user == users and given_password == password)
            case TokenGiven(user, token):
                step = server.decide(user == users and token == password)
            case IdentityClaimed(user):
                step = server.decide(user == users)
            case _:
                break
    return step


@pytest.mark.parametrize("offered", [[name] for name in PASSWORD_MECHANISMS] + [list(PASSWORD_MECHANISMS)])
def test_client_against_server(offered: list[str]) -> None:
    """With each mechanism the right password is accepted, for a name and password beyond ASCII, and the wrong not."""
    for password, expected in (("gehéim", Authenticated), ("wrong", Rejected)):
        client = client_exchange(offered, user="åda", password=password, nonce=b"n" * 18,
                                 bindings=BINDINGS, protected=True)  # fmt: skip
        server = server_exchange(client.mechanism, nonce=b"s" * 18, bindings=BINDINGS, offered=offered)
        step = meet(client, server)
        assert isinstance(step, expected)
        if isinstance(step, Authenticated):
            client.finish()
            assert step.user == "åda"


def test_an_unknown_user_is_asked_for_a_proof_all_the_same() -> None:
    """Who is not there is not told apart by the messages."""
    client = client_exchange(
        ["SCRAM-SHA-256"], user="nobody", password="x", nonce=b"n" * 18, bindings={}, protected=False
    )
    server = server_exchange("SCRAM-SHA-256", nonce=b"s" * 18, bindings={}, offered=["SCRAM-SHA-256"])
    assert meet(client, server) == Rejected("the proof is wrong", "nobody")


def test_a_channel_binding_to_another_channel_fails() -> None:
    """RFC 5802 section 6: somebody between has another certificate."""
    client = client_exchange(["SCRAM-SHA-256-PLUS"], user="åda", password="gehéim", nonce=b"n" * 18,
                             bindings={"tls-server-end-point": (b"\x03" * 32,)}, protected=True)  # fmt: skip
    server = server_exchange("SCRAM-SHA-256-PLUS", nonce=b"s" * 18, bindings=BINDINGS, offered=PASSWORD_MECHANISMS)
    step = meet(client, server)
    assert isinstance(step, Rejected)
    assert "channel binding" in step.reason


def test_a_downgrade_is_noticed() -> None:
    """A client that could bind but was shown no -PLUS says "y", and a server that offered it refuses."""
    client = client_exchange(["SCRAM-SHA-256"], user="åda", password="gehéim", nonce=b"n" * 18,
                             bindings=BINDINGS, protected=True)  # fmt: skip
    server = server_exchange("SCRAM-SHA-256", nonce=b"s" * 18, bindings=BINDINGS, offered=PASSWORD_MECHANISMS)
    assert isinstance(meet(client, server), Rejected)


def test_a_server_that_does_not_know_the_password_is_found_out() -> None:
    """The client checks the server's proof, and does not go on where there was none."""
    client = ScramClient("SCRAM-SHA-256", user="a", password="b", nonce="abc")
    client.respond(b"r=abcdef,s=c2FsdA==,i=4096")
    with pytest.raises(NotAuthentic):
        client.finish()
    with pytest.raises(NotAuthentic):
        client.respond(b"v=AAAA")


@pytest.mark.parametrize(
    ("challenge", "error"),
    [
        (b"r=xyz,s=c2FsdA==,i=4096", NotAuthentic),
        (b"r=abc,s=c2FsdA==,i=4096", NotAuthentic),
        (b"r=abcdef,s=c2FsdA==,i=1", PeerFault),
        (b"r=abcdef,s=c2FsdA==,i=9999999", PeerFault),
        (b"r=abcdef,s=c2F,i=4096", PeerFault),
        (b"m=x,r=abcdef,s=c2FsdA==,i=4096", PeerFault),
        (b"", PeerFault),
    ],
)
def test_hostile_servers(challenge: bytes, error: type[Exception]) -> None:
    """Nonces that are not ours and absurd iterations are refused before any work is done."""
    with pytest.raises(error):
        ScramClient("SCRAM-SHA-256", user="a", password="b", nonce="abc").respond(challenge)


def test_no_password_in_the_clear() -> None:
    """PLAIN and LOGIN are for protected connections."""
    with pytest.raises(PeerFault, match="safe"):
        client_exchange(["PLAIN", "LOGIN"], user="a", password="b", nonce=b"n" * 18, bindings={}, protected=False)
    assert offered_mechanisms(["SCRAM-SHA-256-PLUS", "PLAIN"], {}) == ("PLAIN",)


def test_tokens() -> None:
    """OAUTHBEARER and XOAUTH2: accepted, or explained once and then failed (RFC 7628 section 3.2.3)."""
    for mechanism in ("OAUTHBEARER", "XOAUTH2"):
        for token, expected in (("gehéim", Authenticated), ("stale", Rejected)):
            server = server_exchange(mechanism, nonce=b"", bindings={}, offered=[mechanism])
            assert isinstance(meet(token_exchange([mechanism], user="åda", token=token), server), expected)
    step = server_exchange("OAUTHBEARER", nonce=b"", bindings={}, offered=[]).begin(
        b"n,a=user@example.com,\1host=server.example.com\1port=143\1auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\1\1"
    )
    assert step == TokenGiven("user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==")


def test_external() -> None:
    """EXTERNAL asks whether the certificate lets the client act so."""
    server = server_exchange("EXTERNAL", nonce=b"", bindings={}, offered=["EXTERNAL"])
    assert server.begin(None) == Challenge(b"")
    assert server.respond(b"") == IdentityClaimed("")
    assert server.decide(True) == Authenticated("")


def test_saslprep() -> None:
    """RFC 4013 section 3."""
    assert [saslprep(text) for text in ("I\u00adX", "user", "USER", "\u00aa", "\u2168")] == [
        "IX",
        "user",
        "USER",
        "a",
        "IX",
    ]
    for text in ("\u0007", "\u06271"):
        with pytest.raises(Malformed):
            saslprep(text)


_RESPONSES = st.one_of(st.binary(max_size=40), st.just(b"n,,n=a,r=b"), st.just(b"\0a\0b"))


@given(
    st.sampled_from([*PASSWORD_MECHANISMS, "EXTERNAL", "OAUTHBEARER", "XOAUTH2"]),
    st.lists(_RESPONSES, min_size=1, max_size=4),
)
def test_random_responses_are_rejected_without_an_error(mechanism: str, responses: list[bytes]) -> None:
    """Nobody is authenticated by garbage, and nothing but a Step comes out."""
    server = server_exchange(mechanism, nonce=b"s" * 18, bindings=BINDINGS, offered=[mechanism])
    step = server.begin(None)
    for response in responses:
        match step:
            case Challenge():
                step = server.respond(response)
            case KeysWanted(_, digest):
                step = server.supply(derive_keys("x", b"salt", 4096, digest))
            case PasswordGiven() | TokenGiven() | IdentityClaimed():
                step = server.decide(False)
            case _:
                break
    assert not isinstance(step, Authenticated)
