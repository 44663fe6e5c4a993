"""The server on port 25, over real connections: accepted mail is in the store before 250, and bad input is answered."""

from __future__ import annotations

import asyncio
import contextlib
import json
import smtplib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from letterlock.errors import Unavailable
from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.clock import SetClock
from letterlock.host.connect import connect, connect_unix
from letterlock.host.entropy import SeededEntropy
from letterlock.host.listen import Listener, bind, bind_unix
from letterlock.host.logs import Log, send_to
from letterlock.host.smtp_client import ClientPatience, SmtpClient
from letterlock.host.stream import Endpoint, Stream
from letterlock.host.tls import KeyPair, ServerTls
from letterlock.mta.arrival import Arrival, Assessment, Destination
from letterlock.mta.examination import Examination
from letterlock.mta.inbound import Inbound, InboundSettings
from letterlock.mta.session import Patience
from letterlock.protocols.smtp.offer import Dialect
from letterlock.protocols.smtp.reply import reply
from letterlock.store.interface import Delivery, Receipt, Store, Transaction

SETTINGS = InboundSettings("mx.rosewood.test", size_limit=200_000)


class Ledger:
    """Stands where the store stands and keeps what it was given; `fault` is raised instead, if set."""

    def __init__(self) -> None:
        self.transactions: list[Transaction] = []
        self.fault: Exception | None = None

    def announce(self, change: int) -> None:
        """Say that messages are on their way."""

    async def commit(self, transaction: Transaction) -> Receipt:
        await asyncio.sleep(0)
        if self.fault is not None:
            raise self.fault
        self.transactions.append(transaction)
        return Receipt(len(self.transactions))


class People:
    """rosewood.test is here, with ada and bob; list@ goes on to two domains."""

    def is_ours(self, domain: str) -> bool:
        return domain in ("rosewood.test", "mx.rosewood.test")

    async def accept(self, _reverse_path: Address | None, recipient: Recipient) -> Destination | Outcome:
        address = recipient.forward_path
        match address.local_part:
            case "ada" | "bob" | "postmaster":
                return Becomes(deliveries=(Delivery(address.local_part, prefix=b"Return-Path: <>\r\n"),))
            case "list":
                names = ("a.test", "b.test", "a.test")
                return Becomes(relays=tuple(Recipient(Address("x", name)) for name in names))
            case "full":
                return Outcome(address, Result.DEFERRED, "4.2.2", "The mailbox is full")
        return Outcome(address, Result.FAILED, "5.1.1", "No such user here")


@dataclass(frozen=True)
class Becomes:
    """A destination."""

    deliveries: tuple[Delivery, ...] = ()
    relays: tuple[Recipient, ...] = ()


@contextlib.asynccontextmanager
async def inbound(
    settings: InboundSettings = SETTINGS,
    *,
    tls: ServerTls | None = None,
    grace_seconds: float = 5,
    failing: int = 0,
    **options: Any,
) -> AsyncIterator[tuple[Endpoint, Ledger, list[dict[str, Any]]]]:
    """A running server, the ledger of what it committed, and its log; `failing` sessions meet a fault of the program."""
    lines: list[str] = []
    before = send_to(lines.append)
    ledger = Ledger()
    options.setdefault("recipients", People())
    service = Inbound(settings, store=cast(Store, ledger), clock=SetClock(), entropy=SeededEntropy(),
                      log=Log("mta"), tls=tls, **options)  # fmt: skip
    listener = Listener(service.session, log=Log("mta"), refusal=b"421 4.7.0 Too many connections\r\n")
    await listener.start([bind("127.0.0.1", 0)])
    log: list[dict[str, Any]] = []
    try:
        yield listener.endpoints[0], ledger, log
    finally:
        await listener.stop(grace_seconds=grace_seconds)
        send_to(before)
        log.extend(json.loads(line) for line in lines)
        assert len([line for line in log if line["event"] == "session failed"]) == failing, log


