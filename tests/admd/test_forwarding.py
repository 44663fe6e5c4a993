"""Mail that an alias leads to another domain goes there sealed: by real sessions, the real store and its queue."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import smtplib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from letterlock.admd import settings as admd_settings
from letterlock.admd.signing import Signer
from letterlock.formats.authentication_results import AuthenticationResults, MethodResult
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.clock import SetClock
from letterlock.host.entropy import SeededEntropy
from letterlock.host.key_ring import KeyRing
from letterlock.host.listen import Listener, bind
from letterlock.host.logs import Log, send_to
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.host.signing_keys import generate, write_key
from letterlock.mda.deliver import DeliveryAgent
from letterlock.mda.resolve import Resolver, ResolveSettings
from letterlock.mta.arrival import Evidence
from letterlock.mta.assess import Assessor, AssessSettings
from letterlock.mta.inbound import Inbound, InboundSettings
from letterlock.mta.queue.runner import Errand, Runner
from letterlock.mta.queue.schedule import QueueSettings
from letterlock.store.accounts import Accounts
from letterlock.store.core import StoreSettings
from letterlock.store.engine import open_store
from letterlock.store.interface import Store
from letterlock.trust import arc, dkim
from letterlock.trust.ask import decide
from letterlock.trust.primitives import eddsa

ANNA = "anna@rosewood.test"
PLAIN = (
    b"From: rose@meadow.test\r\nTo: both@rosewood.test\r\nSubject: Hedge\r\n"
    b"Authentication-Results: mail.rosewood.test; dmarc=pass\r\n\r\nCut  it.\r\n"
)
FORGED = b"Authentication-Results: mail.rosewood.test; dmarc=pass\r\n"
KINDS = ("rsa", "ed25519")


@functools.cache
def key(domain: str) -> dkim.SigningKey:
    """A stranger's key."""
    return dkim.SigningKey(domain, "s", eddsa.generate_ed25519())


def strings(record: str) -> str:
    """A record in strings of a length that zone text bears."""
    return " ".join(f'"{record[at : at + 200]}"' for at in range(0, len(record), 200))


@dataclass
class Site:
    """rosewood.test, with anna, and both@ that leads to her and to two other domains."""

    store: Store
    clock: SetClock
    zone: ZoneTable
    signer: Signer
    port: int
    runner: Runner
    sent: dict[str, list[bytes]] = field(default_factory=dict)

    @property
    def now(self) -> int:
        return int(self.clock.now())

    def send(self, octets: bytes, *recipients: str, options: tuple[str, ...] = ()) -> None:
        with smtplib.SMTP("127.0.0.1", self.port, local_hostname="mx.meadow.test", timeout=10) as client:
            client.ehlo()
            client.mail("rose@meadow.test")
            for recipient in recipients:
                assert client.rcpt(recipient, options)[0] == 250
            code, text = client.data(octets)
            assert code == 250, text

    async def forward(self, octets: bytes, *recipients: str, options: tuple[str, ...] = ()) -> None:
        """Send a message here, and run the queue until it is empty."""
        await asyncio.to_thread(self.send, octets, *recipients, options=options)
        task = asyncio.create_task(self.runner.run())
        for _ in range(5000):
            await asyncio.sleep(0.001)
            if await self.store.queue_size() == (0, 0):
                break
        await self.runner.stop()
        await task

    async def inbox(self) -> list[bytes]:
        found = await self.store.mailbox(ANNA, "INBOX")
        assert found is not None
        handle = await self.store.open(found.id)
        octets = [await self.store.read(content) for content in handle.snapshot().contents]
        handle.close()
        return octets

    def chain(self, octets: bytes) -> arc.Verdict:
        return decide(arc.judge(octets, self.now), self.zone.answer)


