"""What messages and policies demand of TLS, and what of it is recorded for TLS reports, over real connections."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.conftest import self_signed
from tests.mta.test_outbound import CONTENT, TO_ADA, Host, deliver, network
from tests.mta.test_sts import POLICY, Web, hop, policies, web

from letterlock.formats.dns.question import Answer, Question, Security
from letterlock.formats.outcome import Result
from letterlock.host.clock import SetClock, SystemClock
from letterlock.host.ledger import Ledger
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.host.tls import KeyPair, ServerTls, authenticated_client
from letterlock.mta.demand import Demands, HostNotAllowed, Wish, wish_of
from letterlock.mta.outbound import Outbound
from letterlock.mta.tls_results import AppliedPolicy, LedgerRecord, TlsResult
from letterlock.trust.dane.plan import Requirement

POLICY_A = "version: STSv1\nmode: {}\nmx: {}\nmax_age: 1000\n"
REQUIRED = replace(TO_ADA, require_tls=True)


class Signed:
    """A resolver whose answers are all secure."""

    def __init__(self, inner: ZoneTable) -> None:
        self.inner = inner

    async def ask(self, question: Question) -> Answer:
        return replace(await self.inner.ask(question), security=Security.SECURE)


def publish(site: Web, mode: str, mx: str = "a.test") -> None:
    """Let the web server say another policy."""
    text = POLICY_A.format(mode, mx)
    site.response = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()


@pytest.fixture
def seen() -> list[TlsResult]:
    """What was recorded."""
    return []


def with_demands(outbound: Outbound, seen: list[TlsResult], demands: Demands) -> None:
    """Let an Outbound decide by these and record here."""
    outbound.demand = demands
    outbound.record = seen.append


@pytest.mark.parametrize(
    ("header", "wish"),
    [
        (b"TLS-Required: No\r\n\r\nx", Wish.OPTIONAL),
        (b"A: b\r\ntls-required:\r\n no\r\n\r\nx", Wish.OPTIONAL),
        (b"TLS-Required: Nonsense\r\n\r\n", Wish.AS_PUBLISHED),
        (b"TLS-Required: No\r\n way\r\n\r\n", Wish.AS_PUBLISHED),
        (b"A: b\r\n\r\nTLS-Required: No\r\n", Wish.AS_PUBLISHED),
        (b"X-TLS-Required: No\r\n\r\n", Wish.AS_PUBLISHED),
    ],
)
def test_what_a_message_wishes(header: bytes, wish: Wish) -> None:
    """RFC 8689 section 3 and 4.1: the field counts in the header only, and REQUIRETLS outdoes it."""
    assert wish_of(TO_ADA, header) is wish
    assert wish_of(REQUIRED, header) is Wish.REQUIRED


async def test_no_policy_and_no_tls_is_recorded(seen: list[TlsResult], key_pair: KeyPair) -> None:
    """One result a session: without STARTTLS, refused, and with TLS; messages on one connection count once."""
    plain, refusing, good = Host(), Host(ServerTls([key_pair]), STARTTLS="454 no"), Host(ServerTls([key_pair]))
    for host, expected in ((plain, "starttls-not-supported"), (refusing, "validation-failure"), (good, "")):
        async with network(host) as (outbound, _):
            outbound.record = seen.append
            assert (await deliver(outbound)).result is Result.RELAYED
            assert (await deliver(outbound)).result is Result.RELAYED
        (result,) = seen
        assert (result.type, result.policy.type, result.policy.domain) == (expected, "no-policy-found", "harbor.test")
        assert (result.receiving_mx, result.receiving_ip, result.sending_ip) == ("a.test", "127.0.0.1", "127.0.0.1")
        seen.clear()


async def test_an_enforced_policy_holds_mail_back(tmp_path: Path, key_pair: KeyPair, seen: list[TlsResult]) -> None:
    """RFC 8461 section 5: wrong certificate, right certificate, a host that is not named; each in the record."""
    right = self_signed(tmp_path, "a.test")
    async with web(tmp_path) as (site, fetch):
        for pair, mx, expected in (
            (right, "a.test", (Result.RELAYED, "")),
            (key_pair, "a.test", (Result.DEFERRED, "certificate-host-mismatch")),
            (self_signed(tmp_path, "z.test"), "a.test", (Result.DEFERRED, "certificate-not-trusted")),
            (right, "z.test", (Result.DEFERRED, "validation-failure")),
        ):
            publish(site, "enforce", mx)
            trusted = authenticated_client(right.chain)
            trusted.load_verify_locations(key_pair.chain)
            known = policies(site, fetch, SetClock())
            async with network(Host(ServerTls([pair]))) as (outbound, _):
                with_demands(outbound, seen, Demands(clock=SystemClock(), authenticated=trusted, policies=known))
                outcome = await deliver(outbound)
            assert (outcome.result, seen[-1].type) == expected, outcome
            assert (seen[-1].policy.type, seen[-1].policy.mx_hosts) == ("sts", (mx,))
            assert seen[-1].policy.strings[:2] == ("version: STSv1", "mode: enforce")
        assert len(seen) == 4


async def test_a_tested_policy_reports_and_delivers(tmp_path: Path, key_pair: KeyPair, seen: list[TlsResult]) -> None:
    """The same failures, and the mail goes on, still encrypted; one result each."""
    async with web(tmp_path) as (site, fetch):
        for mx, expected in (("a.test", "certificate-not-trusted"), ("z.test", "validation-failure")):
            publish(site, "testing", mx)
            known = policies(site, fetch, SetClock())
            authenticated = authenticated_client(fetch_roots(tmp_path))
            async with network(Host(ServerTls([key_pair]))) as (outbound, _):
                with_demands(outbound, seen, Demands(clock=SystemClock(), authenticated=authenticated, policies=known))
                outcome = await deliver(outbound)
            assert (outcome.result, outcome.security) == (Result.RELAYED, "TLSv1.3 may")
            (result,) = seen
            assert (result.policy.type, result.type or result.policy.trouble) == ("sts", expected)
            seen.clear()


def fetch_roots(folder: Path) -> Path:
    """A root that signed nothing here."""
    return self_signed(folder, "root.test").chain


async def test_a_policy_that_cannot_be_had_is_recorded(tmp_path: Path, seen: list[TlsResult]) -> None:
    """RFC 8460 section 4.3.2.2: fetch error, invalid policy, and a web certificate nobody trusts."""
    async with web(tmp_path) as (site, fetch):
        for response, context, expected in (
            (b"HTTP/1.1 404 No\r\n\r\n", fetch.context, "sts-policy-fetch-error"),
            (site.response.replace(b"STSv1", b"STSv9"), fetch.context, "sts-policy-invalid"),
            (site.response, authenticated_client(fetch_roots(tmp_path)), "sts-webpki-invalid"),
        ):
            site.response = response
            known = policies(site, replace(fetch, context=context), SetClock())
            demands = Demands(clock=SetClock(), authenticated=fetch.context, policies=known)
            demand = await demands("harbor.test", hop("a.test"))
            assert demand.label == "may"
            assert demand.policy == AppliedPolicy("harbor.test", "sts", trouble=expected)


async def test_requiretls_needs_a_name_that_is_vouched_for(key_pair: KeyPair) -> None:
    """RFC 8689 section 4.2.1: without signed MX or MTA-STS, TLS or the keyword, the message is returned, not sent."""
    host = Host(ServerTls([key_pair]), keywords=("REQUIRETLS",))
    async with network(host) as (outbound, _):
        outcome = await deliver(outbound, REQUIRED)
        assert (outcome.result, outcome.status) == (Result.FAILED, "5.7.10")
        assert "neither DNSSEC nor an MTA-STS policy" in outcome.reply
        assert not host.connections
        outbound.adopt(outbound._settings, Signed(outbound._routes._resolver))  # type: ignore[arg-type]
        outcome = await deliver(outbound, REQUIRED)
        assert (outcome.result, outcome.status, host.contents) == (Result.FAILED, "5.7.10", [])  # not its certificate


async def test_requiretls_goes_where_all_is_right(tmp_path: Path, seen: list[TlsResult]) -> None:
    """A signed MX, the certificate of its name, REQUIRETLS offered and used."""
    pair = self_signed(tmp_path, "a.test")
    host = Host(ServerTls([pair]), keywords=("REQUIRETLS",))
    async with network(host) as (outbound, _):
        outbound.adopt(outbound._settings, Signed(outbound._routes._resolver))  # type: ignore[arg-type]
        with_demands(outbound, seen, Demands(clock=SystemClock(), authenticated=authenticated_client(pair.chain)))
        outcome = await deliver(outbound, REQUIRED)
        assert (outcome.result, outcome.security) == (Result.RELAYED, "TLSv1.3 requiretls")
        assert any("REQUIRETLS" in line for line in host.seen)


async def test_requiretls_goes_to_the_host_that_promises_it(tmp_path: Path, seen: list[TlsResult]) -> None:
    """RFC 8689 section 4.2.1: the first host has good TLS but no REQUIRETLS, the second has both; the first alone is 5.7.30."""
    first, second = self_signed(tmp_path, "a.test"), self_signed(tmp_path, "b.test")
    roots = tmp_path / "roots.pem"
    roots.write_bytes(first.chain.read_bytes() + second.chain.read_bytes())
    demands = Demands(clock=SystemClock(), authenticated=authenticated_client(roots))
    for names, expected in ((2, (Result.RELAYED, "2.0.0", "b.test")), (1, (Result.FAILED, "5.7.30", "a.test"))):
        unable = Host(ServerTls([first]))
        able = Host(ServerTls([second]), keywords=("REQUIRETLS",))
        async with network(*(unable, able)[:names]) as (outbound, _):
            outbound.adopt(outbound._settings, Signed(outbound._routes._resolver))  # type: ignore[arg-type]
            with_demands(outbound, seen, demands)
            outcome = await deliver(outbound, REQUIRED)
            assert (outcome.result, outcome.status, outcome.host) == expected, outcome
            # The header does not loosen what the envelope demands (section 4.1).
            loosened = await deliver(outbound, REQUIRED, b"TLS-Required: No\r\n" + CONTENT)
            assert (loosened.result, loosened.status, loosened.host) == expected, loosened
        assert unable.contents == []
        assert not any(line.startswith("MAIL") for line in unable.seen)
        assert len(able.contents) == 2 * (names - 1)
        assert all("REQUIRETLS" in line for line in able.seen if line.startswith("MAIL"))


async def test_tls_optional_is_not_held_back(tmp_path: Path, key_pair: KeyPair, seen: list[TlsResult]) -> None:
    """RFC 8689 section 4.2.2: the policy is tried first, its failure recorded, and the message goes on."""
    async with web(tmp_path) as (site, fetch):
        publish(site, "enforce")
        known = policies(site, fetch, SetClock())
        demands = Demands(
            clock=SystemClock(), authenticated=authenticated_client(fetch_roots(tmp_path)), policies=known
        )
        async with network(Host(ServerTls([key_pair]))) as (outbound, _):
            with_demands(outbound, seen, demands)
            assert (await deliver(outbound)).result is Result.DEFERRED
            outcome = await deliver(outbound, content=b"TLS-Required: No\r\n" + CONTENT)
            assert (outcome.result, outcome.security) == (Result.RELAYED, "TLSv1.3 may")
            # The connection that was made for it must not carry what demands more.
            assert (await deliver(outbound)).result is Result.DEFERRED
        assert {result.type for result in seen} == {"certificate-not-trusted"}


async def test_a_host_that_is_not_named_is_not_used(tmp_path: Path) -> None:
    """The fault carries the policy for the report."""
    async with web(tmp_path) as (site, fetch):
        demands = Demands(clock=SetClock(), authenticated=fetch.context, policies=policies(site, fetch, SetClock()))
        with pytest.raises(HostNotAllowed) as fault:
            await demands("harbor.test", hop("mx.evil.test"))
        assert fault.value.policy is not None
        assert fault.value.policy.strings == tuple(POLICY.splitlines())
        loose = await demands("harbor.test", hop("mx.evil.test"), Wish.OPTIONAL)
        assert (loose.label, loose.is_mandatory) == ("may", False)
        dane = await demands("harbor.test", hop("mx.evil.test", Requirement.AUTHENTICATED))
        assert dane.policy is not None
        assert dane.policy.type == "tlsa"


async def test_an_ageing_policy_is_renewed(tmp_path: Path) -> None:
    """RFC 8461 section 10.2: past half of its age it is fetched again; that failing, it still holds."""
    clock = SetClock()
    async with web(tmp_path) as (site, fetch):
        known = policies(site, fetch, clock)
        await known.policy("harbor.test")
        clock.move(499)
        await known.policy("harbor.test")
        assert len(site.requests) == 1
        clock.move(2)
        site.response = b""
        assert await known.policy("harbor.test") is not None
        assert len(site.requests) == 2


def test_the_ledger_keeps_results(tmp_path: Path) -> None:
    """In the fields that a report has."""
    ledger = Ledger.open(tmp_path / "ledger.sqlite")
    record = LedgerRecord(ledger, SetClock())
    record(TlsResult(AppliedPolicy("harbor.test", "sts", ("version: STSv1",), ("*.harbor.test",)), "mx.harbor.test",
                     "192.0.2.1", "198.51.100.1", "certificate-expired", "long ago"))  # fmt: skip
    ledger.flush()
    (entry,) = ledger.read(kind="tls session", domain="harbor.test")
    ledger.close()
    assert entry.facts == {
        "policy_type": "sts", "policy_strings": ["version: STSv1"], "mx_hosts": ["*.harbor.test"],
        "result_type": "certificate-expired", "receiving_mx": "mx.harbor.test", "receiving_ip": "192.0.2.1",
        "sending_ip": "198.51.100.1", "information": "long ago",
    }  # fmt: skip


async def test_sessions_with_our_relay_are_not_reported(key_pair: KeyPair, seen: list[TlsResult]) -> None:
    """What happens between us and the host our administrator named is no news to the recipients' domain."""
    host = Host(ServerTls([key_pair]))
    async with network(host) as (outbound, ports):
        outbound.record = seen.append
        (outcome,) = await outbound.deliver(TO_ADA, CONTENT, route=f"a.test:{ports[0]}")
    assert (outcome.result, outcome.security) == (Result.RELAYED, "TLSv1.3 may")
    assert seen == []


async def test_tlsa_records_that_cannot_be_had_are_recorded(seen: list[TlsResult]) -> None:
    """The host is left out, the mail waits, and the domain will hear of it (RFC 8460 section 4.3.2.1: dnssec-invalid)."""
    host = Host()
    async with network(host, zone="$TIMEOUT _25._tcp.a.test\n$SECURE test\n") as (outbound, _):
        outbound.record = seen.append
        outcome = await deliver(outbound)
    assert (outcome.result, outcome.status, host.connections) == (Result.DEFERRED, "4.4.3", 0)
    (result,) = seen
    assert (result.type, result.policy.type, result.policy.domain) == ("dnssec-invalid", "tlsa", "harbor.test")
    assert result.receiving_mx == "a.test"
