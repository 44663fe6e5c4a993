"""Several addresses of one host race for the connection (RFC 8305 section 5)."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from letterlock.host.connect import NoneConnected, connect_first
from letterlock.host.stream import Endpoint


@contextlib.contextmanager
def listening() -> Iterator[Endpoint]:
    """An address that answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        yield Endpoint(*listener.getsockname())


@contextlib.contextmanager
def silent() -> Iterator[Endpoint]:
    """An address where nobody answers: its queue is full, so that the system drops what asks."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(listener.getsockname())
        yield Endpoint(*listener.getsockname())


def closed() -> Endpoint:
    """An address that refuses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return Endpoint(*free.getsockname())


async def test_a_silent_address_costs_a_moment() -> None:
    with silent() as first, listening() as second:
        began = time.monotonic()
        found = await connect_first([first, second], within_seconds=60, head_start_seconds=0.05)
        assert time.monotonic() - began < 30
        assert (found.endpoint, found.slower, found.failures) == (second, (first,), {})
        found.stream.abort()


async def test_a_refusal_lets_the_next_begin_at_once() -> None:
    with listening() as second:
        first = closed()
        found = await connect_first([first, second], within_seconds=60, head_start_seconds=60)
        assert found.endpoint == second
        assert list(found.failures) == [first]
        found.stream.abort()


async def test_the_first_has_a_head_start() -> None:
    with listening() as first, listening() as second:
        found = await connect_first([first, second], within_seconds=60, head_start_seconds=60)
        assert (found.endpoint, found.slower) == (first, ())
        found.stream.abort()


async def test_when_none_answers_each_says_why() -> None:
    endpoints = [closed(), closed()]
    with pytest.raises(NoneConnected) as caught:
        await connect_first(endpoints, within_seconds=60)
    assert set(caught.value.failures) == set(endpoints)
    assert all("refused" in problem for problem in caught.value.failures.values())
