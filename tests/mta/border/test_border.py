"""The border of port 25 over real connections: who is refused where, in which words, and who is let in all the same."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from letterlock.formats.envelope import Recipient
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.clock import SetClock
from letterlock.host.entropy import SeededEntropy
from letterlock.host.ledger import Ledger
from letterlock.host.listen import Listener, bind
from letterlock.host.logs import Log, send_to
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.mta.arrival import Destination
from letterlock.mta.assess import Assessor, AssessSettings
from letterlock.mta.border.border import LEDGER_KIND, Border, BorderSettings
from letterlock.mta.border.greylist import Greylist
from letterlock.mta.border.lists import ListSettings
from letterlock.mta.inbound import Inbound, InboundSettings
from letterlock.store.interface import Delivery, Receipt, Store, Transaction

ZONE = """
9.0.0.127.in-addr.arpa. IN PTR mx.harbor.test.
mx.harbor.test. IN A 127.0.0.9
2.0.0.127.bad.test. IN A 127.0.0.2
66.0.0.127.bad.test. IN A 127.0.0.4
66.0.0.127.bad.test. IN TXT "open relay"
66.0.0.127.in-addr.arpa. IN PTR mx.spam.test.
mx.spam.test. IN A 127.0.0.66
2.0.0.127.good.test. IN A 127.0.0.2
7.0.0.127.good.test. IN A 127.0.10.2
harbor.test. IN TXT "v=spf1 ip4:127.0.0.66 ip4:127.0.0.9 -all"
_dmarc.harbor.test. IN TXT "v=DMARC1; p=none"
*.yes.test. IN A 127.0.0.2
"""
HARBOR, SPAMMER, STRANGER, VOUCHED = "127.0.0.9", "127.0.0.66", "127.0.0.5", "127.0.0.7"


@dataclass(frozen=True)
class Here:
    """A destination."""

    deliveries: tuple[Delivery, ...]
    relays: tuple[Recipient, ...] = ()


class People:
    """rosewood.test with ada, postmaster and abuse."""

    def is_ours(self, domain: str) -> bool:
        return domain == "rosewood.test"

    async def accept(self, _reverse_path: object, recipient: Recipient) -> Destination | Outcome:
        address = recipient.forward_path
        if address.local_part in ("ada", "postmaster", "Abuse"):
            return Here((Delivery(address.local_part),))
        return Outcome(address, Result.FAILED, "5.1.1", "No such user here")


@dataclass
class Site:
    """A server, what it stored, and its clock."""

    port: int
    clock: SetClock
    border: Border
    ledger: Ledger
    zone: ZoneTable
    stored: list[Transaction] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)

    def announce(self, change: int) -> None:
        """Say that messages are on their way."""

    async def commit(self, transaction: Transaction) -> Receipt:
        self.stored.append(transaction)
        return Receipt(len(self.stored))

    async def send(
        self, host: str, *, ehlo: str = "mx.harbor.test", sender: str = "rose@harbor.test", to: Sequence[str] = ("ada",)
    ) -> list[str]:
        """Send a message from an address, and return the replies to MAIL and all that follows."""
        recipients = "".join(f"RCPT TO:<{one}@rosewood.test>\r\n" for one in to)
        octets = (
            f"EHLO {ehlo}\r\nMAIL FROM:<{sender}>\r\n{recipients}DATA\r\n"
            f"From: <{sender}>\r\nSubject: x\r\n\r\ntext\r\n.\r\nQUIT\r\n"
        ).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(host, 0))
        writer.write(octets)
        answer = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        await writer.wait_closed()
        replies = [line for line in answer.decode().split("\r\n") if line[3:4] == " "]
        end = next((at for at, line in enumerate(replies) if line[:3] in ("503", "554") and at > 2), len(replies) - 1)
        return replies[2:end]  # without the greeting and EHLO; where nobody was taken, without DATA and what follows


@contextlib.asynccontextmanager
async def site(folder: Path, *, greylist: bool = False, zone: str = ZONE, **settings: Any) -> AsyncIterator[Site]:
    """A running server; its border looks at everybody, loopback or not."""
    lines: list[str] = []
    before = send_to(lines.append)
    clock, table, log = SetClock(), ZoneTable.parse(zone), Log("mta")
    ledger = Ledger.open(folder / "ledger.sqlite")
    lists = settings.pop("lists", (ListSettings("bad.test"), ListSettings("good.test", -4)))
    border = Border(
        BorderSettings(frozenset({"mx.rosewood.test"}), lists=lists, **settings),
        resolver=table, clock=clock, log=log, greylist=Greylist(clock) if greylist else None, ledger=ledger,
    )  # fmt: skip
    await border.check_lists()
    assessor = Assessor(AssessSettings("mx.rosewood.test"), table, ledger, border=border)
    made = Site(0, clock, border, ledger, table)
    service = Inbound(
        InboundSettings("mx.rosewood.test"), store=cast(Store, made), recipients=People(), clock=clock,
        entropy=SeededEntropy(), log=log, assess=assessor, judge_sender=assessor.sender, examine=assessor.examine, border=border,
    )  # fmt: skip
    listener = Listener(service.session, log=log)
    await listener.start([bind("127.0.0.1", 0)])
    made.port = listener.endpoints[0].port
    try:
        yield made
    finally:
        await listener.stop(grace_seconds=5)
        ledger.close()
        send_to(before)
        made.log += [json.loads(line) for line in lines]
        assert not [line for line in made.log if line["event"] == "session failed"], made.log


async def test_good_mail_says_what_was_found(tmp_path: Path) -> None:
    """iprev stands in Authentication-Results, the confirmed name in Received."""
    async with site(tmp_path) as served:
        assert [line[:3] for line in await served.send(HARBOR)] == ["250", "250", "354", "250"]
    octets = b"".join(served.stored[0].octets)
    assert b"iprev=pass (mx.harbor.test) policy.iprev=127.0.0.9" in octets
    assert b"Received: from mx.harbor.test (mx.harbor.test [127.0.0.9])" in octets
    assert served.stored[0].deliveries[0].mailbox == "INBOX"


async def test_a_listed_client_is_refused_by_name_and_can_write_to_postmaster(tmp_path: Path) -> None:
    """The reply names the list, its code and its reason, and says what to do; the ledger keeps the evidence."""
    async with site(tmp_path) as served:
        replies = await served.send(
            SPAMMER, ehlo="mx.spam.test", sender="x@spam.test", to=("ada", "postmaster", "Abuse")
        )
        served.ledger.flush()
        (entry,) = served.ledger.read(kind=LEDGER_KIND)
    assert replies[1] == (
        "550 5.7.1 Mail from you is not taken: 127.0.0.66 is listed by bad.test (127.0.0.4, open relay). "
        "If that is wrong, write to postmaster@rosewood.test"
    )
    assert [line[:3] for line in replies] == ["250", "550", "250", "250", "354", "250"]
    assert [delivery.mailbox for delivery in served.stored[0].deliveries] == ["Junk", "Junk"]
    assert entry.facts["findings"] == ["+10 127.0.0.66 is listed by bad.test (127.0.0.4, open relay)"]
    assert any("bad.test" in line.get("reply", "") for line in served.log if line["event"] == "recipient refused")


async def test_thresholds(tmp_path: Path) -> None:
    """The same client is deferred, put into Junk or taken by where the thresholds stand; DMARC outweighs suspicion."""
    lists = (ListSettings("bad.test", 6),)
    for thresholds, expected, mailbox in [
        ({"defer_at": 5}, "450", ""),
        ({"reject_at": 6, "defer_at": 3}, "550", ""),
        ({"quarantine_at": 6}, "250", "Junk"),
        ({"quarantine_at": 6.5}, "250", "INBOX"),
        ({"quarantine_at": None, "reject_at": None}, "250", "INBOX"),
    ]:
        async with site(tmp_path, lists=lists, **thresholds) as served:
            replies = await served.send(SPAMMER, ehlo="mx.spam.test", sender="x@spam.test")
            assert replies[1][:3] == expected
            assert [one.deliveries[0].mailbox for one in served.stored] == ([mailbox] if mailbox else [])
            if expected == "250":
                await served.send(SPAMMER, ehlo="mx.spam.test", sender="rose@harbor.test")
                assert served.stored[1].deliveries[0].mailbox == "INBOX"


async def test_who_is_new_is_greylisted_once(tmp_path: Path) -> None:
    """The unknown comes again; who is vouched for by DMARC or a list, and postmaster's mail, need not."""
    async with site(tmp_path, greylist=True) as served:
        first = await served.send(STRANGER, sender="x@nobody.test")
        assert first[-1] == "451 4.7.1 You are new here: send it again in 301 seconds, and it will be taken"
        assert (await served.send(HARBOR))[-1][:3] == "250"
        assert (await served.send(VOUCHED, sender="x@nobody.test"))[-1][:3] == "250"
        assert (await served.send(STRANGER, sender="y@nobody.test", to=("postmaster",)))[-1][:3] == "250"
        served.clock.move(300)
        assert (await served.send(STRANGER, sender="x@nobody.test"))[-1][:3] == "250"
        assert (await served.send(STRANGER, sender="z@nobody.test"))[-1][:3] == "250"
        served.ledger.flush()
        kept = [entry.facts["disposition"] for entry in served.ledger.read(kind="assessed")]
    assert kept.count("deferred") == 1