async def converse(endpoint: Endpoint, octets: bytes) -> bytes:
    """Send octets at once, and return all that comes until the server closes."""
    stream = await connect(endpoint, within_seconds=5)
    stream.expect_within(10)
    stream.write(octets)
    answer = await everything(stream)
    await stream.close()
    return answer


async def everything(stream: Stream) -> bytes:
    """Read until the other side ends."""
    answer = b""
    while more := await stream.read():
        answer += more
    return answer


def codes(answer: bytes) -> list[str]:
    """The codes of the replies, one each."""
    return [line[:3].decode() for line in answer.split(b"\r\n") if line[3:4] == b" "]


OPENING = b"EHLO client.test\r\nMAIL FROM:<x@harbor.test>\r\n"
MESSAGE = b"Subject: hello\r\n\r\nText\r\n..dot\r\n"


async def test_an_accepted_message_is_in_the_store_before_250() -> None:
    """Its octets as they came behind our Received field, for the mailboxes named, each once."""
    async with inbound() as (endpoint, ledger, log):
        recipients = b"".join(b"RCPT TO:<%s@rosewood.test>\r\n" % name for name in (b"ada", b"bob", b"Ada", b"ada"))
        answer = await converse(endpoint, OPENING + recipients + b"DATA\r\n" + MESSAGE + b".\r\nQUIT\r\n")
    assert codes(answer) == ["220", "250", "250", "250", "250", "550", "250", "354", "250", "221"]
    (transaction,) = ledger.transactions
    assert [delivery.account for delivery in transaction.deliveries] == ["ada", "bob"]
    octets = b"".join(transaction.octets)
    assert octets.endswith(b"\r\nSubject: hello\r\n\r\nText\r\n.dot\r\n")
    assert octets.startswith(
        b"Received: from client.test ([127.0.0.1])\r\n\tby mx.rosewood.test with ESMTP\r\n\tid "
        + transaction.id.encode()
        + b";\r\n\tFri, 15 Jan 2027 08:00:00 +0000\r\n"
    )
    assert [line["event"] for line in log] == ["recipient refused", "accepted"]


async def test_recipients_that_go_on_are_queued_by_domain() -> None:
    """One entry a destination domain, in the same transaction, each recipient once."""
    async with inbound() as (endpoint, ledger, _):
        await converse(endpoint, OPENING + b"RCPT TO:<list@rosewood.test>\r\nDATA\r\n" + MESSAGE + b".\r\nQUIT\r\n")
    (transaction,) = ledger.transactions
    assert [[str(owed.forward_path) for owed in entry.envelope.recipients] for entry in transaction.queued] == [
        ["x@a.test"],
        ["x@b.test"],
    ]
    assert len({entry.queue_id for entry in transaction.queued}) == 2


async def test_unknown_users_and_foreign_domains_are_refused_in_the_session() -> None:
    """No bounce is owed for what was never taken (RFC 5321 section 6.1)."""
    async with inbound() as (endpoint, ledger, _):
        answer = await converse(
            endpoint,
            OPENING + b"RCPT TO:<eve@rosewood.test>\r\nRCPT TO:<a@b.test>\r\n"
            b"RCPT TO:<full@rosewood.test>\r\nDATA\r\nQUIT\r\n",
        )
    assert codes(answer) == ["220", "250", "250", "550", "550", "450", "554", "221"]
    assert not ledger.transactions


@pytest.mark.parametrize(
    ("fault", "code"),
    [(Unavailable("the disk is full", full=True), b"452 4.3.1"), (Unavailable("EIO"), b"451 4.3.0")],
)
async def test_a_local_fault_defers(fault: Exception, code: bytes) -> None:
    """A full disk or a broken one is answered 452 or 451, the session goes on, and nothing is said to be taken."""
    octets = OPENING + b"RCPT TO:<ada@rosewood.test>\r\nDATA\r\n" + MESSAGE + b".\r\nNOOP\r\nQUIT\r\n"
    async with inbound() as (endpoint, ledger, log):
        ledger.fault = fault
        answer = await converse(endpoint, octets)
    assert code in answer
    assert codes(answer)[-2:] == ["250", "221"]
    assert "accepted" not in [line["event"] for line in log]


