"""The sender rewriting scheme: a reverse path of our own for mail we forward, that leads a bounce back.

SPF judges the reverse path by the host that sends; forwarded mail with its first sender's path fails. So a foreign
reverse path becomes `SRS0=hash=day=domain=local@ours`; one that another forwarder rewrote becomes
`SRS1=hash=that-forwarder==rest@ours`, so that the way back never has more than two stations. The hash, keyed with a
secret of ours, keeps anybody from using us to send anywhere; the day lets an address die.

Standards: none; as described by Meng Weng Wong and Shevek, "The Sender Rewriting Scheme" (2004), and used by all who forward.
Limits: a rewritten address works for 21 days; one that would be longer than 64 octets before the @ is left as it is.
"""

from __future__ import annotations

import base64
import hmac
import re
from dataclasses import dataclass

from letterlock.formats.address import Address
from letterlock.store.interface import Instant

_DAY_SECONDS = 86_400
_LIFE_DAYS = 21
_DAYS = 1024  # two base32 digits
_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_LONGEST_LOCAL_PART = 64
_HASH_LENGTH = 6
_SRS0 = re.compile(r"SRS0[=+-]([^=]+)=([A-Z2-7]{2})=([^=]+)=(.+)", re.IGNORECASE)
_SRS1 = re.compile(r"SRS1[=+-]([^=]+)=([^=]+)=(=.+|[+-].+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SenderRewriting:
    """Rewrites with a secret `key` to addresses of `domain`."""

    key: bytes
    domain: str

    def outward(self, reverse_path: Address, now: Instant) -> Address:
        """Return the reverse path to forward mail with."""
        local = reverse_path.local_part
        if again := _SRS1.fullmatch(local):
            first, rest = again[2], again[3]
            local = f"SRS1={self._hash(first, rest)}={first}={rest}"
        elif _SRS0.fullmatch(local):
            first, rest = reverse_path.domain, local[4:]
            local = f"SRS1={self._hash(first, rest)}={first}={rest}"
        else:
            day = _day(now)
            local = f"SRS0={self._hash(day, reverse_path.domain, local)}={day}={reverse_path.domain}={local}"
        return reverse_path if len(local.encode()) > _LONGEST_LOCAL_PART else Address(local, self.domain)

    def back(self, address: Address, now: Instant) -> Address | None:
        """Return whom an address of ours that `outward` made leads back to; None if it did not, or is too old."""
        if match := _SRS0.fullmatch(address.local_part):
            given, day, domain, local = match.groups()
            if self._is(given, day.upper(), domain, local) and _is_young(day.upper(), now):
                return Address(local, domain.lower())
        elif match := _SRS1.fullmatch(address.local_part):
            given, first, rest = match.groups()
            if self._is(given, first, rest):
                return Address("SRS0" + rest, first.lower())
        return None

    def _hash(self, *parts: str) -> str:
        # Case does not survive everywhere, so it does not count.
        octets = hmac.digest(self.key, "\0".join(parts).lower().encode(), "sha256")
        return base64.b32encode(octets).decode()[:_HASH_LENGTH]

    def _is(self, given: str, *parts: str) -> bool:
        return hmac.compare_digest(given.upper().encode(), self._hash(*parts).encode())


def is_rewritten(address: Address) -> bool:
    """Tell whether an address has the form of a rewritten one."""
    return bool(_SRS0.fullmatch(address.local_part) or _SRS1.fullmatch(address.local_part))


def _day(now: Instant) -> str:
    day = int(now // _DAY_SECONDS) % _DAYS
    return _DIGITS[day >> 5] + _DIGITS[day & 31]


def _is_young(day: str, now: Instant) -> bool:
    then = _DIGITS.index(day[0]) << 5 | _DIGITS.index(day[1])
    return (int(now // _DAY_SECONDS) - then) % _DAYS <= _LIFE_DAYS
