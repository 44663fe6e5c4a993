"""The border: what each verdict makes of a message, what the ledger keeps, and which attacks do not get through."""

import functools
import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from letterlock.formats.address import Address
from letterlock.formats.authentication_results import AuthenticationResults, MethodResult
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.host.ledger import Ledger
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.host.stream import Endpoint
from letterlock.mta.arrival import Arrival, Assessment
from letterlock.mta.assess import Assessor, AssessSettings
from letterlock.protocols.smtp.reply import Reply, reply
from letterlock.trust import arc, dkim
from letterlock.trust.ask import decide
from letterlock.trust.dmarc import Policy
from letterlock.trust.primitives import eddsa

NOW = 1_800_000_000.0
ZONE = """
rosewood.test. IN TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.rosewood.test. IN TXT "v=DMARC1; p=reject; sp=quarantine"
shop.rosewood.test. IN A 192.0.2.9
watch.test. IN TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.watch.test. IN TXT "v=DMARC1; p=none"
old.test. IN TXT "v=spf1 ip4:192.0.2.1 -all"
silent.test. IN TXT "v=spf1 -all"
evil.test. IN TXT "v=spf1 ip4:203.0.113.66 -all"
_dmarc.evil.test. IN TXT "v=DMARC1; p=none"
$SERVFAIL _dmarc.sick.test
$TIMEOUT slow-spf.test
$BOGUS bogus.test
"""
BODY = b"To: ada@garden.test\r\nSubject: Hedge\r\n\r\nCut it.\r\n"


@functools.cache
def _key(domain: str) -> dkim.SigningKey:
    return dkim.SigningKey(domain, "s", eddsa.generate_ed25519())


def _table() -> ZoneTable:
    keys = "".join(
        f'{key.selector}._domainkey.{key.domain}. IN TXT "{key.record()}"\n'
        for key in (_key("rosewood.test"), _key("evil.test"), _key("lists.test"))
    )
    return ZoneTable.parse(ZONE + keys)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger of its own."""
    opened = Ledger.open(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


def _arrival(
    content: bytes, *, ip: str = "203.0.113.66", mail_from: str = "x@evil.test", helo: str = "mx.evil.test"
) -> Arrival:
    envelope = Envelope(Address.parse(mail_from) if mail_from else None, (Recipient(Address.parse("ada@garden.test")),))
    return Arrival("t1", NOW, Endpoint(ip, 999), helo, "ESMTP", None, "", envelope, (content,))


def _assessor(**settings: Any) -> Assessor:
    return Assessor(AssessSettings("mx.garden.test", **settings), _table())


async def _assess(content: bytes, *, settings: dict[str, Any] | None = None, **client: str) -> Assessment:
    return await _assessor(**(settings or {}))(_arrival(content, **client))


def _outcome(assessment: Assessment) -> str:
    if assessment.refusal is not None:
        return f"{assessment.refusal.code} {assessment.refusal.status}"
    return assessment.mailbox or "INBOX"


def _signed(message: bytes, domain: str) -> bytes:
    return dkim.sign(message, (_key(domain),), int(NOW)) + message


async def test_good_mail_is_delivered_with_its_results() -> None:
    """Signed and from the right address: delivered, and the field says why."""
    message = _signed(b"From: rose@rosewood.test\r\n" + BODY, "rosewood.test")
    assessment = await _assess(message, ip="192.0.2.1", mail_from="rose@rosewood.test")
    assert _outcome(assessment) == "INBOX"
    assert assessment.fields.startswith(b"Authentication-Results: mx.garden.test;")
    for found in (b"spf=pass", b"dkim=pass", b"dmarc=pass", b"header.from=rosewood.test"):
        assert found in assessment.fields


@pytest.mark.parametrize(
    ("author", "outcome"),
    [
        ("rose@rosewood.test", "550 5.7.1"),
        ("rose@shop.rosewood.test", "Junk"),
        ("rose@watch.test", "INBOX"),
        ("rose@stranger.test", "INBOX"),
        ("rose@sick.test", "451 4.4.3"),
        ("rose@bogus.test", "451 4.4.3"),
        ('"rose@rosewood.test" <x@evil.test>', "INBOX"),
        ("(rose@evil.test) rose@rosewood.test", "550 5.7.1"),
        ("x@evil.test, rose@rosewood.test", "550 5.7.1"),
        ("Group: x@evil.test, rose@rosewood.test;", "550 5.7.1"),
        ("rose@rosewood.test\r\nFrom: x@evil.test", "550 5.7.1"),
        ("rose@rosewood.test\x00.evil.test", "550 5.7.1"),
        ("rose@rosewood\u0000", "550 5.7.1"),
        ("undisclosed:;", "550 5.7.1"),
        ("rose@rose-.test", "550 5.7.1"),
        ("rose@ROSEWOOD.TEST", "550 5.7.1"),
    ],
)
async def test_a_strangers_server_does_not_pass_as_another(author: str, outcome: str) -> None:
    """SPF passes for the stranger's own domain, which is not the author's; a look-up that fails defers."""
    assert _outcome(await _assess(f"From: {author}\r\n".encode() + BODY)) == outcome


async def test_helo_alone_vouches_for_nobody() -> None:
    """SPF pass of the EHLO name does not count where MAIL FROM is another domain (RFC 9989 section 3.2.4)."""
    message = b"From: rose@rosewood.test\r\n" + BODY
    refused = await _assess(message, ip="192.0.2.1", mail_from="x@old2.test", helo="rosewood.test")
    assert _outcome(refused) == "550 5.7.1"
    accepted = await _assess(message, ip="192.0.2.1", mail_from="", helo="rosewood.test")
    assert _outcome(accepted) == "INBOX"  # the null sender is postmaster at the EHLO name (RFC 7208 section 2.4)


async def test_a_signature_of_another_domain_does_not_help() -> None:
    """A passing signature of evil.test leaves rosewood.test unaligned; two kinds of failure have their own code."""
    message = _signed(b"From: rose@rosewood.test\r\n" + BODY, "evil.test")
    assert _outcome(await _assess(message, ip="198.51.100.1", mail_from="r@rosewood.test")) == "550 5.7.26"


async def test_forwarded_mail_survives_by_its_signature() -> None:
    """SPF fails at a forwarder; the author's signature still passes."""
    message = _signed(b"From: rose@rosewood.test\r\n" + BODY, "rosewood.test")
    assert _outcome(await _assess(message, ip="198.51.100.1", mail_from="rose@rosewood.test")) == "INBOX"


