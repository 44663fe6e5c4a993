"""DMARC by RFC 9989, from zone tables."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.errors import Malformed
from letterlock.formats.dns.question import Answer, Outcome, Question
from letterlock.formats.dns.rdata import A, Txt
from letterlock.formats.imf.header import read_header
from letterlock.trust import dmarc
from letterlock.trust.ask import decide
from letterlock.trust.dmarc import record, tree_walk

Dns = Callable[[Any], Callable[[Question], Answer]]


def _identifier(text: str | None) -> dmarc.Identifier | None:
    if text is None:
        return None
    result, _, domain = text.partition(":")
    return dmarc.Identifier(domain, result)


def _check(dns: Dns, zone: dict[str, Any], author: str, spf: str | None = None, *dkim: str) -> dmarc.Verdict:
    identifiers = tuple(dmarc.Identifier(text.partition(":")[2], text.partition(":")[0]) for text in dkim)
    return dmarc.check_blocking(dns(zone), author, _identifier(spf), identifiers)


REJECT = {"_dmarc.rosewood.test": "v=DMARC1; p=reject; sp=quarantine; np=reject; rua=mailto:d@rosewood.test"}


@pytest.mark.parametrize(
    ("author", "spf", "dkim", "expected"),
    [
        ("rosewood.test", "pass:rosewood.test", (), ("pass", "reject", "none")),
        ("rosewood.test", "pass:bounce.rosewood.test", (), ("pass", "reject", "none")),
        ("rosewood.test", None, ("pass:mail.rosewood.test",), ("pass", "reject", "none")),
        ("rosewood.test", None, ("fail:rosewood.test",), ("fail", "reject", "reject")),
        ("rosewood.test", "softfail:rosewood.test", (), ("fail", "reject", "reject")),
        ("rosewood.test", "pass:evil.test", ("pass:evil.test",), ("fail", "reject", "reject")),
        ("rosewood.test", "pass:notrosewood.test", (), ("fail", "reject", "reject")),
        ("rosewood.test", "pass:test", (), ("fail", "reject", "reject")),
        ("rosewood.test", "temperror:rosewood.test", (), ("temperror", "reject", "none")),
        ("rosewood.test", "temperror:evil.test", (), ("fail", "reject", "reject")),
        ("rosewood.test", "temperror:rosewood.test", ("pass:rosewood.test",), ("pass", "reject", "none")),
    ],
)
def test_results(dns: Dns, author: str, spf: str | None, dkim: tuple[str, ...], expected: tuple[str, ...]) -> None:
    """The result, the policy published and the disposition, identifier by identifier."""
    verdict = _check(dns, REJECT, author, spf, *dkim)
    assert verdict.policy is not None
    assert (verdict.result.value, verdict.policy.value, verdict.disposition.value) == expected
    assert verdict.record_domain == "rosewood.test"


def test_no_record_is_none(dns: Dns) -> None:
    """RFC 9989 section 4.10.1: without a record DMARC does not apply."""
    verdict = _check(dns, {}, "rosewood.test", "fail:rosewood.test")
    assert (verdict.result, verdict.policy) == (dmarc.Result.NONE, None)


@pytest.mark.parametrize("dead", ["_dmarc.rosewood.test", "_dmarc.a.rosewood.test"])
def test_a_failed_look_up_is_never_no_record(dns: Dns, dead: str) -> None:
    """SERVFAIL on the way to the record is temperror, whatever may stand above."""
    verdict = _check(dns, {dead: None, "_dmarc.test": "v=DMARC1; p=none"}, "a.rosewood.test", "fail:x.test")
    assert verdict.result is dmarc.Result.TEMPERROR
    assert "could not be looked up" in verdict.reason


def test_a_failure_above_does_not_matter_where_it_is_not_needed(dns: Dns) -> None:
    """The author's own record and an identical identifier need no walk."""
    zone = {"_dmarc.rosewood.test": "v=DMARC1; p=reject", "_dmarc.test": None}
    assert _check(dns, zone, "rosewood.test", "pass:rosewood.test").result is dmarc.Result.PASS
    assert _check(dns, zone, "rosewood.test", "pass:mail.rosewood.test").result is dmarc.Result.TEMPERROR


