"""What the S/MIME signatures of mail from outside prove to the domain, as Authentication-Results tells it.

Nothing is decrypted and nothing is refused here: the result is told, and people's own programs judge with their own anchors.
A `Judge` says what the domain trusts, and hears what was found.

Standards: RFC 8601 section 2.7, RFC 7281 (the method smime and its properties).
"""

from __future__ import annotations

import asyncio
import datetime
from dataclasses import dataclass
from typing import Protocol

from letterlock.formats.authentication_results import MethodResult, Property
from letterlock.formats.imf.header import Header
from letterlock.formats.mime.content_type import parse_content_type
from letterlock.trust.pkix.path import Anchor
from letterlock.trust.smime.proof import Proof, Trust, prove
from letterlock.trust.smime.unwrap import Unwrapped, unwrap

_TYPES = frozenset({"multipart/signed", "application/pkcs7-mime", "application/x-pkcs7-mime"})


def may_be_signed(header: Header) -> bool:
    """Tell whether it is worth looking: the whole body may be an S/MIME entity."""
    return parse_content_type(header.text("content-type")).full in _TYPES


@dataclass(frozen=True, slots=True)
class SmimeFound:
    """What was found of a message with S/MIME: its layers, and what they prove.

    `is_judged` is false where no authority is trusted: then the signatures are known, and nothing is said of them.
    """

    unwrapped: Unwrapped
    proof: Proof
    is_judged: bool = True

    @property
    def result(self) -> MethodResult | None:
        """The result of method smime, None for a message without signatures that could be seen."""
        return method_result(self.proof) if self.proof.signers and self.is_judged else None


class Judge(Protocol):
    """What a domain trusts, and who hears of what was found. All are called on the event loop."""

    def trust(self, header: Header, when: datetime.datetime) -> Trust:
        """Return what to judge a message with this header by."""
        ...

    async def complete(self, unwrapped: Unwrapped, trust: Trust) -> Trust:
        """Return `trust` with what else can be found to judge a message by, in bounded time."""
        ...

    def heard(self, header: Header, found: SmimeFound, when: datetime.datetime) -> None:
        """Hear what was found of a message that is not refused."""
        ...


@dataclass(frozen=True, slots=True)
class ByAnchors:
    """A judge that trusts some authorities and keeps nothing."""

    anchors: tuple[Anchor, ...]

    def trust(self, _header: Header, when: datetime.datetime) -> Trust:
        """Return the anchors."""
        return Trust(when, self.anchors)

    async def complete(self, _unwrapped: Unwrapped, trust: Trust) -> Trust:
        """Look for nothing else."""
        return trust

    def heard(self, header: Header, found: SmimeFound, when: datetime.datetime) -> None:
        """Keep nothing."""


async def find_smime(octets: bytes, header: Header, judge: Judge, when: datetime.datetime) -> SmimeFound | None:
    """Return what S/MIME there is in a message and what it proves, or None for a message without.

    What takes long is done in a thread: hashing a large message must not keep other sessions waiting.
    """
    trust = judge.trust(header, when)
    unwrapped = await asyncio.to_thread(unwrap, octets, known=trust.certificates)
    if not unwrapped.layers and not unwrapped.parts:
        return None
    trust = await judge.complete(unwrapped, trust)
    return SmimeFound(unwrapped, await asyncio.to_thread(prove, header, unwrapped, trust), bool(trust.anchors))


def method_result(proof: Proof) -> MethodResult:
    """Return what a proof comes to in Authentication-Results (RFC 7281 section 4)."""
    signer = proof.signers[0]
    properties = []
    if signer.address:
        properties.append(Property("body", "smime-identifier", signer.address))
    if signer.certificate is not None:
        properties.append(Property("body", "smime-serial", f"{signer.certificate.serial:x}"))
        properties.append(Property("body", "smime-issuer", str(signer.certificate.issuer)))
    reason = proof.faults[0] if proof.faults else ""
    return MethodResult("smime", "pass" if proof.good else "fail", tuple(properties), reason)
