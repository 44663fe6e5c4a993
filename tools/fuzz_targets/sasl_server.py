"""Every SASL mechanism of the server, fed responses parted by line ends: steps, and nobody authenticated by garbage."""

from __future__ import annotations

from letterlock.protocols.sasl.mechanism import PASSWORD_MECHANISMS, server_exchange
from letterlock.protocols.sasl.step import (
    Authenticated,
    Challenge,
    IdentityClaimed,
    KeysWanted,
    PasswordGiven,
    ScramKeys,
    TokenGiven,
)

SEEDS = (
    b"\0a\0b",
    b"n,,n=a,r=b\nc=biws,r=bx,p=AAAA",
    b"a\nb",
    b"n,a=u,\1auth=Bearer x\1\1\n",
    b"p=tls-unique,,n=a,r=b",
)
_MECHANISMS = (*PASSWORD_MECHANISMS, "EXTERNAL", "OAUTHBEARER", "XOAUTH2")
_KEYS = ScramKeys(b"salt", 4096, b"k" * 32, b"s" * 32)


def fuzz(octets: bytes) -> None:
    """The first octet chooses the mechanism."""
    if not octets:
        return
    mechanism = _MECHANISMS[octets[0] % len(_MECHANISMS)]
    exchange = server_exchange(
        mechanism, nonce=b"n" * 18, bindings={"tls-unique": (b"u",)}, offered=PASSWORD_MECHANISMS
    )
    responses = octets[1:].split(b"\n")
    step = exchange.begin(None)
    while True:
        match step:
            case Challenge():
                if not responses:
                    return
                step = exchange.respond(responses.pop(0))
            case KeysWanted():
                step = exchange.supply(_KEYS)
            case PasswordGiven() | TokenGiven() | IdentityClaimed():
                step = exchange.decide(False)
            case _:
                break
    assert not isinstance(step, Authenticated)
