"""Random changes, the same for the engine and for the model, with restarts, lost indexes and reclaiming in between."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fakes.memory_store import MemoryStore
from fakes.script_writer import ANNA, NOW, picture
from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.clock import SetClock
from letterlock.store.check import check_store
from letterlock.store.engine import StoreSettings, open_store
from letterlock.store.interface import (
    Delivery,
    FlagChange,
    NewMessage,
    Queued,
    QueueFilter,
    Refused,
    Settlement,
    Store,
    Transaction,
)
from letterlock.store.snapshot import SYSTEM_FLAGS

NAMES = ("INBOX", "a", "a/b", "a/b/c", "b", "Sent")
FLAGS = (*SYSTEM_FLAGS, "$One", "two", "three", "four", "five")


class Chooser:
    """Draws changes; the same seed draws the same."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.count = 0

    def change(self) -> Callable[[Store], Awaitable[object]]:
        self.count += 1
        kinds = (self.accept, self.accept, self.append, self.flags, self.flags, self.copy, self.expunge, self.names,
                 self.attempt, self.command)  # fmt: skip
        return self.random.choice(kinds)()

    def name(self) -> str:
        return self.random.choice(NAMES)

    def uids(self) -> tuple[tuple[int, int], ...]:
        first = self.random.randrange(1, 40)
        second = first + self.random.randrange(6)
        return ((first, second), (second + 3, second + 3 + self.random.randrange(9)))

    def octets(self) -> tuple[bytes, ...]:
        return tuple(self.random.randbytes(self.random.randrange(400)) for _ in range(self.random.randrange(1, 4)))

    def some_flags(self) -> tuple[str, ...]:
        return tuple(self.random.sample(FLAGS, self.random.randrange(4)))

    def accept(self) -> Callable[[Store], Awaitable[object]]:
        prefixes = [self.random.choice((b"", b"P: 1\r\n", b"Q: 22\r\n")) for _ in range(4)]
        deliveries = tuple(
            Delivery(ANNA, self.name(), prefixes[n], self.some_flags()) for n in range(self.random.randrange(3))
        )
        recipients = tuple(Recipient(Address(f"u{n}", "harbor.test")) for n in range(1, 1 + self.random.randrange(3)))
        owed = Queued(f"q{self.count}", Envelope(None, recipients), NOW, NOW + 9, prefix=prefixes[3])
        transaction = Transaction(
            f"t{self.count - self.random.randrange(2)}", NOW, self.octets(), deliveries, (owed,) if recipients else ()
        )
        return lambda store: store.commit(transaction)

    def append(self) -> Callable[[Store], Awaitable[object]]:
        name = self.name()
        messages = [
            NewMessage(self.octets(), self.some_flags(), self.random.choice((None, 5.0)))
            for _ in range(self.random.randrange(1, 4))
        ]
        return on(name, lambda store, box: store.append(box, messages))

    def flags(self) -> Callable[[Store], Awaitable[object]]:
        uids, change, flags = self.uids(), self.random.choice(list(FlagChange)), self.some_flags()
        since = self.random.choice((None, None, self.random.randrange(60)))
        return on(self.name(), lambda store, box: store.store_flags(box, uids, change, flags, unchanged_since=since))

    def copy(self) -> Callable[[Store], Awaitable[object]]:
        uids, target, move = self.uids(), self.name(), self.random.random() < 0.5

        async def copy(store: Store, box: int) -> object:
            found = await store.mailbox(ANNA, target)
            if found is None:
                return None
            return without_id(await (store.move if move else store.copy)(box, uids, found.id))

        return on(self.name(), copy)

    def expunge(self) -> Callable[[Store], Awaitable[object]]:
        uids, only = self.random.choice((self.uids(), None)), self.random.random() < 0.7
        wanted = self.uids() if uids is None and not only else uids
        return on(self.name(), lambda store, box: store.expunge(box, wanted, only_deleted=only))

    def names(self) -> Callable[[Store], Awaitable[object]]:
        name, other, kind = self.name(), self.name(), self.random.randrange(5)

        async def change(store: Store) -> object:
            match kind:
                case 0:
                    return without_id(await store.create(ANNA, name))
                case 1:
                    return await store.delete(ANNA, name)
                case 2:
                    return await store.rename(ANNA, name, other)
                case _:
                    return await store.subscribe(ANNA, name, kind == 3)

        return change

    def attempt(self) -> Callable[[Store], Awaitable[object]]:
        results = [self.random.choice((Result.RELAYED, Result.DEFERRED, Result.FAILED)) for _ in range(9)]
        report = Transaction(f"r{self.count}", NOW, self.octets(), (Delivery(ANNA),))

        async def attempt(store: Store) -> object:
            entries = await store.take_due(NOW, 3)
            for entry in entries:
                settlements = [
                    Settlement(one.number, Outcome(one.recipient.forward_path, results[one.number], "4.0.0"), NOW + 5)
                    for one in entry.recipients
                ]
                await store.settle(entry.queue_id, NOW, settlements, [report])
            return len(entries)

        return attempt

    def command(self) -> Callable[[Store], Awaitable[object]]:
        chosen = QueueFilter(recipient=f"u{self.random.randrange(1, 4)}@harbor.test")
        kind, when = self.random.randrange(6), NOW + self.random.randrange(3)

        async def command(store: Store) -> object:
            match kind:
                case 0:
                    return await store.drop(chosen)
                case 1:
                    return await store.retry(chosen, when)
                case 4:
                    return await store.prolong(5.0, when - 1)
                case 5:
                    return await store.bring_forward(when - 2, 1.0)
                case _:
                    return await store.hold(chosen, kind == 2)

        return command


def without_id(value: object) -> str:
    """Return a value as text without the ids that differ between engines."""
    return re.sub(r"\b(mailbox|id)=\d+", "", repr(value))


def on(name: str, change: Callable[[Store, int], Awaitable[object]]) -> Callable[[Store], Awaitable[object]]:
    async def step(store: Store) -> object:
        found = await store.mailbox(ANNA, name)
        return None if found is None else without_id(await change(store, found.id))

    return step


async def answer(step: Callable[[Store], Awaitable[object]], store: Store) -> object:
    """Return what a step gives, or why it was refused."""
    try:
        result = await step(store)
    except Refused as refused:
        return refused.refusal
    return None if hasattr(result, "sequence") else result  # a receipt's numbers are the engine's own


@pytest.mark.parametrize("seed", range(6))
async def test_the_engine_does_what_the_model_does(tmp_path: Path, seed: int) -> None:
    settings = StoreSettings(tmp_path, lanes=2, segment_octets=20_000, reserve_octets=0)
    model, store = MemoryStore(SetClock(NOW)), await open_store(settings, clock=SetClock(NOW))
    for one in (model, store):
        await one.prepare_account(ANNA, {"Sent": "\\Sent"})
    drawn = Chooser(seed)
    for number in range(250):
        step = drawn.change()
        assert await answer(step, store) == await answer(step, model), number
        if number % 25 == 24:
            assert await picture(store) == await picture(model), number
            if drawn.random.random() < 0.3:
                await store.reclaim(least_dead=0.2)
            await store.close()
            assert check_store(tmp_path).faults == ()
            if drawn.random.random() < 0.5:
                for path in tmp_path.glob("index.sqlite*"):
                    path.unlink()
            store = await open_store(settings, clock=SetClock(NOW))
            assert await picture(store) == await picture(model), number
    await store.close()
