"""What verified NSEC and NSEC3 records prove about a name that was not found.

Nothing here checks signatures: the records given were verified, and all belong to one zone.

Standards: RFC 4035 section 5.4 (NSEC), RFC 5155 section 8 (NSEC3), RFC 6840 sections 4.1, 4.3 and 4.4 (delegations,
DNAME, wildcards), RFC 9276 section 3.2 (iterations).
Limits: 50 extra iterations; hashes are counted against the validation's budget.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from letterlock.errors import Malformed
from letterlock.formats.dns import name as names
from letterlock.formats.dns import nsec3, rdata_wire, types
from letterlock.formats.dns.types import ExtendedError
from letterlock.formats.dns.zone import CNAME, DS, NS, NSEC, NSEC3, SOA, RecordSet
from letterlock.trust.dnssec.signatures import Bogus, Budget

_DNAME = types.NUMBERS["DNAME"]
MAX_ITERATIONS = 50


class Proof(enum.Enum):
    """What has been proved."""

    NO_NAME = "the name does not exist"
    NO_DATA = "the name exists without such records"
    DELEGATED = "the name is delegated without being signed"
    OPTED_OUT = "the name may be an unsigned delegation, by opt-out"
    UNHASHABLE = "the zone asks for more iterations than we follow"


class Unproved(Bogus):
    """The records do not prove what was claimed."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, ExtendedError.NSEC_MISSING)


def prove_absence(name: bytes, number: int, zone: bytes, sets: Iterable[RecordSet], budget: Budget) -> Proof:
    """Return what the denial records prove for a name and type; raises Unproved, or Bogus over the budget."""
    return _reader(zone, sets, budget).absence(name, number)


def prove_expansion(name: bytes, encloser: bytes, zone: bytes, sets: Iterable[RecordSet], budget: Budget) -> Proof:
    """Prove that nothing stands between a name and the wildcard below `encloser` that answered for it.

    Returns NO_NAME, or OPTED_OUT or UNHASHABLE where the answer can only be insecure; raises Unproved, Bogus.
    """
    return _reader(zone, sets, budget).expansion(name, encloser)


def _reader(zone: bytes, sets: Iterable[RecordSet], budget: Budget) -> _Nsec | _Nsec3:
    found = list(sets)
    plain = [record_set for record_set in found if record_set.type == NSEC]
    hashed = [record_set for record_set in found if record_set.type == NSEC3]
    if plain:
        return _Nsec(zone, plain)
    if hashed:
        return _Nsec3(zone, hashed, budget)
    raise Unproved("nothing that proves absence came with the answer")


class _Nsec:
    """Proofs from NSEC records."""

    def __init__(self, zone: bytes, sets: list[RecordSet]) -> None:
        self._zone = zone
        self._spans: list[tuple[bytes, bytes, frozenset[int]]] = []
        for record_set in sets:
            for rdata in record_set.rdatas[:1]:
                try:
                    following, after = names.read(rdata, 0)
                    present = frozenset(rdata_wire.read_bit_map(rdata[after:]))
                except Malformed as error:
                    raise Bogus(f"an NSEC record that cannot be read: {error}") from None
                self._spans.append((record_set.owner, following, present))

    def absence(self, name: bytes, number: int) -> Proof:
        for owner, following, present in self._spans:
            if owner == name:
                return _read_types(name, number, present)
            if names.is_within(following, name) and self._covers(owner, following, name):
                return Proof.NO_DATA  # an empty non-terminal, RFC 4592 section 2.2.2
        covering = self._covering(name)
        if covering is None:
            raise Unproved(f"no NSEC record covers {names.to_text(name)}.")
        encloser = _longer(names.closest_common(name, covering[0]), names.closest_common(name, covering[1]))
        wild = names.wildcard(encloser)
        for owner, _, present in self._spans:
            if owner == wild:
                return _read_types(wild, number, present)
        if self._covering(wild) is None:
            raise Unproved(f"no NSEC record denies the wildcard {names.to_text(wild)}.")
        return Proof.NO_NAME

    def expansion(self, name: bytes, encloser: bytes) -> Proof:
        covering = self._covering(name)
        if covering is None:
            raise Unproved(f"no NSEC record covers {names.to_text(name)}., though a wildcard answered")
        above = _longer(names.closest_common(name, covering[0]), names.closest_common(name, covering[1]))
        if above != encloser:
            raise Unproved(f"the wildcard that answered for {names.to_text(name)}. is not the nearest one")
        return Proof.NO_NAME

    def _covering(self, name: bytes) -> tuple[bytes, bytes] | None:
        for owner, following, present in self._spans:
            if self._covers(owner, following, name):
                # RFC 6840 section 4.1: the parent's record at a delegation says nothing about names below it.
                delegated = (NS in present and SOA not in present) or _DNAME in present
                if not (delegated and names.is_within(name, owner)):
                    return owner, following
        return None

    def _covers(self, owner: bytes, following: bytes, name: bytes) -> bool:
        if not names.is_within(name, self._zone):
            return False
        first, last, asked = names.key(owner), names.key(following), names.key(name)
        if first < last:
            return first < asked < last
        return asked > first or asked < last  # the last record leads back to the apex