@pytest.mark.parametrize(
    ("settings", "what"),
    [({"messages_per_hour": 2}, "messages"), ({"recipients_per_hour": 2}, "recipients")],
)
async def test_rates_of_a_network(tmp_path: Path, settings: dict[str, float], what: str) -> None:
    """What is beyond waits at the sender, told for how long; another network is not touched, and time heals."""
    async with site(tmp_path, **settings) as served:
        for host in (HARBOR, STRANGER):
            assert (await served.send(host))[-1][:3] == "250"
        replies = await served.send("127.0.0.10")
        expected = f"450 4.7.1 Too many {what} from your network this hour: try again in 1801 seconds"
        assert expected in replies
        assert (await served.send("127.0.1.10"))[-1][:3] == "250"
        served.clock.move(1800)
        assert (await served.send(HARBOR))[-1][:3] == "250"


async def test_who_asks_for_many_that_are_not_there_is_slowed(tmp_path: Path) -> None:
    """Harvesting ends in 450, and for existing recipients as well: nothing is learned."""
    async with site(tmp_path, unknown_recipients_per_hour=3) as served:
        replies = await served.send(HARBOR, to=("a", "b", "c", "d", "ada"))
        assert [line[:3] for line in replies[1:]] == ["550", "550", "550", "450", "450"]
        served.clock.move(1200)
        assert (await served.send(HARBOR))[-1][:3] == "250"


