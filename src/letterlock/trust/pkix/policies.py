"""The certificate policies a path is valid for, as a graph whose size grows only with the certificates' own.

The tree of RFC 5280 grows exponentially with mappings made for that; nodes of one depth with the same policy are one
node here, as RFC 9618 has it.

Standards: RFC 5280 sections 6.1.2 to 6.1.5, RFC 9618.
"""

from __future__ import annotations

from letterlock.formats.asn1.oids import ANY_POLICY


class PolicyGraph:
    """One dict a depth: policy -> the policies expected below it, and one of its parents a depth above."""

    def __init__(self) -> None:
        self._expected: list[dict[str, set[str]]] = [{ANY_POLICY: {ANY_POLICY}}]
        self._parents: list[dict[str, set[str]]] = [{ANY_POLICY: set()}]

    @property
    def is_null(self) -> bool:
        """Whether no policy is left."""
        return not self._expected[-1]

    def descend(self, policies: tuple[str, ...] | None, *, any_allowed: bool) -> None:
        """Go one certificate down (RFC 5280 section 6.1.3 d to e); `policies` None is an absent extension."""
        above = self._expected[-1]
        level: dict[str, set[str]] = {}
        parents: dict[str, set[str]] = {}
        by_expected: dict[str, set[str]] = {}
        for node, expected in above.items():
            for policy in expected:
                by_expected.setdefault(policy, set()).add(node)
        for policy in policies or ():
            if policy == ANY_POLICY:
                continue
            found = by_expected.get(policy) or ({ANY_POLICY} if ANY_POLICY in above else set())
            if found:
                level[policy], parents[policy] = {policy}, set(found)
        if policies is not None and ANY_POLICY in policies and any_allowed:
            for policy, nodes in by_expected.items():
                if policy not in level:
                    level[policy], parents[policy] = {policy}, set(nodes)
        self._expected.append(level)
        self._parents.append(parents)

    def map(self, mappings: tuple[tuple[str, str], ...], *, allowed: bool) -> None:
        """Apply policy mappings at the current depth (RFC 5280 section 6.1.4 b)."""
        level, parents = self._expected[-1], self._parents[-1]
        by_issuer: dict[str, set[str]] = {}
        for issuer, subject in mappings:
            by_issuer.setdefault(issuer, set()).add(subject)
        for issuer, subjects in by_issuer.items():
            if not allowed:
                level.pop(issuer, None)
                parents.pop(issuer, None)
            elif issuer in level:
                level[issuer] = subjects
            elif ANY_POLICY in level:
                level[issuer], parents[issuer] = subjects, {ANY_POLICY}

    def valid_for(self, wanted: frozenset[str]) -> frozenset[str]:
        """Return the policies, in the anchor's domain, that the path is valid for among `wanted` (ANY: all)."""
        if self.is_null:
            return frozenset()
        alive = set(self._expected[-1])
        domain: set[str] = {ANY_POLICY} if ANY_POLICY in alive else set()
        for depth in range(len(self._parents) - 1, 0, -1):
            parents = self._parents[depth]
            domain |= {node for node in alive if node != ANY_POLICY and ANY_POLICY in parents[node]}
            alive = set().union(*(parents[node] for node in alive)) if alive else set()
        if ANY_POLICY in wanted:
            return frozenset(domain)
        return wanted if ANY_POLICY in domain else frozenset(domain & wanted)
