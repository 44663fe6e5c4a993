"""Octets computed from contents and kept for later: a bounded cache in memory before a table in the index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import apsw

from letterlock.store.index import Batch

_MOST_OCTETS = 32 << 20
_GET = "SELECT octets FROM derived WHERE content = ? AND kind = ?"
_PUT = "INSERT OR IGNORE INTO derived SELECT ?, ?, ? WHERE EXISTS (SELECT 1 FROM contents WHERE id = ?)"


class Derived:
    """The cache; what it forgets is read again from the index, and what that does not have is computed again."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], bytes] = {}
        self._octets = 0

    def missing(self, kind: str, contents: Sequence[int]) -> list[int]:
        """Return the contents for which nothing is in memory."""
        kept = self._kept
        return [content for content in contents if (kind, content) not in kept]

    def get(self, kind: str, contents: Sequence[int]) -> list[bytes | None]:
        """Return what is in memory for each content."""
        get = self._kept.get
        return [get((kind, content)) for content in contents]

    def keep(self, kind: str, derived: Mapping[int, bytes]) -> None:
        """Keep octets in memory, forgetting the oldest beyond the bound."""
        for content, octets in derived.items():
            self._octets += len(octets) - len(self._kept.pop((kind, content), b""))
            self._kept[kind, content] = octets
        while self._octets > _MOST_OCTETS and len(self._kept) > len(derived):
            self._octets -= len(self._kept.pop(next(iter(self._kept))))

    @staticmethod
    def save(batch: Batch, kind: str, derived: Mapping[int, bytes]) -> None:
        """Keep octets in the index, for contents that still live."""
        for content, octets in derived.items():
            batch.add(_PUT, content, kind, octets, content)

    @staticmethod
    def read(connection: apsw.Connection, kind: str, contents: Sequence[int]) -> dict[int, bytes]:
        """Return what the index has. Runs in the index thread."""
        found: dict[int, bytes] = {}
        for content in contents:
            row = connection.execute(_GET, (content, kind)).fetchone()
            if row:
                found[content] = row[0]
        return found
