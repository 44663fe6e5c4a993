"""What a decision about certificates asks of the web, and what it is answered: lists, OCSP answers, issuers' certificates.

    retrieved = yield from budget.ask(Retrieval(Kind.LIST, "http://ca.example/ca.crl"))

A decision yields a tuple of `Retrieval` and is sent a tuple of `Retrieved` in the same order; host/retrieve.py answers them.
http and https are asked; what comes is signed either way. LDAP is not: who publishes lists there publishes them over http, too,
where others are to read them.

Standards: RFC 5280 sections 4.2.1.13 and 4.2.2.1, RFC 6960 appendix A.1 (OCSP over HTTP), RFC 5019 (OCSP that can be kept).
Limits: 16 retrievals a message; a list of 4 MiB (130,000 entries: half a second to read, and 36 MB), an OCSP answer of
1 MiB, issuers' certificates of 256 KiB.
"""

from __future__ import annotations

import base64
import datetime
import enum
import functools
from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote

from letterlock.errors import Malformed
from letterlock.formats.asn1 import oids
from letterlock.formats.cms import content
from letterlock.formats.cms.signed import SignedData
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.crl import RevocationList
from letterlock.formats.x509.ocsp import MAX_RESPONSE_OCTETS, OcspResponse

T = TypeVar("T")
MOST_RETRIEVALS = 16
MOST_CERTIFICATES = 16
_LONGEST_GET = 255  # RFC 5019 section 5
_KEPT_AT_MOST = datetime.timedelta(days=1)
_KEPT_WITHOUT_TERM = datetime.timedelta(hours=1)


class Kind(enum.Enum):
    """What lies there, and how many octets it may have."""

    LIST = 4 << 20
    OCSP = MAX_RESPONSE_OCTETS
    ISSUERS = 256 << 10


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What is wanted: what lies at `uri`; with a `request`, the answer to it posted there, which may be kept or not."""

    kind: Kind
    uri: str
    request: bytes = b""
    is_kept: bool = True


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The octets, or None with the reason. Nobody has looked yet whether they are what they should be."""

    octets: bytes | None
    problem: str = ""


Search = Generator[tuple[Retrieval, ...], tuple[Retrieved, ...], T]


class Budget:
    """How much more may be asked for."""

    def __init__(self, most: int = MOST_RETRIEVALS) -> None:
        self._left = most

    def ask(self, wanted: Retrieval) -> Search[Retrieved]:
        """Ask, if there may be any more asking."""
        if self._left <= 0:
            return Retrieved(None, "so much was asked already")
        self._left -= 1
        (found,) = yield (wanted,)
        return found


def ocsp_retrievals(uri: str, request: bytes, *, fresh: bool) -> tuple[Retrieval, ...]:
    """Return how a responder is asked, one way after the other: by GET, which can be kept, if that is short, and by POST.

    With `fresh`, the answer is to be made for this question and GET serves nothing.
    """
    posted = Retrieval(Kind.OCSP, uri, request, not fresh)
    got = f"{uri.removesuffix('/')}/{quote(base64.b64encode(request), safe='')}"
    return (posted,) if fresh or len(got) > _LONGEST_GET else (Retrieval(Kind.OCSP, got), posted)


def read_ocsp(octets: bytes) -> OcspResponse:
    """Read an OCSP answer. Raises Malformed."""
    return _ocsp(octets)


def read_list(octets: bytes) -> RevocationList:
    """Read a revocation list in DER. Raises Malformed."""
    return (_list if len(octets) <= _LARGE_LIST_OCTETS else _large_list)(octets)


# The same ones are read for every message of an authority's people. A list that was read takes ten times its octets, and who
# stands on the way may send any: few large ones are kept.
_LARGE_LIST_OCTETS = 128 << 10
_ocsp = functools.lru_cache(maxsize=64)(OcspResponse.parse)
_list = functools.lru_cache(maxsize=32)(RevocationList.parse)
_large_list = functools.lru_cache(maxsize=2)(RevocationList.parse)


def read_issuers(octets: bytes) -> tuple[Certificate, ...]:
    """Read one certificate in DER, or a certs-only message (RFC 5280 section 4.2.2.1). Raises Malformed."""
    try:
        return (Certificate.parse(octets),)
    except Malformed as fault:
        content_type, element = content.parse(octets)
        if content_type != oids.SIGNED_DATA:
            raise fault from None
        found = SignedData.parse(element).certificates[:MOST_CERTIFICATES]
        return tuple(Certificate.parse(each) for each in found)


def useful_until(wanted: Retrieval, octets: bytes, when: datetime.datetime) -> datetime.datetime:
    """Return until when an answer may be kept and used again: never longer than it says itself. Raises Malformed."""
    match wanted.kind:
        case Kind.LIST:
            term = read_list(octets).next_update
        case Kind.OCSP:
            terms = [each.next_update for each in read_ocsp(octets).responses if each.next_update is not None]
            term = min(terms, default=None)
        case Kind.ISSUERS:
            read_issuers(octets)
            term = when + _KEPT_AT_MOST
    latest = when + (_KEPT_AT_MOST if term is not None else _KEPT_WITHOUT_TERM)
    return latest if term is None else min(term, latest)
