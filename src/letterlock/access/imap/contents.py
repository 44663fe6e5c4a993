"""Reading the octets of many messages at a time, and what is computed from them once and kept by the store.

Most reads are answered from memory without an await; only what is not goes to disk, a bounded number at a time.

Limits: READS reads in flight; a batch holds at most CHUNK_OCTETS of octets (or one message) at a time. Of a header
section no more is read than formats.limits lets one have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

from letterlock.access.imap.view import Slots
from letterlock.formats.limits import DEFAULT
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
            (longer,) = await read_each(store, contents[at : at + 1], DEFAULT.header_octets)
            if longer is not None:
                end = longer.find(b"\r\n\r\n")
                heads[at] = longer if end < 0 else longer[: end + 4]
    return heads


def chunks(snapshot: Snapshot, slots: Slots, *, by_size: bool) -> Iterator[Slots]:
    """Yield `slots` in runs that are answered at once; `by_size` where the octets of messages are among the answer."""
    if by_size:
        for group in _groups([snapshot.sizes[slot] for slot in slots]):
            yield slots[group.start : group.stop]
    else:
        for start in range(0, len(slots), CHUNK_MESSAGES):
            yield slots[start : start + CHUNK_MESSAGES]


def _groups(sizes: Sequence[int]) -> Iterator[range]:
    """Yield runs of indices whose sizes together are within CHUNK_OCTETS, or that are one."""
    start, octets = 0, 0
    for at, size in enumerate(sizes):
        if at > start and (octets + size > CHUNK_OCTETS or at - start >= CHUNK_MESSAGES):
            yield range(start, at)
            start, octets = at, 0
        octets += size
    if start < len(sizes):
        yield range(start, len(sizes))


class Derivation:
    """Something computed from a message's octets and kept by the store under `kind`."""

    def __init__(self, kind: str, compute: Callable[[bytes], bytes], *, of_header: bool) -> None:
        self.kind = kind
        self._compute = compute
        self._of_header = of_header

    async def each(self, store: Contents, contents: Sequence[int], sizes: Sequence[int]) -> list[bytes | None]:
        """Return it for each content, computing and keeping what is not there; None where the content is gone."""
        found = await store.derived(self.kind, contents)
        missing = [at for at, value in enumerate(found) if value is None]
        costs = [min(sizes[at], HEAD_OCTETS) if self._of_header else sizes[at] for at in missing]
        for group in _groups(costs):
            ats = missing[group.start : group.stop]
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
