"""What several sessions see of one mailbox: numbers hold still until EXPUNGE may be told (RFC 9051 section 7.5.1)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

Letter = Callable[..., bytes]


async def test_arrivals_are_told_with_the_next_answer(served: Any, letter: Letter) -> None:
    client = await served.login("SELECT INBOX")
    assert await client.ok("NOOP") == []
    await served.deliver(letter(1), letter(2))
    assert await client.ok("NOOP") == [b"* 2 EXISTS"]
    assert await client.ok("NOOP") == []


async def test_flags_of_others_are_told(served: Any, letter: Letter) -> None:
    await served.deliver(letter(1), letter(2))
    one, other = await served.login("SELECT INBOX"), await served.login("SELECT INBOX")
    assert await one.ok("STORE 2 +FLAGS.SILENT (\\Flagged)") == []
    assert await other.ok("NOOP") == [b"* 2 FETCH (FLAGS (\\Flagged))"]


async def test_expunge_is_held_back_from_fetch_store_and_search(served: Any, letter: Letter) -> None:
    """Numbers keep their meaning while commands that use them run; octets of what is gone may be there still, or refused."""
    await served.deliver(*(letter(n) for n in range(1, 5)))
    reader, remover = await served.login("SELECT INBOX"), await served.login("SELECT INBOX")
    await remover.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
    await reader.ok("NOOP")
    assert await remover.ok("EXPUNGE") == [b"* 2 EXPUNGE"]
    assert await reader.ok("FETCH 1:4 (UID)") == [b"* %d FETCH (UID %d)" % (n, n) for n in range(1, 5)]
    assert await reader.ok("SEARCH ALL") == [b"* SEARCH 1 2 3 4"]
    assert await reader.ok("STORE 3 +FLAGS (\\Flagged)") == [b"* 3 FETCH (FLAGS (\\Flagged))"]
    *lines, answer = await reader("FETCH 2:3 (UID BODY.PEEK[TEXT])")
    third = b"* 3 FETCH (UID 3 BODY[TEXT] {7}\r\nHello\r\n)"
    if answer.startswith(b"NO [EXPUNGEISSUED]"):  # the store has let go of them
        assert lines == [third]
    else:
        assert lines == [third.replace(b"3", b"2", 2), third]
    assert await reader.ok("NOOP") == [b"* 2 EXPUNGE", b"* 2 FETCH (FLAGS (\\Flagged))"]
    assert await reader.ok("FETCH 1:* (UID)") == [b"* 1 FETCH (UID 1)", b"* 2 FETCH (UID 3)", b"* 3 FETCH (UID 4)"]


async def test_uid_commands_may_tell_expunge(served: Any, letter: Letter) -> None:
    await served.deliver(letter(1), letter(2))
    reader, remover = await served.login("SELECT INBOX"), await served.login("SELECT INBOX")
    await remover.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    await remover.ok("EXPUNGE")
    assert (await reader.ok("UID FETCH 2 (FLAGS)"))[-1] == b"* 1 EXPUNGE"


async def test_expunge_of_many_is_told_from_the_highest_down(served: Any, letter: Letter) -> None:
    await served.deliver(*(letter(n) for n in range(1, 6)))
    client, other = await served.login("SELECT INBOX"), await served.login("SELECT INBOX")
    await client.ok("STORE 1,3:4 +FLAGS.SILENT (\\Deleted)")
    assert await client.ok("EXPUNGE") == [b"* 4 EXPUNGE", b"* 3 EXPUNGE", b"* 1 EXPUNGE"]
    await served.deliver(letter(6))
    assert await other.ok("NOOP") == [b"* 4 EXPUNGE", b"* 3 EXPUNGE", b"* 1 EXPUNGE", b"* 3 EXISTS"]


async def test_a_message_that_is_new_and_gone_again_is_never_told(served: Any, letter: Letter) -> None:
    await served.deliver(letter(1))
    reader, remover = await served.login("SELECT INBOX"), await served.login("SELECT INBOX")
    await served.deliver(letter(2))
    await remover.ok("NOOP")
    await remover.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
    await remover.ok("EXPUNGE")
    assert await reader.ok("NOOP") == []
    await served.deliver(letter(3))
    assert await reader.ok("NOOP") == [b"* 2 EXISTS"]
    assert await reader.ok("FETCH 2 (UID)") == [b"* 2 FETCH (UID 3)"]


async def test_idle_tells_at_once(served: Any, letter: Letter) -> None:
    """Arrival, flags and removal reach an idling client without a word from it (RFC 2177)."""
    await served.deliver(letter(1))
    idler, other = await served.login("SELECT INBOX"), await served.login("SELECT INBOX")
    idler.write(b"i IDLE\r\n")
    assert await idler.line() == b"+ idling"
    await served.deliver(letter(2))
    assert await asyncio.wait_for(idler.line(), 30) == b"* 2 EXISTS"
    await other.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    assert await asyncio.wait_for(idler.line(), 30) == b"* 1 FETCH (FLAGS (\\Deleted))"
    await other.ok("EXPUNGE")
    assert await asyncio.wait_for(idler.line(), 30) == b"* 1 EXPUNGE"
    idler.write(b"DONE\r\n")
    assert (await idler.until(b"i"))[-1].startswith(b"OK")
    assert await idler.ok("FETCH 1:* (UID)") == [b"* 1 FETCH (UID 2)"]


async def test_idle_ends_with_done_only(served: Any) -> None:
    client = await served.login("SELECT INBOX")
    client.write(b"i IDLE\r\nx NOOP\r\n")
    assert await client.line() == b"+ idling"
    assert (await client.until(b"i"))[-1].startswith(b"BAD")
    await client.ok("NOOP")


async def test_idle_without_a_mailbox(served: Any) -> None:
    client = await served.login()
    client.write(b"i IDLE\r\n")
    assert await client.line() == b"+ idling"
    client.write(b"done\r\n")
    assert (await client.until(b"i"))[-1].startswith(b"OK")


async def test_pipelined_commands_are_answered_in_order(served: Any, letter: Letter) -> None:
    await served.deliver(letter(1))
    client = await served.login("SELECT INBOX")
    client.write(b"a FETCH 1 (UID)\r\nb STORE 1 +FLAGS (\\Seen)\r\nc SEARCH SEEN\r\nd IDLE\r\nDONE\r\ne NOOP\r\n")
    assert (await client.until(b"a"))[0] == b"* 1 FETCH (UID 1)"
    assert (await client.until(b"b"))[0] == b"* 1 FETCH (FLAGS (\\Seen))"
    assert (await client.until(b"c"))[0] == b"* SEARCH 1"
    assert (await client.until(b"d"))[0] == b"+ idling"
    assert (await client.until(b"e"))[-1].startswith(b"OK")


async def test_a_deleted_mailbox_ends_the_sessions_in_it(served: Any, letter: Letter) -> None:
    one = await served.login("CREATE Old", "SELECT Old")
    idler = await served.login("SELECT Old")
    idler.write(b"i IDLE\r\n")
    assert await idler.line() == b"+ idling"
    other = await served.login()
    await other.ok("DELETE Old")
    assert await asyncio.wait_for(idler.line(), 30) == b"* BYE the mailbox was deleted"
    one.write(b"a NOOP\r\n")
    assert await one.line() == b"* BYE the mailbox was deleted"


async def test_deleting_the_own_selected_mailbox_deselects(served: Any) -> None:
    client = await served.login("CREATE Old", "SELECT Old")
    await client.ok("DELETE Old")
    assert (await client("FETCH 1 (FLAGS)"))[-1].startswith(b"BAD")


async def test_select_closes_what_was_open_even_when_it_fails(served: Any) -> None:
    client = await served.login("SELECT INBOX")
    lines = await client("SELECT Nowhere")
    assert lines[0].startswith(b"* OK [CLOSED]")
    assert lines[-1].startswith(b"NO [NONEXISTENT]")
    assert (await client("SEARCH ALL"))[-1].startswith(b"BAD")


async def test_new_keywords_are_announced_once(served: Any, letter: Letter) -> None:
    await served.deliver(letter(1))
    one, other = await served.login("SELECT INBOX"), await served.login("SELECT INBOX")
    lines = await one.ok("STORE 1 +FLAGS ($Forwarded)")
    assert [line.split()[1] for line in lines] == [b"FLAGS", b"OK", b"1"]
    lines = await other.ok("NOOP")
    assert lines[0].endswith(b"\\Draft $Forwarded)")
    assert lines[-1] == b"* 1 FETCH (FLAGS ($Forwarded))"
    assert await one.ok("NOOP") == await other.ok("NOOP") == []
