"""Verdicts over a signed tree with sound and broken children, reached by iteration and by a forwarder."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from letterlock.formats.dns import zone_text
from letterlock.formats.dns.question import Outcome, Question, Security
from letterlock.formats.dns.types import ExtendedError
from letterlock.host.resolver.system import Mode, ResolverSettings, SystemResolver, open_resolver
from letterlock.hostmaster.name_server import NameServer
from letterlock.hostmaster.tree import anchors_of, sign_tree
from letterlock.lab import dns_tree

FOUND, NO_DATA, NO_NAME, FAILED = Outcome.FOUND, Outcome.NO_DATA, Outcome.NO_NAME, Outcome.FAILED
SECURE, INSECURE, BOGUS = Security.SECURE, Security.INSECURE, Security.BOGUS
SOUND = ("good", "hashed", "rsa", "rsa512", "p384", "ed448", "signed.good", "signed.hashed", "signed.optout")
UNSIGNED = ("insecure", "sub.good", "sub.hashed", "sub.optout", "unknown", "digest")


@pytest.fixture(scope="module")
def served() -> NameServer:
    """The tree, signed once."""
    plans = [*dns_tree.parent_plans(), *dns_tree.test_plans()]
    return NameServer(sign_tree(plans, int(time.time())))


@pytest.fixture
async def system(served: NameServer, tmp_path: Path) -> AsyncIterator[SystemResolver]:
    server = NameServer(served.catalog.zones.values())
    port = await server.listen("127.0.0.1")
    anchors = tmp_path / "anchors"
    anchors.write_text(
        zone_text.write(
            record
            for sets in anchors_of(server.catalog.zones[b"\0"]).values()
            for found in sets
            for record in found.records()
        )
    )
    settings = ResolverSettings(Mode.ITERATE, anchors=anchors, root_servers=(f"127.0.0.1:{port}",), port=port)
    opened = await open_resolver(settings)
    yield opened
    await opened.aclose()
    await server.aclose()


QUESTIONS = [
    ("www", "A", FOUND),
    ("none", "A", NO_NAME),
    ("www", "MX", NO_DATA),
    ("z", "A", NO_DATA),
    ("x.wild", "TXT", FOUND),
    ("x.wild", "MX", NO_DATA),
    ("deep.wild", "TXT", NO_DATA),
    ("alias", "A", FOUND),
    ("nowhere", "A", NO_NAME),
    ("a.old", "TXT", FOUND),
    ("q.old", "TXT", NO_NAME),
    ("x.walias", "A", FOUND),
    ("_25._tcp.mail", "TLSA", FOUND),
    ("list", "MINFO", FOUND),
]


@pytest.mark.parametrize("child", SOUND)
async def test_a_sound_zone_is_secure(system: SystemResolver, child: str) -> None:
    """Every kind of answer from every kind of signature is proved."""
    for name, mnemonic, outcome in QUESTIONS:
        answer = await system.resolver.ask(Question(f"{name}.{child}.test", mnemonic))
        assert (answer.outcome, answer.security) == (outcome, SECURE), answer
        assert answer.evidence[0].finding == "is a trust anchor"


@pytest.mark.parametrize("child", UNSIGNED)
async def test_an_unsigned_zone_is_insecure(system: SystemResolver, child: str) -> None:
    """What the parent proves to be unsigned, or signed in ways nobody knows, is insecure and answers."""
    for name, mnemonic, outcome in QUESTIONS:
        answer = await system.resolver.ask(Question(f"{name}.{child}.test", mnemonic))
        assert (answer.outcome, answer.security) == (outcome, INSECURE), answer


@pytest.mark.parametrize(
    ("child", "code"),
    [
        ("expired", ExtendedError.SIGNATURE_EXPIRED),
        ("future", ExtendedError.SIGNATURE_NOT_YET_VALID),
        ("badds", ExtendedError.DNSKEY_MISSING),
        ("stripped", ExtendedError.DNSKEY_MISSING),
    ],
)
async def test_a_broken_zone_is_bogus(system: SystemResolver, child: str, code: ExtendedError) -> None:
    """Nothing from a zone whose keys do not hold is believed, and the extended error says why."""
    for name, mnemonic, _ in QUESTIONS:
        answer = await system.resolver.ask(Question(f"{name}.{child}.test", mnemonic))
        assert (answer.outcome, answer.security, answer.extended_error) == (FAILED, BOGUS, code)


@pytest.mark.parametrize(
    ("name", "mnemonic", "outcome", "security", "code"),
    [
        ("www.forged", "A", FAILED, BOGUS, ExtendedError.DNSSEC_BOGUS),
        ("alias.forged", "A", FAILED, BOGUS, ExtendedError.DNSSEC_BOGUS),
        ("www.forged", "MX", NO_DATA, SECURE, None),
        ("none.undenied", "A", FAILED, BOGUS, ExtendedError.NSEC_MISSING),
        ("x.wild.undenied", "TXT", FAILED, BOGUS, ExtendedError.NSEC_MISSING),
        ("www.undenied", "A", FOUND, SECURE, None),
        ("none.optout", "A", NO_NAME, INSECURE, None),
        ("www.optout", "A", FOUND, SECURE, None),
        ("none.iterations", "A", NO_NAME, INSECURE, ExtendedError.UNSUPPORTED_NSEC3_ITERATIONS),
        ("www.iterations", "A", FOUND, SECURE, None),
        ("outcast.good", "A", FOUND, INSECURE, None),
        ("abroad.insecure", "A", FOUND, INSECURE, None),
        ("abroad.hashed", "A", FOUND, SECURE, None),
        ("insecure", "DS", NO_DATA, SECURE, None),
        ("good", "DS", FOUND, SECURE, None),
        ("sub.optout", "DS", NO_DATA, INSECURE, None),
    ],
)
async def test_single_faults(
    system: SystemResolver, name: str, mnemonic: str, outcome: Outcome, security: Security, code: int | None
) -> None:
    """A fault touches what it touches and no more."""
    answer = await system.resolver.ask(Question(f"{name}.test", mnemonic))
    assert (answer.outcome, answer.security, answer.extended_error) == (outcome, security, code), answer.reason


async def test_without_an_anchor_nothing_is_claimed(served: NameServer, tmp_path: Path) -> None:
    server = NameServer(served.catalog.zones.values())
    port = await server.listen("127.0.0.1")
    anchors = tmp_path / "anchors"
    anchors.write_text("elsewhere. IN DS 1 13 2 " + "00" * 32)
    settings = ResolverSettings(Mode.ITERATE, anchors=anchors, root_servers=(f"127.0.0.1:{port}",), port=port)
    opened = await open_resolver(settings)
    answer = await opened.resolver.ask(Question("www.good.test", "A"))
    assert (answer.outcome, answer.security) == (FOUND, Security.INDETERMINATE)
    await opened.aclose()
    await server.aclose()


async def test_the_evidence_is_the_way_from_the_anchor_and_nothing_else(system: SystemResolver) -> None:
    """Each step once; what an earlier question passed on its way elsewhere is no evidence for a later one."""
    await system.resolver.ask(Question("abroad.hashed.test", "A"))
    answer = await system.resolver.ask(Question("alias.good.test", "A"))
    subjects = [step.subject for step in answer.evidence]
    assert subjects == [
        ".",
        ". DNSKEY",
        "test. DS",
        "test. DNSKEY",
        "good.test. DS",
        "good.test. DNSKEY",
        "alias.good.test. CNAME",
        "www.good.test. A",
    ]
