"""SPF beyond the suite: what could not be looked up, who is to blame, senders outside ASCII, any octets."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.formats.dns.question import Answer, Outcome, Question, Security
from letterlock.formats.dns.rdata import A, Mx, Ptr, Txt
from letterlock.trust import spf
from letterlock.trust.ask import decide
from letterlock.trust.spf import lint

Dns = Callable[[Any], Callable[[Question], Answer]]


def _check(dns: Dns, zone: dict[str, Any], address: str = "192.0.2.1", sender: str = "a@x.test") -> spf.Verdict:
    return spf.check_blocking(dns(zone), address, "helo.test", sender)


@pytest.mark.parametrize(
    "zone",
    [
        {"x.test": None},
        {"x.test": "v=spf1 include:y.test -all", "y.test": None},
        {"x.test": "v=spf1 redirect=y.test", "y.test": None},
        {"x.test": "v=spf1 a:y.test -all", "y.test": None},
        {"x.test": "v=spf1 mx:y.test -all", "y.test": None},
        {"x.test": "v=spf1 mx:y.test -all", "y.test": Mx(1, "z.test"), "z.test": None},
        {"x.test": "v=spf1 exists:y.test -all", "y.test": None},
    ],
)
def test_what_cannot_be_looked_up_is_temperror(dns: Dns, zone: dict[str, Any]) -> None:
    """The three-valued rule, at every place a name is asked for; the reason names it."""
    verdict = _check(dns, zone)
    assert verdict.result is spf.Result.TEMPERROR
    assert "could not be looked up" in verdict.reason


def test_bogus_is_no_answer() -> None:
    """An answer whose signatures do not verify is treated as none at all, not as no record."""

    def answer(question: Question) -> Answer:
        return Answer(question, Outcome.FAILED, (), Security.BOGUS, reason="the signatures do not verify")

    assert spf.check_blocking(answer, "192.0.2.1", "h.test", "a@x.test").result is spf.Result.TEMPERROR


def test_a_pointer_that_fails_only_does_not_match(dns: Dns) -> None:
    """RFC 7208 section 5.5: an error on the way to the name is no match, and no temperror."""
    zone = {"x.test": "v=spf1 ptr -all", "1.2.0.192.in-addr.arpa": Ptr("h.x.test"), "h.x.test": None}
    assert _check(dns, zone).result is spf.Result.FAIL


def test_the_guilty_include_is_named(dns: Dns) -> None:
    """Three levels down, the chain to the wrong record stands in the verdict."""
    zone = {
        "x.test": "v=spf1 ip4:198.51.100.1 include:y.test -all",
        "y.test": "v=spf1 include:z.test ~all",
        "z.test": "v=spf1 foo:bar",
    }
    verdict = _check(dns, zone)
    assert (verdict.result.value, verdict.blamed) == ("permerror", ("x.test", "y.test", "z.test"))
    assert "foo:bar" in verdict.reason


def test_a_trace_shows_every_term(dns: Dns) -> None:
    """In order, with depth and what came of it."""
    zone = {
        "x.test": "v=spf1 ip4:198.51.100.1 include:y.test -all",
        "y.test": "v=spf1 a:h.test -all",
        "h.test": A("192.0.2.7"),
    }
    trace = [(one.depth, one.domain, one.term, one.finding) for one in _check(dns, zone).trace]
    assert trace == [
        (0, "x.test", "ip4:198.51.100.1", "no match"),
        (0, "x.test", "include:y.test", "fail: no match"),
        (1, "y.test", "a:h.test", "no match"),
        (1, "y.test", "-all", "match"),
        (0, "x.test", "-all", "match"),
    ]


def test_mapped_addresses_are_ipv4(dns: Dns) -> None:
    """RFC 7208 section 5: a client on a mapped address is an IPv4 client."""
    assert _check(dns, {"x.test": "v=spf1 ip4:192.0.2.0/24 -all"}, "::ffff:192.0.2.9").result is spf.Result.PASS


def test_senders_outside_ascii(dns: Dns) -> None:
    """RFC 8616 section 4: the domain is asked as A-labels; a term with %{l} never matches such a local part."""
    zone = {
        "xn--rse-sna.test": "v=spf1 exists:%{l}.ok.test include:%{s}.test ip4:192.0.2.1 -all",
        "*.ok.test": A("127.0.0.1"),
    }
    assert _check(dns, zone, sender="grüße@röse.test").result is spf.Result.PASS
    assert _check(dns, zone, "192.0.2.2", "grüße@röse.test").result is spf.Result.FAIL


@pytest.mark.parametrize(
    "sender", ["a@x.test\x00.evil.test", "a@", "@", "a@[192.0.2.1]", "a@b..c", "a@" + "x" * 300, "a@-"]
)
def test_odd_senders_have_nothing_to_check(dns: Dns, sender: str) -> None:
    """RFC 7208 section 4.3: what is no domain name is none or asked as it is; never a pass, never an exception."""
    assert _check(dns, {"x.test": "v=spf1 +all"}, sender=sender).result is spf.Result.NONE


@given(st.binary(max_size=120), st.sampled_from(["192.0.2.1", "2001:db8::1"]))
def test_any_record(octets: bytes, address: str) -> None:
    """A record of any octets ends in a verdict, within the limits."""
    asked = 0

    def answer(question: Question) -> Answer:
        nonlocal asked
        asked += 1
        if question.type != "TXT":
            return Answer(question, Outcome.NO_DATA)
        return Answer(question, Outcome.FOUND, (Txt((b"v=spf1 " + octets,)),))

    spf.check_blocking(answer, address, "h.test", "a@x.test")
    assert asked <= 40
    decide(lint.lint("x.test"), answer)


_TERMS = st.sampled_from(
    ["a", "mx", "ptr", "all", "-all", "include:x.test", "include:%{d}", "exists:%{ir}.%{l1r-}.x.test", "redirect=x.test",
     "a:%{p}.x.test/24//64", "ip4:192.0.2.0/33", "ip6:::/0", "exp=%{c}.x.test", "~a:x.test", "mx//128", "unknown=%{s}"]
)  # fmt: skip


@given(st.lists(_TERMS, max_size=14))
def test_any_terms(terms: list[str]) -> None:
    """Records of real terms, loops among them, end within ten look-ups."""

    def answer(question: Question) -> Answer:
        if question.type == "TXT":
            return Answer(question, Outcome.FOUND, (Txt((" ".join(["v=spf1", *terms]).encode(),)),))
        if question.type == "PTR":
            return Answer(question, Outcome.FOUND, tuple(Ptr(f"h{n}.x.test") for n in range(30)))
        return Answer(question, Outcome.FOUND, tuple(Mx(n, f"m{n}.test") for n in range(3)))

    verdict = spf.check_blocking(answer, "192.0.2.1", "h.test", "a@x.test")
    assert verdict.lookups <= 11
    decide(lint.lint("x.test"), answer)


def test_lint_counts_what_receivers_count(dns: Dns) -> None:
    """Look-ups, void ones, addresses and what a flattened record would be."""
    zone = {
        "x.test": "v=spf1 include:y.test a:gone.test mx ip4:10.0.0.0/8 -all",
        "y.test": "v=spf1 ip4:192.0.2.0/30 ip6:2001:db8::/48 ~all",
    }
    report = decide(lint.lint("x.test"), dns(zone))
    assert (report.lookups, report.void_lookups) == (3, 2)
    assert (report.ipv4_addresses, report.ipv6_networks) == (4 + (1 << 24), 1 << 16)
    assert report.flattened == "v=spf1 ip4:10.0.0.0/8 ip4:192.0.2.0/30 ip6:2001:db8::/48 -all"
    circle = decide(lint.lint("x.test"), dns({"x.test": "v=spf1 include:x.test -all"}))
    assert any("circle" in one.message for one in circle.findings)
    many = "v=spf1 " + " ".join(f"a:h{n}.test" for n in range(11)) + " -all"
    found = decide(lint.lint("x.test", many), dns({f"h{n}.test": A("192.0.2.1") for n in range(11)}))
    assert any(one.severity is lint.Severity.ERROR and "11 terms" in one.message for one in found.findings)
