"""Certification paths: found among the certificates at hand, and validated certificate by certificate.

Standards: RFC 5280 section 6.1, RFC 4158 (building), RFC 9618 (policies).
Limits: 12 certificates a path, 64 paths tried, 256 steps to find them, RSA keys of 1,024 bits or more.
See also: revocation, smime_profile.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats.asn1 import oids
from letterlock.formats.x509.algorithm import NULL, PublicKeyInfo
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.extensions import KeyUsage
from letterlock.formats.x509.name import Name
from letterlock.trust.pkix import remembered
from letterlock.trust.pkix.constraints import Subtrees
from letterlock.trust.pkix.policies import PolicyGraph
from letterlock.trust.primitives import public_keys, signatures

MAX_LENGTH = 12
MAX_PATHS = 64
MAX_STEPS = 256
# processed here, in smime_profile or in revocation; any other critical extension refuses the path
_ANY = frozenset({oids.ANY_POLICY})


@dataclass(frozen=True, slots=True)
class Anchor:
    """A name and a key one trusts, within `subtrees`; `certificate` is the form it came in, if any."""

    name: Name
    public_key: PublicKeyInfo
    certificate: Certificate | None = field(default=None, compare=False)
    subtrees: Subtrees = field(default_factory=Subtrees)

    @classmethod
    def of(cls, certificate: Certificate) -> Anchor:
        """Return the anchor a (self-signed) certificate stands for, with its name constraints (RFC 5280 section 6.2)."""
        constraints = certificate.extensions.name_constraints
        subtrees = Subtrees() if constraints is None else Subtrees().narrowed(constraints)
        return cls(certificate.subject, certificate.public_key, certificate, subtrees)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a path must satisfy beside the standard's rules (RFC 5280 section 6.1.1)."""

    policies: frozenset[str] = _ANY
    require_explicit_policy: bool = False
    inhibit_policy_mapping: bool = False
    inhibit_any_policy: bool = False


@dataclass(frozen=True, slots=True)
class Path:
    """A valid path, from the certificate the anchor signed down to the target's own.

    `keys` are those of the certificates, with the DSA parameters that some inherit.
    """

    anchor: Anchor
    certificates: tuple[Certificate, ...]
    policies: frozenset[str]
    keys: tuple[PublicKeyInfo, ...]

    @property
    def target(self) -> Certificate:
        """The certificate it leads to."""
        return self.certificates[-1]

    def issuer_key(self, index: int) -> PublicKeyInfo:
        """Return the key that signed the certificate at `index`."""
        return self.anchor.public_key if index == 0 else self.keys[index - 1]


class Pool:
    """Certificates to build paths from, found by subject."""

    def __init__(self, certificates: Iterable[Certificate] = ()) -> None:
        self._by_subject: dict[Name, dict[bytes, Certificate]] = {}
        for certificate in certificates:
            self._by_subject.setdefault(certificate.subject, {})[certificate.octets] = certificate

    def named(self, subject: Name) -> tuple[Certificate, ...]:
        """Return the certificates of a subject."""
        return tuple(self._by_subject.get(subject, {}).values())


def find(
    target: Certificate, pool: Pool, anchors: Iterable[Anchor], when: datetime.datetime, rules: Rules | None = None
) -> Path:
    """Return the first valid path to `target`; NotAuthentic with the most telling reason if there is none.

    A target that is itself an anchor is a path of length one under that anchor.
    """
    by_name: dict[Name, list[Anchor]] = {}
    for anchor in anchors:
        by_name.setdefault(anchor.name, []).append(anchor)
    for anchor in by_name.get(target.subject, ()):
        if anchor.certificate == target:
            check_current(target, when)
            return Path(anchor, (target,), _ANY, (target.public_key,))
    fault: NotAuthentic | None = None
    for chain, anchor in itertools.islice(_chains(target, pool, by_name), MAX_PATHS):
        try:
            return validate(chain, anchor, when, rules or Rules())
        except (NotAuthentic, Malformed) as error:
            # the reason of the first path tried, which is the most likely one, is what is told
            fault = fault or NotAuthentic(str(error))
    raise fault or NotAuthentic(f"no path leads from {target.subject} (issued by {target.issuer}) to a trusted anchor")


