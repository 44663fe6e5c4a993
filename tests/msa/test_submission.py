"""Submission over real connections, with real accounts and passwords."""

from __future__ import annotations

import asyncio
import contextlib
import smtplib
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from letterlock.errors import PeerFault
from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.allowance import Allowance
from letterlock.host.backoff import BackoffSettings
from letterlock.host.clock import SetClock
from letterlock.host.entropy import SeededEntropy
from letterlock.host.listen import Listener, bind
from letterlock.host.login_guard import LoginGuard, LoginGuardSettings
from letterlock.host.logs import Log, send_to
from letterlock.host.smtp_client import SmtpClient
from letterlock.host.stream import Endpoint
from letterlock.host.tls import KeyPair, ServerTls, authenticated_client
from letterlock.msa.inbound import Submission, SubmissionSettings
from letterlock.msa.prepare import Prepared, prepare
from letterlock.protocols.sasl.mechanism import PASSWORD_MECHANISMS, client_exchange
from letterlock.protocols.smtp.client import Refused
from letterlock.store.accounts import Accounts
from letterlock.store.interface import Delivery, Receipt, Store, Transaction

ADA = Address("ada", "rosewood.test")
PASSWORD = "a pässword"  # with a letter beyond ASCII
TO_BOB = Envelope(ADA, (Recipient(Address("bob", "harbor.test")),))
MESSAGE = b"From: Ada <ada@rosewood.test>\r\nDate: Mon, 23 Nov 2026 13:15:15 +0000\r\nMessage-ID: <1@x>\r\n\r\ntext\r\n"


class Ledger:
    """Stands where the store stands and keeps what it was given."""

    def __init__(self) -> None:
        self.transactions: list[Transaction] = []

    def announce(self, change: int) -> None:
        """Say that messages are on their way."""

    async def commit(self, transaction: Transaction) -> Receipt:
        self.transactions.append(transaction)
        return Receipt(len(self.transactions))


class People:
    """Only ada is here."""

    def is_ours(self, domain: str) -> bool:
        return domain == "rosewood.test"

    async def accept(self, _reverse_path: Address | None, recipient: Recipient) -> Any:
        if recipient.forward_path != ADA:
            return Outcome(recipient.forward_path, Result.FAILED, "5.1.1", "No such user here")
        return type("Becomes", (), {"deliveries": (Delivery("ada"),), "relays": ()})()


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Accounts:
    """Ada with two addresses; eve has an account too."""
    made = Accounts(tmp_path_factory.mktemp("accounts") / "accounts", default_domain="rosewood.test",
                    digests=("sha256", "sha1"))  # fmt: skip
    made.add("ada@rosewood.test", PASSWORD, addresses=["lovelace@rosewood.test"])
    made.add("eve@rosewood.test", "other")
    return made


@contextlib.asynccontextmanager
async def submission(
    accounts: Accounts,
    key_pair: KeyPair,
    clock: SetClock | None = None,
    *,
    implicit: bool = True,
    settings: SubmissionSettings | None = None,
    guard: LoginGuard | None = None,
    **options: Any,
) -> AsyncIterator[tuple[Endpoint, Ledger]]:
    """A running server and the ledger of what it committed."""
    before = send_to(lambda _line: None)
    clock = clock or SetClock()
    ledger, tls = Ledger(), ServerTls([key_pair])
    service = Submission(
        settings or SubmissionSettings("mx.rosewood.test"),
        store=cast(Store, ledger),
        accounts=accounts,
        recipients=People(),
        tls=tls,
        guard=guard or LoginGuard(clock, LoginGuardSettings(BackoffSettings(free_failures=3), first_delay_seconds=0)),
        clock=clock,
        entropy=SeededEntropy(),
        log=Log("msa"),
        **options,
    )
    listener = Listener(service.session, log=Log("msa"), tls=tls if implicit else None)
    await listener.start([bind("127.0.0.1", 0)])
    try:
        yield listener.endpoints[0], ledger
    finally:
        await listener.stop(grace_seconds=5)
        send_to(before)


