"""What a client is worth: its name, its EHLO name, the lists; with a sentence for each point."""

from __future__ import annotations

import pytest

from letterlock.formats import authentication_results
from letterlock.formats.authentication_results import AuthenticationResults
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.mta.border.client import Iprev, Standing, Weights, examine, judge
from letterlock.mta.border.lists import ListSettings
from letterlock.trust.ask import decide

ZONE = ZoneTable.parse("""
1.2.0.192.in-addr.arpa. IN PTR mx.harbor.test.
mx.harbor.test. IN A 192.0.2.1
2.2.0.192.in-addr.arpa. IN PTR mx.harbor.test.
3.2.0.192.in-addr.arpa. IN PTR gone.harbor.test.
3.2.0.192.in-addr.arpa. IN PTR also.harbor.test.
also.harbor.test. IN A 192.0.2.3
$SERVFAIL 5.2.0.192.in-addr.arpa
6.2.0.192.in-addr.arpa. IN PTR sick.harbor.test.
$TIMEOUT sick.harbor.test
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. IN PTR six.harbor.test.
six.harbor.test. IN AAAA 2001:db8::1
other.harbor.test. IN MX 10 mx.harbor.test.
$TIMEOUT slow.test
2.2.0.192.bad.test. IN A 127.0.0.2
1.2.0.192.good.test. IN A 127.0.5.2
1.2.0.192.good.test. IN TXT "harbor.test; trusted"
""")
OWN = frozenset({"mx.rosewood.test", "rosewood.test"})
LISTS = (ListSettings("bad.test", 8), ListSettings("good.test", -3))


def standing(address: str, ehlo: str = "mx.harbor.test") -> Standing:
    """Judge a client."""
    facts = decide(examine(address, LISTS), ZONE.answer)
    return decide(judge(facts, ehlo, OWN, Weights()), ZONE.answer)


@pytest.mark.parametrize(
    ("address", "iprev", "name"),
    [
        ("192.0.2.1", Iprev.PASS, "mx.harbor.test"),
        ("192.0.2.2", Iprev.FAIL, ""),
        ("192.0.2.3", Iprev.PASS, "also.harbor.test"),
        ("192.0.2.4", Iprev.PERMERROR, ""),
        ("192.0.2.5", Iprev.TEMPERROR, ""),
        ("192.0.2.6", Iprev.TEMPERROR, ""),
        ("2001:db8::1", Iprev.PASS, "six.harbor.test"),
    ],
)
def test_the_name_behind_an_address(address: str, iprev: Iprev, name: str) -> None:
    """RFC 8601 section 3: it leads to a name, and the name back; what failed to be looked up is neither yes nor no."""
    facts = decide(examine(address, ()), ZONE.answer)
    assert (facts.iprev, facts.name) == (iprev, name)
    assert bool(facts.reason) == (iprev is not Iprev.PASS)
    assert bool(facts.unknown) == (iprev is Iprev.TEMPERROR)


@pytest.mark.parametrize(
    ("address", "ehlo", "points", "sentence"),
    [
        ("192.0.2.1", "mx.harbor.test", -3, "good.test"),
        ("192.0.2.3", "other.harbor.test", 0, ""),
        ("192.0.2.3", "[192.0.2.3]", 0, ""),
        ("2001:db8::1", "[IPv6:2001:0db8::0:1]", 0, ""),
        ("192.0.2.3", "[192.0.2.9]", 2, "it calls itself [192.0.2.9], which is not its address"),
        ("192.0.2.3", "192.0.2.3", 2, "which is no domain name of the Internet"),
        ("192.0.2.3", "localhost", 2, "which is no domain name of the Internet"),
        ("192.0.2.3", "a_b c", 2, "which is no domain name"),
        ("192.0.2.3", "MX.rosewood.TEST", 4, "it calls itself mx.rosewood.test, which is our name"),
        ("192.0.2.3", "nowhere.test", 1.5, "which is not in the DNS"),
        ("192.0.2.3", "slow.test", 0, ""),
        ("192.0.2.4", "other.harbor.test", 2, "192.0.2.4 has no name in the DNS"),
        ("192.0.2.2", "mx.harbor.test", 9.5, "192.0.2.2 is listed by bad.test (127.0.0.2)"),
        ("192.0.2.5", "other.harbor.test", 0, ""),
    ],
)
def test_points_and_sentences(address: str, ehlo: str, points: float, sentence: str) -> None:
    """Each finding counts once; what could not be looked up does not count; the worst is what the client is told."""
    judged = standing(address, ehlo)
    assert judged.points == points
    assert sentence in judged.worst
    assert len(judged.sentences) == len(judged.findings)


def test_no_name_alone_is_worth_a_refusal() -> None:
    """RFC 5321 section 4.1.4: mail must not be refused because EHLO does not fit. All names wrong stay below 10."""
    weights = Weights()
    worst = max(weights.ehlo_is_no_domain, weights.ehlo_unknown, weights.ehlo_is_ours, weights.ehlo_literal_wrong)
    assert max(weights.no_name, weights.name_not_confirmed) + worst < 10


def test_the_results_are_written_and_read_again() -> None:
    """iprev as RFC 8601 names it, dnswl as RFC 8904 does; nothing for a client that was not looked at."""
    field = authentication_results.write(AuthenticationResults("mx.rosewood.test", standing("192.0.2.1").results()))
    read = authentication_results.parse(field.partition(b":")[2])
    iprev, dnswl = read.results
    assert (iprev.method, iprev.result, iprev.value("policy", "iprev")) == ("iprev", "pass", "192.0.2.1")
    assert iprev.comments == ("mx.harbor.test",)
    assert (dnswl.method, dnswl.result, dnswl.value("dns", "zone")) == ("dnswl", "pass", "good.test")
    assert (dnswl.value("policy", "ip"), dnswl.value("dns", "sec")) == ("127.0.5.2", "no")
    assert dnswl.value("policy", "txt") == "harbor.test; trusted"
    assert Standing().results() == ()