def _chains(
    target: Certificate, pool: Pool, anchors: dict[Name, list[Anchor]]
) -> Iterator[tuple[tuple[Certificate, ...], Anchor]]:
    """Yield chains from an anchor's certificate down to `target`, the shortest of each branch first."""
    pending: list[tuple[Certificate, ...]] = [(target,)]
    steps = 0
    while pending:
        chain = pending.pop()
        steps += 1
        if steps > MAX_STEPS:
            return
        top = chain[0]
        for anchor in anchors.get(top.issuer, ()):
            yield chain, anchor
        if len(chain) >= MAX_LENGTH:
            continue
        issuers = [each for each in pool.named(top.issuer) if each not in chain and _may_issue(each, top)]
        issuers.sort(key=lambda each: _likelihood(each, top))
        pending += [(issuer, *chain) for issuer in issuers]


def _may_issue(issuer: Certificate, subject: Certificate) -> bool:
    usage = issuer.extensions.key_usage
    return usage is None or KeyUsage.KEY_CERT_SIGN in usage or issuer.subject == subject.subject


def _likelihood(issuer: Certificate, subject: Certificate) -> tuple[bool, float]:
    wanted = subject.extensions.authority_key_id
    fits = wanted is not None and wanted.key_id is not None and wanted.key_id == issuer.extensions.subject_key_id
    return fits, issuer.not_after.timestamp()


class _State:
    """The working variables of RFC 5280 section 6.1.2."""

    def __init__(self, anchor: Anchor, length: int, rules: Rules) -> None:
        self.name = anchor.name
        self.key = anchor.public_key
        self.parameters = anchor.public_key.algorithm.parameters
        self.subtrees = anchor.subtrees
        self.graph = PolicyGraph()
        self.explicit_policy = 0 if rules.require_explicit_policy else length + 1
        self.policy_mapping = 0 if rules.inhibit_policy_mapping else length + 1
        self.any_policy = 0 if rules.inhibit_any_policy else length + 1
        self.path_length = length


def validate(chain: tuple[Certificate, ...], anchor: Anchor, when: datetime.datetime, rules: Rules) -> Path:
    """Validate one chain (RFC 5280 section 6.1); raises NotAuthentic with the certificate and the reason."""
    path = _validate_but_dates(chain, anchor, rules)
    for certificate in chain:
        try:
            check_current(certificate, when)
        except NotAuthentic as error:
            raise NotAuthentic(f"certificate for {certificate.subject}: {error}") from None
    # anchors are equal by name and key: this one may have come with a certificate, or without
    return path if path.anchor is anchor else dataclasses.replace(path, anchor=anchor)


@functools.lru_cache(maxsize=1024)
def _validate_but_dates(chain: tuple[Certificate, ...], anchor: Anchor, rules: Rules) -> Path:
    """Do what does not depend on the time once for each chain; those that fail are not remembered."""
    state = _State(anchor, len(chain), rules)
    keys = []
    for index, certificate in enumerate(chain):
        last = index == len(chain) - 1
        try:
            _check_basics(certificate, state)
            _check_names_and_policies(certificate, state, last=last)
            if not last:
                _prepare_next(certificate, state)
            keys.append(_adopt_key(certificate, state))
        except NotAuthentic as error:
            raise NotAuthentic(f"certificate for {certificate.subject}: {error}") from None
    return _wrap_up(chain, anchor, state, rules, tuple(keys))


def check_signed(key: PublicKeyInfo, certificate: Certificate) -> None:
    """Check a certificate's signature with its issuer's key; raises NotAuthentic."""
    scheme = signatures.scheme_of(certificate.signature_algorithm)
    try:
        remembered.verify(key, scheme, certificate.signature, certificate.tbs)
    except NotAuthentic as error:
        raise NotAuthentic(f"its issuer did not sign it: {error}") from None


def check_current(certificate: Certificate, when: datetime.datetime) -> None:
    """Check that a certificate is valid at a time; raises NotAuthentic."""
    if when < certificate.not_before:
        raise NotAuthentic(f"not valid before {certificate.not_before:%Y-%m-%d %H:%M} UTC")
    if when > certificate.not_after:
        raise NotAuthentic(f"expired on {certificate.not_after:%Y-%m-%d %H:%M} UTC")