@pytest.mark.parametrize("step", ["recipient", "message"])
async def test_a_fault_of_the_program_tells_the_client_to_come_again(step: str) -> None:
    """It ends this session, with a last word (RFC 5321 section 3.8), and the log has it."""

    class Broken(People):
        async def accept(self, reverse_path: Address | None, recipient: Recipient) -> Destination | Outcome:
            if step == "recipient":
                raise ZeroDivisionError
            return await super().accept(reverse_path, recipient)

    async def assess(_arrival: Arrival) -> Assessment:
        raise ZeroDivisionError

    octets = OPENING + b"RCPT TO:<ada@rosewood.test>\r\nDATA\r\n" + MESSAGE + b".\r\nQUIT\r\n"
    async with inbound(assess=assess, recipients=Broken(), failing=1) as (endpoint, ledger, log):
        answer = await converse(endpoint, octets)
    assert ledger.transactions == []
    assert answer.splitlines()[-1].startswith(b"421 4.3.0 ")
    assert codes(answer)[-2] == {"recipient": "250", "message": "354"}[step]
    (event,) = (event for event in log if event["severity"] == "error")
    assert (event["event"], event["problem"]) == ("session failed", "ZeroDivisionError()")


async def test_an_assessment_adds_fields_refuses_or_chooses_a_mailbox() -> None:
    """The hook before 250 sees the whole message and decides."""
    seen: list[Arrival] = []

    async def assess(arrival: Arrival) -> Assessment:
        seen.append(arrival)
        if b"bad" in b"".join(arrival.content):
            return Assessment(refusal=reply(550, "5.7.1", "Refused by policy"))
        return Assessment(b"Authentication-Results: mx.rosewood.test; none\r\n", mailbox="Junk")

    message = OPENING + b"RCPT TO:<ada@rosewood.test>\r\nDATA\r\n%s\r\n.\r\n"
    async with inbound(assess=assess) as (endpoint, ledger, _):
        answer = await converse(endpoint, message % b"good" + message[18:] % b"bad" + b"QUIT\r\n")
    assert codes(answer)[-2:] == ["550", "221"]
    (transaction,) = ledger.transactions
    assert transaction.octets[0].startswith(b"Authentication-Results: mx.rosewood.test; none\r\nReceived: ")
    assert transaction.deliveries[0].mailbox == "Junk"
    assert (seen[0].client_name, seen[0].size, seen[0].client.host) == ("client.test", 6, "127.0.0.1")


class ReportedPeople(People):
    """Everybody here is for the queue, since the sender asked to hear of success."""

    async def accept(self, _reverse_path: Address | None, recipient: Recipient) -> Destination | Outcome:
        return Becomes(relays=(recipient, Recipient(Address("x", "a.test"))))


async def test_the_mailbox_that_was_chosen_goes_with_what_the_queue_delivers_here() -> None:
    """And with nothing that goes on to others."""

    async def assess(_arrival: Arrival) -> Assessment:
        return Assessment(mailbox="Junk")

    message = OPENING + b"RCPT TO:<ada@rosewood.test>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n"
    async with inbound(assess=assess, recipients=ReportedPeople()) as (endpoint, ledger, _):
        await converse(endpoint, message)
    (transaction,) = ledger.transactions
    assert [(str(one.envelope.recipients[0].forward_path), one.details) for one in transaction.queued] == [
        ("ada@rosewood.test", {"mailbox": "Junk"}),
        ("x@a.test", {}),
    ]


