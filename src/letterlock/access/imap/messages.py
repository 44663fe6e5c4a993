"""Commands on the messages of the selected mailbox: FETCH, SEARCH, SORT, THREAD, STORE, COPY, MOVE, EXPUNGE, CLOSE.

Standards: RFC 9051 section 6.4; RFC 4315 (UID EXPUNGE, COPYUID), RFC 6851 (MOVE), RFC 7162 section 3.1 (CONDSTORE)
and section 3.2 (QRESYNC), RFC 4731 (ESEARCH), RFC 5182 (SAVE).
"""

from __future__ import annotations

from itertools import compress

from letterlock.access.imap.answer import No
from letterlock.access.imap.context import Context, Done, flag_names
from letterlock.access.imap.fetch import Fetch, sets_seen
from letterlock.access.imap.search import Search
from letterlock.access.imap.sort import sort as sort_slots
from letterlock.access.imap.thread import encode as encode_threads
from letterlock.access.imap.thread import thread as thread_slots
from letterlock.access.imap.view import Slots, View, flag_words, keeps_all, pick, slots_in
from letterlock.errors import Malformed
from letterlock.protocols.imap import command as c
from letterlock.protocols.imap import response
from letterlock.protocols.imap.fetch_item import Attribute
from letterlock.protocols.imap.search_key import mentions_modseq
from letterlock.protocols.imap.sequence_set import SequenceSet, encode, intersection, ranges_of
from letterlock.store.interface import Copied, FlagChange, FlagsStored
from letterlock.store.snapshot import SEEN, Snapshot, UidRanges

_CHANGES = {
    c.FlagChange.ADD: FlagChange.ADD,
    c.FlagChange.REMOVE: FlagChange.REMOVE,
    c.FlagChange.REPLACE: FlagChange.REPLACE,
}


async def fetch(context: Context, _tag: bytes, command: c.Fetch) -> Done:
    """Send the items asked for; sections that do not PEEK mark messages as seen first."""
    view = context.selected
    slots = view.slots(command.numbers, uid=command.uid)
    items = dict.fromkeys(command.items)
    if command.uid:
        items = {Attribute.UID: None, **items}  # RFC 9051 section 6.4.9
    if command.vanished:
        await tell_vanished(context, view, command.numbers, command.changed_since or 0)
    if command.changed_since is not None:
        items[Attribute.MODSEQ] = None  # RFC 7162 section 3.1.4.1
        modseqs = view.told.modseqs
        slots = [slot for slot in slots if modseqs[slot] > command.changed_since]
    context.condstore = context.condstore or Attribute.MODSEQ in items
    if sets_seen(items) and not view.read_only and await _mark_seen(context, view, slots):
        items[Attribute.FLAGS] = None
    answer = Fetch(context.store, view, items, context.send, context.sections)
    await answer.run(slots)
    if answer.gone:
        raise No("some of the messages are gone; NOOP tells which", b"EXPUNGEISSUED")
    return Done("fetched")


async def tell_vanished(context: Context, view: View, uids: SequenceSet, since_modseq: int) -> None:
    """Tell which of `uids` were removed since (RFC 7162 section 3.2.10.1). Raises Malformed without ENABLE QRESYNC."""
    if not context.qresync:
        raise Malformed("ENABLE QRESYNC comes first", clause="RFC 7162 section 3.2.6")
    vanished = await context.store.vanished(view.mailbox, since_modseq)
    ranges = intersection(vanished, uids.resolved(view.told.uid_next - 1))
    now = view.opened.snapshot()
    if now is not view.told:
        # A message that is gone, but not told yet, is told when its number may go.
        pending = {uid for uid in view.told.uids if now.slot(uid) < 0}
        ranges = ranges_of(uid for low, high in ranges for uid in range(low, high + 1) if uid not in pending)
    if ranges:
        context.write(b"* VANISHED (EARLIER) " + encode(ranges) + b"\r\n")


async def _mark_seen(context: Context, view: View, slots: Slots) -> bool:
    """Mark messages as seen; return whether any was not, so that FETCH tells their flags (RFC 9051 section 6.4.5)."""
    seen = view.told.selector(SEEN)
    unseen = [slot for slot in slots if not seen[slot]]
    if not unseen:
        return False
    stored = await context.store.store_flags(view.mailbox, view.uid_ranges(unseen), FlagChange.ADD, (SEEN,))
    for line in view.updates(context.manner(with_uid=True), may_expunge=False, own_modseq=stored.modseq):
        await context.send(line)
    return True


