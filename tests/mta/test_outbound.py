"""Sending over real connections: to our own server, and to servers that misbehave at every step."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from letterlock.formats.address import Address
from letterlock.formats.envelope import Body, Envelope, Recipient
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SeededEntropy
from letterlock.host.listen import Listener, bind
from letterlock.host.logs import Log, send_to
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.host.smtp_client import ClientPatience
from letterlock.host.stream import Stream
from letterlock.host.tls import KeyPair, ServerTls
from letterlock.mta.outbound import Outbound, OutboundSettings
from letterlock.mta.route import Refusal, Relay, RoutingSettings, Way

Session = Callable[[Stream], Awaitable[None]]

CONTENT = b"Subject: x\r\n\r\n.dot\r\n"
PATIENCE = ClientPatience(connect_seconds=2, greeting_seconds=0.3, command_seconds=0.5, data_seconds=0.5,
                          end_of_data_seconds=0.5)  # fmt: skip
TO_ADA = Envelope(Address("x", "rosewood.test"), (Recipient(Address("ada", "harbor.test")),))


@contextlib.asynccontextmanager
async def network(
    *hosts: Session, tls: Iterable[Session] = (), zone: str = "", **settings: object
) -> AsyncIterator[tuple[Outbound, list[int]]]:
    """Servers `a.test`, `b.test`, ... as exchangers of harbor.test in that order, and what sends to them."""
    before = send_to(lambda _line: None)
    listeners, ports, lines = [], {}, []
    for number, session in enumerate(hosts):
        name = f"{'abcdef'[number]}.test"
        listener = Listener(session, log=Log("test"))
        await listener.start([bind("127.0.0.1", 0)])
        listeners.append(listener)
        ports[name] = listener.endpoints[0].port
        lines += [f"harbor.test. 300 IN MX {number} {name}.", f"{name}. 300 IN A 127.0.0.1"]
    table = ZoneTable.parse("\n".join([*lines, zone]) + "\n")
    outbound = Outbound(
        OutboundSettings(
            "mx.rosewood.test", RoutingSettings(frozenset(), ports=ports), **{"patience": PATIENCE, **settings}
        ),  # type: ignore[arg-type]
        resolver=table,
        clock=SystemClock(),
        entropy=SeededEntropy(),
        log=Log("test"),
    )
    try:
        yield outbound, list(ports.values())
    finally:
        await outbound.close()
        for listener in listeners:
            await listener.stop(grace_seconds=2)
        send_to(before)


class Host:
    """A server by script: for each line it gets it says the reply to that verb; `seen` is what it got."""

    def __init__(self, tls: ServerTls | None = None, keywords: tuple[str, ...] = (), **replies: str) -> None:
        self.replies = {"EHLO": "250", "MAIL": "250 2.1.0 ok", "RCPT": "250 2.1.5 ok", "DATA": "354 go",
                        "END": "250 2.0.0 queued as 1", "QUIT": "221 bye", "RSET": "250 ok", "GREETING": "220 host",
                        "STARTTLS": "220 go", "HELO": "250 hello"} | replies  # fmt: skip
        self.tls = tls
        self.keywords = keywords
        self.seen: list[str] = []
        self.contents: list[bytes] = []
        self.connections = 0

    async def __call__(self, stream: Stream) -> None:
        self.connections += 1
        stream.expect_within(10)
        if not await self.say(stream, "GREETING"):
            return
        pending, content = b"", None
        while octets := await stream.read():
            pending += octets
            while b"\r\n" in pending:
                line, _, pending = pending.partition(b"\r\n")
                if content is not None:
                    if line != b".":
                        content += line + b"\r\n"
                        continue
                    self.contents.append(content)
                    content, verb = None, "END"
                else:
                    verb = line.decode().split()[0].upper()
                    self.seen.append(line.decode())
                if verb == "EHLO" and self.replies["EHLO"] == "250":
                    keywords = [*self.keywords, *(["STARTTLS"] if self.tls and not stream.tls else [])]
                    text = "".join(f"250-{keyword}\r\n" for keyword in ("host", *keywords)) + "250 8BITMIME\r\n"
                    await stream.send(text.encode())
                elif verb == "STARTTLS" and self.tls and self.replies["STARTTLS"].startswith("220"):
                    await stream.start_tls(self.tls.context, announcement=self.replies["STARTTLS"].encode() + b"\r\n")
                    pending = b""
                    break
                elif not await self.say(stream, verb):
                    return
                if verb == "DATA" and self.replies["DATA"].startswith("354"):
                    content = b""
                if verb == "QUIT":
                    return

    async def say(self, stream: Stream, verb: str) -> bool:
        reply = self.replies[verb]
        if reply == "hang":
            await stream.read()
            while await stream.read():
                pass
            return False
        if reply == "drop":
            stream.abort()
            return False
        await stream.send(reply.encode() + b"\r\n")
        return True


async def deliver(outbound: Outbound, envelope: Envelope = TO_ADA, content: bytes = CONTENT) -> Outcome:
    """The outcome for the one recipient."""
    (outcome,) = await outbound.deliver(envelope, content)
    return outcome


async def test_a_message_is_handed_over() -> None:
    """The outcome quotes the host; the content arrives with its dots stuffed."""
    host = Host()
    async with network(host) as (outbound, _):
        outcome = await deliver(outbound)
    assert outcome == Outcome(TO_ADA.recipients[0].forward_path, Result.RELAYED, "2.0.0", "250 2.0.0 queued as 1",
                              "a.test", "127.0.0.1", "none")  # fmt: skip
    assert host.contents == [b"Subject: x\r\n\r\n..dot\r\n"]


async def test_a_host_that_does_not_say_good_bye_keeps_nobody_from_stopping() -> None:
    """It may take five minutes for a command; we end when we are told to."""
    host = Host(QUIT="hang")
    async with network(host, patience=ClientPatience()) as (outbound, _):
        assert (await deliver(outbound)).result is Result.RELAYED
        async with asyncio.timeout(30):
            await outbound.close()
        assert host.seen[-1] == "QUIT"


async def test_each_recipient_has_its_own_outcome() -> None:
    """Refused, deferred and taken in one transaction; and a domain that does not exist."""

    class Choosy(Host):
        async def say(self, stream: Stream, verb: str) -> bool:
            if verb == "RCPT":
                name = self.seen[-1].partition("<")[2][:3]
                self.replies["RCPT"] = {"bob": "550 5.1.1 no such user", "eve": "451 4.7.1 later"}.get(name, "250 ok")
            return await super().say(stream, verb)

    names = (("ada", "harbor.test"), ("bob", "harbor.test"), ("joe", "absent.test"), ("eve", "harbor.test"))
    envelope = Envelope(None, tuple(Recipient(Address(*name)) for name in names))
    async with network(Choosy()) as (outbound, _):
        outcomes = await outbound.deliver(envelope, CONTENT)
    assert [(outcome.recipient.local_part, outcome.result, outcome.status) for outcome in outcomes] == [
        ("ada", Result.RELAYED, "2.0.0"),
        ("bob", Result.FAILED, "5.1.1"),
        ("joe", Result.FAILED, "5.1.2"),
        ("eve", Result.DEFERRED, "4.7.1"),
    ]


async def test_a_connection_serves_again() -> None:
    """Three messages, one connection; and when the host has hung up meanwhile, a fresh one."""
    host = Host()
    async with network(host) as (outbound, _):
        for _ in range(3):
            assert (await deliver(outbound)).result is Result.RELAYED
        assert host.connections == 1
        host.replies["MAIL"] = "drop"

        async def deliver_after_drop() -> Outcome:
            return await deliver(outbound)

        outcome = await deliver_after_drop()
        assert outcome.result is Result.DEFERRED  # the fresh one dropped too
        assert host.connections == 2
        host.replies["MAIL"] = "250 ok"
        assert (await deliver(outbound)).result is Result.RELAYED
    assert len(host.contents) == 4


@pytest.mark.parametrize(
    "replies",
    [{"GREETING": "554 no"}, {"GREETING": "421 busy"}, {"GREETING": "drop"}, {"GREETING": "hang"}, {"GREETING": "hello"},
     {"EHLO": "drop"}, {"EHLO": "hang"}, {"MAIL": "drop"}, {"MAIL": "hang"}, {"RCPT": "drop"}, {"DATA": "drop"},
     {"RCPT": "354 what"}, {"DATA": "hang"}, {"GREETING": "220-" + "x" * 5000}],
)  # fmt: skip
async def test_a_host_that_fails_before_the_content_leads_to_the_next(replies: dict[str, str]) -> None:
    """Refusing, hanging, dropping or babbling: the second exchanger gets the message, once."""
    bad, good = Host(**replies), Host()
    async with network(bad, good) as (outbound, _):
        outcome = await deliver(outbound)
    assert (outcome.result, outcome.host) == (Result.RELAYED, "b.test")
    assert len(good.contents) == 1
    assert bad.connections == 1


@pytest.mark.parametrize("reply", ["drop", "hang", "rubbish"])
async def test_a_host_lost_after_the_content_may_have_it(reply: str) -> None:
    """No other host is tried at once: the message waits, for it may have been taken."""
    bad, good = Host(END=reply), Host()
    async with network(bad, good) as (outbound, _):
        outcome = await deliver(outbound)
    assert (outcome.result, outcome.status, outcome.host) == (Result.DEFERRED, "4.4.2", "a.test")
    assert not good.contents


async def test_when_all_hosts_fail_the_message_waits() -> None:
    """Even a 5xx in place of the greeting is no word about the recipient."""
    async with network(Host(GREETING="554 5.7.1 go away"), Host(EHLO="550 no", HELO="550 no")) as (outbound, _):
        outcome = await deliver(outbound)
    assert outcome.result is Result.DEFERRED
    assert outcome.reply == "550 no"


async def test_a_closed_port_leads_to_the_next() -> None:
    """Connection refused."""
    free = bind("127.0.0.1", 0)
    port = free.getsockname()[1]
    free.close()
    good = Host()
    async with network(good) as (outbound, _):
        outbound._settings.routing.ports["closed.test"] = port  # type: ignore[index]
        table = ZoneTable.parse("two.test. 300 IN MX 1 closed.test.\nclosed.test. 300 IN A 127.0.0.1\n"
                                "two.test. 300 IN MX 2 a.test.\na.test. 300 IN A 127.0.0.1\n")  # fmt: skip
        outbound.adopt(outbound._settings, table)
        outcome = await deliver(outbound, Envelope(None, (Recipient(Address("ada", "two.test")),)))
    assert (outcome.result, outcome.host) == (Result.RELAYED, "a.test")


async def test_tls_is_used_where_offered(key_pair: KeyPair) -> None:
    """Opportunistic: any certificate will do, and the outcome says what protected the session."""
    host = Host(ServerTls([key_pair]), keywords=("PIPELINING",))
    async with network(host) as (outbound, _):
        outcome = await deliver(outbound)
    assert (outcome.result, outcome.security) == (Result.RELAYED, "TLSv1.3 may")
    assert [line.split()[0] for line in host.seen][:3] == ["EHLO", "STARTTLS", "EHLO"]


async def test_broken_tls_is_not_worse_than_none() -> None:
    """A host whose handshake fails gets the message over a second connection without TLS."""

    class Broken(Host):
        async def say(self, stream: Stream, verb: str) -> bool:
            if verb == "STARTTLS":
                await stream.send(b"220 go\r\n")
                await stream.read()
                await stream.send(b"rubbish in place of a handshake\r\n")
                return False
            return await super().say(stream, verb)

    host = Broken(keywords=("STARTTLS",))
    async with network(host) as (outbound, _):
        outcome = await deliver(outbound)
    assert (outcome.result, outcome.security, host.connections) == (Result.RELAYED, "none", 2)


async def test_octets_injected_behind_the_go_ahead_are_noticed(key_pair: KeyPair) -> None:
    """What stands in plain text behind 220 would be taken for protected; the host is left."""
    host = Host(ServerTls([key_pair]), STARTTLS="220 go\r\n250-injected\r\n250 AUTH PLAIN")
    async with network(host, Host()) as (outbound, _):
        outcome = await deliver(outbound)
    assert outcome.host == "b.test"


def tlsa(pair: KeyPair, name: str, port: int, *, wrong: bool = False) -> str:
    """A TLSA record 3 0 1 for a certificate, and the whole table declared secure."""
    certificate = x509.load_pem_x509_certificate(pair.chain.read_bytes())
    digest = certificate.fingerprint(hashes.SHA256()).hex()
    if wrong:
        digest = "00" * 32
    return f"_{port}._tcp.{name}. 300 IN TLSA 3 0 1 {digest}\n$SECURE test\n"


@pytest.mark.parametrize("wrong", [False, True])
async def test_dane(key_pair: KeyPair, wrong: bool) -> None:
    """RFC 7672: secure TLSA records are binding; a certificate they do not name gets no mail, and the mail waits."""
    host = Host(ServerTls([key_pair]))
    async with network(host, zone=tlsa(key_pair, "a.test", 25, wrong=wrong)) as (outbound, _):
        outcome = await deliver(outbound)
    if wrong:
        assert (outcome.result, outcome.status) == (Result.DEFERRED, "4.7.5")
        assert not host.contents
    else:
        assert (outcome.result, outcome.security) == (Result.RELAYED, "TLSv1.3 dane")


async def test_dane_against_a_host_that_hides_its_tls(key_pair: KeyPair) -> None:
    """STARTTLS stripped from the offer: nothing is sent in plain text."""
    host = Host()
    async with network(host, zone=tlsa(key_pair, "a.test", 25)) as (outbound, _):
        outcome = await deliver(outbound)
    assert (outcome.result, outcome.status) == (Result.DEFERRED, "4.7.5")
    assert not any(line.startswith("MAIL") for line in host.seen)


async def test_many_recipients_are_split_by_the_limit_of_the_host() -> None:
    """LIMITS RCPTMAX (RFC 9422), in several transactions over one connection."""
    host = Host(keywords=("PIPELINING", "LIMITS RCPTMAX=2"))
    envelope = Envelope(None, tuple(Recipient(Address(name, "harbor.test")) for name in "abcde"))
    async with network(host) as (outbound, _):
        outcomes = await outbound.deliver(envelope, CONTENT)
    assert all(outcome.result is Result.RELAYED for outcome in outcomes)
    assert (len(host.contents), host.connections) == (3, 1)


async def test_a_relay_with_credentials_is_never_told_them_in_plain_text() -> None:
    """A smart host that offers no TLS gets neither password nor mail."""
    host = Host(keywords=("AUTH PLAIN",))
    async with network(host) as (outbound, ports):
        relay = Relay("a.test", ports[0], "user", "secret")
        settings = OutboundSettings(
            "mx.rosewood.test", RoutingSettings(frozenset(), ways={"*": relay}), patience=PATIENCE
        )
        other = Outbound(
            settings, resolver=outbound._routes._resolver, clock=SystemClock(), entropy=SeededEntropy(), log=Log("x")
        )
        outcome = await deliver(other)
        await other.close()
    assert outcome.result is Result.DEFERRED
    assert not any("AUTH" in line or "MAIL" in line for line in host.seen)


async def test_idle_connections_are_left_in_time() -> None:
    """A connection nobody uses again is quit by itself."""
    host = Host()
    async with network(host, idle_seconds=0.05) as (outbound, _):
        await deliver(outbound)
        for _ in range(1000):
            if "QUIT" in host.seen:
                break
            await asyncio.sleep(0.005)
    assert host.seen[-1] == "QUIT"


# What is remembered of hosts.


@pytest.mark.parametrize("greeting", ["421 4.3.2 busy", "554 5.7.1 go away", "450 4.7.0 later"])
async def test_a_host_that_refuses_the_connection_is_not_asked_by_each_message(greeting: str) -> None:
    """What it said is the answer for the next ones; and when somebody says so, it is asked again."""
    host = Host(GREETING=greeting)
    async with network(host) as (outbound, _):
        answers = [await deliver(outbound) for _ in range(5)]
        assert host.connections == 1
        assert {(one.result, one.status[0], one.about_host) for one in answers} == {(Result.DEFERRED, "4", True)}
        assert all(one.reply == greeting for one in answers)
        host.replies["GREETING"] = "220 hello"
        outbound.forget_failures()
        assert (await deliver(outbound)).result is Result.RELAYED


async def test_greylisting_is_about_a_recipient_not_the_host() -> None:
    """Each message is asked for, and nothing else is kept from the host."""
    host = Host(RCPT="451 4.7.1 greylisted")
    async with network(host) as (outbound, _):
        first = await deliver(outbound)
        assert (first.result, first.about_host) == (Result.DEFERRED, False)
        host.replies["RCPT"] = "250 ok"
        assert (await deliver(outbound)).result is Result.RELAYED
    assert host.connections == 1


async def test_a_host_that_bears_few_connections_is_used_over_those() -> None:
    """Ten messages at once for a host that refuses a third connection: all arrive, none is deferred."""

    class Narrow(Host):
        open = 0
        most = 0

        async def __call__(self, stream: Stream) -> None:
            if Narrow.open >= 2:
                await stream.send(b"421 4.7.0 too many connections\r\n")
                return
            Narrow.open += 1
            Narrow.most = max(Narrow.most, Narrow.open)
            try:
                await super().__call__(stream)
            finally:
                Narrow.open -= 1

    host = Narrow()
    async with network(host) as (outbound, _):
        outcomes = await asyncio.gather(*(deliver(outbound) for _ in range(10)))
    assert [one.result for one in outcomes] == [Result.RELAYED] * 10, outcomes
    assert len(host.contents) == 10
    assert Narrow.most == 2


async def test_a_connection_that_served_enough_leads_to_a_fresh_one() -> None:
    """421 in place of the second transaction: the host wants a new connection, not a retry in minutes."""

    class Tired(Host):
        async def say(self, stream: Stream, verb: str) -> bool:
            if verb == "MAIL" and sum(line.startswith("MAIL") for line in self.seen) % 2 == 0 and self.connections == 1:
                await stream.send(b"421 4.7.0 enough for one connection\r\n")
                return False
            return await super().say(stream, verb)

    host = Tired()
    async with network(host) as (outbound, _):
        outcomes = [await deliver(outbound) for _ in range(2)]
    assert [one.result for one in outcomes] == [Result.RELAYED] * 2
    assert host.connections == 2


async def test_what_one_host_does_not_offer_the_next_may() -> None:
    """8-bit content: the first exchanger has no 8BITMIME, the second has; and with the first alone it fails, 5.6.3.

    Its header is beyond ASCII, so that it cannot be converted.
    """
    old, new = Host(EHLO="502 no", HELO="250 hello"), Host()
    content = b"Subject: \xc3\xa9\r\n\r\n\xc3\xa9\r\n"
    envelope = Envelope(None, TO_ADA.recipients, body=Body.EIGHT_BIT)
    async with network(old, new) as (outbound, _):
        outcome = await deliver(outbound, envelope, content)
        assert (outcome.result, outcome.host) == (Result.RELAYED, "b.test")
    async with network(old) as (outbound, _):
        outcome = await deliver(outbound, envelope, content)
        assert (outcome.result, outcome.status) == (Result.FAILED, "5.6.3")
    assert old.connections == 2
    assert not any(line.startswith("MAIL") for line in old.seen)


async def test_many_messages_at_once_share_one_look_up() -> None:
    """A crowd for one domain asks the DNS once."""
    async with network(Host()) as (outbound, _):
        await asyncio.gather(*(deliver(outbound) for _ in range(10)))
        table = outbound._routes._resolver
        assert isinstance(table, ZoneTable)
        assert sum(question.type == "MX" for question in table.asked) == 1


async def test_pipelining_puts_a_transaction_into_one_packet() -> None:
    """RFC 2920: MAIL, RCPT and DATA in one write where the host offers it."""
    writes: list[bytes] = []

    class Watching(Host):
        async def __call__(self, stream: Stream) -> None:
            read = stream.read

            async def watched(*, idle: bool = False) -> bytes:
                octets = await read(idle=idle)
                writes.append(octets)
                return octets

            stream.read = watched  # type: ignore[method-assign]
            await super().__call__(stream)

    async with network(Watching(keywords=("PIPELINING",))) as (outbound, _):
        await deliver(outbound)
        await deliver(outbound)
    assert [octets.count(b"\r\n") for octets in writes if octets.startswith(b"MAIL")] == [3, 3]


# Ways the administrator set.


def by(outbound: Outbound, **ways: Way) -> None:
    """Let an Outbound go these ways, by name of the recipients' domain with "_" for a dot."""
    named = {name.replace("__", "*.").replace("_", "."): way for name, way in ways.items()}
    routing = replace(outbound._settings.routing, ways=named)
    outbound.adopt(replace(outbound._settings, routing=routing), outbound._routes._resolver)