async def client_for(endpoint: Endpoint, key_pair: KeyPair) -> SmtpClient:
    """A client that has said EHLO over TLS."""
    client = await SmtpClient.open(endpoint, name="laptop.test",
                                   tls=(authenticated_client(key_pair.chain), "mx.rosewood.test"))  # fmt: skip
    await client.greet()
    await client.hello()
    return client


async def log_in(
    client: SmtpClient, *, user: str = "ada@rosewood.test", password: str = PASSWORD, mechanism: str = "PLAIN"
) -> None:
    """Authenticate with `mechanism`."""
    assert client.tls is not None
    bindings = client.tls.bindings if mechanism.endswith("-PLUS") else {}
    await client.authenticate(
        client_exchange([mechanism], user=user, password=password, nonce=b"n" * 18, bindings=bindings, protected=True)
    )


@pytest.mark.parametrize("mechanism", PASSWORD_MECHANISMS)
async def test_an_author_submits(accounts: Accounts, key_pair: KeyPair, mechanism: str) -> None:
    """With every mechanism, channel binding included: one transaction, our Received field, the octets as they came."""
    async with submission(accounts, key_pair) as (endpoint, ledger):
        client = await client_for(endpoint, key_pair)
        assert mechanism in client.offer.mechanisms
        await log_in(client, mechanism=mechanism)
        (answer,) = await client.transfer(TO_BOB, MESSAGE)
        await client.quit()
    assert answer.code == 250
    (transaction,) = ledger.transactions
    octets = b"".join(transaction.octets)
    assert octets.startswith(b"Received: from laptop.test ([127.0.0.1])\r\n\tby mx.rosewood.test with ESMTPSA\r\n")
    assert octets.endswith(b"+0000\r\n" + MESSAGE)
    (entry,) = transaction.queued
    assert (entry.envelope, entry.source) == (TO_BOB, "submission ada@rosewood.test")


async def test_over_starttls_with_a_client_of_others(accounts: Accounts, key_pair: KeyPair) -> None:
    """Port 587: nothing is offered or taken before TLS; Python's smtplib submits after it."""
    async with submission(accounts, key_pair, implicit=False) as (endpoint, ledger):

        def send() -> None:
            with smtplib.SMTP(endpoint.host, endpoint.port, local_hostname="x", timeout=10) as client:
                client.ehlo()
                assert not client.has_extn("auth")
                assert client.docmd("AUTH PLAIN AGFkYQBi")[0] == 538
                assert client.mail("ada@rosewood.test")[0] == 530
                client.starttls()
                assert client.mail("ada@rosewood.test")[0] == 503  # EHLO anew first
                client.ehlo()
                assert client.mail("ada@rosewood.test")[0] == 530
                client.login("eve", "other")
                client.sendmail("eve@rosewood.test", ["ada@rosewood.test"], "From: eve@rosewood.test\r\n\r\nx\r\n")

        await asyncio.to_thread(send)
    (transaction,) = ledger.transactions
    assert [delivery.account for delivery in transaction.deliveries] == ["ada"]
    octets = b"".join(transaction.octets)
    assert b"\r\nDate: Fri, 15 Jan 2027 08:00:00 +0000\r\nMessage-ID: <" in octets


async def test_only_own_addresses(accounts: Accounts, key_pair: KeyPair) -> None:
    """Neither in MAIL nor in From or Sender somebody else's; further addresses of one's own are."""
    async with submission(accounts, key_pair) as (endpoint, ledger):
        client = await client_for(endpoint, key_pair)
        await log_in(client)
        eve = Address("eve", "rosewood.test")
        for envelope, message, status in [
            (Envelope(eve, TO_BOB.recipients), MESSAGE, "5.7.1"),
            (TO_BOB, b"From: eve@rosewood.test\r\n\r\n", "5.7.1"),
            (TO_BOB, b"From: ada@rosewood.test, eve@rosewood.test\r\n\r\n", "5.7.1"),
            (TO_BOB, b"From: ada@rosewood.test\r\nSender: eve@rosewood.test\r\n\r\n", "5.7.1"),
            (TO_BOB, b"From: ada@rosewood.test\r\nFrom: eve@rosewood.test\r\n\r\n", "5.6.0"),
            (TO_BOB, b"Subject: nobody\r\n\r\n", "5.6.0"),
            (Envelope(ADA, (Recipient(Address("nobody", "rosewood.test")),)), MESSAGE, "5.1.1"),
            (Envelope(Address("lovelace", "rosewood.test"), TO_BOB.recipients), MESSAGE, "2.0.0"),
            (Envelope(None, TO_BOB.recipients), b"From: Lovelace@rosewood.test\r\n\r\n", "2.0.0"),
        ]:
            (answer,) = await client.transfer(envelope, message)
            assert answer.status == status, message
        await client.quit()
    assert len(ledger.transactions) == 2


