"""The plan for a domain's mail servers, from zone tables."""

import pytest

from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.trust.ask import decide
from letterlock.trust.dane.plan import Fate, Plan, Requirement, plan_delivery, plan_host

DIGEST = "ab" * 32
ZONE = f"""
    $SECURE signed.test
    signed.test.            IN MX 10 mx.signed.test.
    signed.test.            IN MX 20 mx2.signed.test.
    mx.signed.test.         IN A 127.0.1.1
    mx2.signed.test.        IN A 127.0.1.2
    _25._tcp.mx.signed.test. IN TLSA 3 1 1 {DIGEST}

    $SECURE bare.test
    bare.test.              IN A 127.0.1.3
    _25._tcp.bare.test.     IN TLSA 2 0 1 {DIGEST}

    $SECURE odd.test
    odd.test.               IN MX 0 mx.odd.test.
    mx.odd.test.            IN A 127.0.1.4
    _25._tcp.mx.odd.test.   IN TLSA 1 1 1 {DIGEST}
    _25._tcp.mx.odd.test.   IN TLSA 3 1 9 {DIGEST}

    plain.test.             IN MX 0 mx.signed.test.

    $SECURE fails.test
    fails.test.             IN MX 0 mx.fails.test.
    fails.test.             IN MX 1 mx.signed.test.
    mx.fails.test.          IN A 127.0.1.5
    $TIMEOUT _25._tcp.mx.fails.test TLSA

    $SECURE alone.test
    alone.test.             IN MX 0 mx.fails.test.

    $SECURE lost.test
    lost.test.              IN MX 0 mx.lost.test.
    $SERVFAIL mx.lost.test

    $SECURE empty.test
    empty.test.             IN MX 0 nowhere.empty.test.

    $SECURE outside.test
    outside.test.           IN MX 0 mx.cloud.test.
    mx.cloud.test.          IN A 127.0.1.6

    $SECURE alias.test
    alias.test.             IN MX 0 mail.alias.test.
    mail.alias.test.        IN CNAME mx.signed.test.

    $SECURE leads.test
    leads.test.             IN MX 0 mail.leads.test.
    mail.leads.test.        IN CNAME mx.cloud.test.
    _25._tcp.mail.leads.test. IN TLSA 3 1 1 {DIGEST}

    $SECURE null.test
    null.test.              IN MX 0 .
    $BOGUS bogus.test
    $TIMEOUT dead.test MX
"""


def _plan(domain: str) -> Plan:
    return decide(plan_delivery(domain), ZoneTable.parse(ZONE).answer)


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        (
            "signed.test",
            [("mx.signed.test", Requirement.AUTHENTICATED), ("mx2.signed.test", Requirement.OPPORTUNISTIC)],
        ),
        ("bare.test", [("bare.test", Requirement.AUTHENTICATED)]),
        ("odd.test", [("mx.odd.test", Requirement.ENCRYPTED)]),
        ("plain.test", [("mx.signed.test", Requirement.OPPORTUNISTIC)]),
        ("fails.test", [("mx.signed.test", Requirement.AUTHENTICATED)]),
        ("outside.test", [("mx.cloud.test", Requirement.OPPORTUNISTIC)]),
        ("alias.test", [("mail.alias.test", Requirement.AUTHENTICATED)]),
        ("leads.test", [("mail.leads.test", Requirement.AUTHENTICATED)]),
    ],
)
def test_each_host_has_its_requirement(domain: str, expected: list[tuple[str, Requirement]]) -> None:
    """RFC 7672 section 2.2: what DNSSEC proves decides what TLS must prove."""
    plan = _plan(domain)
    assert plan.fate is Fate.TRY
    assert [(host.name, host.requirement) for host in plan.hosts] == expected
    assert all(host.reason for host in plan.hosts)


@pytest.mark.parametrize(
    ("domain", "fate"),
    [
        ("bogus.test", Fate.DEFER),
        ("dead.test", Fate.DEFER),
        ("alone.test", Fate.DEFER),
        ("lost.test", Fate.DEFER),
        ("null.test", Fate.NO_MAIL),
        ("empty.test", Fate.NO_DOMAIN),
        ("unknown.test", Fate.NO_DOMAIN),
    ],
)
def test_without_hosts_the_fate_says_why(domain: str, fate: Fate) -> None:
    """A failed look-up defers and is never a downgrade; absence is final."""
    plan = _plan(domain)
    assert (plan.fate, plan.hosts) == (fate, ())
    assert plan.reason


def test_the_expanded_name_is_the_base() -> None:
    """RFC 7672 section 2.2.2: a secure alias is expanded first; the names a certificate may carry are all of them."""
    (host,) = _plan("alias.test").hosts
    assert (host.sni, host.reference_names) == ("mx.signed.test", ("mx.signed.test", "mail.alias.test", "alias.test"))


def test_a_relay_is_a_host_of_its_own() -> None:
    table = ZoneTable.parse(f"$SECURE r.test\nr.test. IN A 127.0.0.7\n_587._tcp.r.test. IN TLSA 3 1 1 {DIGEST}")
    (host,) = decide(plan_host("r.test", 587), table.answer).hosts
    assert (host.requirement, host.addresses) == (Requirement.AUTHENTICATED, ("127.0.0.7",))
