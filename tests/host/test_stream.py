"""Streams and listeners: octets both ways, TLS in place, deadlines, bounds, graceful stop; under both event loops."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest

from letterlock.errors import SettingsFault
from letterlock.host.connect import ConnectionFailed, connect
from letterlock.host.drive_sessions import Session
from letterlock.host.listen import ConnectionLimits, Listener, bind
from letterlock.host.logs import Log, send_to
from letterlock.host.stream import Bounds, DeadlinePassed, Endpoint, Stopping, Stream, TlsFailed
from letterlock.host.tls import KeyPair, ServerTls, authenticated_client, opportunistic_client

Run = Callable[[Any], None]


@contextlib.asynccontextmanager
async def serving(session: Session, **options: Any) -> AsyncIterator[Listener]:
    """A listener for `session` on a port of the system's choice."""
    lines: list[str] = []
    before = send_to(lines.append)
    listener = Listener(session, log=Log("test"), **options)
    await listener.start([bind("127.0.0.1", 0)])
    try:
        yield listener
    finally:
        await listener.stop(grace_seconds=5)
        send_to(before)
        assert not [line for line in lines if "session failed" in line], lines


async def read_exactly(stream: Stream, count: int) -> bytes:
    """Read until `count` octets have come."""
    stream.expect_within(10)
    octets = b""
    while len(octets) < count and (more := await stream.read()):
        octets += more
    return octets


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until the condition holds."""
    for _ in range(1_000_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came true")


async def shouting(stream: Stream) -> None:
    """A small session as an example: answers every line in capitals, begins TLS on request, and takes leave."""
    pending = b""
    stream.write(b"HELLO\n")
    while True:
        stream.expect_within(10)
        try:
            octets = await stream.read(idle=True)
        except Stopping:
            await stream.send(b"STOPPING\n")
            return
        if not octets:
            return
        *lines, pending = (pending + octets).split(b"\n")
        for line in lines:
            if line == b"tls":
                pending = b""
                await stream.start_tls(shouting_tls[0].context, announcement=b"GO\n")
                break
            await stream.send(line.upper() + b"\n")


shouting_tls: list[ServerTls] = []


@pytest.fixture(autouse=True)
def _tls(key_pair: KeyPair) -> None:
    shouting_tls[:] = [ServerTls([key_pair])]


def test_octets_go_both_ways(run: Run) -> None:
    """A session answers what it read; the listener reports the port the system chose."""

    async def scenario() -> None:
        async with serving(shouting) as listener:
            assert listener.endpoints[0].port > 0
            client = await connect(listener.endpoints[0], within_seconds=5)
            assert client.peer == listener.endpoints[0]
            await client.send(b"abc\ndef\n")
            assert await read_exactly(client, 14) == b"HELLO\nABC\nDEF\n"
            await client.close()

    run(scenario())


def test_tls_begins_in_place_and_what_came_before_is_dropped(run: Run, key_pair: KeyPair) -> None:
    """RFC 3207 section 4.2: `evil`, pipelined in plain text behind the request for TLS, is never answered."""

    async def scenario() -> None:
        async with serving(shouting) as listener:
            client = await connect(listener.endpoints[0], within_seconds=5)
            await client.send(b"tls\nevil\n")
            assert await read_exactly(client, 9) == b"HELLO\nGO\n"
            state = await client.start_tls(authenticated_client(key_pair.chain), server_side=False,
                                           server_name="mx.rosewood.test")  # fmt: skip
            await client.send(b"abc\n")
            assert await read_exactly(client, 4) == b"ABC\n"
            assert state.version == "TLSv1.3"
            assert state.peer_chain == (ssl.PEM_cert_to_DER_cert(key_pair.chain.read_text()),)
            await client.close()

    run(scenario())


def test_tls_from_the_first_octet_and_its_channel_bindings(run: Run, key_pair: KeyPair) -> None:
    """Server and client agree on tls-server-end-point, and on tls-unique where TLS 1.2 is spoken (RFC 5929)."""
    bindings: list[dict[str, tuple[bytes, ...]]] = []

    async def session(stream: Stream) -> None:
        assert stream.tls is not None
        bindings.append(stream.tls.bindings)
        await stream.send(b"x" * 300_000)

    async def scenario() -> None:
        async with serving(session, tls=ServerTls([key_pair])) as listener:
            for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
                client = await connect(listener.endpoints[0], within_seconds=5)
                context = opportunistic_client()
                context.maximum_version = version
                state = await client.start_tls(context, server_side=False, server_name="mx.rosewood.test")
                assert await read_exactly(client, 300_000) == b"x" * 300_000
                assert state.bindings == bindings.pop()
                assert ("tls-unique" in state.bindings) is (version == ssl.TLSVersion.TLSv1_2)
                await client.close()

    run(scenario())


def test_a_certificate_for_another_name_is_refused(run: Run, key_pair: KeyPair) -> None:
    """An authenticated client raises TlsFailed with the reason, and the server's session ends quietly."""

    async def scenario() -> None:
        async with serving(shouting, tls=ServerTls([key_pair])) as listener:
            client = await connect(listener.endpoints[0], within_seconds=5)
            with pytest.raises(TlsFailed, match=r"[Hh]ostname mismatch"):
                await client.start_tls(
                    authenticated_client(key_pair.chain), server_side=False, server_name="mx.harbor.test"
                )
            await client.close()

    run(scenario())