def test_subdomains_take_sp_and_np(dns: Dns) -> None:
    """RFC 9989 section 4.7: sp for a subdomain that exists, np for one that does not, p for the domain itself."""
    zone = {**REJECT, "shop.rosewood.test": A("192.0.2.1")}
    verdict = _check(dns, zone, "shop.rosewood.test")
    assert (verdict.policy, verdict.policy_tag) == (dmarc.Policy.QUARANTINE, "sp")
    verdict = _check(dns, zone, "ghost.rosewood.test")
    assert (verdict.policy, verdict.policy_tag) == (dmarc.Policy.REJECT, "np")
    verdict = _check(dns, {"_dmarc.rosewood.test": "v=DMARC1; p=reject; sp=none"}, "ghost.rosewood.test")
    assert (verdict.policy, verdict.policy_tag) == (dmarc.Policy.NONE, "sp")
    verdict = _check(dns, {**REJECT, "dead.rosewood.test": None}, "dead.rosewood.test")
    assert verdict.result is dmarc.Result.TEMPERROR


def test_testing_mode_lowers_the_policy_by_one(dns: Dns) -> None:
    """RFC 9989 section 4.7: t=y makes reject quarantine, and quarantine none; the override is named."""
    for published, applied in (("reject", "quarantine"), ("quarantine", "none")):
        zone = {"_dmarc.rosewood.test": f"v=DMARC1; p={published}; t=y"}
        verdict = _check(dns, zone, "rosewood.test")
        assert verdict.applied_policy is not None
        assert (verdict.applied_policy.value, verdict.disposition.value) == (applied, applied)
        assert verdict.overrides[0].type is dmarc.OverrideType.POLICY_TEST_MODE


@pytest.mark.parametrize(("mode", "result"), [("r", "pass"), ("s", "fail")])
def test_strict_alignment_is_identity(dns: Dns, mode: str, result: str) -> None:
    """adkim=s and aspf=s accept the very same domain only."""
    zone = {"_dmarc.rosewood.test": f"v=DMARC1; p=reject; adkim={mode}; aspf={mode}"}
    assert _check(dns, zone, "rosewood.test", "pass:m.rosewood.test").result.value == result
    assert _check(dns, zone, "rosewood.test", None, "pass:m.rosewood.test").result.value == result
    assert _check(dns, zone, "rosewood.test", None, "pass:rosewood.test").result.value == "pass"


def test_the_examples_of_the_tree_walk(dns: Dns) -> None:
    """RFC 9989 appendix B.4.2 and B.4.3."""
    zone = {"_dmarc.example.com": "v=DMARC1; p=reject", "_dmarc.signing.example.com": "v=DMARC1; p=none"}
    deep = "a.b.c.d.e.f.g.h.i.j.k.example.com"
    verdict = _check(dns, zone, deep, "pass:example.com", "pass:signing.example.com")
    assert (verdict.result.value, verdict.organizational_domain) == ("pass", "example.com")
    assert (verdict.spf_aligned, verdict.dkim_aligned) == (True, True)
    zone = {
        "_dmarc.bank.example": "v=DMARC1; p=reject; psd=y",
        "_dmarc.giant.bank.example": "v=DMARC1; p=quarantine",
    }
    verdict = _check(dns, zone, "giant.bank.example", "pass:mail.giant.bank.example", "pass:mail.mega.bank.example")
    assert (verdict.spf_aligned, verdict.dkim_aligned) == (True, False)
    verdict = _check(dns, zone, "mega.bank.example", "pass:giant.bank.example")
    assert (verdict.result.value, verdict.record_domain, verdict.policy_tag) == ("fail", "bank.example", "p")