async def search(context: Context, tag: bytes, command: c.Search) -> Done:
    """Find messages and tell, or save, which."""
    view = context.selected
    results = command.results
    try:
        _demand_charset(command.charset)
    except No:
        if results is not None and c.Result.SAVE in results:
            view.saved = ()  # RFC 9051 section 6.4.4.1
        raise
    selector = await Search(context.store, view).run(command.key)
    modseq = b""
    if mentions_modseq(command.key):  # RFC 7162 section 3.1.5 and section 3.1.10
        context.condstore = True
        modseq = b"MODSEQ %d" % max(compress(view.told.modseqs, selector), default=0)
    if results is None and not context.rev2:
        numbers = compress(view.told.uids, selector) if command.uid else (slot + 1 for slot in slots_in(selector))
        line = " ".join(["* SEARCH", *map(str, numbers)]).encode("ascii")
        context.write(line + (b" (" + modseq + b")" if modseq and any(selector) else b"") + b"\r\n")
        return Done("searched")
    results = results or frozenset({c.Result.ALL})
    found = list(compress(view.told.uids, selector))
    if c.Result.SAVE in results:
        view.saved = tuple(ranges_of(_to_save(found, results)))
        if results == {c.Result.SAVE}:
            return Done("searched and saved")
    numbers_found = found if command.uid else [slot + 1 for slot in slots_in(selector)]
    context.write(_esearch(tag, command.uid, numbers_found, results, modseq))
    return Done("searched")


async def sort(context: Context, _tag: bytes, command: c.Sort) -> Done:
    """Find messages and tell them in order (RFC 5256 section 3)."""
    view = context.selected
    _demand_charset(command.charset)
    selector = await Search(context.store, view).run(command.key)
    slots = await sort_slots(context.store, view.told, slots_in(selector), command.criteria)
    numbers = pick(view.told.uids, slots) if command.uid else [slot + 1 for slot in slots]
    context.write(" ".join(["* SORT", *map(str, numbers)]).encode("ascii") + b"\r\n")
    return Done("sorted")


async def thread(context: Context, _tag: bytes, command: c.Thread) -> Done:
    """Find messages and tell them in threads (RFC 5256 section 3)."""
    view = context.selected
    _demand_charset(command.charset)
    selector = await Search(context.store, view).run(command.key)
    threads = await thread_slots(context.store, view.told, slots_in(selector), command.algorithm)
    uids = view.told.uids
    told = encode_threads(threads, uids.__getitem__ if command.uid else lambda slot: slot + 1)
    context.write(b"* THREAD" + (b" " + told if told else b"") + b"\r\n")
    return Done("threaded")


def _demand_charset(charset: bytes) -> None:
    if charset not in {b"UTF-8", b"US-ASCII"}:
        raise No("only UTF-8 and US-ASCII are understood", b"BADCHARSET (US-ASCII UTF-8)")


def _to_save(found: list[int], results: frozenset[c.Result]) -> list[int]:
    # RFC 9051 section 6.4.4.1, table 4: MIN and MAX alone save only those.
    if not found or results & {c.Result.ALL, c.Result.COUNT} or not results & {c.Result.MIN, c.Result.MAX}:
        return found
    ends = [found[0]] if c.Result.MIN in results else []
    if c.Result.MAX in results and found[-1:] != ends:
        ends.append(found[-1])
    return ends


def _esearch(tag: bytes, uid: bool, numbers: list[int], results: frozenset[c.Result], modseq: bytes) -> bytes:
    words = [b"* ESEARCH (TAG " + response.quoted(tag) + b")"]
    if uid:
        words.append(b"UID")
    if numbers and c.Result.MIN in results:
        words.append(b"MIN %d" % numbers[0])
    if numbers and c.Result.MAX in results:
        words.append(b"MAX %d" % numbers[-1])
    if numbers and c.Result.ALL in results:
        words.append(b"ALL " + encode(ranges_of(numbers)))
    if c.Result.COUNT in results:
        words.append(b"COUNT %d" % len(numbers))
    if numbers and modseq:
        words.append(modseq)
    return b" ".join(words) + b"\r\n"