@contextlib.asynccontextmanager
async def serving(folder: Path, *, seals: bool = True) -> AsyncIterator[Site]:
    """The domain as admd/run.py puts it together, but for TLS and names."""
    clock, entropy = SetClock(), SeededEntropy()
    (folder / "dkim").mkdir()
    for kind in KINDS:
        write_key(folder / "dkim" / f"{kind[0]}1.pem", generate("", "", kind))
    own = KeyRing.load(folder / "dkim").signing("rosewood.test")
    keys = (*own, key("meadow.test"), key("lists.test"))
    zone = ZoneTable.parse(
        "".join(f"{one.selector}._domainkey.{one.domain}. IN TXT {strings(one.record())}\n" for one in keys)
        + '_dmarc.meadow.test. IN TXT "v=DMARC1; p=none"\n$SERVFAIL s._domainkey.sick.test\n'
    )
    store = await open_store(StoreSettings(folder / "store", reserve_octets=0), clock=clock)
    accounts = Accounts(folder / "accounts.sqlite", digests=(), clock=clock, entropy=entropy)
    accounts.add(ANNA, "x")
    accounts.set_alias("both@rosewood.test", (ANNA, "x@far.test", "y@away.test"))
    accounts.set_alias("moved@rosewood.test", ("x@far.test",))
    await store.prepare_account(ANNA, {})
    agent = DeliveryAgent(Resolver(ResolveSettings(("rosewood.test",)), accounts), accounts, store)
    signer = Signer(admd_settings.parse({"domain": "rosewood.test"}, folder / "letterlock.toml"), clock)
    assessor = Assessor(AssessSettings("mail.rosewood.test"), zone)
    inbound = Inbound(
        InboundSettings("mail.rosewood.test"), store=store, recipients=agent, clock=clock, entropy=entropy, log=Log("mta"),
        assess=assessor, examine=assessor.examine, seal=signer.seal if seals else None,
    )  # fmt: skip
    listener = Listener(inbound.session, log=Log("mta"), refusal=b"")
    sent: dict[str, list[bytes]] = {}

    async def transfer(errand: Errand) -> Sequence[Outcome]:
        recipients = errand.entry.envelope.recipients
        sent.setdefault(errand.destination, []).append(await store.read(errand.entry.content))
        return [Outcome(one.forward_path, Result.RELAYED, "2.0.0", "250 Ok") for one in recipients]

    runner = Runner(store=store, agent=agent, transfer=transfer, clock=clock, entropy=entropy, log=Log("queue"),
                    settings=QueueSettings("mail.rosewood.test", 300, 3600, 7200, 86_400))  # fmt: skip
    before = send_to(lambda _line: None)
    await listener.start([bind("127.0.0.1", 0)])
    try:
        yield Site(store, clock, zone, signer, listener.endpoints[0].port, runner, sent)
    finally:
        await listener.stop(grace_seconds=5)
        await store.close()
        accounts.close()
        send_to(before)


def variants(now: int) -> dict[str, tuple[bytes, dict[str, str]]]:
    """Messages, with what the seal is to say of each: DKIM, and how many sets the chain has in the end."""
    signed = dkim.sign(PLAIN, (key("meadow.test"),), now) + PLAIN
    broken = signed.replace(b"Cut  it.", b"Leave it.")
    listed = AuthenticationResults("lists.test", (MethodResult("dkim", "pass"), MethodResult("dmarc", "pass")))
    none = arc.Verdict(arc.Result.NONE, "")
    sealed = arc.seal(broken, key("lists.test"), now, none, listed) + broken
    return {
        "signed": (signed, {"dkim": "pass", "dmarc": "pass"}),
        "unsigned": (PLAIN, {"dkim": "none", "dmarc": "fail"}),
        "broken": (broken, {"dkim": "fail", "dmarc": "fail"}),
        "by a list": (sealed, {"dkim": "fail", "dmarc": "fail", "arc": "pass"}),
    }


