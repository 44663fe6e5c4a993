"""The mechanisms without a proof: PLAIN, LOGIN, EXTERNAL, OAUTHBEARER and XOAUTH2, server side and client side.

Standards: RFC 4616 (PLAIN), RFC 4422 appendix A (EXTERNAL), RFC 7628 (OAUTHBEARER). LOGIN and XOAUTH2 have no standard;
old clients and two large providers use them.
"""

from __future__ import annotations

import json
import re

from letterlock.errors import Malformed, OurFault
from letterlock.protocols.sasl.saslprep import saslprep
from letterlock.protocols.sasl.step import (
    Authenticated,
    Challenge,
    IdentityClaimed,
    PasswordGiven,
    Rejected,
    ScramKeys,
    Step,
    TokenGiven,
)


class _Server:
    """What the exchanges of this module share: one decision by the caller ends them."""

    def __init__(self) -> None:
        self._user = ""
        self._authorization = ""

    def begin(self, initial: bytes | None) -> Step:
        """Take the initial response, or ask for it."""
        return Challenge(b"") if initial is None else self.respond(initial)

    def respond(self, response: bytes) -> Step:
        """Take the client's next message."""
        try:
            return self._understand(response.decode())
        except (Malformed, UnicodeDecodeError) as error:
            return Rejected(f"the response is not understood: {error}", self._user)

    def supply(self, keys: ScramKeys) -> Step:
        """Not asked of these mechanisms."""
        raise OurFault("only SCRAM asks for keys")

    def decide(self, accepted: bool) -> Step:
        """Take the caller's decision on what was given."""
        if accepted:
            return Authenticated(self._user, self._authorization)
        return Rejected("the credentials are not accepted", self._user)

    def _understand(self, text: str) -> Step:
        raise NotImplementedError


class PlainServer(_Server):
    """PLAIN: authorization, user and password, parted by NUL (RFC 4616 section 2)."""

    def _understand(self, text: str) -> Step:
        parts = text.split("\0")
        if len(parts) != 3 or not parts[1] or not parts[2]:
            return Rejected("no user and password stand in the response")
        self._authorization, self._user = parts[0] and saslprep(parts[0]), saslprep(parts[1])
        return PasswordGiven(self._user, saslprep(parts[2]))


class LoginServer(_Server):
    """LOGIN: a user name, then a password, each on request."""

    def begin(self, initial: bytes | None) -> Step:
        """Ask for the user name unless it is there."""
        return Challenge(b"Username:") if initial is None else self.respond(initial)

    def _understand(self, text: str) -> Step:
        if not text:
            return Rejected("an empty response", self._user)
        if not self._user:
            self._user = saslprep(text)
            return Challenge(b"Password:")
        return PasswordGiven(self._user, saslprep(text))


class ExternalServer(_Server):
    """EXTERNAL: what lies below, a client certificate, says who it is."""

    def _understand(self, text: str) -> Step:
        self._user = saslprep(text)
        return IdentityClaimed(self._user)


class OAuthServer(_Server):
    """OAUTHBEARER and XOAUTH2: a bearer token; a refused one is explained once before the exchange fails."""

    def __init__(self, discovery: str = "") -> None:
        super().__init__()
        self._refused = False
        told = {"status": "invalid_token"}
        if discovery:
            told["openid-configuration"] = discovery  # RFC 7628 section 3.2.2
        self._failure = json.dumps(told).encode()

    def _understand(self, text: str) -> Step:
        if self._refused:
            return Rejected("the token is not accepted", self._user)
        # XOAUTH2: user=NAME^Aauth=Bearer TOKEN^A^A; OAUTHBEARER: n,a=NAME,^A(key=value^A)*^A (RFC 7628 section 3.1)
        fields = dict(pair.partition("=")[::2] for pair in text.split("\1") if pair)
        header = re.match(r"[ny],(?:a=([^,]*))?,\1?", text.partition("\1")[0])
        user = fields.get("user", "") or (header[1] or "" if header else "").replace("=2C", ",").replace("=3D", "=")
        kind, _, token = fields.get("auth", "").partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            return self.decide(False)
        self._user = saslprep(user)
        return TokenGiven(self._user, token.strip())

    def decide(self, accepted: bool) -> Step:
        """Take the caller's decision; say what is wrong before failing (RFC 7628 section 3.2.2)."""
        if accepted:
            return super().decide(True)
        self._refused = True
        return Challenge(self._failure)


class PlainClient:
    """PLAIN, from the client's side: all is said at once."""

    mechanism = "PLAIN"

    def __init__(self, *, user: str, password: str, authorization: str = "") -> None:
        self._initial = f"{authorization}\0{user}\0{password}".encode()
        if self._initial.count(0) != 2:
            raise OurFault("a user name or password with a NUL")

    def first(self) -> bytes:
        """Return the initial response."""
        return self._initial

    def respond(self, challenge: bytes) -> bytes:
        """There is nothing more to say (b"" lets the server fail)."""
        return b""

    def finish(self) -> None:
        """The server proves nothing."""


class LoginClient:
    """LOGIN, from the client's side."""

    mechanism = "LOGIN"

    def __init__(self, *, user: str, password: str) -> None:
        self._answers = [user.encode(), password.encode()]

    def first(self) -> bytes | None:
        """Return None: LOGIN has no initial response everywhere."""
        return None

    def respond(self, challenge: bytes) -> bytes:
        """Answer the first challenge with the name, the second with the password."""
        return self._answers.pop(0) if self._answers else b""

    def finish(self) -> None:
        """The server proves nothing."""


class OAuthClient:
    """OAUTHBEARER or XOAUTH2, from the client's side."""

    def __init__(self, mechanism: str, *, user: str, token: str) -> None:
        self.mechanism = mechanism
        name = user.replace("=", "=3D").replace(",", "=2C")
        first = f"user={user}" if mechanism == "XOAUTH2" else f"n,a={name},"
        self._initial = f"{first}\1auth=Bearer {token}\1\1".encode()

    def first(self) -> bytes:
        """Return the initial response."""
        return self._initial

    def respond(self, challenge: bytes) -> bytes:
        """A challenge says what is wrong; acknowledge it, so that the server may fail (RFC 7628 section 3.2.3)."""
        return b"\1"

    def finish(self) -> None:
        """The server proves nothing."""
