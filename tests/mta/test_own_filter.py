"""A filter of the site's own: what it sees, what it may want, and what its faults cost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from letterlock.formats.address import Address
from letterlock.formats.authentication_results import AuthenticationResults, MethodResult
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.logs import Log, send_to
from letterlock.host.stream import Endpoint
from letterlock.mta.arrival import Arrival, Assessment, Destination, Evidence
from letterlock.mta.border.client import ClientFacts, Finding, Iprev, Standing
from letterlock.mta.filters import FilterChain, Filtered, Own
from letterlock.mta.inbound import redirected
from letterlock.mta.own_filter import Defer, Junk, Mail, Refuse, Take
from letterlock.protocols.smtp.reply import reply
from letterlock.store.interface import Delivery
from letterlock.trust import arc

ADA, BOB = Address("ada", "rosewood.test"), Address("bob", "rosewood.test")
ENVELOPE = Envelope(Address("rose", "harbor.test"), (Recipient(ADA), Recipient(BOB)))
STANDING = Standing(ClientFacts("192.0.2.1", Iprev.PASS, "mx.harbor.test"), (Finding(1.5, "it is odd"),))
CONTENT = (b"From: rose@harbor.test\r\nSubject: Re:\r\n hedge\r\n", b"\r\nCut it.\r\n")
ARRIVAL = Arrival("42", 7.0, Endpoint("192.0.2.1", 1), "mx.test", "ESMTP", None, "", ENVELOPE, CONTENT, None, STANDING)
RESULTS = AuthenticationResults("mx.rosewood.test", (MethodResult("dmarc", "pass"),))


async def assessed(_arrival: Arrival) -> Assessment:
    """What our own checks say."""
    evidence = Evidence(arc.Verdict(arc.Result.NONE, "no seals"), RESULTS)
    return Assessment(fields=b"Authentication-Results: x; none\r\n", evidence=evidence)


async def judged(function: Callable[..., Any], *, is_optional: bool = False, seconds: float = 5) -> Assessment:
    """What becomes of the message."""
    before = send_to(lambda _line: None)
    chain = FilterChain((Own("mine.py:f", function, seconds),), Log("mta"), is_optional)
    assessment = await Filtered(assessed, chain)(ARRIVAL)
    send_to(before)
    return assessment


@pytest.mark.parametrize("is_coroutine", [False, True])
async def test_it_sees_the_message_and_all_that_was_found(is_coroutine: bool) -> None:
    """A plain function in a thread of its own, a coroutine function on the loop."""
    seen: list[tuple[Mail, bool]] = []

    def look(mail: Mail) -> Take:
        seen.append((mail, threading.current_thread() is threading.main_thread()))
        return Take()

    async def look_here(mail: Mail) -> Take:
        await asyncio.sleep(0)
        return look(mail)

    assessment = await judged(look_here if is_coroutine else look)
    assert assessment.refusal is None
    assert assessment.content is None
    ((mail, on_loop),) = seen
    assert on_loop == is_coroutine
    assert (mail.client_address, mail.client_name, mail.client_host) == ("192.0.2.1", "mx.test", "mx.harbor.test")
    assert (mail.sender, mail.recipients) == ("rose@harbor.test", ("ada@rosewood.test", "bob@rosewood.test"))
    assert (mail.points, mail.findings) == (1.5, ("+1.5 it is odd",))
    assert (mail.result("dmarc"), mail.result("spf"), mail.user) == ("pass", "", "")
    assert mail.header.text("Subject") == "Re: hedge"
    assert mail.body == b"Cut it.\r\n"


async def test_what_it_may_want() -> None:
    """Fields on top of the message in their order, Junk, and refusals in its words."""
    taken = await judged(lambda _mail: Take((("X-One", "1"), ("X-Two", "2\r\nX-Forged: 3"))))
    octets = b"".join(taken.content or ())
    assert octets.startswith(b"X-One: 1\r\nX-Two: 2\r\n\tX-Forged: 3\r\nAuthentication-Results: x; none\r\n")
    assert octets.endswith(b"".join(CONTENT))
    assert taken.fields == b""
    assert (await judged(lambda _mail: Junk("odd"))).mailbox == "Junk"
    for verdict, expected in [
        (Refuse("Send a link\ninstead", "5.7.7"), reply(550, "5.7.7", "Send a link", "instead")),
        (Refuse("No", "nonsense"), reply(550, "5.7.1", "No")),
        (Refuse(""), reply(550, "5.7.1", "Refused by a filter")),
        (Defer("Later", "5.1.1"), reply(451, "4.7.1", "Later")),
    ]:
        assert (await judged(lambda _mail, verdict=verdict: verdict)).refusal == expected


def stuck(_mail: Mail) -> Take:
    """Waits for longer than it may; the thread ends by itself."""
    threading.Event().wait(0.5)
    return Take()


async def stuck_here(_mail: Mail) -> Take:
    """Waits for ever."""
    await asyncio.Event().wait()
    return Take()


@pytest.mark.parametrize(
    "function",
    [
        lambda _mail: 1 / 0,
        lambda _mail: None,
        lambda _mail: "take",
        lambda _mail: Take((("no colon: here", "x"),)),
        lambda _mail: Take(cast(Any, ("X-One: 1",))),
        lambda _mail: Take(cast(Any, 5)),
        stuck,
        stuck_here,
    ],
)
async def test_its_faults_never_lose_mail(function: Callable[..., Any]) -> None:
    """Raising, answering nonsense, never answering: the message is deferred, or passes where that was chosen."""
    deferred = await judged(function, seconds=0.05 if function in (stuck, stuck_here) else 5)
    assert deferred.refusal == reply(451, "4.7.1", "A filter cannot be asked now: try again later")
    passed = await judged(function, is_optional=True, seconds=0.05 if function in (stuck, stuck_here) else 5)
    assert passed.refusal is None
    assert passed.content is None


async def test_what_is_refused_already_is_not_shown() -> None:
    """Filters cost time: they see what would be taken."""

    async def refusing(_arrival: Arrival) -> Assessment:
        return Assessment(refusal=reply(550, "5.7.1", "No"))

    shown: list[Mail] = []
    chain = FilterChain((Own("f", cast(Any, shown.append)),), Log("mta"))
    assert (await Filtered(refusing, chain)(ARRIVAL)).refusal is not None
    assert not shown


class People:
    """rosewood.test: ada, bob and eve."""

    def is_ours(self, domain: str) -> bool:
        return domain == "rosewood.test"

    async def accept(self, _reverse_path: object, recipient: Recipient) -> Destination | Outcome:
        if recipient.forward_path.local_part == "eve":
            return To("eve")
        return Outcome(recipient.forward_path, Result.FAILED, "5.1.1", "No such user here")


class To:
    """A destination."""

    def __init__(self, account: str) -> None:
        self.deliveries = (Delivery(account),)
        self.relays: tuple[Recipient, ...] = ()


async def test_recipients_added_and_removed() -> None:
    """Those here are resolved, those elsewhere queued, unknown ones left out; a message never goes nowhere."""
    lines: list[str] = []
    before = send_to(lines.append)
    destinations: list[Destination] = [To("ada"), To("bob")]
    added = [Address("eve", "rosewood.test"), Address("x", "harbor.test"), Address("nobody", "rosewood.test")]
    gone = [Address("Ada", "rosewood.test")]
    found = await redirected(People(), destinations, ENVELOPE, added, gone, Log("mta"))
    assert [delivery.account for one in found for delivery in one.deliveries] == ["bob", "eve"]
    assert [str(relay.forward_path) for one in found for relay in one.relays] == ["x@harbor.test"]
    assert len(lines) == 1
    assert await redirected(People(), destinations, ENVELOPE, [], [ADA, BOB], Log("mta")) == destinations
    send_to(before)