def test_garbage_in_place_of_a_handshake(run: Run, key_pair: KeyPair) -> None:
    """Plain text where TLS is expected ends the connection, not the listener."""

    async def scenario() -> None:
        async with serving(shouting, tls=ServerTls([key_pair])) as listener:
            for _ in range(3):
                client = await connect(listener.endpoints[0], within_seconds=5)
                await client.send(b"EHLO x\r\n" * 20)
                client.expect_within(5)
                while await client.read():
                    pass
                await client.close()

    run(scenario())


def test_octets_that_trickle_do_not_move_a_deadline(run: Run) -> None:
    """A deadline is a point in time: a peer that sends an octet every few milliseconds meets it all the same."""
    ended = asyncio.Event()

    async def session(stream: Stream) -> None:
        stream.expect_within(0.1)
        try:
            while True:
                await stream.read()
        except DeadlinePassed:
            ended.set()

    async def scenario() -> None:
        async with serving(session) as listener:
            client = await connect(listener.endpoints[0], within_seconds=5)
            for _ in range(2000):
                if ended.is_set():
                    break
                client.write(b"x")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), 0.005)
            assert ended.is_set()
            await client.close()

    run(scenario())


def test_a_peer_that_never_reads_meets_the_deadline(run: Run) -> None:
    """`send` waits for room only until the deadline."""
    ended = asyncio.Event()

    async def session(stream: Stream) -> None:
        stream.expect_within(0.1)
        with pytest.raises(DeadlinePassed):
            while True:
                await stream.send(b"x" * 65536)
        ended.set()

    async def scenario() -> None:
        async with serving(session, bounds=Bounds(close_seconds=0.1)) as listener:
            deaf = socket.create_connection((listener.endpoints[0].host, listener.endpoints[0].port))
            await ended.wait()
            deaf.close()

    run(scenario())


def test_unread_input_is_bounded(run: Run) -> None:
    """While a session works, the peer's flood waits in the peer: no more than the bound and one read are kept."""
    go = asyncio.Event()
    sizes: list[int] = []

    async def session(stream: Stream) -> None:
        stream.expect_within(10)
        await go.wait()
        while octets := await stream.read():
            sizes.append(len(octets))

    async def scenario() -> None:
        async with serving(session, bounds=Bounds(unread_octets=1000)) as listener:
            client = await connect(listener.endpoints[0], within_seconds=5, bounds=Bounds(unsent_octets=1000))
            client.expect_within(0.2)
            with pytest.raises(DeadlinePassed):
                while True:
                    await client.send(b"x" * 100_000)
            go.set()
            await client.close()
            await until(lambda: listener.connections == 0)

    run(scenario())
    assert max(sizes) <= 1000 + 256 * 1024


def test_connections_past_a_limit_hear_why(run: Run) -> None:
    """The third connection of a network that may have two is told so; when one leaves there is room again."""

    async def scenario() -> None:
        limits = ConnectionLimits(per_network=2)
        async with serving(shouting, limits=limits, refusal=b"TOO MANY\n") as listener:
            clients = [await connect(listener.endpoints[0], within_seconds=5) for _ in range(3)]
            assert [await read_exactly(client, 6) for client in clients] == [b"HELLO\n", b"HELLO\n", b"TOO MANY\n"]
            await clients[0].close()
            await until(lambda: listener.connections == 1)
            again = await connect(listener.endpoints[0], within_seconds=5)
            assert await read_exactly(again, 6) == b"HELLO\n"
            for client in (*clients, again):
                await client.close()

    run(scenario())


