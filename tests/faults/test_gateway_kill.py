"""kill -9 of a served domain while it expands a list and opens mail: each member gets each message once, opened once."""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.faults.served import DOMAIN, Site, ident_of, kill_group, name_server

from letterlock.admd import settings as admd_settings
from letterlock.admd.smime_files import open_key_store
from letterlock.cli.root import letterlock
from letterlock.formats.x509.extensions import KeyUsage
from letterlock.store.core import StoreSettings
from letterlock.store.engine import open_store
from letterlock.trust.smime import protect
from letterlock.trust.smime.encrypt import To

ANNA, BEN, TEAM = (f"{name}@{DOMAIN}" for name in ("anna", "ben", "team"))


def command(*arguments: object) -> str:
    result = CliRunner().invoke(letterlock, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output
    return result.output


class GatewaySite(Site):
    """anna and ben are on a list; what comes encrypted to ben is opened for him."""

    def __init__(self, folder: Path, names: str) -> None:
        more = {
            "smime": {"password_file": "password"},
            "registrar": {"password_file": "password"},
            "lists": [{"address": TEAM, "owner": ANNA, "members": [ANNA, BEN], "posters": "anyone"}],
        }
        super().__init__(folder, names, more=more)
        self.file = folder / admd_settings.FILE_NAME
        self.acknowledged: dict[str, str] = {}
        (folder / "password").write_text("the domain's own\n")
        command("ca", "init", DOMAIN, "--folder", folder / "ca", "--password-file", folder / "password")
        for address in (TEAM, BEN):
            command("account", "smime", address, "--enrol", "--config", self.folder)
        command("account", "smime", BEN, "--decrypt", "--config", self.folder)
        store = open_key_store(admd_settings.load(self.folder))
        certificates = [each.certificate for each in store.certificates(BEN)]
        store.close()
        self.to = next(To(each) for each in certificates if KeyUsage.KEY_AGREEMENT in (each.extensions.key_usage or ()))

    def round(self, name: str, seconds: float, clients: int = 2) -> None:
        """Serve under load, and kill everything after `seconds`."""
        process = self.start()
        threads = [threading.Thread(target=self.send_until_cut, args=(f"{name}.{n}",)) for n in range(clients)]
        self.up()
        for thread in threads:
            thread.start()
        threads[0].join(seconds)  # it does not end before the server does
        kill_group(process)
        for thread in threads:
            thread.join()

    def send_until_cut(self, name: str) -> None:
        """Send messages to the list, and encrypted ones to ben, until the connection dies."""
        chance = random.Random(name)
        with contextlib.suppress(OSError), self.connect() as connection, connection.makefile("rwb") as stream:

            def say(line: bytes) -> bytes:
                stream.write(line + b"\r\n")
                stream.flush()
                return reply()

            def reply() -> bytes:
                while (line := stream.readline())[3:4] == b"-":
                    pass
                if not line:
                    raise OSError
                return line

            reply()
            say(b"EHLO client.test")
            for number in range(1_000_000):
                ident = f"{name}.{number}"
                recipient = chance.choice((TEAM, BEN))
                octets = f"From: a@harbor.test\r\nSubject: {ident}\r\n\r\nDig on Monday.\r\n".encode()
                if recipient == BEN:
                    octets = protect.encrypt_message(octets, (self.to,))
                for line in ("MAIL FROM:<a@harbor.test>", f"RCPT TO:<{recipient}>"):
                    assert say(line.encode()).startswith(b"250"), line
                assert say(b"DATA").startswith(b"354")
                if say(octets + b".").startswith(b"250"):
                    self.acknowledged[ident] = recipient

    def finish(self) -> None:
        """Serve until the queue is empty, and stop as one should."""
        with self.served():
            deadline = time.monotonic() + 120
            while json.loads(command("queue", "list", "--config", self.folder, "--json"))["messages"]:
                assert time.monotonic() < deadline, "the queue does not become empty"
                time.sleep(0.05)  # it works

    async def placed(self) -> dict[tuple[str, str], list[bytes]]:
        """Every copy, by what it says in Subject and whose it is."""
        found: dict[tuple[str, str], list[bytes]] = {}
        store = await open_store(StoreSettings(self.store))
        for account in (ANNA, BEN):
            mailbox = await store.mailbox(account, "INBOX")
            if mailbox is not None:
                handle = await store.open(mailbox.id)
                for content in handle.snapshot().contents:
                    octets = await store.read(content)
                    found.setdefault((ident_of(octets), account), []).append(octets)
                handle.close()
        await store.close()
        return found


async def rounds(folder: Path, count: int, seed: int) -> int:
    chance = random.Random(seed)
    with name_server() as names:
        site = GatewaySite(folder / "site", names)
        for number in range(count):
            site.round(f"{seed}.{number}", chance.uniform(0.2, 1.0))
        site.finish()
    found = await site.placed()
    for ident, recipient in site.acknowledged.items():
        for account in (ANNA, BEN) if recipient == TEAM else (BEN,):
            copies = found.get((ident, account), [])
            assert len(copies) == 1, f"{ident} to {recipient}: {len(copies)} copies for {account}"
            assert b"Dig on Monday." in copies[0]
    assert all(len(copies) == 1 for copies in found.values())
    return len(site.acknowledged)


async def test_each_member_gets_each_message_once(tmp_path: Path) -> None:
    assert await rounds(tmp_path, 2, 1) > 0


@pytest.mark.slow
async def test_a_hundred_kills(tmp_path: Path) -> None:
    assert await rounds(tmp_path, 100, 2) > 500
