"""A mailbox in memory: the columns of store/snapshot.py, changing, with the news that sessions wait for.

Changing flags of a run of messages is one `bytes.translate` of a plane; a run of expunged messages one deletion from
each column. Nothing here is durable: the engine applies here what the log already holds.
"""

from __future__ import annotations

import asyncio
import re
from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import compress
from typing import assert_never

from letterlock.store.interface import FlagChange
from letterlock.store.snapshot import Snapshot, UidRanges, join_ranges, slots_of, to_ranges

_REMEMBERED_CHANGES = 500
_REMEMBERED_UIDS = 2000
_MOST_RUNS = 32

_HAS = {bit: bytes(int(octet & bit != 0) for octet in range(256)) for bit in (1, 2, 4, 8, 16)}

# one message: uid, flag word, modseq, internal date, save date, size, content
Row = tuple[int, int, int, int, int, int, int]


class LiveMailbox:
    """The messages of one mailbox; `users` counts who looks at it, `uid_next` and `flag_names` come from outside."""

    def __init__(self, mailbox: int, uid_validity: int, uid_next: int, modseq: int, flag_names: list[str]) -> None:
        self.mailbox = mailbox
        self.uid_validity = uid_validity
        self.uid_next = uid_next
        self.modseq = modseq
        self.flag_names = flag_names
        self.users = 0
        self.exists = True
        self.uids = array("I")
        self.planes = [bytearray()]
        self._modseqs = array("Q")
        self._internal_dates = array("q")
        self._save_dates = array("q")
        self._sizes = array("Q")
        self._contents = array("Q")
        self._snapshot: Snapshot | None = None
        self._fixed: tuple[array[int], ...] | None = None
        self._changes: deque[tuple[int, Sequence[int] | None]] = deque(maxlen=_REMEMBERED_CHANGES)
        self._changes_since = modseq
        self._waiting: set[asyncio.Future[None]] = set()

    def load(self, rows: Iterable[Row]) -> None:
        """Fill an empty mailbox with rows in UID order."""
        columns = list(zip(*rows, strict=True))
        if not columns:
            return
        uids, words, modseqs, internal_dates, save_dates, sizes, contents = columns
        self.uids.extend(uids)
        self._modseqs.extend(modseqs)
        self._internal_dates.extend(internal_dates)
        self._save_dates.extend(save_dates)
        self._sizes.extend(sizes)
        self._contents.extend(contents)
        wanted = max(1, (len(self.flag_names) + 7) // 8)
        self.planes = [bytearray(word >> 8 * number & 0xFF for word in words) for number in range(wanted)]

    def append(self, row: Row) -> None:
        """Add a message; its UID is higher than all before."""
        uid, word, modseq, internal_date, save_date, size, content = row
        self.uids.append(uid)
        self._modseqs.append(modseq)
        self._internal_dates.append(internal_date)
        self._save_dates.append(save_date)
        self._sizes.append(size)
        self._contents.append(content)
        self._widen()
        for number, plane in enumerate(self.planes):
            plane.append(word >> 8 * number & 0xFF)
        self._fixed = None
        self.uid_next = uid + 1
        self._note(modseq, (range(len(self.uids) - 1, len(self.uids)),))

    def _widen(self) -> None:
        while len(self.planes) * 8 < len(self.flag_names):
            self.planes.append(bytearray(len(self.planes[0])))

    def runs(self, ranges: UidRanges) -> list[range]:
        """Return the runs of slots that hold the UIDs in `ranges`."""
        return list(slots_of(self.uids, ranges))

    def word(self, slot: int) -> int:
        """Return the flags of one message as an integer."""
        return sum(plane[slot] << 8 * number for number, plane in enumerate(self.planes))

    def rows(self, runs: Sequence[range]) -> list[Row]:
        """Return the messages in `runs`."""
        return [
            (
                self.uids[slot],
                self.word(slot),
                self._modseqs[slot],
                self._internal_dates[slot],
                self._save_dates[slot],
                self._sizes[slot],
                self._contents[slot],
            )
            for run in runs
            for slot in run
        ]

    def count(self, bit: int) -> int:
        """Return how many messages have the system flag of this bit."""
        return self.planes[0].translate(_HAS[bit]).count(1)

    def change_flags(
        self, ranges: UidRanges, change: FlagChange, mask: int, modseq: int, unchanged_since: int | None
    ) -> tuple[UidRanges, UidRanges]:
        """Change flags; return the UIDs that changed and those too new for `unchanged_since`."""
        self._widen()
        runs = self.runs(ranges)
        conflicting: UidRanges = ()
        if unchanged_since is not None:
            newer = [slot for run in runs for slot in run if self._modseqs[slot] > unchanged_since]
            avoid = set(newer)
            older = [slot for run in runs for slot in run if slot not in avoid]
            conflicting = to_ranges([self.uids[slot] for slot in newer])
            runs = [range(first, last + 1) for first, last in to_ranges(older)]
        changed = [part for run in runs for part in self._change_run(run, change, mask)]
        if not changed:
            return (), conflicting
        for run in changed:
            self._modseqs[run.start : run.stop] = array("Q", [modseq]) * len(run)
        self._note(modseq, changed)
        return self.uids_of(changed), conflicting

    def _change_run(self, run: range, change: FlagChange, mask: int) -> list[range]:
        """Change flags in a run of slots; return the runs that are different now."""
        chosen = slice(run.start, run.stop)
        differs = 0
        for number, plane in enumerate(self.planes):
            new, changes = _tables(change, mask >> 8 * number & 0xFF)
            old = plane[chosen]
            plane[chosen] = old.translate(new)
            differs |= int.from_bytes(old.translate(changes))
        if not differs:
            return []
        marks = differs.to_bytes(len(run))
        return [range(run.start + found.start(), run.start + found.end()) for found in _MARKED.finditer(marks)]

    def uids_of(self, runs: Sequence[range]) -> UidRanges:
        """Return the UIDs in runs of slots."""
        ranges: list[tuple[int, int]] = []
        for run in runs:
            first, last = self.uids[run.start], self.uids[run.stop - 1]
            whole = last - first == len(run) - 1
            ranges += [(first, last)] if whole else to_ranges(self.uids[run.start : run.stop])
        return join_ranges(ranges)

    def expunge(self, runs: Sequence[range], modseq: int) -> None:
        """Remove the messages in `runs` of slots."""
        self._note(modseq, runs)
        columns = (self.uids, self._modseqs, self._internal_dates, self._save_dates, self._sizes, self._contents)
        if len(runs) <= _MOST_RUNS:
            for run in reversed(runs):
                for column in (*columns, *self.planes):
                    del column[run.start : run.stop]
        else:
            keep = bytearray(b"\x01" * len(self.uids))
            for run in runs:
                keep[run.start : run.stop] = bytes(len(run))
            for column in columns:
                column[:] = array(column.typecode, compress(column, keep))
            self.planes = [bytearray(compress(plane, keep)) for plane in self.planes]
        self._fixed = None

    def delete(self) -> None:
        """Say that the mailbox is gone for good."""
        self.exists = False
        self._note(self.modseq + 1, ())

    def refresh(self) -> None:
        """Say that something beside the messages changed (the keywords)."""
        self._snapshot = None

    def _note(self, modseq: int, runs: Sequence[range]) -> None:
        """Remember which messages a change touched, and wake whoever waits."""
        few = sum(map(len, runs)) <= _REMEMBERED_UIDS
        uids = [uid for run in runs for uid in self.uids[run.start : run.stop]] if few else None
        if len(self._changes) == _REMEMBERED_CHANGES:
            self._changes_since = self._changes[0][0]
        self._changes.append((modseq, uids))
        self.modseq = modseq
        self._snapshot = None
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    def touched_since(self, modseq: int) -> list[int] | None:
        """Return the UIDs that arrived, vanished or changed after `modseq`, or None where nobody remembers."""
        if modseq < self._changes_since:
            return None
        touched: set[int] = set()
        for at, uids in reversed(self._changes):
            if at <= modseq:
                break
            if uids is None:
                return None
            touched.update(uids)
        return sorted(touched)

    def snapshot(self) -> Snapshot:
        """Return the mailbox as it is; the same object until something changes."""
        if self._snapshot is None:
            self._widen()
            if self._fixed is None:
                self._fixed = (
                    self.uids[:],
                    self._internal_dates[:],
                    self._save_dates[:],
                    self._sizes[:],
                    self._contents[:],
                )
            uids, internal_dates, save_dates, sizes, contents = self._fixed
            self._snapshot = Snapshot(
                self.mailbox,
                self.uid_validity,
                self.uid_next,
                self.modseq,
                tuple(self.flag_names),
                uids,
                tuple(map(bytes, self.planes)),
                self._modseqs[:],
                internal_dates,
                save_dates,
                sizes,
                contents,
                self.exists,
            )
        return self._snapshot

    async def changed(self, since: Snapshot) -> Snapshot:
        """Wait until the mailbox differs from `since`."""
        while self.modseq == since.highest_modseq and self.exists:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.add(future)
            try:
                await future
            finally:
                self._waiting.discard(future)
        return self.snapshot()


class Handle:
    """One user of a LiveMailbox (OpenMailbox of store/interface.py)."""

    def __init__(self, live: LiveMailbox) -> None:
        self._live = live
        self._open = True
        live.users += 1

    def snapshot(self) -> Snapshot:
        """Return the mailbox as it is now."""
        return self._live.snapshot()

    async def changed(self, since: Snapshot) -> Snapshot:
        """Wait until the mailbox differs from `since`."""
        return await self._live.changed(since)

    def touched_since(self, modseq: int) -> list[int] | None:
        """Return the UIDs touched after `modseq`, or None."""
        return self._live.touched_since(modseq)

    def close(self) -> None:
        """Stop looking."""
        if self._open:
            self._open = False
            self._live.users -= 1


_MARKED = re.compile(rb"\x01+")


@cache
def _tables(change: FlagChange, bits: int) -> tuple[bytes, bytes]:
    """Return translations of flag octets: to the new octet, and to 1 where that is another."""
    match change:
        case FlagChange.ADD:
            new = bytes(octet | bits for octet in range(256))
        case FlagChange.REMOVE:
            new = bytes(octet & ~bits for octet in range(256))
        case FlagChange.REPLACE:
            new = bytes(bits for _ in range(256))
        case _:
            assert_never(change)
    return new, bytes(int(new[octet] != octet) for octet in range(256))
