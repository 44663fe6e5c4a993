"""Routes decided from zone tables."""

from __future__ import annotations

from letterlock.formats.outcome import Result
from letterlock.host.entropy import SeededEntropy
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.host.stream import Endpoint
from letterlock.mta.route import Exchangers, Refusal, Relay, Route, RoutingSettings, find_route
from letterlock.trust.ask import decide

ZONE = ZoneTable.parse("""
harbor.test.      300 IN MX 10 a.harbor.test.
harbor.test.      300 IN MX 10 b.harbor.test.
harbor.test.      300 IN MX 10 c.harbor.test.
harbor.test.      300 IN MX 20 backup.test.
a.harbor.test.    300 IN A 192.0.2.1
b.harbor.test.    300 IN A 192.0.2.2
b.harbor.test.    300 IN AAAA 2001:db8::2
b.harbor.test.    300 IN AAAA 2001:db8::3
c.harbor.test.    300 IN A 192.0.2.3
backup.test.      300 IN A 192.0.2.4
bare.test.        300 IN A 192.0.2.5
null.test.        300 IN MX 0 .
dangling.test.    300 IN MX 0 nowhere.test.
us.test.          300 IN MX 5 mx.rosewood.test.
us.test.          300 IN MX 10 a.harbor.test.
second.test.      300 IN MX 5 a.harbor.test.
second.test.      300 IN MX 10 mx.rosewood.test.
second.test.      300 IN MX 15 backup.test.
mx.rosewood.test. 300 IN A 192.0.2.9
text.test.        300 IN TXT "no mail"
$TIMEOUT dead.test
half.test.        300 IN MX 5 dead.test.
half.test.        300 IN MX 10 backup.test.
""")
SETTINGS = RoutingSettings(frozenset({"mx.rosewood.test"}), ports={"backup.test": 2525})


def route(domain: str, settings: RoutingSettings = SETTINGS, *, seed: int = 1, override: str = "") -> Route:
    """The route for a domain by the zone above."""
    return decide(find_route(domain, settings, SeededEntropy(seed), override=override), ZONE.answer)


def names(found: Route) -> list[str]:
    """The hosts of a route."""
    return [hop.host.name for hop in found.hops]


def test_exchangers_by_preference_equals_in_any_order() -> None:
    """RFC 5321 section 5.1: the preferred first, those alike shuffled."""
    orders = {tuple(names(route("harbor.test", seed=seed))) for seed in range(50)}
    assert all(order[3] == "backup.test" and set(order[:3]) == {f"{x}.harbor.test" for x in "abc"} for order in orders)
    assert len(orders) == 6
    hop = next(hop for hop in route("harbor.test").hops if hop.host.name == "b.harbor.test")
    assert hop.endpoints == (Endpoint("2001:db8::2", 25), Endpoint("192.0.2.2", 25), Endpoint("2001:db8::3", 25))


def test_a_domain_without_exchangers_is_its_own() -> None:
    """The implicit MX."""
    assert [hop.endpoints for hop in route("bare.test").hops] == [(Endpoint("192.0.2.5", 25),)]


def test_what_hinders() -> None:
    """For good where the DNS says so, for now where it could not be asked."""
    cases = {
        "null.test": (Result.FAILED, "5.1.10"),
        "absent.test": (Result.FAILED, "5.1.2"),
        "text.test": (Result.FAILED, "5.1.2"),
        "dangling.test": (Result.FAILED, "5.1.2"),
        "dead.test": (Result.DEFERRED, "4.4.3"),
        "[192.0.2.1]": (Result.FAILED, "5.1.2"),
        "us.test": (Result.FAILED, "5.4.6"),
    }
    for domain, expected in cases.items():
        hindrance = route(domain).hindrance
        assert hindrance is not None, domain
        assert (hindrance.result, hindrance.status) == expected, domain


def test_hosts_no_better_than_ourselves_are_left_out() -> None:
    """RFC 5321 section 5.1: else mail would go in circles between us."""
    assert names(route("second.test")) == ["a.harbor.test"]


def test_a_host_that_cannot_be_looked_up_leaves_the_others() -> None:
    """And ports may be set by host, for laboratories."""
    found = route("half.test")
    assert [hop.endpoints for hop in found.hops] == [(Endpoint("192.0.2.4", 2525),)]


def test_relays_take_the_place_of_exchangers() -> None:
    """By domain, for all, or for one message."""
    settings = RoutingSettings(frozenset(), ways={"harbor.test": Relay("bare.test", 26), "*": Relay("backup.test", 27)})
    assert route("harbor.test", settings).hops[0].endpoints == (Endpoint("192.0.2.5", 26),)
    assert route("other.test", settings).hops[0].endpoints == (Endpoint("192.0.2.4", 27),)
    assert route("harbor.test", override="c.harbor.test:28").hops[0].endpoints == (Endpoint("192.0.2.3", 28),)
    for text, expected in (
        ("[192.0.2.7]:26", ("192.0.2.7", 26)),
        ("[2001:db8::7]", ("2001:db8::7", 25)),
        ("192.0.2.7", ("192.0.2.7", 25)),
    ):
        assert route("harbor.test", override=text).hops[0].endpoints == (Endpoint(*expected),)
    gone = route("x.test", RoutingSettings(frozenset(), ways={"*": Relay("absent.test")})).hindrance
    assert gone is not None
    assert gone.result is Result.DEFERRED


def test_ways_by_domain_and_above() -> None:
    """The domain's own rule, then the nearest above, then "*"; the DNS may be chosen expressly, a domain refused."""
    settings = RoutingSettings(
        frozenset(),
        ways={
            "harbor.test": Exchangers(),
            "*.sea.test": Relay("bare.test", 26),
            "*.deep.sea.test": Refusal("closed"),
            "*": Relay("backup.test", 27),
        },
    )
    assert len(route("harbor.test", settings).hops) == 4
    assert route("a.sea.test", settings).hops[0].endpoints == (Endpoint("192.0.2.5", 26),)
    assert route("sea.test", settings).hops[0].endpoints == (Endpoint("192.0.2.4", 27),)
    refused = route("x.deep.sea.test", settings).hindrance
    assert refused is not None
    assert (refused.result, refused.status, refused.reason) == (Result.FAILED, "5.7.1", "closed")


def test_an_exchanger_at_our_own_address_is_ourselves() -> None:
    """RFC 5321 section 5.1, by address: what is not preferred to it is left out, and nothing left is a loop."""

    def is_ours(endpoint: Endpoint) -> bool:
        return endpoint in (Endpoint("192.0.2.9", 25), Endpoint("192.0.2.5", 25))

    settings = RoutingSettings(frozenset(), is_ours=is_ours)
    assert names(route("second.test", settings)) == ["a.harbor.test"]
    for domain in ("us.test", "bare.test"):
        hindrance = route(domain, settings).hindrance
        assert hindrance is not None
        assert (hindrance.result, hindrance.status) == (Result.FAILED, "5.4.6")
