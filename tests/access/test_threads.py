"""Threads: the algorithms of RFC 5256 on small mailboxes drawn as tables, over the service, and on hostile references."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.access.imap.thread import Node, _by_references, _walk, encode


def message(number: int, subject: str, references: str = "", answered: str = "") -> bytes:
    """A message sent at minute `number`, whose identifier is <number@x>."""
    lines = [f"Subject: {subject}", f"Message-ID: <{number}@x>", f"Date: Mon, 23 Nov 2026 10:{number:02d}:00 +0000"]
    if references:
        lines.append("References: " + " ".join(f"<{one}@x>" for one in references.split()))
    if answered:
        lines.append(f"In-Reply-To: <{answered}@x> and more")
    return "\r\n".join([*lines, "", "x", ""]).encode()


async def threads(served: Any, algorithm: str, *messages: bytes) -> str:
    await served.deliver(*messages)
    client = await served.login("SELECT INBOX")
    (line,) = await client.ok(f"THREAD {algorithm} UTF-8 ALL")
    return str(line.removeprefix(b"* THREAD").strip().decode())


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (
            [message(1, "a"), message(2, "Re: a", "1"), message(3, "Re: a", "1 2"), message(4, "Re: a", "1")],
            "(1 (2 3)(4))",
        ),
        ([message(1, "a"), message(2, "b", answered="1")], "(1 2)"),
        ([message(1, "a", "9"), message(2, "b", "9")], "((1)(2))"),  # a parent that is not here
        ([message(1, "a", "8 9")], "(1)"),
        ([message(1, "a"), message(2, "Re: a")], "(1 2)"),  # by subject
        ([message(1, "a"), message(2, "a")], "((1)(2))"),
        ([message(1, "Re: a"), message(2, "a")], "(2 1)"),
        ([message(1, "a", "2"), message(2, "b", "1")], "(2 1)"),  # a loop
        ([message(1, "a", "1")], "(1)"),
        ([message(2, "b"), message(1, "a")], "(2)(1)"),  # oldest first
        ([message(1, "a"), message(3, "c", "1 2"), message(2, "b", "1")], "(1 3 2)"),
        ([message(1, ""), message(2, "")], "(1)(2)"),
    ],
)
async def test_threads_by_references(served: Any, messages: list[bytes], expected: str) -> None:
    assert await threads(served, "REFERENCES", *messages) == expected


async def test_threads_by_subject(served: Any) -> None:
    found = await threads(
        served,
        "ORDEREDSUBJECT",
        message(5, "b"),
        message(1, "a"),
        message(3, "Re: a"),
        message(2, "A"),
        message(6, "re: b"),
    )
    assert found == "(2 (4)(3))(1 5)"


async def test_threads_with_uids_of_a_search(served: Any) -> None:
    await served.deliver(message(1, "a"), message(2, "Re: a", "1"), message(3, "Re: a", "1 2"))
    client = await served.login("SELECT INBOX")
    await client.ok("STORE 1 +FLAGS.SILENT \\Deleted")
    await client.ok("EXPUNGE")
    assert await client.ok("UID THREAD REFERENCES US-ASCII ALL") == [b"* THREAD (2 3)"]
    assert await client.ok("THREAD REFERENCES US-ASCII SEEN") == [b"* THREAD"]
    assert (await client("THREAD JWZ UTF-8 ALL"))[-1].startswith(b"BAD")


names = st.sampled_from("abcdef")


@given(
    st.lists(st.tuples(names, st.lists(names, max_size=6), st.sampled_from(["", "s", "t"]), st.booleans()), max_size=14)
)
def test_every_message_is_told_exactly_once(messages: list[tuple[str, list[str], str, bool]]) -> None:
    """Whatever the references say: no message is lost or doubled, nothing loops, no dummy is without need."""
    nodes = [Node(slot, slot % 5, subject, is_reply) for slot, (_, _, subject, is_reply) in enumerate(messages)]
    found = _by_references(nodes, [(identity, tuple(references)) for identity, references, _, _ in messages])
    slots = sorted(node.slot for node in _walk(found) if not node.is_dummy)
    assert slots == list(range(len(messages)))
    assert all(len(node.children) > 1 for node in _walk(found) if node.is_dummy)
    told = encode(found, lambda slot: slot + 1)
    assert told.count(b"(") == told.count(b")") >= len(found)


def test_a_long_chain_is_told_without_recursion() -> None:
    count = 5000
    nodes = [Node(slot, slot) for slot in range(count)]
    identities = [(str(slot), (str(slot - 1),) if slot else ()) for slot in range(count)]
    assert encode(_by_references(nodes, identities), lambda slot: slot + 1).startswith(b"(1 2 3 ")
    backwards = [(str(slot), (str(slot + 1),)) for slot in range(count)]
    assert len(_walk(_by_references([Node(slot, slot) for slot in range(count)], backwards))) == count