async def test_a_dead_resolver_costs_nobody_their_mail(tmp_path: Path) -> None:
    """Nothing that could not be looked up has points; the name is said to be unknown, not absent."""
    zone = (
        "$TIMEOUT 5.0.0.127.in-addr.arpa\n$SERVFAIL 5.0.0.127.bad.test\n2.0.0.127.bad.test. IN A 127.0.0.2\n"
        "$TIMEOUT mx.harbor.test\n"
    )
    async with site(tmp_path, zone=zone, lists=(ListSettings("bad.test"),)) as served:
        assert (await served.send(STRANGER, sender="x@nobody.test"))[-1][:3] == "250"
    assert b"iprev=temperror" in b"".join(served.stored[0].octets)
    assert served.stored[0].deliveries[0].mailbox == "INBOX"


async def test_a_slow_resolver_is_not_waited_for(tmp_path: Path) -> None:
    """After the time given, the mail goes on without what is not known yet."""
    async with site(tmp_path, zone="$SLOW 5.0.0.127.in-addr.arpa 30\n", lists=(), look_up_seconds=0.05) as served:
        replies = await asyncio.wait_for(served.send(STRANGER, sender="x@nobody.test"), 10)
        assert replies[-1][:3] == "250"


async def test_a_list_that_says_yes_to_everything_is_not_asked(tmp_path: Path) -> None:
    """It fails its test, the log says so once, and it is used again when it passes."""
    async with site(tmp_path, lists=(ListSettings("yes.test"),)) as served:
        await served.border.check_lists()
        assert (await served.send(HARBOR))[-1][:3] == "250"
        healthy = ZoneTable.parse("2.0.0.127.yes.test. IN A 127.0.0.2\n")
        served.zone.records = healthy.records
        await served.border.check_lists()
    assert [line["event"] for line in served.log if "list" in line] == ["list not used", "list used again"]


async def test_a_fault_in_testing_lists_does_not_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log says so, clients are looked at meanwhile, and the lists are tested again."""
    monkeypatch.setattr("letterlock.mta.border.border._TEST_AGAIN_SECONDS", 0.001)
    async with site(tmp_path) as served:
        served.border._tested.clear()
        check, turns, again = served.border.check_lists, 0, asyncio.Event()

        async def broken_first() -> None:
            nonlocal turns
            turns += 1
            if turns == 1:
                raise ZeroDivisionError
            await check()
            again.set()

        monkeypatch.setattr(served.border, "check_lists", broken_first)
        running = asyncio.create_task(served.border.run())
        async with asyncio.timeout(30):
            await again.wait()
        running.cancel()
        await asyncio.wait([running])
        assert served.border._tested.is_set()
    assert [line["event"] for line in served.log if line["severity"] == "error"] == ["lists not tested"]


async def test_a_client_is_looked_up_once(tmp_path: Path) -> None:
    """Two messages, one set of questions; after five minutes they are asked again."""
    async with site(tmp_path) as served:
        await served.send(HARBOR)
        served.zone.asked.clear()
        await served.send(HARBOR)
        names = {question.name for question in served.zone.asked}
        assert not [name for name in names if "bad.test" in name or "arpa" in name]
        served.clock.move(301)
        served.zone.asked.clear()
        await served.send(HARBOR)
        assert "9.0.0.127.bad.test" in {question.name for question in served.zone.asked}
