"""Greylisting: who was never seen is asked to come again, and who comes again is known from then on.

    greylist = Greylist(clock, GreylistSettings())
    wait = greylist.wait_seconds("192.0.2.1", "rose@rosewood.test", "ada@garden.test")     0: take it

A sender, a recipient and a network (an IPv4 /24, an IPv6 /64: big senders try again from another host) that come together for
the first time wait; when they come again after `wait_seconds` and within `window_seconds`, their message is taken and the network
is known for `known_seconds`. Nothing is lost: every real mail server tries again (RFC 5321 section 4.5.4.1).

Standards: RFC 6647 (what may be greylisted, and how).
Limits: 100,000 combinations, the oldest forgotten first; a combination is kept as a hash.
See also: mta/assess.py, where it is asked last, after all that exempts a message is known.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

from letterlock.host.clock import Clock
from letterlock.host.familiar import Familiar
from letterlock.host.listen import ConnectionLimits
from letterlock.host.notebook import MOST_NOTES, Book, Note

_NETWORKS = ConnectionLimits(ipv4_prefix=24, ipv6_prefix=64)


@dataclass(frozen=True, slots=True)
class GreylistSettings:
    """Seconds: how long who is new has to wait, how long the second try is waited for, how long a network stays known."""

    wait_seconds: float = 300
    window_seconds: float = 48 * 3600
    known_seconds: float = 36 * 86_400


class Greylist:
    """Who was asked to come again, and who did. It is a book of first tries; `books` has the networks known too."""

    name = "greylist"

    def __init__(self, clock: Clock, settings: GreylistSettings | None = None) -> None:
        self._clock = clock
        self._settings = settings or GreylistSettings()
        self._first: OrderedDict[str, float] = OrderedDict()
        self._changes: set[str] = set()
        self._known = Familiar(clock, keep_seconds=self._settings.known_seconds, name="greylist known")

    @property
    def books(self) -> tuple[Book, ...]:
        """What is to be kept."""
        return (self, self._known)

    def wait_seconds(self, host: str, sender: str, recipient: str) -> float:
        """Return how long this message has to wait, 0 if it is welcome."""
        network = _NETWORKS.network(host)
        if self._known.knows(network):
            self._known.seen(network)
            return 0.0
        now, settings = self._clock.now(), self._settings
        key = _key(network, sender, recipient)
        first = self._first.get(key)
        if first is None or not 0 <= now - first < settings.window_seconds:
            self._set(key, now)
            self._changes.add(key)
            return settings.wait_seconds
        if now - first < settings.wait_seconds:
            return settings.wait_seconds - (now - first)
        self._known.seen(network)
        return 0.0

    def _set(self, key: str, first: float) -> None:
        self._first[key] = first
        self._first.move_to_end(key)
        if len(self._first) > MOST_NOTES:
            self._first.popitem(last=False)

    # As a book: `first` is when a combination was seen first.

    def take_changes(self) -> dict[str, Note]:
        """Return the combinations that came for the first time."""
        window = self._settings.window_seconds
        changes = {key: Note(first, 0.0, first + window) for key in self._changes if (first := self._first.get(key))}
        self._changes = set()
        return changes

    def joined(self, change: Note, known: Note | None) -> Note:
        """Return the earlier of two first tries that still count."""
        return known if known is not None and known.first < change.first < known.until else change

    def learn(self, key: str, note: Note) -> None:
        """Hear when a combination was seen first."""
        first = self._first.get(key)
        if first is None or note.first < first or note.first >= first + self._settings.window_seconds:
            self._set(key, note.first)


def _key(network: str, sender: str, recipient: str) -> str:
    together = "\0".join((network, sender.lower(), recipient.lower()))
    return hashlib.sha256(together.encode("utf-8", "replace")).hexdigest()[:32]