async def test_wrong_passwords_are_slowed_by_network(accounts: Accounts, key_pair: KeyPair) -> None:
    """Unknown users and wrong passwords look alike; after a few failures the network waits, ever longer."""
    clock = SetClock()
    async with submission(accounts, key_pair, clock) as (endpoint, _):
        answers = []
        for user, password in (
            ("ada", "wrong"),
            ("nobody", PASSWORD),
            ("ada", "wrong"),
            ("ada", "wrong"),
            ("ada", PASSWORD),
        ):
            client = await client_for(endpoint, key_pair)
            with contextlib.suppress(Refused):
                try:
                    await log_in(client, user=user, password=password)
                except Refused as refused:
                    answers.append((refused.answer.code, refused.answer.lines))
                    raise
            client.stream.abort()
        assert [code for code, _ in answers] == [535, 535, 535, 535, 454]
        assert answers[0] == answers[1]
        clock.move(10)
        client = await client_for(endpoint, key_pair)
        await log_in(client)
        await client.quit()


async def test_guessing_at_one_account_from_many_networks_is_slowed(accounts: Accounts, key_pair: KeyPair) -> None:
    """An account guessed at too often is shut for strangers, unknown users alike, and open for where its owner is."""
    clock = SetClock()
    guard = LoginGuard(clock, LoginGuardSettings(first_delay_seconds=0))
    async with submission(accounts, key_pair, clock, guard=guard) as (endpoint, _):
        for name in ("eve@rosewood.test", "nobody@rosewood.test"):
            for number in range(21):
                await guard.failed(f"203.0.{number}.1", name)
            client = await client_for(endpoint, key_pair)
            with pytest.raises(Refused, match="454"):
                await log_in(client, user=name, password="other")
            with pytest.raises(Refused, match="454"):
                await log_in(client, user=name, password="other", mechanism="SCRAM-SHA-256-PLUS")
            client.stream.abort()
        guard.succeeded("127.0.0.9", "eve@rosewood.test")
        client = await client_for(endpoint, key_pair)
        await log_in(client, user="eve@rosewood.test", password="other")
        await client.quit()


async def test_recipients_an_hour_are_limited(accounts: Accounts, key_pair: KeyPair) -> None:
    """What is beyond the allowance waits with the client, and an hour later goes through."""
    clock = SetClock()
    rate = Allowance(clock, burst=3, per_hour=3)
    async with submission(accounts, key_pair, clock, recipient_rate=rate) as (endpoint, _):
        for expected in ([250, 250, 250, 450], [450] * 4, [250, 250, 250, 450]):
            client = await client_for(endpoint, key_pair)
            await log_in(client)
            envelope = Envelope(ADA, tuple(Recipient(Address(name, "harbor.test")) for name in "abcd"))
            assert [answer.code for answer in await client.transfer(envelope, MESSAGE)] == expected
            await client.quit()
            clock.move(3600 if expected == [450] * 4 else 0)


