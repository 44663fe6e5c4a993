"""Quotas: what a client adds keeps to them; what it moves or removes is always allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from letterlock.store.engine import StoreSettings, open_store
from letterlock.store.interface import NewMessage, Refusal, Refused

ANNA = "anna@rosewood.test"


async def test_append_and_copy_keep_to_the_quota(tmp_path: Path) -> None:
    store = await open_store(StoreSettings(tmp_path, reserve_octets=0))
    await store.prepare_account(ANNA, {"Work": ""})
    store.obey_quotas({ANNA: 100}.__getitem__)
    inbox, work = await store.mailbox(ANNA, "INBOX"), await store.mailbox(ANNA, "Work")
    assert inbox is not None
    assert work is not None
    await store.append(inbox.id, [NewMessage((b"x" * 30,)), NewMessage((b"y" * 30,))])
    with pytest.raises(Refused) as caught:
        await store.append(inbox.id, [NewMessage((b"z" * 41,))])
    assert caught.value.refusal is Refusal.OVERQUOTA
    with pytest.raises(Refused) as caught:
        await store.copy(inbox.id, ((1, 2),), work.id)
    assert caught.value.refusal is Refusal.OVERQUOTA
    await store.copy(inbox.id, ((1, 1),), work.id)
    await store.move(inbox.id, ((1, 2),), work.id)
    await store.append(inbox.id, [NewMessage((b"z" * 10,))])
    assert (await store.usage(ANNA)).octets == 100
    await store.close()
