r"""FETCH: rows made a chunk of messages at a time, each row one formatting of a tuple.

A fetch has a template ("* %d FETCH (UID %d FLAGS (%b) ...)") and a column for each item; a column gives its values for
a run of slots. Numbers, flags and dates come from the snapshot in memory; ENVELOPE and BODYSTRUCTURE are computed once
and kept by the store; sections are cut from the octets. A large message asked for whole is sent as it is read.

Standards: RFC 9051 section 6.4.5 (items; \Seen is set by sections that do not PEEK) and section 7.5.2.
Limits: CHUNK_OCTETS of message octets in a chunk, STREAMED_OCTETS at a time of a message fetched whole; the caller's
`send` waits where the client does not read.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime

from letterlock.access.imap import header_fields
from letterlock.access.imap.contents import Derivation, chunks, read_each, read_heads
from letterlock.access.imap.sections import Sections, as_literal, is_of_header, is_whole
from letterlock.access.imap.view import Slots, View, flag_words, pick
from letterlock.errors import OurFault
from letterlock.protocols.imap import response
from letterlock.protocols.imap.bodystructure import encode_body, encode_bodystructure
from letterlock.protocols.imap.envelope import encode_envelope
from letterlock.protocols.imap.fetch_item import Attribute, Extract, FetchItem, Section
from letterlock.protocols.imap.response import literal
from letterlock.store.interface import Contents, Refused
from letterlock.store.snapshot import Snapshot

STREAMED_OCTETS = 1 << 20

Send = Callable[[bytes], Awaitable[None]]

ENVELOPES = Derivation("imap-envelope", encode_envelope, of_header=True)
BODIES = Derivation("imap-body", encode_body, of_header=False)
BODYSTRUCTURES = Derivation("imap-bodystructure", encode_bodystructure, of_header=False)
_DERIVED = {
    Attribute.ENVELOPE: ENVELOPES,
    Attribute.BODY: BODIES,
    Attribute.BODYSTRUCTURE: BODYSTRUCTURES,
}
_FORMS = {
    Attribute.UID: b" %d",
    Attribute.FLAGS: b" (%b)",
    Attribute.SIZE: b" %d",
    Attribute.MODSEQ: b" (%d)",
    Attribute.EMAIL_ID: b" (M%d)",
}
_NUMBERS: dict[FetchItem, Callable[[Snapshot], Sequence[int]]] = {
    Attribute.UID: lambda snapshot: snapshot.uids,
    Attribute.SIZE: lambda snapshot: snapshot.sizes,
    Attribute.MODSEQ: lambda snapshot: snapshot.modseqs,
    Attribute.EMAIL_ID: lambda snapshot: snapshot.contents,
}


def sets_seen(items: Iterable[FetchItem]) -> bool:
    """Whether fetching these marks messages as seen."""
    return any(isinstance(item, Section) and not item.peek for item in items)


class Fetch:
    """One FETCH being answered. `gone` turns true where a message's octets are no more (EXPUNGEISSUED)."""

    def __init__(self, store: Contents, view: View, items: Iterable[FetchItem], send: Send, sections: Sections) -> None:
        self._store = store
        self._view = view
        self._items = tuple(items)
        self._send = send
        self._sections = sections
        self._template = b"* %d FETCH (" + b" ".join(map(_form, self._items)) + b")\r\n"
        self._reads = any(isinstance(item, Section) and not is_of_header(item) for item in self._items)
        self._may_miss = any(isinstance(item, Section) or item in _DERIVED for item in self._items)
        self.gone = False

    async def run(self, slots: Slots) -> None:
        """Send the rows of `slots` of the snapshot the client knows."""
        snapshot = self._view.told
        for chunk in chunks(snapshot, slots, by_size=self._reads):
            if self._reads and len(chunk) == 1 and snapshot.sizes[chunk[0]] > STREAMED_OCTETS:
                await self._send_large(snapshot, chunk[0])
                continue
            columns = [await self._column(item, snapshot, chunk) for item in self._items]
            await self._send(self._rows(chunk, columns))

    def _rows(self, chunk: Slots, columns: list[Iterable[object]]) -> bytes:
        numbers = range(chunk.start + 1, chunk.stop + 1) if isinstance(chunk, range) else [slot + 1 for slot in chunk]
        template = self._template
        rows = zip(numbers, *columns, strict=True)
        if not self._may_miss:
            return b"".join([template % row for row in rows])
        written = [None if None in row else template % row for row in rows]
        present = [row for row in written if row is not None]
        self.gone = self.gone or len(present) < len(written)
        return b"".join(present)

    async def _column(self, item: FetchItem, snapshot: Snapshot, slots: Slots) -> Iterable[object]:
        if isinstance(item, Section):
            return await self._cut(item, pick(snapshot.contents, slots), pick(snapshot.sizes, slots))
        if item in _DERIVED:
            return await _DERIVED[item].each(self._store, pick(snapshot.contents, slots), pick(snapshot.sizes, slots))
        if item is Attribute.FLAGS:
            return map(self._view.flag_table(snapshot).__getitem__, flag_words(snapshot, slots))
        if item is Attribute.INTERNALDATE:
            return map(_internal_date, pick(snapshot.internal_dates, slots))
        if item is Attribute.SAVE_DATE:
            return map(_internal_date, pick(snapshot.save_dates, slots))
        if item is Attribute.THREAD_ID:
            return [b"NIL"] * len(slots)  # RFC 8474 section 5.2: threads are not made
        return pick(_NUMBERS[item](snapshot), slots)

    async def _cut(self, section: Section, contents: Sequence[int], sizes: Sequence[int]) -> list[bytes | None]:
        if is_of_header(section):
            return await self._cut_header(section, contents, sizes)
        if len(contents) == 1 and (place := self._sections.known_range(contents[0], section)) is not None:
            first, count = place
            return [literal(await self._store.read(contents[0], first, count))]
        read = await read_each(self._store, contents)
        of_message = self._sections.of_message
        return [
            None if octets is None else of_message(section, content, octets)
            for content, octets in zip(contents, read, strict=True)
        ]

    async def _cut_header(self, section: Section, contents: Sequence[int], sizes: Sequence[int]) -> list[bytes | None]:
        found: list[bytes | None] = [None] * len(contents)
        if section.extract is Extract.HEADER_FIELDS and header_fields.is_listed(section.fields):
            kept = await header_fields.LISTED_FIELDS.each(self._store, contents, sizes)
            found = [None if one is None else header_fields.select(one, section.fields) for one in kept]
            found = [None if fields is None else as_literal(fields, section) for fields in found]
        missing = [at for at, value in enumerate(found) if value is None]
        heads = await read_heads(self._store, [contents[at] for at in missing])
        for at, head in zip(missing, heads, strict=True):
            found[at] = None if head is None else self._sections.of_header(section, head)
        return found

    async def _send_large(self, snapshot: Snapshot, slot: int) -> None:
        """Send one row whose message goes out in pieces."""
        whole = {item for item in self._items if isinstance(item, Section) and is_whole(item)}
        values = {item: tuple(await self._column(item, snapshot, [slot])) for item in self._items if item not in whole}
        if (None,) in values.values():
            self.gone = True
            return
        pending = b"* %d FETCH (" % (slot + 1)
        for at, item in enumerate(self._items):
            pending += b" " if at else b""
            if isinstance(item, Section) and item in whole:
                pending = await self._send_whole(item, snapshot.contents[slot], snapshot.sizes[slot], pending)
            else:
                pending += _form(item) % values[item]
        await self._send(pending + b")\r\n")

    async def _send_whole(self, section: Section, content: int, size: int, pending: bytes) -> bytes:
        """Send `pending` and a literal piece by piece; return what is still to be sent."""
        first, count = section.partial or (0, size)
        end = min(size, first + count)
        pending += section.label + b" {%d}\r\n" % max(0, end - first)
        for start in range(first, end, STREAMED_OCTETS):
            length = min(STREAMED_OCTETS, end - start)
            try:
                octets = await self._store.read(content, start, length)
            except Refused as refused:
                # The literal is announced: nothing but its octets can follow, so the connection has to end.
                raise OurFault(f"content {content} vanished while it was sent") from refused
            await self._send(pending + octets)
            pending = b""
        return pending


def _form(item: FetchItem) -> bytes:
    if isinstance(item, Section):
        return item.label.replace(b"%", b"%%") + b" %b"
    return item.value + _FORMS.get(item, b" %b")


def _internal_date(instant: int) -> bytes:
    minutes, second = divmod(instant, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return b'"%b %02d:%02d:%02d +0000"' % (_day(days), hour, minute, second)


@functools.lru_cache(maxsize=4096)
def _day(days: int) -> bytes:
    """Return a day since 1970 as INTERNALDATE writes it."""
    return response.date_time(datetime.fromtimestamp(days * 86400, UTC))[1:12]
