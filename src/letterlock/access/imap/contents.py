"""Reading the octets of many messages at a time, and what is computed from them once and kept by the store.

Most reads are answered from memory without an await; only what is not goes to disk, a bounded number at a time.

Limits: READS reads in flight; a batch holds at most CHUNK_OCTETS of octets (or one message) at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

from letterlock.access.imap.view import Slots
from letterlock.store.interface import Contents, Refused
from letterlock.store.snapshot import Snapshot

CHUNK_MESSAGES = 500
CHUNK_OCTETS = 512 * 1024
HEAD_OCTETS = 16 * 1024
READS = 16


async def read_each(store: Contents, contents: Sequence[int], length: int | None = None) -> list[bytes | None]:
    """Return the first `length` octets (or all) of each content, None where it is gone."""
    found: list[bytes | None] = []
    missing: list[int] = []
    for at, content in enumerate(contents):
        try:
            octets = store.read_now(content, 0, length)
        except Refused:
            found.append(None)
            continue
        found.append(octets)
        if octets is None:
            missing.append(at)
    for start in range(0, len(missing), READS):
        ats = missing[start : start + READS]
        for at, octets in zip(
            ats, await asyncio.gather(*(_read(store, contents[at], length) for at in ats)), strict=True
        ):
            found[at] = octets
    return found


async def _read(store: Contents, content: int, length: int | None) -> bytes | None:
    try:
        return await store.read(content, 0, length)
    except Refused:
        return None


async def read_heads(store: Contents, contents: Sequence[int]) -> list[bytes | None]:
    """Return the beginning of each content with at least its header section, None where it is gone."""
    heads = await read_each(store, contents, HEAD_OCTETS)
    for at, head in enumerate(heads):
        if head is not None and len(head) >= HEAD_OCTETS and b"\r\n\r\n" not in head:
            heads[at] = (await read_each(store, contents[at : at + 1]))[0]
    return heads


def chunks(snapshot: Snapshot, slots: Slots, *, by_size: bool) -> Iterator[Slots]:
    """Yield `slots` in runs that are answered at once; `by_size` where the octets of messages are among the answer."""
    if not by_size:
        for start in range(0, len(slots), CHUNK_MESSAGES):
            yield slots[start : start + CHUNK_MESSAGES]
        return
    start, octets = 0, 0
    for at, slot in enumerate(slots):
        size = snapshot.sizes[slot]
        if at > start and (octets + size > CHUNK_OCTETS or at - start >= CHUNK_MESSAGES):
            yield slots[start:at]
            start, octets = at, 0
        octets += size
    if start < len(slots):
        yield slots[start:]


class Derivation:
    """Something computed from a message's octets and kept by the store under `kind`."""

    def __init__(self, kind: str, compute: Callable[[bytes], bytes], *, of_header: bool) -> None:
        self.kind = kind
        self._compute = compute
        self._of_header = of_header

    async def each(self, store: Contents, contents: Sequence[int]) -> list[bytes | None]:
        """Return it for each content, computing and keeping what is not there; None where the content is gone."""
        found = await store.derived(self.kind, contents)
        missing = [at for at, value in enumerate(found) if value is None]
        step = CHUNK_MESSAGES if self._of_header else READS
        for start in range(0, len(missing), step):
            ats = missing[start : start + step]
            wanted = [contents[at] for at in ats]
            read = await (read_heads(store, wanted) if self._of_header else read_each(store, wanted))
            computed: dict[int, bytes] = {}
            for at, octets in zip(ats, read, strict=True):
                if octets is not None:
                    found[at] = computed[contents[at]] = self._compute(octets)
            if computed:
                store.keep_derived(self.kind, computed)
            await asyncio.sleep(0)  # other sessions have their turn between chunks
        return found