@pytest.mark.parametrize("options", [(), ("NOTIFY=SUCCESS",)])
@pytest.mark.parametrize("name", ["signed", "unsigned", "broken", "by a list"])
async def test_forwarded_mail_is_sealed(tmp_path: Path, name: str, options: tuple[str, ...]) -> None:
    """The chain verifies there, tells what was found here, and the octets behind the seal are those of the copy here."""
    async with serving(tmp_path) as site:
        octets, expected = variants(site.now)[name]
        await site.forward(octets, "both@rosewood.test", options=options)
        (copy,) = await site.inbox()
        verdicts = []
        for domain in ("far.test", "away.test"):
            (forwarded,) = site.sent[domain]
            seal, received, rest = forwarded.partition(b"Authentication-Results: mail.rosewood.test;\r\n")
            assert copy.endswith(received + rest)
            assert seal.startswith(b"ARC-Seal: ")
            verdicts.append(site.chain(forwarded))
    assert b"ARC-Seal" not in copy.partition(b"Received:")[0]
    assert forwarded.endswith(octets.replace(FORGED, b""))
    for verdict in verdicts:
        assert verdict.result is arc.Result.PASS, verdict.reason
        assert verdict.sealers == (("lists.test", "rosewood.test") if "arc" in expected else ("rosewood.test",))
        assert verdict.sets[-1].selector == "r1"
        results = verdict.sets[-1].results
        assert results is not None
        assert results.authserv_id == "mail.rosewood.test"
        assert {one.method: one.result for one in results.results if one.method in ("dkim", "dmarc", "arc")} == expected


async def test_a_message_that_only_goes_on(tmp_path: Path) -> None:
    """Nobody here gets a copy; a large message is sealed in a thread."""
    async with serving(tmp_path) as site:
        await site.forward(PLAIN + b"A line of many\r\n" * 40_000, "moved@rosewood.test")
        assert await site.inbox() == []
        (forwarded,) = site.sent["far.test"]
        verdict = site.chain(forwarded)
    assert verdict.result is arc.Result.PASS, verdict.reason


async def test_the_next_host_may_believe_the_seal(tmp_path: Path) -> None:
    """One that trusts the sealers may take what a later handler broke, because we saw it pass."""
    async with serving(tmp_path) as site:
        message, _ = variants(site.now)["signed"]
        await site.forward(message, "moved@rosewood.test")
        (forwarded,) = site.sent["far.test"]
        listed = AuthenticationResults("lists.test", (MethodResult("dkim", "pass"),))
        changed = b"Subject: [list] Hedge".join(forwarded.split(b"Subject: Hedge"))
        changed = arc.seal(changed, key("lists.test"), site.now, site.chain(forwarded), listed) + changed
        verdict = site.chain(changed)
    assert verdict.result is arc.Result.PASS, verdict.reason
    assert verdict.sealers == ("rosewood.test", "lists.test")
    assert dkim.verify_blocking(site.zone.answer, changed, site.now).result is dkim.Result.FAIL


@pytest.mark.parametrize("why", ["switched off", "a chain nobody could judge", "no forwarding"])
async def test_what_is_not_sealed(tmp_path: Path, why: str) -> None:
    """It goes on as it is, and arrives."""
    async with serving(tmp_path, seals=why != "switched off") as site:
        message = PLAIN
        if why == "a chain nobody could judge":
            none, results = arc.Verdict(arc.Result.NONE, ""), AuthenticationResults("sick.test", ())
            message = arc.seal(PLAIN, key("sick.test"), site.now, none, results) + PLAIN
        await site.forward(message, ANNA if why == "no forwarding" else "both@rosewood.test")
        (copy,) = await site.inbox()
    for domain in site.sent:
        (forwarded,) = site.sent[domain]
        assert copy.endswith(forwarded)
    assert sorted(site.sent) == ([] if why == "no forwarding" else ["away.test", "far.test"])
    assert copy.endswith(message.replace(FORGED, b""))
    assert copy.count(b"ARC-Seal") == message.count(b"ARC-Seal")


async def test_the_seal_needs_the_chain_that_was_judged(tmp_path: Path) -> None:
    """A filter that took ARC fields away leaves nothing that a seal could follow; without keys there is no seal."""
    async with serving(tmp_path) as site:
        sealed, _ = variants(site.now)["by a list"]
        evidence = Evidence(site.chain(sealed), AuthenticationResults("mail.rosewood.test", ()))
        assert (await site.signer.seal(evidence, (sealed,))).startswith(b"ARC-Seal: i=2;")
        assert await site.signer.seal(evidence, (PLAIN,)) == b""
        assert await site.signer.seal(evidence, (sealed.replace(b"ARC-Seal: i=1", b"ARC-Seal: i=x"),)) == b""
        empty = tmp_path / "empty"
        empty.mkdir()
        signer = Signer(admd_settings.parse({"domain": "rosewood.test"}, empty / "letterlock.toml"), site.clock)
        assert await signer.seal(evidence, (sealed,)) == b""
