"""Lists of addresses in the DNS: what they say, and when they have said nothing."""

from __future__ import annotations

import ipaddress

import pytest

from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.mta.border.lists import Code, Listing, ListSettings, check_list, listed_name, look_up
from letterlock.trust.ask import decide

ZONE = ZoneTable.parse("""
2.0.0.127.bad.test. IN A 127.0.0.2
1.2.0.192.bad.test. IN A 127.0.0.4
1.2.0.192.bad.test. IN A 127.0.0.10
1.2.0.192.bad.test. IN TXT "see https://bad.test/?" "192.0.2.1"
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bad.test. IN A 127.0.0.2
2.0.0.127.good.test. IN A 127.0.0.2
1.2.0.192.good.test. IN A 127.0.10.3
3.2.0.192.good.test. IN A 127.0.0.255
$SECURE good.test
1.2.0.192.asked.test. IN A 127.255.255.254
2.0.0.127.asked.test. IN A 127.255.255.254
1.2.0.192.parked.test. IN A 203.0.113.80
2.0.0.127.parked.test. IN A 203.0.113.80
*.yes.test. IN A 127.0.0.2
$SERVFAIL 1.2.0.192.sick.test
$TIMEOUT 2.0.0.127.sick.test
2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.six.test. IN A 127.0.0.2
""")
BAD, GOOD = ListSettings("bad.test"), ListSettings("good.test", -5)


def ask(address: str, *lists: ListSettings) -> tuple[tuple[Listing, ...], tuple[str, ...]]:
    """Ask lists of the zone."""
    return decide(look_up(address, lists), ZONE.answer)


def test_a_listing_names_its_list_its_code_and_its_reason() -> None:
    """Every code counts where none is named; the words are the list's own."""
    listings, problems = ask("192.0.2.1", BAD)
    assert [(one.code, one.points) for one in listings] == [("127.0.0.4", 10), ("127.0.0.10", 10)]
    assert listings[0].sentence == "listed by bad.test (127.0.0.4, see https://bad.test/?192.0.2.1)"
    assert problems == ()
    assert ask("192.0.2.2", BAD) == ((), ())


def test_codes_have_meanings_and_points_of_their_own() -> None:
    """And those that are not named do not count."""
    codes = (Code(ipaddress.IPv4Network("127.0.0.10/31"), "an address for end users", 4),)
    listings, _ = ask("192.0.2.1", ListSettings("bad.test", codes=codes))
    assert [(one.code, one.points, one.meaning) for one in listings] == [("127.0.0.10", 4, "an address for end users")]
    assert ask("2001:db8::1", ListSettings("bad.test", codes=codes)) == ((), ())


def test_ipv6_is_asked_by_nibbles() -> None:
    """RFC 5782 section 2.4."""
    assert [one.code for one in ask("2001:db8::1", BAD)[0]] == ["127.0.0.2"]
    assert listed_name("192.0.2.99", "bad.test") == "99.2.0.192.bad.test"


def test_lists_that_vouch() -> None:
    """Points below 0, with the DNSSEC state; "you ask too much" vouches for nobody."""
    (listing,), _ = ask("192.0.2.1", GOOD)
    assert (listing.vouches, listing.points, listing.is_secure) == (True, -5, True)
    listings, problems = ask("192.0.2.3", GOOD)
    assert listings == ()
    assert problems == ("good.test: does not answer us (127.0.0.255: the resolver is a public one, or asks too much)",)


@pytest.mark.parametrize(
    ("zone", "problem"),
    [
        ("asked.test", "does not answer us (127.255.255.254"),
        ("parked.test", "answers 203.0.113.80, which is no code of a list"),
        ("sick.test", "could not be asked"),
    ],
)
def test_a_list_that_cannot_say_has_said_nothing(zone: str, problem: str) -> None:
    """No answer, an answer for all the world, an answer that is none: no listing, and a sentence why."""
    listings, problems = ask("192.0.2.1", ListSettings(zone), BAD)
    assert {one.zone for one in listings} == {"bad.test"}
    assert len(problems) == 1
    assert problem in problems[0]


@pytest.mark.parametrize(
    ("zone", "problem"),
    [
        ("bad.test", ""),
        ("good.test", ""),
        ("six.test", ""),
        ("gone.test", "127.0.0.2 is not on it"),
        ("yes.test", "127.0.0.1 is on it"),
        ("asked.test", "does not answer us"),
        ("parked.test", "no code of a list"),
        ("sick.test", "could not be asked"),
    ],
)
def test_a_list_is_tested_before_it_is_believed(zone: str, problem: str) -> None:
    """RFC 5782 section 5: what must be on every list, and on none."""
    said = decide(check_list(ListSettings(zone)), ZONE.answer)
    assert problem in said
    assert bool(problem) == bool(said)