def test_a_walk_asks_eight_names_at_most() -> None:
    """RFC 9989 section 4.10: long names are cut to seven labels after the first question."""
    assert tree_walk.names("a.b.c.d.e.f.g.h.i.j.mail.example.com") == (
        "a.b.c.d.e.f.g.h.i.j.mail.example.com",
        "g.h.i.j.mail.example.com",
        "h.i.j.mail.example.com",
        "i.j.mail.example.com",
        "j.mail.example.com",
        "mail.example.com",
        "example.com",
        "com",
    )
    for labels in range(1, 40):
        assert len(tree_walk.names(".".join("x" * labels))) <= 8


def test_psd_n_ends_the_walk(dns: Dns) -> None:
    """psd=n makes a subdomain an organization of its own."""
    zone = {"_dmarc.example.com": "v=DMARC1; p=none", "_dmarc.sub.example.com": "v=DMARC1; p=reject; psd=n"}
    assert _check(dns, zone, "sub.example.com", "pass:example.com").result.value == "fail"
    assert _check(dns, zone, "x.sub.example.com").record_domain == "sub.example.com"


def test_two_records_count_as_none(dns: Dns) -> None:
    """RFC 9989 section 4.10: several records at one name are all discarded, and that is said."""
    zone = {"_dmarc.rosewood.test": ["v=DMARC1; p=reject", "v=DMARC1; p=none"]}
    verdict = _check(dns, zone, "rosewood.test")
    assert verdict.result is dmarc.Result.NONE
    assert "2 DMARC records" in verdict.problems[0]


@pytest.mark.parametrize(
    ("text", "result", "policy"),
    [
        ("v=DMARC1; p=rejct", "permerror", None),
        ("v=DMARC1; p=rejct; rua=mailto:d@x.test", "fail", "none"),
        ("v=DMARC1; rua=mailto:d@x.test", "fail", "none"),
        ("v=DMARC1; p=reject; sp=banana; rua=mailto:d@x.test", "fail", "none"),
        ("v=DMARC1; p=reject; adkim=x; fo=9; nonsense; pct=5", "fail", "reject"),
        ("v=dmarc1; p=reject", "none", None),
        ("p=reject; v=DMARC1", "none", None),
        ("v=DMARC1;p=reject;", "fail", "reject"),
        ("v = DMARC1 ; p = REJECT", "fail", "reject"),
    ],
)
def test_broken_records(dns: Dns, text: str, result: str, policy: str | None) -> None:
    """RFC 9989 section 4.8 and 4.10.1: what is wrong falls back to defaults, and pct changes nothing."""
    verdict = _check(dns, {"_dmarc.rosewood.test": text}, "rosewood.test")
    assert (verdict.result.value, verdict.policy.value if verdict.policy else None) == (result, policy)


