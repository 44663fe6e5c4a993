"""Which mailboxes there are: names, counters and keywords of all of them, in memory, small.

Names are text with "/" between levels. INBOX is always spelt so. A name has no empty level, no control characters and
at most 500 octets and 20 levels.

Standards: RFC 9051 section 5.1 (names), section 6.3.4 to 6.3.8, RFC 6154.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field

import apsw

from letterlock.store.index import Batch
from letterlock.store.interface import Mailbox, Refusal, Refused, Usage
from letterlock.store.snapshot import MOST_FLAGS, SYSTEM_FLAGS

_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LONGEST_NAME = 500
_MOST_LEVELS = 20
_MOST_MAILBOXES = 10_000  # an account
_SYSTEM = len(SYSTEM_FLAGS)


@dataclass(slots=True)
class Entry:
    """One mailbox and its counters, changing."""

    id: int
    account: str
    name: str
    uid_validity: int
    uid_next: int = 1
    modseq: int = 1
    messages: int = 0
    unseen: int = 0
    deleted: int = 0
    octets: int = 0
    special_use: str = ""
    flag_names: list[str] = field(default_factory=lambda: list(SYSTEM_FLAGS))

    def mask(self, flags: Collection[str], *, lenient: bool = False) -> int:
        """Return the flag word for names, numbering new keywords.

        For keywords beyond the limit, raises Refused(LIMIT) before changing anything; with `lenient` leaves them out.
        """
        if not flags:
            return 0
        mask = 0
        known = {name.lower(): number for number, name in enumerate(self.flag_names)}
        fresh: list[str] = []
        for flag in flags:
            number = known.get(flag.lower())
            if number is None:
                if lenient and len(self.flag_names) + len(fresh) >= MOST_FLAGS:
                    continue
                number = known[flag.lower()] = len(self.flag_names) + len(fresh)
                fresh.append(flag)
            mask |= 1 << number
        if len(self.flag_names) + len(fresh) > MOST_FLAGS:
            raise Refused(Refusal.LIMIT, f"a mailbox has at most {MOST_FLAGS - len(SYSTEM_FLAGS)} keywords")
        self.flag_names += fresh
        return mask


@functools.lru_cache(maxsize=1024)  # INBOX, nearly always
def normalise(name: str) -> str:
    """Return a mailbox name as we keep it. Raises Refused(CANNOT)."""
    first, slash, rest = name.partition("/")
    if first.upper() == "INBOX":
        name = "INBOX" + slash + rest
    levels = name.split("/")
    if not all(levels):
        raise Refused(Refusal.CANNOT, "a mailbox name with an empty level")
    if len(levels) > _MOST_LEVELS or len(name.encode("utf-8", "replace")) > _LONGEST_NAME:
        raise Refused(Refusal.CANNOT, "a mailbox name that is too long or too deep")
    if _FORBIDDEN.search(name):
        raise Refused(Refusal.CANNOT, "a mailbox name with control characters")
    return name


class Directory:
    """All mailboxes and subscriptions."""

    def __init__(self) -> None:
        self.by_id: dict[int, Entry] = {}
        self._accounts: dict[str, dict[str, Entry]] = {}
        self._subscriptions: dict[str, set[str]] = {}
        self._next_mailbox = 1
        self._last_uid_validity = 0
        self._dirty: set[int] = set()
        self._removed: set[int] = set()
        self._made = False

    def load(self, connection: apsw.Connection) -> None:
        """Read everything from the index."""
        for row in connection.execute(
            "SELECT id, account, name, uid_validity, uid_next, modseq, messages, unseen, deleted, octets, special_use,"
            " keywords FROM mailboxes"
        ):
            entry = Entry(*row[:-1])
            entry.flag_names += json.loads(str(row[-1]))
            self.by_id[entry.id] = entry
            self._accounts.setdefault(entry.account, {})[entry.name] = entry
        for account, name in connection.execute("SELECT account, name FROM subscriptions"):
            self._subscriptions.setdefault(str(account), set()).add(str(name))
        meta = {str(key): int(number) for key, number in connection.execute("SELECT key, value FROM meta")}
        self._next_mailbox = meta["next_mailbox"]
        self._last_uid_validity = meta["last_uid_validity"]

    def find(self, account: str, name: str) -> Entry | None:
        """Return a mailbox by its kept name."""
        return self._accounts.get(account, {}).get(name)

    def get(self, account: str, name: str) -> Entry:
        """Return a mailbox. Raises Refused(NONEXISTENT)."""
        entry = self.find(account, normalise(name))
        if entry is None:
            raise Refused(Refusal.NONEXISTENT, name)
        return entry

    def number(self, mailbox: int) -> Entry:
        """Return a mailbox by id. Raises Refused(NONEXISTENT)."""
        entry = self.by_id.get(mailbox)
        if entry is None:
            raise Refused(Refusal.NONEXISTENT)
        return entry

    def describe(self, entry: Entry) -> Mailbox:
        """Return the mailbox as a value."""
        return Mailbox(
            entry.id,
            entry.account,
            entry.name,
            entry.uid_validity,
            entry.uid_next,
            entry.modseq,
            entry.messages,
            entry.unseen,
            entry.deleted,
            entry.octets,
            entry.special_use,
            entry.name in self._subscriptions.get(entry.account, ()),
        )

    def of_account(self, account: str) -> list[Entry]:
        """Return an account's mailboxes by name."""
        mailboxes = self._accounts.get(account, {})
        return [mailboxes[name] for name in sorted(mailboxes)]

    def usage(self, account: str) -> Usage:
        """Return what an account holds."""
        entries = self._accounts.get(account, {}).values()
        return Usage(sum(entry.messages for entry in entries), sum(entry.octets for entry in entries))

    def subscriptions(self, account: str) -> tuple[str, ...]:
        """Return the subscribed names."""
        return tuple(sorted(self._subscriptions.get(account, ())))

    def touch(self, entry: Entry) -> None:
        """Say that counters changed; `save` writes them."""
        self._dirty.add(entry.id)

    def obtain(self, batch: Batch, account: str, name: str, instant: float) -> Entry:
        """Return a mailbox for a delivery, made and subscribed if it does not exist."""
        entry = self.find(account, name)
        if entry is None:
            name = normalise(name)
            entry = self.find(account, name)
        if entry is None:
            self._make_above(account, name, instant)
            entry = self._make(account, name, "", instant)
            self.subscribe(batch, account, name, True)
        return entry

    def create(self, account: str, name: str, special_use: str, instant: float) -> Entry:
        """Make a mailbox and those above it. Raises Refused."""
        name = normalise(name)
        if self.find(account, name):
            raise Refused(Refusal.ALREADYEXISTS, name)
        if len(self._accounts.get(account, ())) >= _MOST_MAILBOXES:
            raise Refused(Refusal.LIMIT, "the account has too many mailboxes")
        self._make_above(account, name, instant)
        return self._make(account, name, special_use, instant)

    def _make_above(self, account: str, name: str, instant: float) -> None:
        levels = name.split("/")
        for count in range(1, len(levels)):
            above = "/".join(levels[:count])
            if not self.find(account, above):
                self._make(account, above, "", instant)

    def _make(self, account: str, name: str, special_use: str, instant: float) -> Entry:
        # RFC 9051 section 2.3.1.1: never the same again for a name, so ever growing
        self._last_uid_validity = max(self._last_uid_validity + 1, int(instant))
        entry = Entry(self._next_mailbox, account, name, self._last_uid_validity, special_use=special_use)
        self._next_mailbox += 1
        self._made = True
        self.by_id[entry.id] = entry
        self._accounts.setdefault(account, {})[name] = entry
        self._dirty.add(entry.id)
        return entry

    def remove(self, entry: Entry) -> None:
        """Forget a mailbox."""
        del self.by_id[entry.id]
        del self._accounts[entry.account][entry.name]
        self._dirty.discard(entry.id)
        self._removed.add(entry.id)

    def rename(self, entry: Entry, new_name: str, instant: float) -> None:
        """Rename a mailbox and those below it. Raises Refused."""
        new_name = normalise(new_name)
        mailboxes = self._accounts[entry.account]
        old_name = entry.name
        if new_name == old_name or new_name in mailboxes:
            raise Refused(Refusal.ALREADYEXISTS, new_name)
        if new_name.startswith(old_name + "/"):
            raise Refused(Refusal.CANNOT, "a mailbox cannot move below itself")
        moving = [name for name in mailboxes if name == old_name or name.startswith(old_name + "/")]
        renamed = {name: normalise(new_name + name[len(old_name) :]) for name in moving}
        if any(name in mailboxes for name in renamed.values()):
            raise Refused(Refusal.ALREADYEXISTS, new_name)
        self._make_above(entry.account, new_name, instant)
        for name in moving:
            moved = mailboxes.pop(name)
            moved.name = renamed[name]
            mailboxes[moved.name] = moved
            self._dirty.add(moved.id)

    def subscribe(self, batch: Batch, account: str, name: str, wanted: bool) -> None:
        """Add or remove a subscription."""
        name = normalise(name)
        names = self._subscriptions.setdefault(account, set())
        if wanted:
            names.add(name)
            batch.add("INSERT OR IGNORE INTO subscriptions VALUES (?, ?)", account, name)
        else:
            names.discard(name)
            batch.add("DELETE FROM subscriptions WHERE account = ? AND name = ?", account, name)

    def forget_account(self, batch: Batch, account: str) -> None:
        """Forget an account whose mailboxes are gone."""
        self._accounts.pop(account, None)
        self._subscriptions.pop(account, None)
        batch.add("DELETE FROM subscriptions WHERE account = ?", account)

    def save(self, batch: Batch) -> None:
        """Add what changed to a batch."""
        for mailbox in self._removed:
            batch.mailboxes[mailbox] = None
        for mailbox in self._dirty:
            entry = self.by_id[mailbox]
            keywords = json.dumps(entry.flag_names[_SYSTEM:]) if len(entry.flag_names) > _SYSTEM else "[]"
            batch.mailboxes[mailbox] = (
                entry.id,
                entry.account,
                entry.name,
                entry.uid_validity,
                entry.uid_next,
                entry.modseq,
                entry.messages,
                entry.unseen,
                entry.deleted,
                entry.octets,
                entry.special_use,
                keywords,
            )
        if self._made:
            batch.add("UPDATE meta SET value = ? WHERE key = 'next_mailbox'", self._next_mailbox)
            batch.add("UPDATE meta SET value = ? WHERE key = 'last_uid_validity'", self._last_uid_validity)
        self._made = False
        self._removed.clear()
        self._dirty.clear()
