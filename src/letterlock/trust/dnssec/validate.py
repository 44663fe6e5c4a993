"""The DNSSEC verdict on one question, as a decision over responses.

`validate` yields what it must see (the answer, then DS and DNSKEY sets up to an anchor) and returns the `Answer` with its
security, a reason in a sentence and every step of the proof.

Standards: RFC 4033 section 5 (the four states), RFC 4035 section 5, RFC 5155 section 8, RFC 6672 section 5.3 (DNAME),
RFC 6840 section 5.9, RFC 8914 (extended errors).
Limits: 16 aliases in a chain, and the budget of `signatures.Budget`, shared by everything one question causes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from letterlock.errors import Malformed
from letterlock.formats.dns import name as names
from letterlock.formats.dns import rdata_wire, types
from letterlock.formats.dns.message import Message
from letterlock.formats.dns.question import Answer, Outcome, Question, Security
from letterlock.formats.dns.rdata import Rdata
from letterlock.formats.dns.types import ExtendedError
from letterlock.formats.dns.zone import CNAME, DS, NSEC, NSEC3, RRSIG, SOA, RecordSet
from letterlock.trust.dnssec import denial
from letterlock.trust.dnssec.chain import Chain, Failed, Memory, ZoneState
from letterlock.trust.dnssec.denial import Proof
from letterlock.trust.dnssec.fetch import Validation
from letterlock.trust.dnssec.signatures import Bogus, Signature, describe, gather, trusted_ttl, verify_set

_DNAME = types.NUMBERS["DNAME"]
_MAX_ALIASES = 16
_MAX_TTL = 86400


@dataclass(slots=True)
class _State:
    """How far one question has come."""

    chain: Chain
    number: int
    security: Security = Security.SECURE
    ttl: int = _MAX_TTL
    reasons: list[str] = field(default_factory=list)
    code: int | None = None

    def weaken(self, zone: ZoneState) -> None:
        """Let the answer be no better than the zone it comes from."""
        self._weaken(zone.security, zone.reason, zone.code)

    def weaken_by_proof(self, proof: Proof, name: bytes) -> None:
        """Let the answer be insecure where its proof is (RFC 5155 section 9.2, RFC 9276 section 3.2)."""
        if proof in (Proof.OPTED_OUT, Proof.UNHASHABLE):
            code = ExtendedError.UNSUPPORTED_NSEC3_ITERATIONS if proof is Proof.UNHASHABLE else None
            self._weaken(Security.INSECURE, f"{names.to_text(name)}.: {proof.value}", code)

    def _weaken(self, security: Security, reason: str, code: int | None) -> None:
        if security is not Security.SECURE:
            self.security = security if self.security is Security.SECURE else self.security
            if reason not in self.reasons:
                self.reasons.append(reason)
            self.code = self.code if self.code is not None else code


def validate(question: Question, memory: Memory, now: int) -> Validation[Answer]:
    """Return the validated answer to a question at a time in seconds since 1970."""
    chain = Chain(memory, now)
    try:
        owner, number = names.to_wire(question.name), types.lookup_number(question.type)
        answer = yield from _resolve(question, owner, _State(chain, number))
    except Malformed as error:
        answer = _failure(question, str(error), ExtendedError.INVALID_DATA)
    except Failed as error:
        answer = _failure(question, error.reason, error.code)
    except Bogus as error:
        chain.note(f"{question.name} {question.type}", error.reason, "RFC 4035 section 5.5")
        answer = replace(_failure(question, error.reason, error.code), security=Security.BOGUS)
    return replace(answer, evidence=tuple(chain.steps))


def _failure(question: Question, reason: str, code: int | None) -> Answer:
    return Answer(question, Outcome.FAILED, reason=reason, extended_error=code)


def _resolve(question: Question, owner: bytes, state: _State) -> Validation[Answer]:
    known = state.chain.denied(owner, state.number)
    if known is not None:
        zone, proof, state.ttl = known
        subject, place = f"{names.to_text(owner)}. {types.mnemonic(state.number)}", names.to_text(zone.name)
        state.chain.note(subject, f"{proof.value}, as a denial of {place}. known already shows", "RFC 8198 section 5")
        return _nothing(question, owner, proof, state)
    response = yield from state.chain.fetch(owner, state.number)
    sets = gather(response.answer)
    passed = {owner}
    while True:
        found = sets.get((owner, state.number))
        if found is not None:
            yield from _check(state, found, response)
            return _found(question, found, state)
        target = yield from _alias(state, owner, sets, response)
        if target is None:
            return (yield from _absent(question, owner, response, state))
        if target in passed or len(passed) > _MAX_ALIASES:
            raise Failed(f"{question.name}. leads into a loop or a chain of more than {_MAX_ALIASES} aliases")
        passed.add(target)
        owner = target
        if not any(name == owner for name, _ in sets) and _dname_above(owner, sets) is None:
            response = yield from state.chain.fetch(owner, state.number)
            sets = gather(response.answer)


def _alias(
    state: _State, owner: bytes, sets: dict[tuple[bytes, int], RecordSet], response: Message
) -> Validation[bytes | None]:
    """Return where an alias at or above the name leads, its signature checked."""
    if state.number in (CNAME, _DNAME, RRSIG, NSEC):
        return None
    alias = sets.get((owner, CNAME))
    dname = _dname_above(owner, sets)
    if dname is not None and (alias is None or not alias.signatures):
        # RFC 6672 section 5.3.1: the CNAME that a DNAME makes is not signed; it must be the one the DNAME makes.
        yield from _check(state, dname, response)
        target = owner[: len(owner) - len(dname.owner)] + dname.rdatas[0]
        if len(target) > 255:
            raise Failed(f"{describe(dname)} leads to a name that is too long")
        if alias is not None and alias.rdatas[0] != target:
            raise Bogus(f"{describe(alias)} is not what {describe(dname)} makes")
        return target
    if alias is None:
        return None
    yield from _check(state, alias, response)
    return alias.rdatas[0]


def _dname_above(owner: bytes, sets: dict[tuple[bytes, int], RecordSet]) -> RecordSet | None:
    return next((sets[above, _DNAME] for above in names.ancestors(owner)[1:] if (above, _DNAME) in sets), None)


def _check(state: _State, record_set: RecordSet, response: Message) -> Validation[None]:
    """Verify a set of the answer, wildcards included; weaken the state where its zone is insecure. Raises Bogus."""
    chain = state.chain
    signer = _signer(record_set)
    zone = yield from chain.zone_of(_zone_name(record_set) if signer is None else signer)
    if zone.security is not Security.SECURE:
        state.weaken(zone)
        state.ttl = min(state.ttl, record_set.ttl)
        return
    if signer is not None and zone.name != signer:
        raise Bogus(f"{describe(record_set)} is signed by {names.to_text(signer)}., which is no zone")
    signature = verify_set(record_set, zone.name, zone.keys, chain.now, chain.budget)
    state.ttl = min(state.ttl, trusted_ttl(record_set, signature, chain.now))
    finding = f"signed by {names.to_text(zone.name)}. key {signature.key_tag}"
    chain.note(describe(record_set), finding, "RFC 4035 section 5.3")
    if signature.labels < names.count_labels(record_set.owner):
        _check_expansion(state, record_set, signature, zone, response)


def _check_expansion(
    state: _State, record_set: RecordSet, signature: Signature, zone: ZoneState, response: Message
) -> None:
    """Require the proof that no nearer name than the wildcard exists (RFC 4035 section 5.3.4)."""
    above = names.ancestors(record_set.owner)
    encloser = above[len(above) - 1 - signature.labels]
    denials, ttl = state.chain.verified_denials(response, zone)
    proof = denial.prove_expansion(record_set.owner, encloser, zone.name, denials, state.chain.budget)
    state.ttl = min(state.ttl, ttl)
    state.weaken_by_proof(proof, record_set.owner)
    wild = names.to_text(names.wildcard(encloser))
    state.chain.note(describe(record_set), f"made by the wildcard {wild}.", "RFC 4035 section 5.3.4")


def _signer(record_set: RecordSet) -> bytes | None:
    """Return the zone that signed a set: the deepest that may have; None for an unsigned set."""
    signers = []
    for rdata in record_set.signatures[:8]:
        try:
            signer = Signature.read(rdata).signer
        except Malformed:
            continue
        if names.is_within(_zone_name(record_set), signer):
            signers.append(signer)
    return max(signers, key=len, default=None)


def _zone_name(record_set: RecordSet) -> bytes:
    """Return the name at or above which the set's zone begins: DS stands in the parent."""
    return names.parent(record_set.owner) if record_set.type == DS else record_set.owner


