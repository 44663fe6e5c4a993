"""What is remembered of other hosts: failures by demand, places, limits."""

from __future__ import annotations

import asyncio

import pytest

from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.host.clock import SetClock
from letterlock.host.smtp_client import ClientPatience, SmtpClient
from letterlock.host.stream import Endpoint, Stream
from letterlock.mta.hosts import Hosts, Place
from letterlock.mta.pool import Connection
from letterlock.protocols.smtp.client import Transfer

FIRST, SECOND = Endpoint("192.0.2.1", 25), Endpoint("2001:db8::1", 25)


def hosts(clock: SetClock, connections: int = 2) -> Hosts:
    return Hosts(clock.elapsed, connections=connections, memory_seconds=60)


def test_a_failure_is_remembered_for_a_while() -> None:
    """And is the answer meanwhile, where no other address is left."""
    clock = SetClock()
    known = hosts(clock)
    known.failed(known.known(FIRST), "", "4.4.1", "refused")
    usable, failure = known.usable((FIRST, SECOND), "may")
    assert [host.endpoint for host in usable] == [SECOND]
    assert failure is not None
    assert (failure.status, failure.reason) == ("4.4.1", "refused")
    clock.move(61)
    assert len(known.usable((FIRST, SECOND), "may")[0]) == 2


def test_a_failure_of_tls_counts_for_the_demand_it_failed() -> None:
    known = hosts(SetClock())
    known.failed(known.known(FIRST), "dane", "4.7.5", "wrong certificate")
    assert known.usable((FIRST,), "dane")[0] == []
    assert len(known.usable((FIRST,), "may")[0]) == 1
    known.known(FIRST).served()
    assert len(known.usable((FIRST,), "dane")[0]) == 1


def test_what_an_operator_says_is_right_again_is_asked_again() -> None:
    known = hosts(SetClock())
    known.failed(known.known(FIRST), "", "4.4.1", "refused")
    known.forget_failures()
    assert len(known.usable((FIRST,), "may")[0]) == 1


def test_a_slow_address_comes_last() -> None:
    clock = SetClock()
    known = hosts(clock)
    known.slow(known.known(FIRST))
    assert [host.endpoint for host in known.usable((FIRST, SECOND), "may")[0]] == [SECOND, FIRST]
    clock.move(61)
    assert [host.endpoint for host in known.usable((FIRST, SECOND), "may")[0]] == [FIRST, SECOND]


async def test_no_more_places_than_the_limit() -> None:
    """Ten want two places: never more than two at once, and all get one."""
    known = hosts(SetClock())
    host, most, served = known.known(FIRST), 0, 0

    async def use() -> None:
        nonlocal most, served
        async with Place(known, host):
            most = max(most, host.active)
            await asyncio.sleep(0)
            served += 1

    await asyncio.gather(*(use() for _ in range(10)))
    assert (most, served, host.active) == (2, 10, 0)


async def test_a_place_that_nobody_waits_for_any_more_is_passed_on() -> None:
    """Whoever gave up waiting just when the turn came must not keep the next one waiting."""
    known = hosts(SetClock(), connections=1)
    host = known.known(FIRST)
    first = Place(known, host)
    await first.__aenter__()
    given_up = asyncio.create_task(Place(known, host).__aenter__())
    next_one = asyncio.create_task(Place(known, host).__aenter__())
    await asyncio.sleep(0)
    host.leave()
    given_up.cancel()
    await asyncio.wait([given_up])
    async with asyncio.timeout(30):
        await next_one
    assert host.active == 1


@pytest.mark.parametrize("gives_up", [False, True])
async def test_a_place_that_is_passed_on_at_once_is_given_back(gives_up: bool) -> None:
    """The connection is lost before the message that was taken along even hears of it: no place is lost with it."""
    known = hosts(SetClock(), connections=1)
    host = known.known(FIRST)
    client = SmtpClient(Stream(), name="client.test", patience=ClientPatience())
    connection = Connection(client, ("mx.test", FIRST, ""))
    transfer = Transfer(Envelope(None, (Recipient(Address("ada", "harbor.test")),)), b"x")
    second = Place(known, host, key=connection.key, transfer=transfer)

    async def follow() -> None:
        async with second:
            assert second.passed is not None

    async with Place(known, host) as first:
        following = asyncio.create_task(follow())
        await asyncio.sleep(0)
        follower = client.begin_behind(transfer)
        assert follower is not None
        first.take_along(second, connection, follower)
    if gives_up:
        following.cancel()
    await asyncio.wait([following])
    assert host.active == 0
    follower.exchange.close()


@pytest.mark.parametrize("moves", [False, True])
async def test_a_message_that_goes_on_to_another_address_takes_no_place_with_it(moves: bool) -> None:
    """Its connection broke with another behind it: when both have found their way, every place is free, at both."""
    known = hosts(SetClock(), connections=1)
    host, elsewhere = known.known(FIRST), known.known(SECOND)
    client = SmtpClient(Stream(), name="client.test", patience=ClientPatience())
    connection = Connection(client, ("mx.test", FIRST, ""))
    transfer = Transfer(Envelope(None, (Recipient(Address("ada", "harbor.test")),)), b"x")
    second = Place(known, host, key=connection.key, transfer=transfer)
    over = asyncio.Event()

    async def follow() -> None:
        async with second:
            await over.wait()
            if moves:
                second.move_to(elsewhere)

    async with Place(known, host) as first:
        following = asyncio.create_task(follow())
        await asyncio.sleep(0)
        follower = client.begin_behind(transfer)
        assert follower is not None
        first.take_along(second, connection, follower)
        await asyncio.sleep(0)
        first.move_to(elsewhere)
        assert (host.active, elsewhere.active) == (0, 1)
    assert (host.active, elsewhere.active) == (0, 0)
    over.set()
    await following
    assert (host.active, elsewhere.active) == (0, 0)
    follower.exchange.close()


async def test_a_host_bears_what_it_bore() -> None:
    """A refusal beside three that serve is a limit of three; alone it is a failure."""
    clock = SetClock()
    known = hosts(clock, connections=20)
    host = known.known(FIRST)
    for _ in range(4):
        await Place(known, host).__aenter__()
    assert known.bears_no_more(host)
    assert host.limit == 3
    for _ in range(3):
        host.leave()
    assert not known.bears_no_more(host)
    clock.move(61)
    await Place(known, host).__aenter__()
    assert host.limit == 20


def test_what_is_known_is_bounded() -> None:
    known = hosts(SetClock())
    for number in range(12_000):
        known.failed(known.known(Endpoint("192.0.2.1", number)), "", "4.4.1", "no")
    assert len(known._known) <= 10_000