class _Nsec3:
    """Proofs from NSEC3 records."""

    def __init__(self, zone: bytes, sets: list[RecordSet], budget: Budget) -> None:
        self._zone = zone
        self._budget = budget
        self._hashes: dict[bytes, bytes] = {}
        self._spans: list[tuple[bytes, bytes, bool, frozenset[int]]] = []
        self._hashing: nsec3.Hashing | None = None
        for record_set in sets:
            if names.parent(record_set.owner) == zone:
                self._add(record_set)
        if self._hashing is None:
            raise Unproved("no NSEC3 record came that we can use")

    def _add(self, record_set: RecordSet) -> None:
        rdata = record_set.rdatas[0]
        try:
            hashing = nsec3.Hashing.from_rdata(rdata)
            if hashing.algorithm != nsec3.SHA1 or rdata[1] & ~nsec3.OPT_OUT:
                return  # RFC 5155 sections 8.1 and 8.2
            if hashing != (self._hashing or hashing):
                raise Unproved("the NSEC3 records hash in different ways")
            span = nsec3.owner_hash(record_set.owner), nsec3.next_hash(rdata)
            present = frozenset(rdata_wire.read_bit_map(nsec3.bit_map(rdata)))
        except Malformed as error:
            raise Bogus(f"an NSEC3 record that cannot be read: {error}") from None
        self._hashing = hashing
        self._spans.append((*span, bool(rdata[1] & nsec3.OPT_OUT), present))

    @property
    def _is_unhashable(self) -> bool:
        return self._hashing is not None and self._hashing.iterations > MAX_ITERATIONS

    def absence(self, name: bytes, number: int) -> Proof:
        if self._is_unhashable:
            return Proof.UNHASHABLE
        present = self._matching(name)
        if present is not None:
            return _read_types(name, number, present)
        encloser, next_closer = self._closest(name)
        opted_out = self._covered(next_closer)
        if opted_out is None:
            raise Unproved(f"no NSEC3 record covers {names.to_text(next_closer)}.")
        if number == DS and opted_out:
            return Proof.OPTED_OUT  # RFC 5155 section 8.6
        wild = names.wildcard(encloser)
        present = self._matching(wild)
        if present is not None:
            proof = _read_types(wild, number, present)
        elif self._covered(wild) is None:
            raise Unproved(f"no NSEC3 record denies the wildcard {names.to_text(wild)}.")
        else:
            proof = Proof.NO_NAME
        return Proof.OPTED_OUT if opted_out else proof

    def expansion(self, name: bytes, encloser: bytes) -> Proof:
        if self._is_unhashable:
            return Proof.UNHASHABLE
        next_closer = name
        while names.parent(next_closer) != encloser:
            next_closer = names.parent(next_closer)
        opted_out = self._covered(next_closer)
        if opted_out is None:
            raise Unproved(f"no NSEC3 record covers {names.to_text(next_closer)}., though a wildcard answered")
        return Proof.OPTED_OUT if opted_out else Proof.NO_NAME

    def _closest(self, name: bytes) -> tuple[bytes, bytes]:
        """Return the closest provable encloser and the name one label nearer (RFC 5155 section 8.3)."""
        next_closer = name
        while next_closer != self._zone and next_closer != names.ROOT:
            encloser = names.parent(next_closer)
            present = self._matching(encloser)
            if present is not None:
                if (NS in present and SOA not in present) or _DNAME in present:
                    raise Unproved(f"{names.to_text(encloser)}. is a delegation or a DNAME and encloses nothing")
                return encloser, next_closer
            next_closer = encloser
        raise Unproved(f"no NSEC3 record proves what encloses {names.to_text(name)}.")

    def _hash(self, name: bytes) -> bytes:
        if name not in self._hashes:
            assert self._hashing is not None
            self._budget.spend_hash()
            self._hashes[name] = self._hashing.hash(name)
        return self._hashes[name]

    def _matching(self, name: bytes) -> frozenset[int] | None:
        digest = self._hash(name)
        return next((present for owner, _, _, present in self._spans if owner == digest), None)

    def _covered(self, name: bytes) -> bool | None:
        """Return whether the span that covers a name has opt-out; None where no span covers it."""
        digest = self._hash(name)
        for owner, following, opted_out, _ in self._spans:
            if (owner < digest < following) if owner < following else (digest > owner or digest < following):
                return opted_out
        return None


def _read_types(name: bytes, number: int, present: frozenset[int]) -> Proof:
    """Return what the types at a name prove about one that was asked for."""
    delegated = NS in present and SOA not in present
    if number in present:
        raise Unproved(f"{names.to_text(name)}. has {types.mnemonic(number)} records, which the answer left out")
    if CNAME in present and number != CNAME:
        raise Unproved(f"{names.to_text(name)}. is an alias, which the answer left out")
    if number == DS and SOA in present and name != names.ROOT:
        raise Unproved(f"the proof about DS at {names.to_text(name)}. is the child's, not the parent's")
    if number != DS and delegated:
        raise Unproved(f"the proof about {names.to_text(name)}. is the parent's, not the child's")
    return Proof.DELEGATED if delegated else Proof.NO_DATA


def _longer(first: bytes, second: bytes) -> bytes:
    return first if len(first) >= len(second) else second
