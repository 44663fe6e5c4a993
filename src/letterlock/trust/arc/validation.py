"""Validate an ARC chain: did the handlers on the way keep and vouch for what they found?

A `Validation` is made from the header section and shares the body hashes of the message with DKIM.

Standards: RFC 8617 section 5.2 (validation), section 5.1.1 (what a seal covers), section 6.1 (results).
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats.authentication_results import AuthenticationResults
from letterlock.formats.dns.question import Question
from letterlock.formats.imf.header import read_header
from letterlock.trust import policy
from letterlock.trust.arc.sets import ArcSet, ChainValidation, collect
from letterlock.trust.ask import Decision, ask_all
from letterlock.trust.dkim import signature as signature_field
from letterlock.trust.dkim.canonicalize import BodyHashes, Canonicalization, header_fields
from letterlock.trust.dkim.fields import Fields
from letterlock.trust.dkim.signature import Signature
from letterlock.trust.dkim.verdict import Check
from letterlock.trust.dkim.verdict import Result as KeyResult
from letterlock.trust.dkim.verification import Key, check_body, check_header, examine_key, find_key
from letterlock.trust.primitives import eddsa, rsa


class Result(enum.Enum):
    """What a chain is worth. TEMPERROR is not in the registry: a key could not be looked up, and nothing is known."""

    NONE = "none"
    PASS = "pass"  # noqa: S105 - a result, no password
    FAIL = "fail"
    TEMPERROR = "temperror"


@dataclass(frozen=True, slots=True)
class SetVerdict:
    """One instance: who sealed it, what was said of the chain before, and what was found in the message."""

    instance: int
    domain: str
    selector: str
    chain_validation: ChainValidation
    results: AuthenticationResults | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The chain's result and its sets, the oldest first."""

    result: Result
    reason: str
    sets: tuple[SetVerdict, ...] = ()

    @property
    def sealers(self) -> tuple[str, ...]:
        """The sealing domains, the oldest first; trust in the chain is trust in all of them."""
        return tuple(one.domain for one in self.sets)


class Validation:
    """The chain of one message."""

    def __init__(self, fields: Fields, bodies: BodyHashes, algorithms: policy.Policy = policy.DKIM) -> None:
        self._fields = fields
        self._bodies = bodies
        self._algorithms = algorithms
        self._sets: tuple[ArcSet, ...] = ()
        self._problem = ""
        try:
            self._sets = collect(fields)
        except Malformed as error:
            self._problem = str(error)
        if self._sets:
            bodies.add(self._sets[-1].message_signature.body_hash_kind)

    @property
    def has_chain(self) -> bool:
        """Whether there is any ARC field."""
        return bool(self._sets or self._problem)

    def judge(self, now: int) -> Decision[Verdict]:
        """Ask for all keys at once and judge the chain; the body must have been fed."""
        if self._problem:
            return Verdict(Result.FAIL, f"the chain is broken: {self._problem}")
        if not self._sets:
            return Verdict(Result.NONE, "the message has no ARC chain")
        sets = tuple(
            SetVerdict(one.instance, one.seal.domain, one.seal.selector, one.seal.chain_validation, one.results)
            for one in self._sets
        )
        latest = self._sets[-1]
        failed = next((one for one in self._sets if one.seal.chain_validation is ChainValidation.FAIL), None)
        if failed is not None:
            reason = f"{failed.seal.domain} found the chain broken when it sealed instance {failed.instance}"
            return Verdict(Result.FAIL, reason, sets)
        names = dict.fromkeys([latest.message_signature.key_name, *(one.seal.key_name for one in self._sets)])
        answers = yield from ask_all(tuple(Question(name, "TXT") for name in names))
        keys = {answer.question.name: find_key(answer) for answer in answers}
        result, reason = self._judge_signatures(keys, now)
        return Verdict(result, reason, sets)

    def _judge_signatures(self, keys: dict[str, Key], now: int) -> tuple[Result, str]:
        latest = self._sets[-1]
        result, reason = self._judge_message(latest, keys[latest.message_signature.key_name], now)
        for one in reversed(self._sets):
            if result is not Result.PASS:
                break
            result, reason = self._judge_seal(one, keys[one.seal.key_name], now)
        if result is not Result.PASS:
            return result, reason
        handlers = ", ".join(one.seal.domain for one in self._sets)
        return Result.PASS, f"every seal verifies ({handlers}), and the message is as the last one left it"

    def _judge_message(self, one: ArcSet, key: Key, now: int) -> tuple[Result, str]:
        signature = one.message_signature
        who = f"the message signature of {signature.domain} (instance {one.instance})"
        problem = self._examine(signature, key, now)
        if problem is not None:
            return problem[0], f"{who}: {problem[1]}"
        assert key.record is not None
        if check_body(signature, self._bodies) is not Check.PASS:
            return Result.FAIL, f"{who}: the body was changed after it"
        if check_header(self._fields, one.message_signature_field, signature, key.record) is not Check.PASS:
            return Result.FAIL, f"{who}: a signed field was changed after it"
        return Result.PASS, ""

    def _judge_seal(self, one: ArcSet, key: Key, now: int) -> tuple[Result, str]:
        seal = one.seal
        who = f"the seal of {seal.domain} (instance {one.instance})"
        identity = f"@{seal.domain}"
        as_signature = Signature(seal.algorithm, seal.domain, seal.selector, seal.signature, b"", (), identity=identity)
        problem = self._examine(as_signature, key, now)
        if problem is not None:
            return problem[0], f"{who}: {problem[1]}"
        assert key.record is not None
        octets = sealed_octets(self._sets[: one.instance])
        try:
            if isinstance(key.record.public_key, eddsa.Ed25519PublicKey):
                digest = hashlib.sha256(octets).digest()
                eddsa.verify_ed25519(key.record.public_key, seal.signature, digest)
            else:
                assert key.record.public_key is not None
                rsa.verify(key.record.public_key, seal.signature, octets, as_signature.digest)
        except NotAuthentic:
            return Result.FAIL, f"{who} does not verify"
        return Result.PASS, ""

    def _examine(self, signature: Signature, key: Key, now: int) -> tuple[Result, str] | None:
        """Return why a signature cannot count, apart from its mathematics."""
        if key.record is None:
            return (Result.TEMPERROR if key.result is KeyResult.TEMPERROR else Result.FAIL), key.reason
        if self._algorithms.standing(signature.algorithm, now) is not policy.Standing.CURRENT:
            return Result.FAIL, f"{signature.algorithm} protects nothing any more"
        objections, _ = examine_key(signature, key.record, self._algorithms)
        return (Result.FAIL, objections[0].reason) if objections else None


def sealed_octets(sets: tuple[ArcSet, ...]) -> bytes:
    """Return what the seal of the last set covers: all sets in order, its own b= taken out (RFC 8617 section 5.1.1)."""
    parts = []
    for one in sets:
        seal = one.seal_field.octets
        if one is sets[-1]:
            seal = signature_field.without_signature(seal)
        parts += [one.results_field.octets, one.message_signature_field.octets, seal]
    return header_fields(parts, Canonicalization.RELAXED)


def judge(octets: bytes, now: int) -> Decision[Verdict]:
    """Validate the chain of a message in memory as of `now` (seconds since 1970)."""
    header = read_header(octets)
    bodies = BodyHashes()
    validation = Validation(Fields(header), bodies)
    bodies.feed(octets[header.body_start :])
    return validation.judge(now)
