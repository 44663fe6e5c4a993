"""The chain of trust: from an anchor down to the zone that a name lies in, with that zone's keys.

Standards: RFC 4035 section 5 (DS and DNSKEY, delegations), RFC 4509 section 3 (SHA-1 digests are left out),
RFC 6840 sections 5.2 and 5.12 (unknown algorithms), RFC 8914 (extended errors).
Limits: a name has at most 127 labels, so the walk ends; the budget of the validation counts its checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from letterlock.errors import Malformed
from letterlock.formats.dns import name as names
from letterlock.formats.dns import types
from letterlock.formats.dns.message import Message
from letterlock.formats.dns.question import Security, Step
from letterlock.formats.dns.types import ExtendedError, Rcode
from letterlock.formats.dns.zone import CNAME, DNSKEY, DS, NSEC, NSEC3, RecordSet
from letterlock.trust.dnssec import denial
from letterlock.trust.dnssec.denial import Proof
from letterlock.trust.dnssec.fetch import Fetch, NoResponse, Validation
from letterlock.trust.dnssec.known_denials import KnownDenials
from letterlock.trust.dnssec.signatures import (
    SUPPORTED_DIGESTS,
    Bogus,
    Budget,
    Key,
    ds_digest,
    gather,
    key_tag,
    trusted_ttl,
    verify_set,
)
from letterlock.trust.primitives import zone_keys

_MAX_ZONE_SECONDS = 3600
_BOGUS_SECONDS = 30
_DIGEST_NAMES = {1: "SHA-1", 2: "SHA-256", 4: "SHA-384"}


class Failed(Exception):  # it never leaves the validation
    """What the proof needs could not be fetched."""

    def __init__(self, reason: str, code: int | None = None) -> None:
        self.reason = reason
        self.code = code
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class ZoneState:
    """What is known of a zone: its keys where it is secure, why not where it is not."""

    name: bytes
    security: Security
    keys: tuple[Key, ...] = ()
    expires: int = 0
    steps: tuple[Step, ...] = ()
    reason: str = ""
    code: int | None = None


@dataclass(slots=True)
class Memory:
    """What validations remember for each other: zones, names that are no zone cuts, and verified denials."""

    anchors: Mapping[bytes, tuple[RecordSet, ...]]
    zones: dict[bytes, ZoneState] = field(default_factory=dict)
    not_cuts: dict[bytes, int] = field(default_factory=dict)
    denials: KnownDenials = field(default_factory=KnownDenials)
    size: int = 20_000

    def remember(self, state: ZoneState) -> None:
        """Keep the state of a zone."""
        if len(self.zones) >= self.size:
            self.zones.clear()
        self.zones[state.name] = state

    def remember_no_cut(self, name: bytes, expires: int) -> None:
        """Keep that no zone begins at a name."""
        if len(self.not_cuts) >= self.size:
            self.not_cuts.clear()
        self.not_cuts[name] = expires


@dataclass(slots=True)
class Chain:
    """One validation's walk along the chain of trust at the time `now`.

    `steps` gathers its evidence, each step once; `path` what was noted on the way to the zone at hand.
    """

    memory: Memory
    now: int
    budget: Budget = field(default_factory=Budget)
    steps: dict[Step, None] = field(default_factory=dict)
    path: tuple[Step, ...] = ()

    def note(self, subject: str, finding: str, clause: str = "") -> None:
        """Add a step of evidence."""
        self._take(Step(subject, finding, clause))

    def _take(self, *steps: Step) -> None:
        self.steps.update(dict.fromkeys(steps))
        self.path += steps

    def fetch(self, owner: bytes, number: int) -> Validation[Message]:
        """Fetch a response; raises Failed when there is none, or none that says anything."""
        response = yield Fetch(owner, number)
        what = f"{names.to_text(owner)}. {types.mnemonic(number)}"
        if isinstance(response, NoResponse):
            raise Failed(f"{what}: {response.reason}", ExtendedError.NO_REACHABLE_AUTHORITY)
        if response.rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN):
            raise Failed(f"{what}: the servers answered {types.rcode_text(response.rcode)}", response.extended_error)
        return response

    def zone_of(self, name: bytes) -> Validation[ZoneState]:
        """Return the state of the deepest zone at or above a name; raises Failed, Bogus."""
        state = yield from self._start(name)
        while state.security is Security.SECURE and state.name != name:
            below = names.ancestors(name)
            steps_down = below[: below.index(state.name)]
            for child in reversed(steps_down):
                if self.memory.not_cuts.get(child, 0) > self.now:
                    continue
                following = yield from self._descend(state, child)
                if following is None:
                    return state  # nothing exists below
                if following is not state:
                    state = following
                    break
            else:
                return state
        if state.security is Security.BOGUS:
            raise Bogus(state.reason, state.code or ExtendedError.DNSSEC_BOGUS)
        return state

    def denied(self, name: bytes, number: int) -> tuple[ZoneState, Proof, int] | None:
        """Return the secure zone and what denials known already prove about a name there (RFC 8198), if anything."""
        for above in names.ancestors(name)[1:]:
            zone = self.memory.zones.get(above)
            if zone is None or zone.expires <= self.now:
                continue
            known = self.memory.denials.prove(above, name, number, self.now)
            if zone.security is not Security.SECURE or known is None:
                return None
            self._take(*zone.steps)
            return zone, *known
        return None

    def _start(self, name: bytes) -> Validation[ZoneState]:
        self.path = ()
        for above in names.ancestors(name):
            known = self.memory.zones.get(above)
            if known is not None and known.expires > self.now:
                self._take(*known.steps)
                return known
            if above in self.memory.anchors:
                return (yield from self._establish_anchor(above))
        reason = f"no trust anchor stands above {names.to_text(name)}."
        self.note(names.to_text(name) + ".", reason, "RFC 4033 section 5")
        return ZoneState(names.ROOT, Security.INDETERMINATE, reason=reason, code=ExtendedError.DNSSEC_INDETERMINATE)

    def _establish_anchor(self, zone: bytes) -> Validation[ZoneState]:
        self.note(names.to_text(zone) + ".", "is a trust anchor", "RFC 4033 section 2")
        response = yield from self.fetch(zone, DNSKEY)
        problem: Bogus | None = None
        for anchor in self.memory.anchors[zone]:
            ds = anchor if anchor.type == DS else _as_ds(anchor)
            try:
                return self._accept_keys(zone, ds, response, ds.ttl)
            except Bogus as error:
                problem = error
        assert problem is not None
        return self._keep_bogus(zone, problem)

    def _descend(self, parent: ZoneState, child: bytes) -> Validation[ZoneState | None]:
        """Look at the delegation of `child`: return its state, `parent` where no zone begins, None if nothing exists."""
        response = yield from self.fetch(child, DS)
        text = names.to_text(child) + "."
        sets = gather(response.answer)
        ds = sets.get((child, DS))
        if ds is not None:
            signature = verify_set(ds, parent.name, parent.keys, self.now, self.budget)
            finding = f"signed by {names.to_text(parent.name)}. key {signature.key_tag}"
            self.note(f"{text} DS", finding, "RFC 4035 section 5.2")
            return (yield from self._enter(child, ds, trusted_ttl(ds, signature, self.now)))
        if (alias := sets.get((child, CNAME))) is not None:
            verify_set(alias, parent.name, parent.keys, self.now, self.budget)
            self.memory.remember_no_cut(child, self.now + min(alias.ttl, _MAX_ZONE_SECONDS))
            return parent
        denials, ttl = self.verified_denials(response, parent)
        proof = denial.prove_absence(child, DS, parent.name, denials, self.budget)
        expires = self.now + min(ttl, _MAX_ZONE_SECONDS)
        match proof:
            case Proof.NO_DATA:
                self.memory.remember_no_cut(child, expires)
                return parent
            case Proof.NO_NAME:
                return None
            case Proof.DELEGATED | Proof.OPTED_OUT | Proof.UNHASHABLE:
                return self._keep_insecure(child, f"{text} {_INSECURE[proof]}", _CODES.get(proof), expires)

    def _enter(self, zone: bytes, ds: RecordSet, ttl: int) -> Validation[ZoneState]:
        usable = [rdata for rdata in ds.rdatas if len(rdata) > 4 and rdata[2] in zone_keys.SUPPORTED]
        known = [rdata for rdata in usable if rdata[3] in SUPPORTED_DIGESTS]
        if not known:
            # RFC 4035 section 5.2, RFC 6840 section 5.2
            what = "digests" if usable else "algorithms"
            found = ", ".join(sorted({_name_of(rdata, digest=bool(usable)) for rdata in ds.rdatas}))
            reason = f"{names.to_text(zone)}. is secured only with {what} we do not know ({found})"
            code = ExtendedError.UNSUPPORTED_DS_DIGEST if usable else ExtendedError.UNSUPPORTED_DNSKEY_ALGORITHM
            return self._keep_insecure(zone, reason, code, self.now + ttl)
        response = yield from self.fetch(zone, DNSKEY)
        try:
            return self._accept_keys(zone, RecordSet(zone, DS, ttl, tuple(known)), response, ttl)
        except Bogus as error:
            return self._keep_bogus(zone, error)

    def _accept_keys(self, zone: bytes, ds: RecordSet, response: Message, ttl: int) -> ZoneState:
        """Return the zone's state when a key that the DS set names signs the zone's key set; raises Bogus."""
        text = names.to_text(zone) + "."
        key_set = gather(response.answer).get((zone, DNSKEY))
        if key_set is None:
            raise Bogus(f"{text} has no keys, though its parent vouches for one", ExtendedError.DNSKEY_MISSING)
        keys = _read_keys(key_set)
        trusted = self._named_by(zone, ds, keys)
        if not trusted:
            tags = ", ".join(sorted({str(int.from_bytes(rdata[:2], "big")) for rdata in ds.rdatas}))
            raise Bogus(f"{text} has no key that fits its DS records ({tags})", ExtendedError.DNSKEY_MISSING)
        signature = verify_set(key_set, zone, trusted, self.now, self.budget)
        algorithm = zone_keys.NAMES[signature.algorithm]
        step = Step(f"{text} DNSKEY", f"key {signature.key_tag} ({algorithm}) fits DS and signs the keys",
                    "RFC 4035 section 5.2")  # fmt: skip
        self._take(step)
        seconds = min(ttl, trusted_ttl(key_set, signature, self.now), _MAX_ZONE_SECONDS)
        state = ZoneState(zone, Security.SECURE, tuple(keys), self.now + seconds, self.path)
        self.memory.remember(state)
        return state

    def _named_by(self, zone: bytes, ds: RecordSet, keys: list[Key]) -> list[Key]:
        trusted: list[Key] = []
        for rdata in ds.rdatas[:16]:
            tag = int.from_bytes(rdata[:2], "big")
            fitting = [key for key in keys if key.tag == tag and key.algorithm == rdata[2] and key.may_sign]
            for key in fitting[: self.budget.keys_a_tag]:
                self.budget.spend_hash()
                if ds_digest(zone, key.rdata, rdata[3]) == rdata[4:] and key not in trusted:
                    trusted.append(key)
        return trusted

    def verified_denials(self, response: Message, zone: ZoneState) -> tuple[list[RecordSet], int]:
        """Return the NSEC and NSEC3 sets of a response that the zone signed, and their least TTL; raises Bogus."""
        verified = []
        problem: Bogus | None = None
        sets = gather(response.authority)
        ttls = [_MAX_ZONE_SECONDS]
        for (owner, number), record_set in sets.items():
            if number not in (NSEC, NSEC3) or not names.is_within(owner, zone.name):
                continue
            try:
                signature = verify_set(record_set, zone.name, zone.keys, self.now, self.budget)
            except Bogus as error:
                problem = error
                continue
            if signature.labels == names.count_labels(owner):  # a denial is never made by a wildcard
                seconds = min(trusted_ttl(record_set, signature, self.now), _MAX_ZONE_SECONDS)
                verified.append(record_set)
                ttls.append(seconds)
                self.memory.denials.add(zone.name, record_set, self.now + seconds)
        if problem is not None and not verified:
            raise problem
        return verified, min(ttls)

    def _keep_insecure(self, zone: bytes, reason: str, code: int | None, expires: int) -> ZoneState:
        self.note(names.to_text(zone) + ".", reason, "RFC 4035 section 5.2")
        state = ZoneState(zone, Security.INSECURE, (), expires, self.path, reason, code)
        self.memory.remember(state)
        return state

    def _keep_bogus(self, zone: bytes, error: Bogus) -> ZoneState:
        self.note(names.to_text(zone) + ".", error.reason, "RFC 4035 section 5.5")
        expires = self.now + _BOGUS_SECONDS
        state = ZoneState(zone, Security.BOGUS, (), expires, self.path, error.reason, error.code)
        self.memory.remember(state)
        return state


_INSECURE = {
    Proof.DELEGATED: "is delegated without DS records, as its parent proves",
    Proof.OPTED_OUT: "lies in an opt-out span of its parent, so it may be unsigned",
    Proof.UNHASHABLE: f"cannot be proved: its parent asks for more than {denial.MAX_ITERATIONS} NSEC3 iterations",
}
_CODES = {Proof.UNHASHABLE: int(ExtendedError.UNSUPPORTED_NSEC3_ITERATIONS)}


def _name_of(rdata: bytes, *, digest: bool) -> str:
    number = rdata[3] if digest else rdata[2]
    return _DIGEST_NAMES.get(number, f"digest {number}") if digest else zone_keys.NAMES.get(number, str(number))


def _read_keys(key_set: RecordSet) -> list[Key]:
    keys = []
    for rdata in key_set.rdatas:
        try:
            keys.append(Key.read(rdata))
        except Malformed:
            continue
    return keys


def _as_ds(anchor: RecordSet) -> RecordSet:
    """Return the DS set of an anchor given as keys."""
    made = tuple(
        key_tag(rdata).to_bytes(2, "big") + bytes((rdata[3], 2)) + ds_digest(anchor.owner, rdata, 2)
        for rdata in anchor.rdatas
    )
    return RecordSet(anchor.owner, DS, anchor.ttl, made)
