"""What costs memory, processor or patience, each with its bound (`FLOODS`)."""

from __future__ import annotations

import asyncio
import itertools
import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.hostile.sequences import FLOODS
from tests.msa.test_submission import accounts, client_for, log_in, submission
from tests.mta.test_inbound import SETTINGS, codes, everything, inbound
from tests.protocols.smtp.test_server import talk

from letterlock.errors import PeerFault
from letterlock.host.clock import SetClock
from letterlock.host.connect import connect
from letterlock.host.tls import KeyPair
from letterlock.mta.session import Patience
from letterlock.protocols.smtp import event as events
from letterlock.protocols.smtp.client import Refused
from letterlock.protocols.smtp.offer import ServerSettings
from letterlock.protocols.smtp.reply import ReplyReader, reply
from letterlock.protocols.smtp.server import ServerConversation
from letterlock.protocols.smtp.words import State
from letterlock.store.accounts import Accounts

__all__ = ["accounts"]
PIECE = b"x" * (1 << 18)
TRANSACTION = b"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n"


def line_without_end(
    opening: bytes, state: State, octets: int, settings: ServerSettings
) -> tuple[ServerConversation, int]:
    """Send so many octets of one line; return the conversation, and the most memory that took beyond one piece."""
    server = ServerConversation(settings)
    talk([opening], server)
    assert server.state is state
    tracemalloc.start()
    for _ in range(octets // len(PIECE)):
        server.receive(PIECE)
        while server.next_event() is not None:
            pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return server, peak - len(PIECE)


LINES = {
    "a line of 1 GB in a command": (b"EHLO x\r\n", State.GREETED, b"\r\nNOOP\r\n", ["500", "250"]),
    "a line of 1 GB in content": (TRANSACTION + b"DATA\r\n", State.CONTENT, b"\r\n.\r\nNOOP\r\n", ["552", "250"]),
    "a line of 1 GB in AUTH": (b"EHLO x\r\nAUTH PLAIN\r\n", State.AUTHENTICATING, b"\r\nNOOP\r\n", ["500", "250"]),
}


@pytest.mark.parametrize("megabytes", [32, pytest.param(1024, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", LINES)
def test_a_line_without_end(name: str, megabytes: int) -> None:
    """Read over in pieces and not kept, and answered when it ends after all."""
    opening, state, ending, expected = LINES[name]
    settings = ServerSettings("mx.rosewood.test", size_limit=100_000, plain_mechanisms=("PLAIN",))
    server, memory = line_without_end(opening, state, megabytes << 20, settings)
    assert memory < 8 * len(PIECE)  # copies of one piece under way, whatever the line's length
    server.receive(ending)
    while server.next_event() is not None:
        pass
    assert codes(server.take_output()) == expected


async def test_an_octet_a_second_in_a_command() -> None:
    """The deadline belongs to the whole command: octets that trickle in do not move it."""
    async with inbound(replace(SETTINGS, patience=Patience(command_seconds=0.5))) as (endpoint, _, _):
        stream = await connect(endpoint, within_seconds=5)
        stream.expect_within(20)
        answer = asyncio.create_task(everything(stream))
        for octet in b"EHLO x" * 1000:
            if answer.done():
                break
            stream.write(bytes([octet]))
            await asyncio.wait([answer], timeout=0.02)
        assert codes(await answer) == ["220", "421"]
        await stream.close()


async def test_an_octet_a_second_in_content() -> None:
    """Content buys time by its octets only, at the least pace."""
    patience = Patience(command_seconds=0.5, octets_per_second=1000)
    async with inbound(replace(SETTINGS, patience=patience)) as (endpoint, ledger, _):
        stream = await connect(endpoint, within_seconds=5)
        stream.expect_within(20)
        stream.write(TRANSACTION.replace(b"c@d.test", b"ada@rosewood.test") + b"DATA\r\n")
        answer = asyncio.create_task(everything(stream))
        for _ in range(1000):
            if answer.done():
                break
            stream.write(b"x\r\n")
            await asyncio.wait([answer], timeout=0.02)
        assert codes(await answer)[-1] == "421"
        await stream.close()
    assert ledger.transactions == []


DEFAULT = ServerSettings("mx.rosewood.test")


def refusing(octets: bytes) -> list[str]:
    """The codes a server says that takes nobody."""
    server = ServerConversation(DEFAULT)
    server.receive(octets)
    while (event := server.next_event()) is not None:
        if isinstance(event, events.SenderGiven):
            server.accept()
        elif isinstance(event, events.RecipientGiven):
            server.refuse(reply(550, "5.1.1", "No such user"))
    return codes(server.take_output())


def taking(octets: bytes) -> list[str]:
    """The codes a server says that takes everybody."""
    return codes(talk([octets], ServerConversation(DEFAULT))[0])


COUNTS: dict[str, Callable[[], list[str]]] = {
    "recipients without end": lambda: taking(TRANSACTION + b"RCPT TO:<c@d.test>\r\n" * 1500),
    "guessed recipients": lambda: refusing(TRANSACTION + b"RCPT TO:<c@d.test>\r\n" * 1500),
    "NOOP without end": lambda: taking(b"EHLO x\r\n" + b"NOOP\r\n" * 5000),
    "wrong commands without end": lambda: taking(b"EHLO x\r\n" + b"FOO\r\n" * 500),
    "parameters without end": lambda: taking(b"EHLO x\r\nMAIL FROM:<a@b.test> " + b"SIZE=1 " * 500 + b"\r\n"),
    "BDAT of nothing without end": lambda: taking(TRANSACTION + b"BDAT 0\r\n" * 5000),
}
OUTCOMES = {
    "recipients without end": (1503, {"250": 1002, "452": 501}, "452"),
    "guessed recipients": (103, {"250": 2, "550": 100, "421": 1}, "421"),
    "NOOP without end": (2001, {"250": 2000, "421": 1}, "421"),
    "wrong commands without end": (22, {"250": 1, "500": 20, "421": 1}, "421"),
    "parameters without end": (2, {"250": 1, "501": 1}, "501"),
    "BDAT of nothing without end": (2001, {"250": 2000, "421": 1}, "421"),
}


@pytest.mark.parametrize("name", COUNTS)
def test_a_flood_is_counted(name: str) -> None:
    """So many answers, of these codes, and the last."""
    said = COUNTS[name]()
    count, shares, last = OUTCOMES[name]
    assert (len(said), {code: said.count(code) for code in shares}, said[-1]) == (count, shares, last)


async def test_guessed_passwords(accounts: Accounts, key_pair: KeyPair) -> None:
    """Three a session; from the sixth of a network on it waits, twice as long each time, whatever password comes."""
    clock = SetClock()
    waits = []
    async with submission(accounts, key_pair, clock) as (endpoint, _):
        for _ in range(6):
            client = await client_for(endpoint, key_pair)
            said = ""
            for _ in range(4):
                try:
                    await log_in(client, password="wrong")
                except Refused as refused:
                    said = str(refused.answer)
                    if "454" in said:
                        break
                except PeerFault:
                    said = "closed"
                    break
            if said.startswith("454"):
                waits.append(int(said.rpartition(" wait ")[2].split()[0]))
                clock.move(waits[-1])
            else:
                assert said == "closed" or said.startswith("421")
            client.stream.abort()
    assert len(waits) >= 3
    assert all(after >= 2 * before - 1 for before, after in itertools.pairwise(waits)), waits


@pytest.mark.parametrize("octets", [b"250-" + b"x" * 100_000, b"250-x\r\n" * 1000, b"2" * 100_000])
def test_an_endless_reply(octets: bytes) -> None:
    """A client gives up, having kept little."""
    reader = ReplyReader()
    with pytest.raises(PeerFault):
        for start in range(0, len(octets), 1000):
            reader.receive(octets[start : start + 1000])
            while reader.next_reply() is not None:
                pass


def test_every_flood_has_its_test() -> None:
    """The table names nothing that is not tried here."""
    others = {"an octet a second in a command", "an octet a second in content", "guessed passwords in a session",
              "guessed passwords of a network", "an endless reply"}  # fmt: skip
    assert set(FLOODS) == set(LINES) | set(COUNTS) | others
