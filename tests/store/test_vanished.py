"""store/vanished.py: what is forgotten is answered by all that is not there."""

from __future__ import annotations

from pathlib import Path

from letterlock.store.engine import StoreSettings, open_store
from letterlock.store.interface import NewMessage
from letterlock.store.vanished import forget_oldest

ANNA = "anna@rosewood.test"


async def test_who_asks_about_long_ago_is_told_of_every_uid_that_is_not_there(tmp_path: Path) -> None:
    """RFC 7162 section 3.2.10: more than was asked for may be told, never less."""
    store = await open_store(StoreSettings(tmp_path, reserve_octets=0))
    await store.prepare_account(ANNA, {})
    inbox = await store.mailbox(ANNA, "INBOX")
    assert inbox is not None
    await store.append(inbox.id, [NewMessage((b"x",))] * 20)
    marks = []
    for uid in (2, 4, 5, 9, 11, 20):
        found = await store.mailbox(ANNA, "INBOX")
        assert found is not None
        marks.append(found.highest_modseq)
        await store.expunge(inbox.id, ((uid, uid),), only_deleted=False)
    everything = ((2, 2), (4, 5), (9, 9), (11, 11), (20, 20))
    assert await store.vanished(inbox.id, marks[0]) == everything
    await store._ask(lambda connection: forget_oldest(connection, 3))
    assert await store.vanished(inbox.id, marks[0]) == everything
    assert await store.vanished(inbox.id, marks[2]) == everything
    assert await store.vanished(inbox.id, marks[3]) == ((9, 9), (11, 11), (20, 20))
    assert await store.vanished(inbox.id, marks[5]) == ((20, 20),)
    await store.close()
