"""The header fields that mail programs ask for in their lists, kept by the store so that a list needs no message read.

For each message the fields of `LISTED` are kept, byte for byte and in their order. HEADER.FIELDS for names among them
is answered from there with one regular expression, and SEARCH and SORT look there too; any other name goes to the message.

Limits: RECORD_OCTETS are kept of a message; one whose listed fields are longer is read each time.
"""

from __future__ import annotations

import functools
import re

from letterlock.access.imap.contents import Derivation, read_heads
from letterlock.access.imap.view import Slots, pick
from letterlock.formats.imf.header import read_header
from letterlock.formats.octets import unfold
from letterlock.store.interface import Contents
from letterlock.store.snapshot import Snapshot

# What neomutt, Thunderbird, Apple's and Google's programs, K-9 and mbsync ask for, but for what is long.
LISTED = frozenset(
    b"bcc cc chat-version content-class content-description content-transfer-encoding content-type date from importance"
    b" in-reply-to lines list-id list-post list-subscribe list-unsubscribe message-id mime-version newsgroups priority"
    b" references reply-to sender subject to user-agent x-label x-original-to x-priority"
    b" x-uniform-type-identifier x-universally-unique-identifier".split()
)
RECORD_OCTETS = 16 * 1024
_TOO_LONG = b"\0"


def record(octets: bytes) -> bytes:
    """Return what is kept of a message."""
    kept = b"".join([field.raw for field in read_header(octets) if field.name.lower().encode("ascii") in LISTED])
    return kept if len(kept) <= RECORD_OCTETS else _TOO_LONG


LISTED_FIELDS = Derivation("imap-fields", record, of_header=True)


def is_listed(names: tuple[bytes, ...]) -> bool:
    """Whether records hold all these fields."""
    return all(name.lower() in LISTED for name in names)


def select(kept: bytes, names: tuple[bytes, ...]) -> bytes | None:
    """Return the fields of these names and the empty line that follows them, None where the record cannot tell."""
    found = fields(kept, names)
    return None if found is None else b"".join(found) + b"\r\n"


def fields(kept: bytes, names: tuple[bytes, ...]) -> list[bytes] | None:
    """Return the fields of these names, whole, None where the record cannot tell."""
    return None if kept == _TOO_LONG else _pattern(names).findall(kept)


async def values(store: Contents, snapshot: Snapshot, slots: Slots, name: bytes) -> list[list[bytes]]:
    """Return the values of the fields of this name, unfolded, for each message; none for one that is gone."""
    contents, sizes = pick(snapshot.contents, slots), pick(snapshot.sizes, slots)
    found: list[list[bytes] | None] = [None] * len(contents)
    if is_listed((name,)):
        for at, kept in enumerate(await LISTED_FIELDS.each(store, contents, sizes)):
            raw = None if kept is None else fields(kept, (name,))
            found[at] = None if raw is None else [unfold(field.partition(b":")[2]) for field in raw]
    missing = [at for at, one in enumerate(found) if one is None]
    heads = await read_heads(store, [contents[at] for at in missing])
    for at, head in zip(missing, heads, strict=True):
        header = read_header(head or b"")
        found[at] = [field.unfolded for field in header.get_all(name.decode("ascii", "replace"))]
    return [one or [] for one in found]


@functools.lru_cache(maxsize=256)
def _pattern(names: tuple[bytes, ...]) -> re.Pattern[bytes]:
    alternatives = b"|".join(re.escape(name) for name in names)
    return re.compile(rb"(?im)^(?:" + alternatives + rb")[ \t]*+:[^\n]*+(?>(?:\n[ \t][^\n]*+)*)\n?")