async def test_content_is_examined_while_it_comes() -> None:
    """By DATA and by BDAT, each message by its own examination; what was dropped before leaves nothing."""
    begun: list[tuple[str, str, str]] = []
    seen: list[tuple[bytes, bytes]] = []

    def examine(address: str, client_name: str, reverse_path: Address | None) -> Examination:
        begun.append((address, client_name, str(reverse_path)))
        return Examination(None)

    async def assess(arrival: Arrival) -> Assessment:
        assert arrival.examination is not None
        header, _ = arrival.examination.finish()
        seen.append((header.raw, b"".join(arrival.content)))
        return Assessment()

    message = b"MAIL FROM:<x@harbor.test>\r\nRCPT TO:<ada@rosewood.test>\r\n"
    octets = (
        OPENING + b"RCPT TO:<ada@rosewood.test>\r\nBDAT 10\r\nSubject: aRSET\r\n"
        + message + b"BDAT 11\r\nSubject: b\rBDAT 3\r\n\nA:BDAT 5 LAST\r\n\r\n\r\nx"
        + message + b"DATA\r\n" + MESSAGE + b".\r\nQUIT\r\n"
    )  # fmt: skip
    async with inbound(assess=assess, examine=examine) as (endpoint, ledger, _):
        answer = await converse(endpoint, octets)
    assert codes(answer)[-2:] == ["250", "221"]
    assert begun == [("127.0.0.1", "client.test", "x@harbor.test")] * 3
    assert seen == [
        (b"Subject: b\r\nA:\r\n\r\n", b"Subject: b\r\nA:\r\n\r\nx"),
        (b"Subject: hello\r\n\r\n", MESSAGE.replace(b"..", b".")),
    ]
    assert len(ledger.transactions) == 2


async def test_starttls_and_what_received_says_of_it(key_pair: KeyPair) -> None:
    """Python's own client upgrades, sends, and the Received field tells of TLS (RFC 8314 section 4.3)."""
    async with inbound(tls=ServerTls([key_pair])) as (endpoint, ledger, _):

        def send() -> None:
            with smtplib.SMTP(endpoint.host, endpoint.port, local_hostname="client.test", timeout=10) as client:
                client.starttls()
                client.sendmail("x@harbor.test", ["ada@rosewood.test"], "Subject: x\r\n\r\n.text\r\n")

        await asyncio.to_thread(send)
    octets = b"".join(ledger.transactions[0].octets)
    assert b"with ESMTPS\r\n\ttls TLS_AES_256_GCM_SHA384 (TLSv1.3, 256 bits)\r\n" in octets
    assert b"\tfor <ada@rosewood.test>;\r\n" in octets
    assert octets.endswith(b"Subject: x\r\n\r\n.text\r\n")


async def test_commands_injected_before_tls_are_not_obeyed_after_it(key_pair: KeyPair) -> None:
    """RFC 3207 section 4.2, over a real handshake."""
    from letterlock.host.tls import opportunistic_client

    async with inbound(tls=ServerTls([key_pair])) as (endpoint, _, _):
        stream = await connect(endpoint, within_seconds=5)
        stream.expect_within(10)
        stream.write(b"EHLO x\r\nSTARTTLS\r\nMAIL FROM:<evil@harbor.test>\r\n")
        answer = b""
        while b"220 2.0.0" not in answer:
            answer += await stream.read()
        await stream.start_tls(opportunistic_client(), server_side=False)
        stream.write(b"RCPT TO:<ada@rosewood.test>\r\nQUIT\r\n")
        assert codes(await everything(stream)) == ["503", "221"]
        await stream.close()


async def test_an_old_client_gets_an_old_suite_and_not_plain_text(key_pair: KeyPair) -> None:
    """On the border a CBC suite is better than none (RFC 7435); TLS 1.1 is not spoken at all (RFC 8996)."""

    def context(ciphers: str, version: ssl.TLSVersion) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
        made.set_ciphers(ciphers)
        made.minimum_version = made.maximum_version = version
        return made

    async with inbound(tls=ServerTls([key_pair])) as (endpoint, _, _):
        client = await SmtpClient.open(endpoint, name="old.test")
        await client.greet()
        await client.hello()
        state = await client.start_tls(context("ECDHE-ECDSA-AES128-SHA", ssl.TLSVersion.TLSv1_2), server_name="x")
        assert state.cipher == "ECDHE-ECDSA-AES128-SHA"
        await client.hello()
        await client.quit()
    strict = ServerTls([key_pair]).context
    assert all("Mac=AEAD" in cipher["description"] for cipher in strict.get_ciphers())
    assert strict.minimum_version == ssl.TLSVersion.TLSv1_2