def _absent(question: Question, owner: bytes, response: Message, state: _State) -> Validation[Answer]:
    """Return the answer that there is nothing, its proof checked where the zone is signed."""
    chain = state.chain
    sets = gather(response.authority)
    asked_at = names.parent(owner) if state.number == DS else owner
    signers = [
        signer
        for (_, number), record_set in sets.items()
        if number in (SOA, NSEC, NSEC3)
        if (signer := _signer(record_set)) is not None and names.is_within(asked_at, signer)
    ]
    zone = yield from chain.zone_of(max(signers, key=len, default=asked_at))
    soa = next((record_set for (_, number), record_set in sets.items() if number == SOA), None)
    ttl = min(soa.ttl, int.from_bytes(soa.rdatas[0][-4:], "big"), _MAX_TTL) if soa is not None else 0
    state.ttl = min(state.ttl, ttl)
    claimed = Proof.NO_NAME if response.rcode == types.Rcode.NXDOMAIN else Proof.NO_DATA
    if zone.security is Security.SECURE:
        if signers and zone.name != max(signers, key=len):
            raise Bogus(f"the denial of {names.to_text(owner)}. is signed by a name that is no zone")
        denials, ttl = chain.verified_denials(response, zone)
        proof = denial.prove_absence(owner, state.number, zone.name, denials, chain.budget)
        if claimed is Proof.NO_NAME and proof in (Proof.NO_DATA, Proof.DELEGATED):
            raise Bogus(f"{names.to_text(owner)}. exists, though the answer denies it")
        state.ttl = min(state.ttl, ttl)
        chain.note(f"{names.to_text(owner)}. {types.mnemonic(state.number)}", proof.value, _clause(denials))
        state.weaken_by_proof(proof, owner)
        claimed = Proof.NO_NAME if proof is Proof.NO_NAME else claimed
    else:
        state.weaken(zone)
    return _nothing(question, owner, claimed, state)


def _clause(denials: list[RecordSet]) -> str:
    return "RFC 5155 section 8" if any(found.type == NSEC3 for found in denials) else "RFC 4035 section 5.4"


def _found(question: Question, found: RecordSet, state: _State) -> Answer:
    records = tuple(rdata_wire.read(question.type, rdata) for rdata in found.rdatas)
    return _answer(question, Outcome.FOUND, found.owner, state, "; ".join(state.reasons), records)


def _nothing(question: Question, owner: bytes, claimed: Proof, state: _State) -> Answer:
    name = names.to_text(owner)
    if claimed is Proof.NO_NAME:
        outcome, reason = Outcome.NO_NAME, f"{name} does not exist"
    else:
        outcome, reason = Outcome.NO_DATA, f"{name} has no {question.type} record"
    return _answer(question, outcome, owner, state, "; ".join([reason, *state.reasons]), ())


def _answer(
    question: Question,
    outcome: Outcome,
    owner: bytes,
    state: _State,
    reason: str,
    records: tuple[Rdata, ...],
) -> Answer:
    return Answer(
        question,
        outcome,
        records,
        state.security,
        names.to_text(owner),
        max(state.ttl, 0),
        reason,
        (),
        state.code,
    )
