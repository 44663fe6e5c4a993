"""Sessions that do random things to one mailbox: each keeps count as a client does, and is never told wrong.

A client here believes only what it was told: EXISTS grows its list, EXPUNGE shortens it, FETCH fills in UIDs and flags.
After every command its list must agree with what the server says about the same numbers, and in the end, when all
have heard everything, all lists must be the same and equal to the store's.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import pytest

Letter = Callable[..., bytes]
FLAGS = ("\\Seen", "\\Flagged", "\\Deleted", "$One", "$Two")
_FETCH = re.compile(rb"\* (\d+) FETCH \((.*)\)")


class Believer:
    """A client with its list of messages: the UID of each where it has heard it, and its flags."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.uids: list[int | None] = []
        self.flags: list[frozenset[bytes] | None] = []

    async def do(self, command: str) -> bytes:
        """Carry out a command, believing what is told; return the answer."""
        *lines, answer = await self.client(command)
        numbered = command.split()[0] in {"FETCH", "STORE", "SEARCH"}
        if ".SILENT" in command:  # the new flags are not told to who set them
            self.flags = [None] * len(self.flags)
        for line in lines:
            self.believe(line, numbered=numbered)
        return answer

    def believe(self, line: bytes, *, numbered: bool = False) -> None:
        """Take note of one response."""
        word = line.split()
        if word[2:3] == [b"EXPUNGE"]:
            assert not numbered, "EXPUNGE while a command by numbers runs"
            del self.uids[int(word[1]) - 1], self.flags[int(word[1]) - 1]
        elif word[2:3] == [b"EXISTS"]:
            count = int(word[1])
            assert count >= len(self.uids), "EXISTS may not shrink the mailbox"
            self.uids += [None] * (count - len(self.uids))
            self.flags += [None] * (count - len(self.flags))
        elif match := _FETCH.match(line):
            slot, items = int(match[1]) - 1, match[2]
            assert slot < len(self.uids), "a message that was not told"
            if uid := re.search(rb"UID (\d+)", items):
                assert self.uids[slot] in {None, int(uid[1])}, "a number that means another message now"
                self.uids[slot] = int(uid[1])
            if flags := re.search(rb"FLAGS \(([^)]*)\)", items):
                self.flags[slot] = frozenset(flags[1].split())


def command(chance: random.Random, count: int) -> str:
    """Return a random command for a mailbox of `count` messages."""
    flag, change = chance.choice(FLAGS), chance.choice(("+FLAGS", "-FLAGS", "+FLAGS.SILENT", "FLAGS"))
    uid = f"{chance.randint(1, 40)}:{chance.choice((chance.randint(1, 40), '*'))}"
    always = ["NOOP", "EXPUNGE", f"UID STORE {uid} {change} ({flag})", f"UID FETCH {uid} (FLAGS)", "UID SEARCH ALL"]
    if not count:
        return chance.choice(always)
    low = chance.randint(1, count)
    numbers = f"{low}:{chance.randint(low, count)}"
    return chance.choice(
        [
            *always,
            f"FETCH {numbers} (UID FLAGS)",
            f"STORE {numbers} {change} ({flag})",
            f"STORE {low} +FLAGS.SILENT (\\Deleted)",
            f"SEARCH {numbers} SEEN",
            f"UID MOVE {uid} Trash",
            f"COPY {numbers} INBOX",
            f"FETCH {numbers} (BODY[TEXT]<0.1>)",
        ]
    )


@pytest.mark.parametrize("seed", range(8))
async def test_what_is_told_is_true(served: Any, letter: Letter, seed: int) -> None:
    chance = random.Random(seed)
    await served.deliver(*(letter(n) for n in range(1, 6)))
    believers = [Believer(await served.login("CREATE x" if n == 0 else "NOOP")) for n in range(3)]
    for believer in believers:
        assert (await believer.do("SELECT INBOX")).startswith(b"OK")
    for step in range(60):
        believer = chance.choice(believers)
        if chance.random() < 0.1:
            await served.deliver(letter(100 + step))
        answer = await believer.do(command(chance, len(believer.uids)))
        assert answer.startswith((b"OK", b"NO [EXPUNGEISSUED]")), answer
    for believer in believers:
        await believer.do("NOOP")
    opened = await served.store.open((await served.store.mailbox("anna@rosewood.test", "INBOX")).id)
    snapshot = opened.snapshot()
    opened.close()
    true_flags = [frozenset(name.encode() for name in snapshot.flags(slot)) for slot in range(len(snapshot))]
    for believer in believers:
        assert len(believer.uids) == len(snapshot)
        for heard, true in zip([*believer.uids, *believer.flags], [*snapshot.uids, *true_flags], strict=True):
            assert heard in {None, true}
        assert (await believer.do("UID FETCH 1:* (FLAGS)")).startswith(b"OK")
        assert believer.uids == list(snapshot.uids)
        assert believer.flags == true_flags