def _check_basics(certificate: Certificate, state: _State) -> None:
    """RFC 5280 section 6.1.3 a, but (2)."""
    check_signed(state.key, certificate)
    if certificate.issuer != state.name:
        raise NotAuthentic(f"issued by {certificate.issuer}, not by {state.name}")
    if certificate.extensions.unknown_critical:
        raise NotAuthentic(f"a critical extension not known here: {certificate.extensions.unknown_critical[0]}")


def _check_names_and_policies(certificate: Certificate, state: _State, *, last: bool) -> None:
    """RFC 5280 section 6.1.3 b to f."""
    if last or not certificate.is_self_issued:
        state.subtrees.check(certificate)
    any_allowed = state.any_policy > 0 or (not last and certificate.is_self_issued)
    state.graph.descend(certificate.extensions.policies, any_allowed=any_allowed)
    if state.explicit_policy == 0 and state.graph.is_null:
        raise NotAuthentic("no certificate policy is left, and one is required")


def _prepare_next(certificate: Certificate, state: _State) -> None:
    """RFC 5280 section 6.1.4."""
    extensions = certificate.extensions
    mappings = extensions.policy_mappings
    if any(oids.ANY_POLICY in pair for pair in mappings):
        raise NotAuthentic("a policy mapping to or from anyPolicy")
    if mappings:
        state.graph.map(mappings, allowed=state.policy_mapping > 0)
    state.name = certificate.subject
    if extensions.name_constraints is not None:
        state.subtrees = state.subtrees.narrowed(extensions.name_constraints)
    if not certificate.is_self_issued:
        state.explicit_policy = max(0, state.explicit_policy - 1)
        state.policy_mapping = max(0, state.policy_mapping - 1)
        state.any_policy = max(0, state.any_policy - 1)
    limits = extensions.policy_constraints
    if limits is not None and limits.require_explicit is not None:
        state.explicit_policy = min(state.explicit_policy, limits.require_explicit)
    if limits is not None and limits.inhibit_mapping is not None:
        state.policy_mapping = min(state.policy_mapping, limits.inhibit_mapping)
    if extensions.inhibit_any_policy is not None:
        state.any_policy = min(state.any_policy, extensions.inhibit_any_policy)
    _check_authority(certificate, state)


def _check_authority(certificate: Certificate, state: _State) -> None:
    """RFC 5280 section 6.1.4 k to n."""
    constraints = certificate.extensions.basic_constraints
    if certificate.version < 3 or constraints is None or not constraints.ca:
        raise NotAuthentic("used as a certification authority, which it is not")
    if not certificate.is_self_issued:
        if state.path_length <= 0:
            raise NotAuthentic("the path is longer than an authority above allows")
        state.path_length -= 1
    if constraints.path_length is not None:
        state.path_length = min(state.path_length, constraints.path_length)
    usage = certificate.extensions.key_usage
    if usage is not None and KeyUsage.KEY_CERT_SIGN not in usage:
        raise NotAuthentic("its key is not for signing certificates")


def _adopt_key(certificate: Certificate, state: _State) -> PublicKeyInfo:
    """Take over the subject's key, with inherited DSA parameters (RFC 5280 section 6.1.4 d to f)."""
    key = certificate.public_key
    if key.algorithm.oid == oids.DSA:
        if key.algorithm.parameters in (None, NULL):
            if state.key.algorithm.oid != oids.DSA or state.parameters in (None, NULL) or state.parameters is None:
                raise NotAuthentic("a DSA key without parameters, and none to inherit")
            key = public_keys.with_parameters(key, state.parameters)
        state.parameters = key.algorithm.parameters
    state.key = key
    return key


def _wrap_up(
    chain: tuple[Certificate, ...], anchor: Anchor, state: _State, rules: Rules, keys: tuple[PublicKeyInfo, ...]
) -> Path:
    """RFC 5280 section 6.1.5."""
    target = chain[-1]
    explicit = state.explicit_policy - (0 if target.is_self_issued else 1)
    limits = target.extensions.policy_constraints
    if limits is not None and limits.require_explicit == 0:
        explicit = 0
    policies = state.graph.valid_for(rules.policies)
    if explicit <= 0 and not policies:
        raise NotAuthentic(f"certificate for {target.subject}: no acceptable certificate policy")
    return Path(anchor, chain, policies, keys)