def test_stopping_lets_idle_sessions_take_leave_and_busy_ones_finish(run: Run) -> None:
    """After `stop` nobody can connect, the idle hear so, and work that was begun is done."""
    release = asyncio.Event()
    done: list[str] = []

    async def working(stream: Stream) -> None:
        stream.expect_within(10)
        await stream.read()
        await release.wait()
        done.append("worked")
        await shouting(stream)

    async def scenario() -> None:
        async with serving(working) as busy, serving(shouting) as idle:
            worker = await connect(busy.endpoints[0], within_seconds=5)
            idler = await connect(idle.endpoints[0], within_seconds=5)
            await worker.send(b"x")
            assert await read_exactly(idler, 6) == b"HELLO\n"
            stops = [asyncio.ensure_future(listener.stop(grace_seconds=10)) for listener in (busy, idle)]
            await stops[1]
            assert await read_exactly(idler, 9) == b"STOPPING\n"
            with pytest.raises(ConnectionFailed):
                await connect(idle.endpoints[0], within_seconds=5)
            assert not stops[0].done()
            release.set()
            await stops[0]
            assert await read_exactly(worker, 15) == b"HELLO\nSTOPPING\n"
            assert done == ["worked"]
            await worker.close()
            await idler.close()

    run(scenario())


def test_stopping_does_not_wait_for_a_peer_that_keeps_its_connection(run: Run, key_pair: KeyPair) -> None:
    """Whoever is told to come back, in plain text or under TLS, or has been told already, holds nothing up."""

    async def told(stream: Stream) -> None:
        await stream.read()
        stream.write(b"BYE\n")
        await stream.close(linger=True)

    async def scenario() -> None:
        never_closes = Bounds(close_seconds=600)
        tls = ServerTls([key_pair])
        async with (
            serving(shouting, bounds=never_closes) as idle,
            serving(shouting, bounds=never_closes, tls=tls) as protected,
            serving(told, bounds=never_closes) as leaving,
        ):
            clients = [socket.create_connection(astuple(one.endpoints[0])) for one in (idle, leaving, protected)]
            clients[1].sendall(b"x")
            handshake = functools.partial(opportunistic_client().wrap_socket, clients[2])
            clients[2] = await asyncio.to_thread(handshake)  # which, unlike our own streams, answers for nobody
            heard = [await asyncio.to_thread(client.recv, 6) for client in clients]
            assert heard == [b"HELLO\n", b"BYE\n", b"HELLO\n"]
            async with asyncio.timeout(20):
                await asyncio.gather(*(one.stop(grace_seconds=60) for one in (idle, protected, leaving)))
            heard = [await asyncio.to_thread(client.recv, 9) for client in clients]
            assert heard == [b"STOPPING\n", b"", b"STOPPING\n"]
            for client in clients:
                client.close()

    run(scenario())


def test_what_does_not_stop_is_cancelled_after_the_grace(run: Run) -> None:
    """A session that hangs does not keep the service from stopping."""

    async def hanging(stream: Stream) -> None:
        await stream.read()
        await asyncio.Event().wait()

    async def scenario() -> None:
        async with serving(hanging) as listener:
            client = await connect(listener.endpoints[0], within_seconds=5)
            await client.send(b"x")
            await until(lambda: listener.connections == 1)
            await listener.stop(grace_seconds=0.05)
            assert listener.connections == 0
            await client.close()

    run(scenario())


def test_parting_words_reach_a_peer_that_is_still_talking(run: Run) -> None:
    """With `linger`, a refusal is read although the peer's flood was not."""

    async def refusing(stream: Stream) -> None:
        stream.expect_within(10)
        await stream.read()
        stream.write(b"NO MORE\n")
        await stream.close(linger=True)

    async def scenario() -> None:
        async with serving(refusing) as listener:
            client = await connect(listener.endpoints[0], within_seconds=5)
            client.write(b"x" * 3_000_000)
            assert await read_exactly(client, 8) == b"NO MORE\n"
            await client.close()

    run(scenario())


def test_a_reload_with_a_broken_file_keeps_the_old_certificate(tmp_path: Path, key_pair: KeyPair) -> None:
    """A renewed certificate is served after `reload`; a broken one is reported and changes nothing."""
    chain, key = tmp_path / "a.pem", tmp_path / "a.key"
    chain.write_bytes(key_pair.chain.read_bytes())
    key.write_bytes(key_pair.key.read_bytes())
    tls = ServerTls([KeyPair(chain, key)])
    before = tls.context
    tls.reload()
    renewed = tls.context
    assert renewed is not before
    chain.write_text("nothing")
    with pytest.raises(SettingsFault, match=r"a\.pem"):
        tls.reload()
    assert tls.context is renewed


async def test_a_refused_connection_names_the_endpoint() -> None:
    """ConnectionFailed says where and why."""
    free = bind("127.0.0.1", 0)
    port = free.getsockname()[1]
    free.close()
    with pytest.raises(ConnectionFailed, match=rf"127\.0\.0\.1:{port}"):
        await connect(Endpoint("127.0.0.1", port), within_seconds=5)
