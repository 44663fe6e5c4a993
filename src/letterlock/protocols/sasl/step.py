"""What a server's SASL exchange says after each step, as values.

Standards: RFC 4422 section 3 (the exchange).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """What a server keeps of a password for SCRAM (RFC 5802 section 3); it suffices to check, not to log in."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes


@dataclass(frozen=True, slots=True)
class Challenge:
    """Send this to the client and give its answer to `respond`."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class PasswordGiven:
    """Check the password of `user` and say the result with `decide`."""

    user: str
    password: str


@dataclass(frozen=True, slots=True)
class KeysWanted:
    """Look up the keys of `user` for this digest ("sha256", "sha1") and give them to `supply`.

    For a user who is not there give false ones, the same each time, that nothing fits (RFC 5802 section 9).
    """

    user: str
    digest: str


@dataclass(frozen=True, slots=True)
class TokenGiven:
    """Check this bearer token, for `user` if not empty, and say the result with `decide` (RFC 7628)."""

    user: str
    token: str


@dataclass(frozen=True, slots=True)
class IdentityClaimed:
    """Check that what lies below (a client certificate) lets the client act as `user`, empty for whoever it is."""

    user: str


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The client has proved to be `user`, and asks to act as `authorization` where that is not empty."""

    user: str
    authorization: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The exchange failed. `reason` is for the log; the client learns no more than that it failed."""

    reason: str
    user: str = ""


Step = Challenge | PasswordGiven | KeysWanted | TokenGiven | IdentityClaimed | Authenticated | Rejected
