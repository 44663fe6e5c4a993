"""A process that makes one fixed series of changes to a store, saying how many were acknowledged.

    python script_writer.py FOLDER [reclaiming]

Lines: the number of steps acknowledged so far, and at last `closed`. The series uses every kind of change. The same
series on the store in memory is the model: a store that was stopped after n acknowledgements must look as the model
after n steps, or after n + 1. With `reclaiming` more is removed in the end and its room given back, by which nothing that
can be seen changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from fakes.memory_store import MemoryStore
from letterlock.errors import Unavailable
from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.clock import SetClock
from letterlock.store.engine import LogStore, StoreSettings, open_store
from letterlock.store.interface import (
    Delivery,
    FlagChange,
    NewMessage,
    Queued,
    QueueFilter,
    Settlement,
    Store,
    Transaction,
)
from letterlock.store.snapshot import DELETED, FLAGGED, SEEN

ANNA = "anna@rosewood.test"
NOW = 1_800_000_000.0
SETTINGS = {"lanes": 1, "segment_octets": 6000, "reserve_octets": 1 << 16}  # small: new segments are made on the way
ALL = ((1, 0xFFFFFFFF),)
Step = Callable[[Store], Awaitable[object]]


async def number(store: Store, name: str) -> int:
    found = await store.mailbox(ANNA, name)
    assert found is not None
    return found.id


def accept(name: str, *, queued: bool = False) -> Step:
    recipients = tuple(Recipient(Address.parse(f"{user}@harbor.test")) for user in ("a", "b"))
    owed = (Queued(f"q{name}", Envelope(Address.parse(ANNA), recipients), NOW, NOW + 99),) if queued else ()
    octets = (b"Received: x\r\n", name.encode() * 400)
    return lambda store: store.commit(Transaction(name, NOW, octets, (Delivery(ANNA, prefix=b"R: 1\r\n"),), owed))


async def settle(store: Store) -> None:
    (entry,) = await store.take_due(NOW, 1)
    first, second = entry.recipients
    settlements = [
        Settlement(first.number, Outcome(first.recipient.forward_path, Result.FAILED, "5.1.1", "550 no")),
        Settlement(second.number, Outcome(second.recipient.forward_path, Result.DEFERRED, "4.4.1", "no"), NOW + 5),
    ]
    report = Transaction("report", NOW, (b"report",), (Delivery(ANNA),))
    await store.settle(entry.queue_id, NOW, settlements, [report])


def on(name: str, change: Callable[[Store, int], Awaitable[object]]) -> Step:
    async def step(store: Store) -> object:
        return await change(store, await number(store, name))

    return step


async def move(store: Store) -> None:
    await store.move(await number(store, "INBOX"), ((2, 2),), await number(store, "Work/2026"))


async def copy(store: Store) -> None:
    await store.copy(await number(store, "INBOX"), ((1, 3),), await number(store, "Sent"))


STEPS: tuple[Step, ...] = (
    lambda store: store.prepare_account(ANNA, {"Sent": "\\Sent", "Old": ""}),
    accept("m1"),
    accept("m2", queued=True),
    lambda store: store.create(ANNA, "Work/2026"),
    on("INBOX", lambda store, box: store.append(box, [NewMessage((b"one" * 900,)), NewMessage((b"two",), (SEEN,))])),
    on("INBOX", lambda store, box: store.store_flags(box, ((1, 3),), FlagChange.ADD, [FLAGGED, "$Label"])),
    copy,
    settle,
    move,
    on("Sent", lambda store, box: store.store_flags(box, ALL, FlagChange.REPLACE, [DELETED])),
    on("Sent", lambda store, box: store.expunge(box, ((1, 2),))),
    lambda store: store.rename(ANNA, "Work", "Projects"),
    lambda store: store.delete(ANNA, "Old"),
    lambda store: store.subscribe(ANNA, "Elsewhere", True),
    accept("m3", queued=True),
    lambda store: store.hold(QueueFilter(queue_id="qm3"), True),
    lambda store: store.drop(QueueFilter(recipient="a@harbor.test")),
    lambda store: store.retry(QueueFilter(), NOW + 7, route="other"),
    lambda store: store.rename(ANNA, "INBOX", "Archive"),
    accept("m4"),
)


async def reclaim(store: Store) -> None:
    if isinstance(store, LogStore):
        assert (await store.reclaim()).segments_removed > 0


RECLAIMING: tuple[Step, ...] = (
    *STEPS,
    *(accept(f"filler {number}") for number in range(4)),
    on("INBOX", lambda store, box: store.expunge(box, ((7, 9),), only_deleted=False)),
    reclaim,
    accept("m5"),
    *(accept(f"filler {number}") for number in range(4, 8)),
    on("INBOX", lambda store, box: store.expunge(box, ((13, 15),), only_deleted=False)),
    reclaim,
    accept("m6", queued=True),
)
SERIES = {"steps": STEPS, "reclaiming": RECLAIMING}


async def picture(store: Store) -> object:
    """Return all that can be seen of a store, without ids of mailboxes and contents."""
    boxes = []
    for box in await store.mailboxes(ANNA):
        handle = await store.open(box.id)
        shot = handle.snapshot()
        messages = [
            (shot.uids[n], sorted(shot.flags(n)), shot.modseqs[n], shot.sizes[n], await store.read(shot.contents[n]))
            for n in range(len(shot))
        ]
        handle.close()
        counts = (box.uid_next, box.highest_modseq, box.messages, box.unseen, box.deleted, box.octets, box.subscribed)
        boxes.append((box.name, box.special_use, box.uid_validity, counts, messages, await store.vanished(box.id, 0)))
    entries = [
        (entry.queue_id, entry.envelope, entry.route, entry.recipients, await store.read(entry.content))
        for entry in await store.queue(QueueFilter())
    ]
    return boxes, entries, await store.subscriptions(ANNA)


async def main(folder: Path, series: str = "steps") -> None:
    with contextlib.suppress(Unavailable):
        store = await open_store(StoreSettings(folder, **SETTINGS), clock=SetClock(NOW))  # type: ignore[arg-type]
        for count, step in enumerate(SERIES[series], 1):
            await step(store)
            os.write(1, b"%d\n" % count)
        await store.close()
        os.write(1, b"closed\n")


async def models(series: str = "steps") -> list[object]:
    """Return what a store must look like after each number of steps."""
    store = MemoryStore(SetClock(NOW))
    pictures = [await picture(store)]
    for step in SERIES[series]:
        await step(store)
        pictures.append(await picture(store))
    return pictures


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
