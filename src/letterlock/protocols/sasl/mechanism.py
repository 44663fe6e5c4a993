"""Choosing a mechanism: the server's exchange by name, and the client's best among those offered.

Standards: RFC 4422 section 3.1 (negotiation), RFC 5802 section 6 (channel binding), RFC 7677.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from letterlock.errors import PeerFault
from letterlock.protocols.sasl.plain import (
    ExternalServer,
    LoginClient,
    LoginServer,
    OAuthClient,
    OAuthServer,
    PlainClient,
    PlainServer,
)
from letterlock.protocols.sasl.scram import DIGESTS, Bindings, ScramClient, ScramServer
from letterlock.protocols.sasl.step import ScramKeys, Step

# In the order a server offers them: the safest first.
PASSWORD_MECHANISMS = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "PLAIN", "LOGIN")
TOKEN_MECHANISMS = ("OAUTHBEARER", "XOAUTH2")
_PREFERRED_BINDINGS = ("tls-exporter", "tls-server-end-point", "tls-unique")


# Returns the user a bearer token is for. Raises NotAuthentic, and Unavailable where that cannot be told now.
JudgeToken = Callable[[str], Awaitable[str]]


class ServerExchange(Protocol):
    """A server's side of one exchange: `begin`, then whatever the step returned asks for."""

    def begin(self, initial: bytes | None) -> Step:
        """Take the initial response, None where there is none."""
        ...

    def respond(self, response: bytes) -> Step:
        """Take the answer to a Challenge."""
        ...

    def supply(self, keys: ScramKeys) -> Step:
        """Take what KeysWanted asked for."""
        ...

    def decide(self, accepted: bool) -> Step:
        """Take the decision on PasswordGiven, TokenGiven or IdentityClaimed."""
        ...


class ClientExchange(Protocol):
    """A client's side of one exchange."""

    mechanism: str

    def first(self) -> bytes | None:
        """Return the initial response, or None."""
        ...

    def respond(self, challenge: bytes) -> bytes:
        """Return the answer to a challenge."""
        ...

    def finish(self) -> None:
        """Check, when the server has said yes, that it has proved itself where the mechanism lets it."""
        ...


def server_exchange(
    mechanism: str, *, nonce: bytes, bindings: Bindings, offered: Sequence[str], discovery: str = ""
) -> ServerExchange:
    """Return an exchange for a mechanism out of `offered`; `nonce` are 18 or more octets nobody can foretell.

    `discovery` is the URL at which clients learn where tokens are to be had.
    """
    if mechanism in DIGESTS:
        plus = any(name.endswith("-PLUS") for name in offered)
        text = base64.b64encode(nonce).decode().replace("=", "")
        return ScramServer(mechanism, nonce=text, bindings=bindings, offers_plus=plus)
    match mechanism:
        case "PLAIN":
            return PlainServer()
        case "LOGIN":
            return LoginServer()
        case "EXTERNAL":
            return ExternalServer()
        case "OAUTHBEARER" | "XOAUTH2":
            return OAuthServer(discovery)
    raise PeerFault(f"mechanism {mechanism} is not known here")


def offered_mechanisms(names: Sequence[str], bindings: Bindings) -> tuple[str, ...]:
    """Return those of `names` that this connection allows: -PLUS needs a channel binding."""
    return tuple(name for name in names if bindings or not name.endswith("-PLUS"))


def client_exchange(
    offered: Sequence[str], *, user: str, password: str, nonce: bytes, bindings: Bindings, protected: bool
) -> ClientExchange:
    """Return the safest exchange for a password among `offered` (upper case); plain ones only where `protected`.

    Raises PeerFault where none will do.
    """
    text = base64.b64encode(nonce).decode().replace("=", "")
    kind = next((kind for kind in _PREFERRED_BINDINGS if bindings.get(kind)), None)
    for mechanism in PASSWORD_MECHANISMS:
        if mechanism not in offered:
            continue
        if mechanism.endswith("-PLUS"):
            if kind is not None:
                binding = (kind, bindings[kind][0])
                return ScramClient(mechanism, user=user, password=password, nonce=text, binding=binding)
        elif mechanism in DIGESTS:
            # With -PLUS offered but no binding in common, "n" is the truth; "y" would be taken for a downgrade.
            could = kind is not None and not any(name.endswith("-PLUS") for name in offered)
            return ScramClient(mechanism, user=user, password=password, nonce=text, could_bind=could)
        elif protected:
            plain = mechanism == "PLAIN"
            return PlainClient(user=user, password=password) if plain else LoginClient(user=user, password=password)
    raise PeerFault("the server offers no mechanism that is safe to use here: " + " ".join(offered))


def token_exchange(offered: Sequence[str], *, user: str, token: str) -> ClientExchange:
    """Return an exchange for a bearer token. Raises PeerFault where none is offered."""
    for mechanism in ("OAUTHBEARER", "XOAUTH2"):
        if mechanism in offered:
            return OAuthClient(mechanism, user=user, token=token)
    raise PeerFault("the server takes no bearer tokens")