async def test_spf_where_dmarc_says_nothing() -> None:
    """A hard fail without DMARC goes to junk by default, and is refused where the site says so."""
    message = b"From: rose@old.test\r\n" + BODY
    assert _outcome(await _assess(message, mail_from="rose@old.test")) == "Junk"
    refused = await _assess(message, mail_from="rose@old.test", settings={"spf_fail": Policy.REJECT})
    assert _outcome(refused) == "550 5.7.23"
    deferred = await _assess(b"From: r@slow-spf.test\r\n" + BODY, mail_from="r@slow-spf.test")
    assert _outcome(deferred) == "451 4.4.3"


async def test_spf_before_data() -> None:
    """A domain that says it sends nothing is refused at MAIL; any other is judged with its message."""
    assessor = _assessor()
    refusal = await assessor.sender("203.0.113.66", "mx.evil.test", Address.parse("x@silent.test"), NOW)
    assert refusal is not None
    assert str(refusal).startswith("550 5.7.23")
    assert await assessor.sender("203.0.113.66", "mx.evil.test", Address.parse("x@old.test"), NOW) is None
    asked = len(assessor.resolver.asked)  # type: ignore[attr-defined] # a ZoneTable notes what it is asked
    await assessor(_arrival(b"From: a@old.test\r\n" + BODY, mail_from="x@old.test"))
    later = assessor.resolver.asked[asked:]  # type: ignore[attr-defined]
    assert "old.test" not in [question.name for question in later]


async def test_forged_results_go_and_are_remembered(ledger: Ledger) -> None:
    """A field with our name that we did not write is taken out after verification; all other octets stay."""
    forged = b"Authentication-Results: MX.garden.test (really) 1;\r\n\tdmarc=pass header.from=rosewood.test\r\n"
    other = b"Authentication-Results: mx.other.test; dmarc=pass\r\n"
    message = b"From: rose@watch.test\r\n" + BODY
    assessor = _assessor()
    assessor.ledger = ledger
    assessment = await assessor(_arrival(other + forged + message))
    assert assessment.content is not None
    assert b"".join(assessment.content) == other + message
    ledger.flush()
    (entry,) = ledger.read(kind="assessed")
    assert entry.facts["removed_fields"] == [forged.decode()]
    assert (await assessor(_arrival(other + message))).content is None


async def test_a_signed_forged_field_still_verifies_before_it_goes() -> None:
    """Removal happens after verification, so it breaks nothing here."""
    message = b"Authentication-Results: mx.garden.test; none\r\nFrom: rose@rosewood.test\r\n" + BODY
    assessment = await _assess(_signed(message, "rosewood.test"))
    assert b"dkim=pass" in assessment.fields


async def test_local_policy_is_named(ledger: Ledger) -> None:
    """Forwarders and sealers that the site trusts override a failure, and the ledger says which."""
    message = b"From: rose@rosewood.test\r\n" + BODY
    network = ipaddress.ip_network("198.51.100.0/24")
    taken = await _assess(message, ip="198.51.100.7", settings={"trusted_forwarders": (network,)})
    assert _outcome(taken) == "INBOX"
    original = _signed(message, "rosewood.test")
    chain = decide(arc.judge(original, int(NOW)), _table().answer)
    passed = AuthenticationResults("lists.test", (MethodResult("dmarc", "pass"),))
    changed = original.replace(b"Cut it.", b"Cut it.\r\n-- \r\nA list")
    sealed = arc.seal(changed, _key("lists.test"), int(NOW), chain, passed) + changed
    assert _outcome(await _assess(sealed)) == "550 5.7.1"
    assessor = _assessor(trusted_sealers=("lists.test",))
    assessor.ledger = ledger
    assert _outcome(await assessor(_arrival(sealed))) == "INBOX"
    ledger.flush()
    (entry,) = ledger.read()
    verdict = entry.facts["dmarc"]
    assert isinstance(verdict, dict)
    assert verdict["overrides"] == [["local_policy", "arc=pass as.domains=lists.test"]]


async def test_the_sites_tests_come_first() -> None:
    """A list or a rate limit answers before anything is looked up."""

    async def listed(_arrival: Arrival) -> Reply | None:
        return reply(554, "5.7.1", "Listed")

    assessor = _assessor()
    assessor.tests = (listed,)
    assert _outcome(await assessor(_arrival(b"From: rose@rosewood.test\r\n" + BODY))) == "554 5.7.1"
    assert assessor.resolver.asked == []  # type: ignore[attr-defined]


async def test_garbage_is_answered() -> None:
    """Content of any octets gets an answer, not an exception."""
    for content in (b"", b"\r\n", b"\x00" * 1000, b"From", b"From:\r\n\r\n", b"\xff\xfe\r\n\r\n", b":\r\n" * 1000):
        assert _outcome(await _assess(content)) == "550 5.7.1"