async def store(context: Context, _tag: bytes, command: c.Store) -> Done:
    """Change flags, and tell the new ones unless asked to be silent."""
    view = context.writable
    flags = flag_names(command.flags)
    slots = view.slots(command.numbers, uid=command.uid)
    uids = view.uid_ranges(slots)
    context.condstore = context.condstore or command.unchanged_since is not None
    if not uids:
        return Done("there was nothing to store")
    change = _CHANGES[command.change]
    unchanged_since = command.unchanged_since
    stored = await context.store.store_flags(view.mailbox, uids, change, flags, unchanged_since=unchanged_since)
    now = view.opened.snapshot()
    context.write(b"".join(view.flag_lines(now)))
    if not command.silent or context.condstore:
        await context.send(_stored_rows(context, view, now, slots, command))
    manner = context.manner(with_uid=command.uid)
    for line in view.updates(manner, may_expunge=command.uid, own_modseq=stored.modseq):
        await context.send(line)
    return _stored(view, stored, uid=command.uid)


def _stored_rows(context: Context, view: View, now: Snapshot, slots: Slots, command: c.Store) -> bytes:
    """Return a FETCH response for each message named, with its number as told and its flags as they are now."""
    numbers, places = [slot + 1 for slot in slots], slots
    if not keeps_all(view.told, now):
        found = [(slot + 1, now.slot(view.told.uids[slot])) for slot in slots]
        numbers, places = [number for number, place in found if place >= 0], [place for _, place in found if place >= 0]
    columns: list[object] = [numbers]
    template = b"* %d FETCH ("
    if not command.silent:
        template += b"FLAGS (%b) "
        columns.append(map(view.flag_table(now).__getitem__, flag_words(now, places)))
    manner = context.manner(with_uid=command.uid)
    if manner.with_uid:
        template += b"UID %d "
        columns.append(pick(now.uids, places))
    if manner.with_modseq:
        template += b"MODSEQ (%d) "
        columns.append(pick(now.modseqs, places))
    template = template[:-1] + b")\r\n"
    return b"".join([template % row for row in zip(*columns, strict=True)])


def _stored(view: View, stored: FlagsStored, *, uid: bool) -> Done:
    if not stored.conflicting:
        return Done("stored")
    # RFC 7162 section 3.1.3: what was changed since is named and left alone.
    ranges = stored.conflicting
    if not uid:
        ranges = tuple(ranges_of(slot + 1 for run in view.told.slots(ranges) for slot in run))
    return Done("some were changed meanwhile", b"MODIFIED " + encode(ranges))


async def copy(context: Context, _tag: bytes, command: c.Copy) -> Done:
    """Copy or move messages to another mailbox of the account."""
    view = context.writable if command.move else context.selected
    slots = view.slots(command.numbers, uid=command.uid)
    uids = view.uid_ranges(slots)
    target = await context.mailbox(command.mailbox, missing=b"TRYCREATE")
    if not uids:
        return Done("there was nothing to copy")
    if not command.move:
        await context.demand_room(sum(pick(view.told.sizes, slots)))
        return Done("copied", _copyuid(await context.store.copy(view.mailbox, uids, target.id)))
    code = _copyuid(await context.store.move(view.mailbox, uids, target.id))
    if code:  # RFC 6851 section 4.3: before the EXPUNGE responses
        context.write(response.status(b"*", b"OK", "moved", code))
    return Done("moved")


def _copyuid(copied: Copied) -> bytes:
    if not copied.source:
        return b""
    source, target = encode(_runs(copied.source)), encode(_runs(copied.target))
    return b"COPYUID %d %b %b" % (copied.uid_validity, source, target)


def _runs(uids: tuple[int, ...]) -> UidRanges:
    return tuple(ranges_of(uids))


async def expunge(context: Context, _tag: bytes, command: c.Expunge) -> Done:
    r"""Remove messages marked \Deleted; the EXPUNGE responses follow as the view's updates."""
    view = context.writable
    uids = None
    if command.uids is not None:
        uids = view.uid_ranges(view.slots(command.uids, uid=True))
        if not uids:
            return Done("there was nothing to remove")
    await context.store.expunge(view.mailbox, uids)
    return Done("removed")


async def close(context: Context, _tag: bytes, _command: c.Close) -> Done:
    r"""Remove messages marked \Deleted without a word, and deselect."""
    view = context.selected
    if not view.read_only:
        await context.store.expunge(view.mailbox)
    context.deselect()
    return Done("closed")


async def unselect(context: Context, _tag: bytes, _command: c.Unselect) -> Done:
    """Deselect and remove nothing (RFC 3691)."""
    context.deselect()
    return Done("closed; nothing was removed")