async def test_a_loop_is_ended() -> None:
    """RFC 5321 section 6.3: a message with too many Received fields is refused."""
    hops = b"Received: from a by b; Mon, 23 Nov 2026 13:15:15 +0000\r\n" * 51
    octets = OPENING + b"RCPT TO:<ada@rosewood.test>\r\nDATA\r\n" + hops + b"\r\ntext\r\n.\r\nQUIT\r\n"
    async with inbound() as (endpoint, ledger, _):
        answer = await converse(endpoint, octets)
    assert b"554 5.4.6" in answer
    assert not ledger.transactions


async def test_a_client_that_vanishes_in_the_middle_leaves_nothing() -> None:
    """Half a message is not stored, and the log tells."""
    async with inbound() as (endpoint, ledger, log):
        stream = await connect(endpoint, within_seconds=5)
        stream.expect_within(10)
        stream.write(OPENING + b"RCPT TO:<ada@rosewood.test>\r\nDATA\r\nhalf a mess")
        answer = b""
        while b"354" not in answer:
            answer += await stream.read()
        stream.abort()
    assert not ledger.transactions
    assert [line["event"] for line in log] == ["client vanished"]


@pytest.mark.parametrize(
    ("before", "again"),
    [
        (b"EHLO x.test\r\n", b"NOOP\r\n"),
        (b"EHLO x.test\r\n", b"EHLO x.test\r\n"),
        (OPENING, b"RCPT TO:<ada@rosewood.test>\r\n"),
        (OPENING + b"RCPT TO:<ada@rosewood.test>\r\n", b"BDAT 1\r\nx"),
        (b"EHLO x.test\r\n", b"MAIL FROM:<x@harbor.test>\r\nRSET\r\n"),
    ],
)
async def test_no_stream_of_commands_stretches_a_transaction(before: bytes, again: bytes) -> None:
    """Each command comes in time and is answered; the transaction must come to its end all the same."""
    settings = replace(SETTINGS, patience=Patience(command_seconds=60, transaction_seconds=0.5))
    async with inbound(settings) as (endpoint, ledger, log):
        stream = await connect(endpoint, within_seconds=5)
        stream.expect_within(20)
        stream.write(before)
        answer = b""
        while more := await stream.read():
            answer += more
            stream.write(again)
            await asyncio.sleep(0.01)
        await stream.close()
    assert b"\r\n421 4.4.2 mx.rosewood.test waited too long" in answer
    assert not ledger.transactions
    assert log[-1]["event"] == "client too slow"


async def test_a_client_that_sends_mail_may_stay() -> None:
    """The time begins anew with each message, and content buys its own."""
    settings = replace(SETTINGS, patience=Patience(command_seconds=60, transaction_seconds=3))
    async with inbound(settings) as (endpoint, ledger, _):
        stream = await connect(endpoint, within_seconds=5)
        stream.expect_within(20)
        message = b"MAIL FROM:<>\r\nRCPT TO:<ada@rosewood.test>\r\nDATA\r\n" + MESSAGE + b".\r\n"
        stream.write(b"EHLO x.test\r\n")
        answer = b""
        for count in range(1, 12):
            stream.write(message)
            while answer.count(b"250 2.0.0 Accepted") < count:
                more = await stream.read()
                assert more, answer
                answer += more
            await asyncio.sleep(0.3)
        stream.write(b"QUIT\r\n")
        answer += await everything(stream)
        await stream.close()
    assert len(ledger.transactions) == 11
    assert b"\r\n221 " in answer


async def test_a_slow_client_is_sent_away_however_it_trickles() -> None:
    """A command that does not become whole in time ends with 421, though octets keep coming."""
    settings = replace(SETTINGS, patience=Patience(command_seconds=0.15))
    async with inbound(settings) as (endpoint, _, log):
        stream = await connect(endpoint, within_seconds=5)
        stream.expect_within(10)
        ended = asyncio.ensure_future(everything(stream))
        while not ended.done():
            stream.write(b"N")
            await asyncio.wait([ended], timeout=0.01)
        assert codes(await ended) == ["220", "421"]
        await stream.close()
    assert log[0]["event"] == "client too slow"


