"""IMAP and POP3 over a store in a folder, as a process of its own for foreign programs: `serve_access.py FOLDER CHAIN KEY`.

Prints one JSON line with the ports, and serves until its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from letterlock.access.service import AccessService
from letterlock.access.settings import AccessSettings
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.host.listen import Listener, bind
from letterlock.host.login_guard import LoginGuard
from letterlock.host.logs import Log
from letterlock.host.tls import KeyPair, ServerTls
from letterlock.store.accounts import Accounts
from letterlock.store.core import StoreSettings
from letterlock.store.engine import open_store

ACCOUNT, PASSWORD = "anna@rosewood.test", "correct-horse"


async def serve(folder: Path, pair: KeyPair) -> None:
    """Serve until standard input ends."""
    store = await open_store(StoreSettings(folder / "store"))
    accounts = Accounts(folder / "accounts.db", default_domain="rosewood.test")
    if accounts.account(ACCOUNT) is None:
        accounts.add(ACCOUNT, PASSWORD)
    await store.prepare_account(ACCOUNT, {"Sent": "\\Sent", "Drafts": "\\Drafts", "Trash": "\\Trash"})
    log, tls = Log("access"), ServerTls([pair])
    service = AccessService(
        AccessSettings("mx.rosewood.test"),
        store,
        accounts,
        tls=tls,
        guard=LoginGuard(SystemClock()),
        entropy=SystemEntropy(),
        log=log,
    )
    listeners = {
        "imap": Listener(service.imap, log=log),
        "imaps": Listener(service.imap, log=log, tls=tls),
        "pop3": Listener(service.pop3, log=log),
        "pop3s": Listener(service.pop3, log=log, tls=tls),
    }
    for listener in listeners.values():
        await listener.start([bind("127.0.0.1", 0)])
    ports = {name: listener.endpoints[0].port for name, listener in listeners.items()}
    sys.stdout.write(json.dumps(ports) + "\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    for listener in listeners.values():
        await listener.stop(grace_seconds=2)
    await store.close()
    accounts.close()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), KeyPair(Path(sys.argv[2]), Path(sys.argv[3]))))