async def test_a_domain_may_be_refused() -> None:
    async with network(Host()) as (outbound, _):
        by(outbound, harbor_test=Refusal("harbor.test has moved"))
        outcome = await deliver(outbound)
    assert (outcome.result, outcome.status, outcome.reply) == (Result.FAILED, "5.7.1", "harbor.test has moved")


async def test_a_domain_may_go_over_lmtp(tmp_path: Path) -> None:
    """By a socket of this machine: LHLO, and a reply for each recipient behind the content (RFC 2033)."""
    seen: list[str] = []

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 lmtp\r\n")
        while line := (await reader.readline()).decode().strip():
            seen.append(line)
            answers = {"LHLO": b"250-lmtp\r\n250 PIPELINING\r\n", "DATA": b"354 go\r\n", "QUIT": b"221 bye\r\n"}
            writer.write(answers.get(line[:4], b"250 2.1.0 ok\r\n"))
            if line == "DATA":
                while await reader.readline() != b".\r\n":
                    pass
                writer.write(b"250 2.0.0 delivered\r\n452 4.2.2 full\r\n")
        writer.close()

    listening = await asyncio.start_unix_server(server, tmp_path / "lmtp")
    envelope = Envelope(None, (*TO_ADA.recipients, Recipient(Address("bob", "harbor.test"))))
    async with network(Host()) as (outbound, _), listening:
        by(outbound, harbor_test=Relay(str(tmp_path / "lmtp"), is_lmtp=True))
        first, second = await outbound.deliver(envelope, CONTENT)
        await outbound.close()
    assert (first.result, second.result, second.status) == (Result.RELAYED, Result.DEFERRED, "4.2.2")
    assert seen[0] == "LHLO mx.rosewood.test"