async def test_content_past_the_common_budget_is_deferred() -> None:
    """What all sessions hold together is bounded; the message is answered 452 and may come again."""
    settings = replace(SETTINGS, content_budget=1000)
    async with inbound(settings) as (endpoint, ledger, _):
        big = OPENING + b"RCPT TO:<ada@rosewood.test>\r\nDATA\r\n" + b"x" * 2000 + b"\r\n.\r\n"
        small = b"MAIL FROM:<>\r\nRCPT TO:<ada@rosewood.test>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n"
        answer = await converse(endpoint, big + small)
    assert codes(answer)[4:6] == ["354", "452"] or codes(answer)[3:5] == ["354", "452"]
    assert codes(answer)[-2:] == ["250", "221"]
    assert len(ledger.transactions) == 1


async def test_stopping_ends_idle_sessions_with_421_and_lets_a_message_finish() -> None:
    """RFC 5321 section 3.8: 421, and what was begun is answered first."""
    async with inbound() as (endpoint, ledger, _):
        stream = await connect(endpoint, within_seconds=5)
        stream.expect_within(10)
        stream.write(OPENING + b"RCPT TO:<ada@rosewood.test>\r\nDATA\r\n")
        answer = b""
        while b"354" not in answer:
            answer += await stream.read()
        # The context manager stops the listener while this message is under way.
        rest = asyncio.ensure_future(_finish(stream))
    assert codes(await rest) == ["250", "421"]
    assert len(ledger.transactions) == 1


async def test_a_transaction_that_outlasts_the_grace_hears_421_too() -> None:
    """RFC 5321 section 3.8: whoever did not come to an end in time is told to come back, and is waited for no longer."""
    async with inbound(grace_seconds=0.05) as (endpoint, ledger, _):
        stream = await connect(endpoint, within_seconds=5)
        stream.expect_within(10)
        stream.write(OPENING + b"RCPT TO:<ada@rosewood.test>\r\nDATA\r\n")
        answer = b""
        while b"354" not in answer:
            answer += await stream.read()
        stream.write(b"Half of a message\r\n")
    assert codes(await everything(stream)) == ["421"]
    await stream.close()
    assert ledger.transactions == []


async def _finish(stream: Stream) -> bytes:
    await asyncio.sleep(0)
    stream.write(MESSAGE + b".\r\n")
    answer = await everything(stream)
    await stream.close()
    return answer


async def test_lmtp_over_a_unix_socket(tmp_path: Path) -> None:
    """The same service in the other dialect: a reply for each recipient that was taken, one transaction."""
    before = send_to(lambda _line: None)
    ledger = Ledger()
    settings = replace(SETTINGS, dialect=Dialect.LMTP)
    service = Inbound(settings, store=cast(Store, ledger), recipients=People(), clock=SetClock(), entropy=SeededEntropy(),
                      log=Log("mta"))  # fmt: skip
    listener = Listener(service.session, log=Log("mta"))
    await listener.start([bind_unix(tmp_path / "lmtp")])
    client = SmtpClient(
        await connect_unix(tmp_path / "lmtp", within_seconds=5),
        name="client.test",
        patience=ClientPatience(),
        dialect=Dialect.LMTP,
    )
    await client.greet()
    await client.hello()
    recipients = tuple(Recipient(Address(name, "rosewood.test")) for name in ("ada", "eve", "bob"))
    answers = await client.transfer(Envelope(None, recipients), MESSAGE)
    await client.quit()
    await listener.stop(grace_seconds=2)
    send_to(before)
    assert [answer.code for answer in answers] == [250, 550, 250]
    (transaction,) = ledger.transactions
    assert [delivery.account for delivery in transaction.deliveries] == ["ada", "bob"]
    assert b"with LMTP\r\n" in transaction.octets[0]
    assert b"from client.test ([local])" in transaction.octets[0]
