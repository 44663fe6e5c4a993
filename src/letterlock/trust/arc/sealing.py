"""Seal a message that is passed on: record what was found, sign it as it leaves, seal the chain.

Standards: RFC 8617 section 5.1 (sealing), section 5.1.2 (a chain found broken), section 4.1.2 (what is signed).
"""

from __future__ import annotations

from letterlock.errors import OurFault
from letterlock.formats import authentication_results
from letterlock.formats.authentication_results import AuthenticationResults
from letterlock.formats.imf.header import read_header
from letterlock.trust.arc.sets import MOST_SETS, ArcSet, ChainValidation, Seal, collect
from letterlock.trust.arc.validation import Result, Verdict, sealed_octets
from letterlock.trust.dkim.canonicalize import BodyHashes, BodyHashKind, Canonicalization
from letterlock.trust.dkim.fields import Field, Fields
from letterlock.trust.dkim.signature import Signature
from letterlock.trust.dkim.signing import SigningKey, folded_field, names_to_sign, with_signature
from letterlock.trust.dkim.verification import signed_octets

_RELAXED = Canonicalization.RELAXED


def seal(octets: bytes, key: SigningKey, now: int, verdict: Verdict, results: AuthenticationResults) -> bytes:
    """Return the three fields to put before a message: ARC-Seal, ARC-Message-Signature, ARC-Authentication-Results.

    `verdict` is that on the chain as it arrived, `results` what this handler found. Returns nothing where the chain may
    not grow: it was sealed as broken before, has fifty sets, or is not the one that was judged. OurFault where the verdict
    is a temporary error.
    """
    if verdict.result is Result.TEMPERROR:
        raise OurFault("a chain that could not be judged cannot be sealed; try again later")
    header = read_header(octets)
    fields = Fields(header)
    is_broken = verdict.result is Result.FAIL
    earlier = () if is_broken else collect(fields)
    instance = len(verdict.sets) + 1
    was_broken = any(one.chain_validation is ChainValidation.FAIL for one in verdict.sets)
    if not is_broken and len(earlier) != len(verdict.sets):
        return b""  # somebody took fields away since the chain was judged
    if instance > MOST_SETS or was_broken or (is_broken and not verdict.sets):
        return b""  # RFC 8617 section 5.1.2: nothing is added to a chain whose end cannot be found or is broken
    results_octets = authentication_results.write(results, "ARC-Authentication-Results", f"i={instance}; ")
    message_signature = _message_signature(fields, octets[header.body_start :], key, instance, now)
    validation = ChainValidation.FAIL if is_broken else ChainValidation.PASS if earlier else ChainValidation.NONE
    tags = [
        ("i", str(instance)),
        ("a", key.algorithm),
        ("cv", validation.value),
        ("d", key.domain),
        ("s", key.selector),
        ("t", str(now)),
    ]
    unsigned = "ARC-Seal: " + " ".join(f"{name}={value};" for name, value in tags)
    unsigned_octets = _folded(unsigned) + b"\r\n b="
    own = ArcSet(
        instance,
        Field(b"", results_octets.removesuffix(b"\r\n")),
        Field(b"", message_signature.removesuffix(b"\r\n")),
        Field(b"", unsigned_octets),
        Signature(key.algorithm, key.domain, key.selector, b"", b"", ()),
        Seal(key.algorithm, validation, key.domain, key.selector, b""),
    )
    # RFC 8617 section 5.1.2: a broken chain is sealed without the sets before
    signature = key.sign(sealed_octets((*earlier, own)))
    return with_signature(unsigned_octets, signature) + message_signature + results_octets


def _folded(line: str) -> bytes:
    lines = [""]
    for word in line.split(" "):
        if len(lines[-1]) + 1 + len(word) > 76:
            lines.append("")
        lines[-1] += word if lines == [""] else f" {word}"
    return "\r\n".join(lines).encode()


def _message_signature(fields: Fields, body: bytes, key: SigningKey, instance: int, now: int) -> bytes:
    bodies = BodyHashes()
    kind = BodyHashKind(_RELAXED, "sha256")
    bodies.add(kind)
    bodies.feed(body)
    names = (*names_to_sign(fields), *(["dkim-signature"] * len(fields.named(b"dkim-signature"))))
    tags = [
        ("i", str(instance)),
        ("a", key.algorithm),
        ("c", "relaxed/relaxed"),
        ("d", key.domain),
        ("s", key.selector),
        ("t", str(now)),
    ]
    unsigned = folded_field("ARC-Message-Signature", tags, names, bodies.digest(kind))
    octets = signed_octets(fields, Field(b"arc-message-signature", unsigned), names, _RELAXED)
    return with_signature(unsigned, key.sign(octets))
