"""Signatures of authorities, each checked once: over certificates, revocation lists and OCSP answers.

A mail server sees the same authorities in every message. That a signature holds does not depend on the time, on what
is trusted or on what else is at hand, so it is remembered; dates, revocation and rules are looked at anew each time.
Signatures that do not hold are not remembered.

Limits: 4,096 signatures, each with its key and the digest of what it covers; the one not seen for longest goes first.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from letterlock.formats.x509.algorithm import PublicKeyInfo
from letterlock.trust.primitives import signatures
from letterlock.trust.primitives.signatures import Scheme

MAX_REMEMBERED = 4096
_held: OrderedDict[tuple[bytes, Scheme, bytes, bytes], None] = OrderedDict()


def verify(key: PublicKeyInfo, scheme: Scheme, signature: bytes, octets: bytes) -> None:
    """Check an authority's `signature` over `octets`; NotAuthentic if it does not hold, Malformed for no usable key."""
    what = (key.encoded, scheme, signature, hashlib.sha256(octets).digest())
    try:
        _held.move_to_end(what)
    except KeyError:
        signatures.verify(key, scheme, signature, octets)
        _held[what] = None
        if len(_held) > MAX_REMEMBERED:
            _held.popitem(last=False)


def forget() -> None:
    """Begin with an empty memory again."""
    _held.clear()
