"""SEARCH: each key selects among candidates; selections are integers with an octet for every slot.

Flags, dates and sizes are looked up in the snapshot's columns for all messages at once; AND, OR and NOT are one
operation on integers. Keys that need octets are asked last and only for messages that all else has left.

Standards: RFC 9051 section 6.4.4 (keys; matching is without regard to case, after decoding), RFC 5182 (`$`).
Limits: the octets of a message at a time; other sessions have their turn after every chunk.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable, Iterator, Sequence

from letterlock.access.imap import header_fields
from letterlock.access.imap.contents import chunks, read_each
from letterlock.access.imap.view import View, pick, slots_in
from letterlock.formats.imf.dates import parse_date
from letterlock.formats.imf.encoded_words import decode
from letterlock.formats.mime.entity import Entity, parse
from letterlock.formats.octets import unfold
from letterlock.protocols.imap import search_key as k
from letterlock.protocols.imap.sequence_set import SequenceSet
from letterlock.store.interface import Contents

_RECENT = b"\\Recent"


class Search:
    """One SEARCH over the messages a view has told of."""

    def __init__(self, store: Contents, view: View) -> None:
        self._store = store
        self._view = view
        self._snapshot = view.told

    async def run(self, key: k.SearchKey) -> bytes:
        """Return an octet a slot, 1 where the message matches."""
        everything = b"\1" * len(self._snapshot)
        found = await self._select(key, int.from_bytes(everything, "little"))
        return found.to_bytes(len(everything), "little")

    async def _select(self, key: k.SearchKey, candidates: int) -> int:
        match key:
            case k.Everything():
                return candidates
            case k.Not(inner):
                return candidates ^ await self._select(inner, candidates)
            case k.Or(left, right):
                found = await self._select(left, candidates)
                return found | await self._select(right, candidates ^ found)
            case k.And(keys):
                for one in sorted(keys, key=_cost):
                    candidates = await self._select(one, candidates)
                return candidates
            case k.HeaderContains() | k.Sent():
                return await self._by_header(key, candidates)
            case k.Contains():
                return await self._by_text(key, candidates)
            case _:
                return candidates & int.from_bytes(self._column(key), "little")

    def _column(
        self, key: k.Numbered | k.Flagged | k.Arrived | k.Saved | k.EmailId | k.Sized | k.ChangedSince
    ) -> bytes:
        snapshot = self._snapshot
        match key:
            case k.Numbered(numbers, uid):
                return self._numbered(self._view, numbers, uid)
            case k.Flagged(flag, present):
                known = bytes(len(snapshot)) if flag == _RECENT else snapshot.selector(flag.decode("ascii"))
                return known if present else known.translate(_INVERTED)
            case k.Arrived(relation, day):
                return _on_day(snapshot.internal_dates, relation, day)
            case k.Saved(relation, day):
                return _on_day(snapshot.save_dates, relation, day)
            case k.EmailId(identity):
                return bytes([b"M%d" % content == identity for content in snapshot.contents])
            case k.Sized(k.Relation.LARGER, octets):
                return bytes([size > octets for size in snapshot.sizes])
            case k.Sized(_, octets):
                return bytes([size < octets for size in snapshot.sizes])
            case k.ChangedSince(modseq):
                return bytes([value >= modseq for value in snapshot.modseqs])

    def _numbered(self, view: View, numbers: SequenceSet, uid: bool) -> bytes:
        chosen = bytearray(len(self._snapshot))
        slots = view.slots(numbers, uid=uid, strict=False)  # RFC 9051 section 6.4.4 shows 1:5000 of fewer
        if isinstance(slots, range):
            chosen[slots.start : slots.stop] = b"\1" * len(slots)
        else:
            for slot in slots:
                chosen[slot] = 1
        return bytes(chosen)

    async def _by_header(self, key: k.HeaderContains | k.Sent, candidates: int) -> int:
        name = b"date" if isinstance(key, k.Sent) else key.field
        test = _field_test(key)
        chosen = bytearray(len(self._snapshot))
        slots = slots_in(candidates.to_bytes(len(chosen), "little"))
        for chunk in chunks(self._snapshot, slots, by_size=False):
            found = await header_fields.values(self._store, self._snapshot, chunk, name)
            for slot, values in zip(chunk, found, strict=True):
                chosen[slot] = any(map(test, values))
            await asyncio.sleep(0)
        return int.from_bytes(chosen, "little")

    async def _by_text(self, key: k.Contains, candidates: int) -> int:
        wanted = key.text.casefold()
        chosen = bytearray(len(self._snapshot))
        slots = slots_in(candidates.to_bytes(len(chosen), "little"))
        for chunk in chunks(self._snapshot, slots, by_size=True):
            read = await read_each(self._store, pick(self._snapshot.contents, chunk))
            for slot, octets in zip(chunk, read, strict=True):
                if octets is not None:
                    chosen[slot] = any(wanted in text.casefold() for text in _texts(parse(octets), key.header))
            await asyncio.sleep(0)
        return int.from_bytes(chosen, "little")


_INVERTED = bytes((1, *(0 for _ in range(255))))


def _on_day(instants: Sequence[int], relation: k.Relation, day: datetime.date) -> bytes:
    start = int(datetime.datetime.combine(day, datetime.time(), datetime.UTC).timestamp())
    if relation is k.Relation.BEFORE:
        return bytes([instant < start for instant in instants])
    if relation is k.Relation.SINCE:
        return bytes([instant >= start for instant in instants])
    return bytes([start <= instant < start + 86400 for instant in instants])


def _cost(key: k.SearchKey) -> int:
    """Return how dear a key is: 0 is in memory, 1 reads header sections, 2 whole messages."""
    match key:
        case k.Not(inner):
            return _cost(inner)
        case k.Or(left, right):
            return max(_cost(left), _cost(right))
        case k.And(keys):
            return max(_cost(one) for one in keys)
        case k.HeaderContains() | k.Sent():
            return 1
        case k.Contains():
            return 2
        case _:
            return 0


def _field_test(key: k.HeaderContains | k.Sent) -> Callable[[bytes], bool]:
    if isinstance(key, k.Sent):
        relation, day = key.relation, key.date
        return lambda value: _sent(value, relation, day)
    wanted = key.text.casefold()
    return lambda value: wanted in _decoded(value).casefold()


def _sent(value: bytes, relation: k.Relation, day: datetime.date) -> bool:
    moment = parse_date(value.decode("utf-8", "replace"))
    if moment is None:
        return False
    # RFC 9051 section 6.4.4: time and zone are disregarded, so it is the day as written.
    match relation:
        case k.Relation.BEFORE:
            return moment.date() < day
        case k.Relation.SINCE:
            return moment.date() >= day
        case _:
            return moment.date() == day


def _texts(tree: Entity, with_header: bool) -> Iterator[str]:
    """Yield what BODY and TEXT look in: texts, the header sections of parts, and that of the message if wanted."""
    for entity in tree.entities():
        if with_header or entity is not tree:
            yield _decoded(unfold(entity.header.raw))
        if entity.content_type.type == "text":
            yield entity.text()


def _decoded(octets: bytes) -> str:
    text = octets.decode("utf-8", "replace")
    return decode(text) if "=?" in text else text
