"""SCRAM-SHA-1 and SCRAM-SHA-256, with and without channel binding: server, client, and the keys.

Server:  exchange = ScramServer(...); exchange.respond(client_first) -> KeysWanted; exchange.supply(keys) -> Challenge;
         exchange.respond(client_final) -> Challenge with the server's proof; exchange.respond(b"") -> Authenticated.
Client:  exchange = ScramClient(...); exchange.first() ; exchange.respond(challenge) twice ; exchange.finish().

Standards: RFC 5802, RFC 7677 (SHA-256), RFC 5929 and RFC 9266 (bindings).
Limits: between 4,096 and 1,000,000 iterations are accepted from a server.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping

from letterlock.errors import Malformed, NotAuthentic, OurFault, PeerFault
from letterlock.protocols.sasl.saslprep import saslprep
from letterlock.protocols.sasl.step import Authenticated, Challenge, KeysWanted, Rejected, ScramKeys, Step

DIGESTS = {
    "SCRAM-SHA-256": "sha256",
    "SCRAM-SHA-256-PLUS": "sha256",
    "SCRAM-SHA-1": "sha1",
    "SCRAM-SHA-1-PLUS": "sha1",
}
_GS2 = re.compile(r"(?:(n|y)|p=([A-Za-z0-9.-]+)),(?:a=([^,]+))?,")
_NAME = re.compile(r"(?:[^,=]|=2C|=3D)+")
_FEWEST_ITERATIONS, _MOST_ITERATIONS = 4096, 1_000_000

Bindings = Mapping[str, tuple[bytes, ...]]


def derive_keys(password: str, salt: bytes, iterations: int, digest: str) -> ScramKeys:
    """Return the keys of a password. It takes as long as the iterations do: not on an event loop."""
    salted = hashlib.pbkdf2_hmac(digest, saslprep(password).encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", digest)
    return ScramKeys(
        salt, iterations, hashlib.new(digest, client_key).digest(), hmac.digest(salted, b"Server Key", digest)
    )


class ScramServer:
    """One exchange. `bindings` are those of the connection; `offers_plus` whether a -PLUS mechanism was offered."""

    def __init__(self, mechanism: str, *, nonce: str, bindings: Bindings, offers_plus: bool) -> None:
        self._digest = DIGESTS[mechanism]
        self._plus = mechanism.endswith("-PLUS")
        self._offers_plus = offers_plus
        self._bindings = bindings
        self._nonce = nonce
        self._gs2 = ""
        self._binding_type = ""
        self._user = self._authorization = self._first_bare = self._server_first = ""
        self._keys: ScramKeys | None = None
        self._proved = False

    def begin(self, initial: bytes | None) -> Step:
        """Take the initial response, or ask for it."""
        return Challenge(b"") if initial is None else self.respond(initial)

    def respond(self, response: bytes) -> Step:
        """Take the client's next message."""
        if self._proved:
            return Authenticated(self._user, self._authorization)
        try:
            text = response.decode()
            return self._first(text) if self._keys is None else self._final(text)
        except (Malformed, UnicodeDecodeError, binascii.Error, ValueError) as error:
            return Rejected(f"a SCRAM message is not understood: {error}", self._user)

    def supply(self, keys: ScramKeys) -> Step:
        """Take the user's keys; return the server's first message."""
        self._keys = keys
        salt = base64.b64encode(keys.salt).decode()
        self._server_first = f"r={self._nonce},s={salt},i={keys.iterations}"
        return Challenge(self._server_first.encode())

    def decide(self, accepted: bool) -> Step:
        """Not asked of SCRAM, which decides itself."""
        raise OurFault("SCRAM decides by its own proof")

    def _first(self, text: str) -> Step:
        header = _GS2.match(text)
        if header is None:
            return Rejected("no GS2 header")
        self._gs2, self._first_bare = header[0], text[header.end() :]
        self._binding_type = header[2] or ""
        if self._plus and self._binding_type not in self._bindings:
            return Rejected(f"channel binding {self._binding_type or 'none'} is not known here")
        if not self._plus and self._binding_type:
            return Rejected("a channel binding without -PLUS")
        if header[1] == "y" and self._offers_plus:
            # RFC 5802 section 6: somebody between took the -PLUS mechanisms out of our offer.
            return Rejected("the client believes that channel binding is not offered: a downgrade")
        attributes = self._first_bare.split(",")
        if len(attributes) < 2 or not attributes[0].startswith("n=") or not attributes[1].startswith("r="):
            return Rejected("no user name and nonce")
        client_nonce = attributes[1][2:]
        if not 1 <= len(client_nonce) <= 512 or not client_nonce.isascii() or not client_nonce.isprintable():
            return Rejected("no nonce")
        self._user = saslprep(_decode_name(attributes[0][2:]))
        self._authorization = saslprep(_decode_name(header[3])) if header[3] else ""
        self._nonce = client_nonce + self._nonce
        return KeysWanted(self._user, self._digest)

    def _final(self, text: str) -> Step:
        assert self._keys is not None
        without_proof, _, proof_text = text.rpartition(",p=")
        attributes = without_proof.split(",")
        if len(attributes) < 2 or attributes[0][:2] != "c=" or attributes[1] != f"r={self._nonce}":
            return Rejected("the nonce is not ours", self._user)
        binding = base64.b64decode(attributes[0][2:], validate=True)
        values = self._bindings.get(self._binding_type, ()) if self._plus else (b"",)
        if not any(hmac.compare_digest(binding, self._gs2.encode() + value) for value in values):
            return Rejected("the channel binding does not fit: somebody stands between", self._user)
        message = f"{self._first_bare},{self._server_first},{without_proof}".encode()
        proof = base64.b64decode(proof_text, validate=True)
        signature = hmac.digest(self._keys.stored_key, message, self._digest)
        if len(proof) != len(signature):
            return Rejected("the proof is of the wrong length", self._user)
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        if not hmac.compare_digest(hashlib.new(self._digest, client_key).digest(), self._keys.stored_key):
            return Rejected("the proof is wrong", self._user)
        self._proved = True
        verifier = hmac.digest(self._keys.server_key, message, self._digest)
        return Challenge(b"v=" + base64.b64encode(verifier))