def test_several_authors_take_the_worst(dns: Dns) -> None:
    """RFC 9989 section 11.5: a domain that passes does not carry another with it."""
    zone = {**REJECT, "_dmarc.evil.test": "v=DMARC1; p=none"}
    verdict = decide(dmarc.judge(("evil.test", "rosewood.test"), dmarc.Identifier("evil.test", "pass"), ()), dns(zone))
    assert (verdict.author_domain, verdict.disposition.value) == ("rosewood.test", "reject")
    many = tuple(f"d{i}.test" for i in range(9))
    assert decide(dmarc.judge(many), dns(zone)).result is dmarc.Result.PERMERROR


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"From: a@rosewood.test\r\n", ("rosewood.test",)),
        (b'From: "a@evil.test" <b@rosewood.test>\r\n', ("rosewood.test",)),
        (b"From: b (a@evil.test) @rosewood.test\r\n", ("rosewood.test",)),
        (b"From: Group: a@rosewood.test, b@evil.test;\r\n", ("rosewood.test", "evil.test")),
        (b"From: a@rosewood.test, b@ROSEWOOD.test\r\n", ("rosewood.test",)),
        ("From: a@r\u00f6se.test\r\n".encode(), ("xn--rse-sna.test",)),
        (b"From: a@rose-.test\r\n", None),
        (b"From: <a@rosewood.test> <b@evil.test>\r\n", ("rosewood.test", "evil.test")),
        (b"From: <b@evil.test> a@rosewood.test\r\n", ("evil.test", "rosewood.test")),
        (b"From: a@rosewood.test <b@evil.test>\r\n", ("evil.test", "rosewood.test")),
        (b"From: a@rosewood.test@evil.test\r\n", ("evil.test", "rosewood.test")),
        (b"From: a@rosewood.test;b@evil.test\r\n", ("evil.test", "rosewood.test")),
        (b"From: a@rosewood.test (c) b@evil.test\r\n", ("evil.test", "rosewood.test")),
        (b'From: "a@rosewood.test" <b@evil.test>\r\n', ("evil.test",)),
        (b"From: (a@rosewood.test) b@evil.test\r\n", ("evil.test",)),
        (b"From: a@1.test,a@2.test,a@3.test,a@4.test,a@5.test,a@6.test\r\n", None),
        (b"From: a@rosewood.test\r\nFrom: b@evil.test\r\n", None),
        (b"From: undisclosed:;\r\n", None),
        (b"From: a@rosewood\x00.test\r\n", None),
        (b"From: a@rosewood.test\x00@evil.test\r\n", None),
        (b"From: a@ros\xffewood.test\r\n", None),
        (b"From: nobody\r\n", None),
        (b"From:\r\n", None),
        (b"Subject: x\r\n", None),
        (b"From: " + b"x@y.test," * 50_000 + b"\r\n", None),
    ],
)
def test_who_the_author_is(header: bytes, expected: tuple[str, ...] | None) -> None:
    """Comments, groups, display names, NUL, octets, hyphens: From yields its domains, or says why not."""
    parsed = read_header(header + b"\r\n")
    if expected is None:
        with pytest.raises(Malformed):
            dmarc.author_domains(parsed)
    else:
        assert dmarc.author_domains(parsed) == expected


def test_report_destinations(dns: Dns) -> None:
    """RFC 9990: another organization must say that it wants the reports, and may name another of its addresses."""
    from letterlock.trust.dmarc import destination

    zone = {
        "_dmarc.rosewood.test": "v=DMARC1; p=none; rua=mailto:d@reports.test",
        "_dmarc.other.test": "v=DMARC1; p=none",
        "rosewood.test._report._dmarc.reports.test": "v=DMARC1; rua=mailto:better@reports.test",
        "other.test._report._dmarc.reports.test": "v=DMARC1; rua=mailto:x@victim.test",
        "dead.test._report._dmarc.reports.test": None,
        "plain.test._report._dmarc.reports.test": "v=DMARC1",
    }
    uri = record.parse_uri("mailto:d@reports.test!10m")

    def verify(domain: str, where: record.ReportUri = uri) -> Any:
        return decide(destination.verify(domain, where), dns(zone))

    assert [found.address for found in verify("rosewood.test").uris] == ["better@reports.test"]
    assert [found.address for found in verify("plain.test").uris] == ["d@reports.test"]
    assert verify("other.test").uris == ()
    assert verify("stranger.test").uris == ()
    assert not verify("dead.test").is_known
    own = record.parse_uri("mailto:d@mail.rosewood.test")
    assert verify("rosewood.test", own).uris == (own,)


@given(st.binary(max_size=200))
def test_any_record_is_read_or_refused(octets: bytes) -> None:
    """A record of any octets ends in a verdict."""

    def answer(question: Question) -> Answer:
        return Answer(question, Outcome.FOUND, (Txt((b"v=DMARC1;" + octets,)),))

    dmarc.check_blocking(answer, "a.b.test", dmarc.Identifier("c.test", "pass"))