async def test_priority_and_future_release(accounts: Accounts, key_pair: KeyPair) -> None:
    """RFC 6710 and RFC 4865: the queue entry carries the priority and is due when its author wished; not too far off."""
    clock = SetClock()
    async with submission(accounts, key_pair, clock) as (endpoint, ledger):
        client = await client_for(endpoint, key_pair)
        await log_in(client)
        assert "MT-PRIORITY" in client.offer
        assert client.offer.keywords["FUTURERELEASE"] == ("2592000", "2027-02-14T08:00:00Z")
        for parameters, code in [
            ("MT-PRIORITY=3 HOLDFOR=3600", 250), ("HOLDUNTIL=2027-01-15T09:00:00Z", 250), ("MT-PRIORITY=10", 501),
            ("HOLDFOR=2592001", 501), ("HOLDUNTIL=2028-01-15T09:00:00Z", 501), ("HOLDUNTIL=yesterday", 501),
            ("HOLDFOR=1 HOLDUNTIL=2027-01-15T09:00:00Z", 501), ("HOLDUNTIL=2020-01-15T09:00:00Z", 250),
        ]:  # fmt: skip
            client.stream.write(f"MAIL FROM:<ada@rosewood.test> {parameters}\r\n".encode())
            client.stream.expect_within(5)
            answer = await client.stream.read()
            assert answer.startswith(str(code).encode()), (parameters, answer)
            if code == 250:
                client.stream.write(b"RCPT TO:<bob@harbor.test>\r\nBDAT %d LAST\r\n%b" % (len(MESSAGE), MESSAGE))
                answer = b""
                while answer.count(b"\r\n") < 2:
                    answer += await client.stream.read()
        await client.quit()
    now = clock.now()
    entries = [transaction.queued[0] for transaction in ledger.transactions]
    assert [(entry.priority, entry.next_attempt - now, entry.expires - entry.next_attempt) for entry in entries] == [
        (3, 3600, 432_000), (0, 3600, 432_000), (0, 0, 432_000)]  # fmt: skip


async def test_a_session_of_failures_is_ended(accounts: Accounts, key_pair: KeyPair) -> None:
    """After three wrong passwords 421 follows, and the connection is closed."""
    async with submission(accounts, key_pair) as (endpoint, _):
        client = await client_for(endpoint, key_pair)
        for _ in range(3):
            with pytest.raises(Refused, match="535"):
                await log_in(client, password="wrong")
        with pytest.raises(PeerFault):
            await client.hello()
        client.stream.abort()


async def test_acting_as_somebody_else_is_refused(accounts: Accounts, key_pair: KeyPair) -> None:
    """RFC 4616: an authorization identity other than one's own."""
    from letterlock.protocols.sasl.plain import PlainClient

    async with submission(accounts, key_pair) as (endpoint, _):
        client = await client_for(endpoint, key_pair)
        with pytest.raises(Refused, match="535"):
            await client.authenticate(
                PlainClient(user="ada@rosewood.test", password=PASSWORD, authorization="eve@rosewood.test")
            )
        await client.authenticate(
            PlainClient(user="ada@rosewood.test", password=PASSWORD, authorization="lovelace@rosewood.test")
        )
        await client.quit()


async def test_the_signing_hook_stands_before_the_message(accounts: Accounts, key_pair: KeyPair) -> None:
    """It sees the message with the fields added, and its own field comes between those and Received."""
    seen: list[tuple[str, bytes]] = []

    async def sign(domain: str, content: tuple[bytes, ...]) -> bytes:
        seen.append((domain, b"".join(content)))
        return b"DKIM-Signature: x\r\n"

    async with submission(accounts, key_pair, sign=sign) as (endpoint, ledger):
        client = await client_for(endpoint, key_pair)
        await log_in(client)
        await client.transfer(TO_BOB, b"From: ada@rosewood.test\r\n\r\ntext\r\n")
        await client.quit()
    ((domain, signed),) = seen
    assert domain == "rosewood.test"
    assert signed.startswith(b"Date: ")
    assert b"".join(ledger.transactions[0].octets).endswith(b"+0000\r\nDKIM-Signature: x\r\n" + signed)


def test_prepare_reads_a_header_in_pieces() -> None:
    """However the content came, octet by octet even, the header section is found; the content itself is untouched."""
    pieces = tuple(MESSAGE[at : at + 1] for at in range(len(MESSAGE)))
    prepared = prepare(pieces, may_send_as=lambda _address: True, identifier="1", host_name="x.test", now=0.0)
    assert prepared == Prepared(b"", "rosewood.test")
