"""A process that writes to a store until it is killed, saying on standard output what was acknowledged.

    python fault_writer.py FOLDER ROUND CLIENTS

Lines: `+ id account uid [queued]` a transaction that was acknowledged; `? verb args` a change about to be asked for and
`! verb args` the same change acknowledged, for `seen account uid`, `gone account uid` and `settled queue-id`.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import sys
from dataclasses import dataclass, field
from pathlib import Path

from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.formats.outcome import Outcome, Result
from letterlock.store.check import check_store
from letterlock.store.engine import StoreSettings, open_store
from letterlock.store.interface import Delivery, FlagChange, Queued, Settlement, Store, Transaction
from letterlock.store.snapshot import SEEN

ACCOUNTS = ("anna@rosewood.test", "ben@rosewood.test")
REMOTE = Address.parse("cleo@harbor.test")
NOW = 1_800_000_000.0
SETTINGS = {"lanes": 3, "segment_octets": 1 << 20, "reserve_octets": 0}


def body(name: str) -> bytes:
    """Return the octets of the message `name`: up to 20 KB that nobody could guess wrong."""
    digest = hashlib.sha256(name.encode()).digest()
    return name.encode() + b"\n" + digest * (int.from_bytes(digest[:2]) % 640)


def say(line: str) -> None:
    os.write(1, line.encode() + b"\n")


async def client(store: Store, prefix: str, chance: random.Random) -> None:
    """Write without end."""
    for number in range(1_000_000):
        name = f"{prefix}-{number}"
        account = chance.choice(ACCOUNTS)
        queued = chance.random() < 0.3
        entry = Queued(f"q{name}", Envelope(None, (Recipient(REMOTE),)), NOW, NOW + 1e6)
        transaction = Transaction(name, NOW, (body(name),), (Delivery(account),), (entry,) if queued else ())
        (placed,) = (await store.commit(transaction)).placed
        say(f"+ {name} {account} {placed.uid}{' queued' if queued else ''}")
        if chance.random() < 0.5:
            verb = chance.choice(("seen", "gone"))
            say(f"? {verb} {account} {placed.uid}")
            uids = ((placed.uid, placed.uid),)
            if verb == "seen":
                await store.store_flags(placed.mailbox, uids, FlagChange.ADD, [SEEN])
            else:
                await store.expunge(placed.mailbox, uids, only_deleted=False)
            say(f"! {verb} {account} {placed.uid}")
        if chance.random() < 0.3:
            await settle(store)


async def settle(store: Store) -> None:
    """Take what is due and settle it."""
    for entry in await store.take_due(NOW, 2):
        say(f"? settled {entry.queue_id}")
        outcome = Outcome(REMOTE, Result.RELAYED, "2.0.0")
        await store.settle(entry.queue_id, NOW, [Settlement(0, outcome)])
        say(f"! settled {entry.queue_id}")


async def main(folder: Path, round_number: str, clients: int) -> None:
    store = await open_store(StoreSettings(folder, **SETTINGS))  # type: ignore[arg-type]
    chance = random.Random(round_number)
    await asyncio.gather(
        *(client(store, f"{round_number}.{n}", random.Random(chance.random())) for n in range(clients))
    )


@dataclass
class Oracle:
    """What the acknowledgements demand of a store; `faults` lists what it does not hold."""

    messages: dict[str, tuple[str, int]] = field(default_factory=dict)
    queued: set[str] = field(default_factory=set)
    asked: set[tuple[str, ...]] = field(default_factory=set)
    done: set[tuple[str, ...]] = field(default_factory=set)

    def read(self, output: bytes) -> None:
        """Take in the lines a writer said; a last line cut short was not said."""
        for line in output[: output.rfind(b"\n") + 1].decode().splitlines():
            kind, *words = line.split()
            if kind == "+":
                self.messages[words[0]] = (words[1], int(words[2]))
                if words[3:]:
                    self.queued.add(f"q{words[0]}")
            elif kind == "?":
                self.asked.add(tuple(words))
            else:
                self.done.add(tuple(words))

    async def faults(self, folder: Path) -> list[str]:
        """Open the store and compare; then examine all of it."""
        store = await open_store(StoreSettings(folder, **SETTINGS))  # type: ignore[arg-type]
        try:
            found = [*await self._message_faults(store), *await self._queue_faults(store)]
        finally:
            await store.close()
        return [*found, *check_store(folder).faults]

    async def _message_faults(self, store: Store) -> list[str]:
        faults: list[str] = []
        present: dict[tuple[str, int], tuple[str, bool]] = {}
        times: dict[str, int] = {}
        for account in ACCOUNTS:
            found = await store.mailbox(account, "INBOX")
            if found is None:
                continue
            handle = await store.open(found.id)
            snapshot = handle.snapshot()
            for slot, uid in enumerate(snapshot.uids):
                octets = await store.read(snapshot.contents[slot])
                name = octets.partition(b"\n")[0].decode()
                times[name] = times.get(name, 0) + 1
                present[account, uid] = (name, SEEN in snapshot.flags(slot))
                if octets != body(name):
                    faults.append(f"{name} has other octets")
            if (found.messages, found.uid_next) != (len(snapshot), snapshot.uid_next):
                faults.append(f"{account}: counters {found} do not fit the messages")
            handle.close()
        faults += [f"{name} is there {count} times" for name, count in times.items() if count > 1]
        for name, (account, uid) in self.messages.items():
            key = (account, str(uid))
            held = present.get((account, uid))
            if ("gone", *key) in self.done:
                if held:
                    faults.append(f"{name} is back")
            elif held is None:
                if ("gone", *key) not in self.asked:
                    faults.append(f"{name} is lost")
            elif held[0] != name:
                faults.append(f"{name} is not UID {uid} any more: that is {held[0]}")
            elif ("seen", *key) in self.done and not held[1]:
                faults.append(f"{name} is not seen any more")
        return faults

    async def _queue_faults(self, store: Store) -> list[str]:
        faults = []
        for queue_id in self.queued:
            entry = await store.queue_entry(queue_id)
            if entry is None and ("settled", queue_id) not in self.asked:
                faults.append(f"{queue_id} is not queued any more")
            if entry is not None and ("settled", queue_id) in self.done:
                faults.append(f"{queue_id} is queued again")
            if entry is not None and await store.read(entry.content) != body(queue_id[1:]):
                faults.append(f"{queue_id} has other octets")
        return faults


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
