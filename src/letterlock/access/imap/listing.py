"""LIST and LSUB: which names match and with which attributes; a pure function of mailboxes and subscriptions.

Standards: RFC 9051 section 6.3.9 and section 7.3.1, RFC 3501 section 6.3.9 (LSUB), RFC 5258, RFC 6154 section 2.
Limits: a pattern is matched by one step a character of the name, whatever wildcards it holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from letterlock.protocols.imap import command as c
from letterlock.protocols.imap import response
from letterlock.protocols.imap.mailbox_name import canonical, to_wire
from letterlock.store.interface import Mailbox

SEPARATOR = "/"
_WILDCARDS = re.compile(r"[*%]{2,}")


@dataclass(frozen=True, slots=True)
class Listed:
    """One LIST response. `mailbox` is None where no mailbox has the name; `child_info` names selection options."""

    name: str
    attributes: tuple[str, ...]
    mailbox: Mailbox | None
    child_info: tuple[str, ...] = ()

    def encode(self, *, utf8: bool, lsub: bool = False) -> bytes:
        """Return the response line."""
        verb = b"LSUB" if lsub else b"LIST"
        attributes = " ".join(self.attributes).encode("ascii")
        line = b'* %b (%b) "/" %b' % (verb, attributes, response.mailbox(to_wire(self.name, utf8=utf8)))
        if self.child_info:
            options = " ".join(f'"{option}"' for option in self.child_info).encode("ascii")
            line += b' ("CHILDINFO" (' + options + b"))"
        return line + b"\r\n"


def list_mailboxes(command: c.List, mailboxes: Iterable[Mailbox], subscriptions: Iterable[str]) -> Iterator[Listed]:
    """Yield what a LIST or LSUB answers, by name."""
    existing = {mailbox.name: mailbox for mailbox in mailboxes}
    subscribed = set(subscriptions)
    patterns = [Pattern(canonical(command.reference + pattern)) for pattern in command.patterns]
    names = set(existing)
    if b"SUBSCRIBED" in command.selection:
        names |= subscribed
    parents = {parent for name in names for parent in _parents(name)}
    chosen = _chosen(command, existing, subscribed)
    above_chosen = {parent for name in chosen for parent in _parents(name)}
    # RFC 9051 section 6.3.9.6: a name that is not chosen itself shows only what is below it and not shown.
    hidden = {name for name in chosen if not any(pattern.matches(name) for pattern in patterns)}
    above_hidden = {parent for name in hidden for parent in _parents(name)}
    for name in sorted(names | parents, key=lambda name: (name != "INBOX", name)):
        if not any(pattern.matches(name) for pattern in patterns):
            continue
        below = above_chosen if name in chosen else above_hidden
        child_info = b"RECURSIVEMATCH" in command.selection and name in below
        plain_parent = not command.selection and name in parents
        if command.lsub:
            plain_parent = name not in chosen and name in above_hidden
        if name in chosen or child_info or plain_parent:
            yield _listed(command, name, existing.get(name), name in subscribed, name in parents, child_info)


def _chosen(command: c.List, existing: dict[str, Mailbox], subscribed: set[str]) -> set[str]:
    chosen = set(subscribed) if b"SUBSCRIBED" in command.selection else set(existing)
    if b"SPECIAL-USE" in command.selection:
        chosen = {name for name in chosen if name in existing and existing[name].special_use}
    return chosen


def _listed(
    command: c.List, name: str, mailbox: Mailbox | None, is_subscribed: bool, has_children: bool, child_info: bool
) -> Listed:
    attributes = []
    if command.lsub:
        if not is_subscribed:
            attributes.append("\\Noselect")  # RFC 3501 section 6.3.9
        return Listed(name, tuple(attributes), mailbox)
    if mailbox is None:
        attributes.append("\\NonExistent")
        if not command.extended:
            attributes.append("\\Noselect")
    attributes.append("\\HasChildren" if has_children else "\\HasNoChildren")
    if is_subscribed and b"SUBSCRIBED" in command.selection | command.returns:
        attributes.append("\\Subscribed")
    if mailbox is not None and mailbox.special_use:
        attributes.append(mailbox.special_use)
    options = sorted(option.decode("ascii") for option in command.selection - {b"RECURSIVEMATCH", b"REMOTE"})
    return Listed(name, tuple(attributes), mailbox, tuple(options) if child_info else ())


def _parents(name: str) -> Iterator[str]:
    at = name.rfind(SEPARATOR)
    while at > 0:
        yield name[:at]
        at = name.rfind(SEPARATOR, 0, at)


class Pattern:
    """A mailbox pattern: `*` stands for anything, `%` for anything without the separator.

    The state is an integer with bit n set where the first n parts of the pattern match what was read so far.
    """

    __slots__ = ("_any", "_end", "_level", "_masks")

    def __init__(self, pattern: str) -> None:
        parts = _WILDCARDS.sub(lambda run: "*" if "*" in run[0] else "%", pattern)
        self._masks: dict[str, int] = {}
        for number, part in enumerate(parts):
            self._masks[part] = self._masks.get(part, 0) | 1 << number
        self._any = self._masks.pop("*", 0)
        self._level = self._masks.pop("%", 0)
        self._end = 1 << len(parts)

    def matches(self, name: str) -> bool:
        """Whether the whole of `name` matches."""
        wildcards = self._any | self._level
        state = 1
        state |= (state & wildcards) << 1
        for character in name:
            stay = self._any if character == SEPARATOR else wildcards
            state = (state & self._masks.get(character, 0)) << 1 | state & stay
            state |= (state & wildcards) << 1
            if not state:
                return False
        return bool(state & self._end)
