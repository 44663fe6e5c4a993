"""Transaction signatures: a message and its answer authenticated with a shared secret.

Standards: RFC 8945 sections 4 (record, MAC), 5.2 (checks in their order) and 5.3.1 (answers of several messages).
Limits: HMAC-SHA-256, -384 and -512, untruncated; SHA-1 and MD5 are not accepted.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from letterlock.errors import Malformed
from letterlock.formats.dns import name as names
from letterlock.formats.dns import types
from letterlock.formats.dns.message import Message
from letterlock.formats.dns.types import Rcode

TSIG = types.NUMBERS["TSIG"]
_ALGORITHMS = {
    names.to_wire("hmac-sha256"): "sha256",
    names.to_wire("hmac-sha384"): "sha384",
    names.to_wire("hmac-sha512"): "sha512",
}
_FUDGE = 300
_BADSIG = 16


class TsigFault(Exception):  # it becomes a response, not an error to show
    """A signature that cannot be accepted; `error` goes into the answer's TSIG record."""

    def __init__(self, problem: str, error: int) -> None:
        self.error = error
        super().__init__(problem)


@dataclass(frozen=True, slots=True)
class TsigKey:
    """A shared secret by its name; name and algorithm in wire form."""

    name: bytes
    secret: bytes
    algorithm: bytes = names.to_wire("hmac-sha256")

    @classmethod
    def parse(cls, text: str) -> TsigKey:
        """Read "[algorithm:]name:secret", the secret in base64; raises Malformed."""
        algorithm, _, rest = text.rpartition(":")[0].rpartition(":")
        secret = text.rpartition(":")[2]
        chosen = names.to_wire(algorithm or "hmac-sha256")
        if chosen not in _ALGORITHMS or not rest:
            raise Malformed("a key is written [hmac-sha256:]name:base64", clause="RFC 8945 section 6")
        try:
            return cls(names.to_wire(rest), base64.b64decode(secret, validate=True), chosen)
        except binascii.Error:
            raise Malformed("the secret of a key is not base64", clause="RFC 8945 section 6") from None


@dataclass(frozen=True, slots=True)
class Signed:
    """What a good signature showed: the key and the MAC, which the answer's signature covers."""

    key: TsigKey
    mac: bytes


def sign(octets: bytes, key: TsigKey, now: int, *, previous: bytes = b"", later: bool = False) -> tuple[bytes, bytes]:
    """Return a message with its TSIG record, and the MAC.

    `previous` is the MAC of the request or, for a `later` message of a long answer, of the message before.
    """
    timers = struct.pack(">HIH", now >> 32, now & 0xFFFFFFFF, _FUDGE)
    variables = timers if later else _variables(key.name, key.algorithm, timers, 0, b"")
    mac = _mac(key, previous, octets, variables)
    return _with_record(octets, key.name, key.algorithm, timers, mac, 0, b""), mac


def refuse(octets: bytes, query: Message, fault: TsigFault, now: int) -> bytes:
    """Return a response with an unsigned TSIG record that says what was wrong (RFC 8945 section 5.3.2)."""
    record = query.additional[-1]
    algorithm, after = names.read(record.rdata, 0)
    timers = record.rdata[after : after + 8]
    other = struct.pack(">HI", now >> 32, now & 0xFFFFFFFF) if fault.error == Rcode.BADTIME else b""
    return _with_record(octets, record.owner, algorithm, timers, b"", fault.error, other)


def is_signed(message: Message) -> bool:
    """Tell whether a message ends with a TSIG record."""
    return bool(message.additional) and message.additional[-1].type == TSIG


def verify(
    octets: bytes,
    message: Message,
    keys: Mapping[bytes, TsigKey],
    now: int,
    *,
    previous: bytes = b"",
    later: bool = False,
) -> Signed:
    """Check the TSIG record that a message ends with; raises TsigFault, Malformed."""
    record = message.additional[-1]
    algorithm, after = names.read(record.rdata, 0)
    rest = record.rdata[after:]
    if len(rest) < 10 or len(rest) < 16 + int.from_bytes(rest[8:10], "big"):
        raise Malformed("TSIG data that ends early", clause="RFC 8945 section 4.2")
    size = int.from_bytes(rest[8:10], "big")
    timers, mac = rest[:8], rest[10 : 10 + size]
    original_id, error, other_length = struct.unpack_from(">HHH", rest, 10 + size)
    other = rest[16 + size : 16 + size + other_length]
    key = keys.get(record.owner)
    if key is None or key.algorithm != algorithm:
        raise TsigFault("the key is unknown", Rcode.BADKEY)
    bare = _without_record(octets, message.last_record_at, original_id)
    variables = timers if later else _variables(record.owner, algorithm, timers, error, other)
    if not hmac.compare_digest(mac, _mac(key, previous, bare, variables)):
        raise TsigFault("the signature does not fit", _BADSIG)
    signed_at = int.from_bytes(timers[:6], "big")
    if abs(now - signed_at) > int.from_bytes(timers[6:], "big"):
        raise TsigFault("the clocks differ too much", Rcode.BADTIME)
    return Signed(key, mac)


def _mac(key: TsigKey, previous: bytes, octets: bytes, variables: bytes) -> bytes:
    prefix = len(previous).to_bytes(2, "big") + previous if previous else b""
    return hmac.digest(key.secret, prefix + octets + variables, _ALGORITHMS[key.algorithm])


def _variables(name: bytes, algorithm: bytes, timers: bytes, error: int, other: bytes) -> bytes:
    head = name + struct.pack(">HI", types.ANY_CLASS, 0) + algorithm
    return head + timers + struct.pack(">HH", error, len(other)) + other


def _with_record(
    octets: bytes, name: bytes, algorithm: bytes, timers: bytes, mac: bytes, error: int, other: bytes
) -> bytes:
    tail = struct.pack(">HHH", int.from_bytes(octets[:2], "big"), error, len(other)) + other
    rdata = algorithm + timers + len(mac).to_bytes(2, "big") + mac + tail
    record = name + struct.pack(">HHIH", TSIG, types.ANY_CLASS, 0, len(rdata)) + rdata
    count = int.from_bytes(octets[10:12], "big") + 1
    return octets[:10] + count.to_bytes(2, "big") + octets[12:] + record


def _without_record(octets: bytes, place: int, original_id: int) -> bytes:
    count = int.from_bytes(octets[10:12], "big") - 1
    return original_id.to_bytes(2, "big") + octets[2:10] + count.to_bytes(2, "big") + octets[12:place]
