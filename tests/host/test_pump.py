"""A session that pumps: what can be answered at once is, whatever else is as if it had read."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from letterlock.host.connect import connect
from letterlock.host.listen import Listener, bind
from letterlock.host.logs import Log, send_to
from letterlock.host.stream import DeadlinePassed, Stopping, Stream

Run = Callable[[Any], None]
name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")


@contextlib.asynccontextmanager
async def serving(session: Callable[[Stream], Awaitable[None]]) -> AsyncIterator[tuple[Listener, Stream]]:
    """A listener, and a client that is connected to it."""
    before = send_to(lambda _line: None)
    listener = Listener(session, log=Log("test"))
    await listener.start([bind("127.0.0.1", 0)])
    client = await connect(listener.endpoints[0], within_seconds=10)
    client.expect_within(20)
    try:
        yield listener, client
    finally:
        await client.close()
        await listener.stop(grace_seconds=5)
        send_to(before)


async def read_until(stream: Stream, end: bytes) -> bytes:
    octets = b""
    while not octets.endswith(end) and (more := await stream.read()):
        octets += more
    return octets


def never() -> bool:
    return False


def test_what_comes_is_taken_in_the_context_of_who_pumps(run: Run) -> None:
    """Three words, each answered where it arrives, and the third left to the session's task."""

    async def session(stream: Stream) -> None:
        name.set("ada")
        stream.expect_within(20)
        tasks: list[object] = []

        def take(octets: bytes) -> bool:
            tasks.append(asyncio.current_task())
            stream.write(octets.upper() + name.get().encode())
            return octets != b"enough"

        await stream.send(b"go")
        assert await stream.pump(take, idle=never)
        await stream.send(b" " + b" ".join(str(task is not None).encode() for task in tasks) + b".")

    async def scenario() -> None:
        async with serving(session) as (_, client):
            assert await read_until(client, b"go") == b"go"
            for word in (b"one", b"two", b"enough"):
                await client.send(word)
                assert await read_until(client, b"ada" if word != b"enough" else b".")
            assert await client.read() == b""

    run(scenario())


def test_what_it_raises_ends_the_session_and_not_the_loop(run: Run) -> None:
    caught: list[str] = []

    async def session(stream: Stream) -> None:
        stream.expect_within(20)

        def take(octets: bytes) -> bool:
            raise ValueError(octets.decode())

        try:
            await stream.pump(take, idle=never)
        except ValueError as error:
            caught.append(str(error))

    async def scenario() -> None:
        async with serving(session) as (_, client):
            await client.send(b"oh")
            assert await client.read() == b""

    run(scenario())
    assert caught == ["oh"]


def test_the_end_of_input_and_what_came_before_are_told_apart(run: Run) -> None:
    """What was unread when the pump began comes first; the end is False."""
    taken = bytearray()
    ended: list[bool] = []

    async def session(stream: Stream) -> None:
        stream.expect_within(20)
        for _ in range(1_000_000):
            if stream.has_input:
                break
            await asyncio.sleep(0)

        def take(octets: bytes) -> bool:
            taken.extend(octets)
            return True

        ended.append(await stream.pump(take, idle=never))

    async def scenario() -> None:
        async with serving(session) as (_, client):
            await client.send(b"before and ")
            await client.send(b"after")
            await client.close(linger=True)

    run(scenario())
    assert (bytes(taken), ended) == (b"before and after", [False])


def test_octets_that_trickle_do_not_move_its_deadline(run: Run) -> None:
    """Taking octets moves nothing; an earlier deadline set meanwhile holds."""
    passed = asyncio.Event()

    async def session(stream: Stream) -> None:
        stream.expect_within(1000)
        stream.write(b"go")

        def take(octets: bytes) -> bool:
            if octets.startswith(b"now"):
                stream.expect_within(0.05)
            return True

        try:
            await stream.pump(take, idle=never)
        except DeadlinePassed:
            passed.set()

    async def scenario() -> None:
        async with serving(session) as (_, client):
            assert await read_until(client, b"go") == b"go"
            await client.send(b"now")
            for _ in range(4000):
                if passed.is_set():
                    break
                client.write(b"x")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(passed.wait(), 0.005)
            assert passed.is_set()

    run(scenario())


@pytest.mark.parametrize("is_idle", [True, False])
def test_only_who_is_idle_hears_of_a_stop(run: Run, is_idle: bool) -> None:
    heard: list[str] = []

    async def session(stream: Stream) -> None:
        stream.expect_within(20)
        stream.write(b"go")
        try:
            await stream.pump(lambda octets: octets != b"bye", idle=lambda: is_idle)
            heard.append("bye")
        except Stopping:
            heard.append("stop")

    async def scenario() -> None:
        async with serving(session) as (listener, client):
            assert await read_until(client, b"go") == b"go"
            stopping = asyncio.ensure_future(listener.stop(grace_seconds=10))
            for _ in range(20):
                await asyncio.sleep(0)
            await client.send(b"bye")
            await stopping

    run(scenario())
    assert heard == ["stop" if is_idle else "bye"]