class ScramClient:
    """One exchange. `binding` is (type, octets) for -PLUS; `could_bind` says that we could but were not offered it."""

    def __init__(
        self,
        mechanism: str,
        *,
        user: str,
        password: str,
        nonce: str,
        binding: tuple[str, bytes] | None = None,
        could_bind: bool = False,
        authorization: str = "",
    ) -> None:
        self.mechanism = mechanism
        self._digest = DIGESTS[mechanism]
        if mechanism.endswith("-PLUS") != (binding is not None):
            raise OurFault("a -PLUS mechanism and a channel binding go together")
        flag = f"p={binding[0]}" if binding is not None else "y" if could_bind else "n"
        self._gs2 = f"{flag},{'a=' + _encode_name(saslprep(authorization)) if authorization else ''},"
        self._binding = binding[1] if binding is not None else b""
        self._nonce = nonce
        self._password = password
        self._first_bare = f"n={_encode_name(saslprep(user))},r={nonce}"
        self._verifier: bytes | None = None
        self._finished = False

    def first(self) -> bytes:
        """Return the initial response."""
        return (self._gs2 + self._first_bare).encode()

    def respond(self, challenge: bytes) -> bytes:
        """Return the answer to a challenge. Raises PeerFault, and NotAuthentic where the server's proof is wrong."""
        if self._verifier is None:
            return self._final(challenge)
        if not hmac.compare_digest(challenge, b"v=" + base64.b64encode(self._verifier)):
            raise NotAuthentic("the server does not know the password: it is not who it should be")
        self._finished = True
        return b""

    def finish(self) -> None:
        """To be called when the server says that all is well. Raises NotAuthentic if it has not proved itself."""
        if not self._finished:
            raise NotAuthentic("the server accepted the password without proving that it knows it")

    def _final(self, challenge: bytes) -> bytes:
        match = re.fullmatch(rb"r=([!-+\--~]+),s=([A-Za-z0-9+/=]+),i=([0-9]{1,7})(?:,.*)?", challenge)
        if match is None:
            raise PeerFault("the server's SCRAM message is not understood")
        nonce, iterations = match[1].decode(), int(match[3])
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise NotAuthentic("the server's nonce does not begin with ours")
        if not _FEWEST_ITERATIONS <= iterations <= _MOST_ITERATIONS:
            raise PeerFault(f"the server asks for {iterations} iterations: too few to be safe, or too many to be meant")
        try:
            salt = base64.b64decode(match[2], validate=True)
        except binascii.Error:
            raise PeerFault("the server's salt is no base64") from None
        salted = hashlib.pbkdf2_hmac(self._digest, saslprep(self._password).encode(), salt, iterations)
        client_key = hmac.digest(salted, b"Client Key", self._digest)
        bound = base64.b64encode(self._gs2.encode() + self._binding).decode()
        without_proof = f"c={bound},r={nonce}"
        message = f"{self._first_bare},{challenge.decode()},{without_proof}".encode()
        signature = hmac.digest(hashlib.new(self._digest, client_key).digest(), message, self._digest)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self._verifier = hmac.digest(hmac.digest(salted, b"Server Key", self._digest), message, self._digest)
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()


def _decode_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise Malformed("a SCRAM name", clause="RFC 5802 section 5.1")
    return text.replace("=2C", ",").replace("=3D", "=")


def _encode_name(text: str) -> str:
    return text.replace("=", "=3D").replace(",", "=2C")
