"""kill -9 under load: what APPEND, STORE, EXPUNGE and POP3's QUIT have acknowledged is there after a restart, once."""

from __future__ import annotations

import imaplib
import json
import poplib
import signal
import ssl
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from letterlock.host.tls import KeyPair

ACCOUNT, PASSWORD = "anna@rosewood.test", "correct-horse"
SERVER = Path(__file__).parent.parent / "interop" / "serve_access.py"


class Server:
    """The access service in a process of its own, to be killed and started again."""

    def __init__(self, folder: Path, pair: KeyPair) -> None:
        self._command = [sys.executable, str(SERVER), str(folder), str(pair.chain), str(pair.key)]
        self._context = ssl.create_default_context(cafile=pair.chain)

    def __enter__(self) -> Server:
        self.process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self.process.stdout is not None
        self.ports = json.loads(self.process.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate(b"")

    def imap(self) -> imaplib.IMAP4_SSL:
        """Return a client that is logged in."""
        client = imaplib.IMAP4_SSL("localhost", self.ports["imaps"], ssl_context=self._context)
        client.login(ACCOUNT, PASSWORD)
        return client

    def pop3(self) -> poplib.POP3_SSL:
        """Return a POP3 client that is logged in."""
        client = poplib.POP3_SSL("localhost", self.ports["pop3s"], context=self._context)
        client.user(ACCOUNT)
        client.pass_(PASSWORD)
        return client


def append_until_killed(server: Server, writer: int, acknowledged: list[str], enough: threading.Event) -> None:
    client = server.imap()
    try:
        for number in range(10_000):
            identity = f"{writer}-{number}"
            flags = "\\Flagged" if number % 2 else None
            if client.append("INBOX", flags, None, f"Message-ID: <{identity}>\r\n\r\nx\r\n".encode())[0] == "OK":
                acknowledged.append(identity)
            if len(acknowledged) > 120:
                enough.set()
    except (OSError, imaplib.IMAP4.error):
        enough.set()
    finally:
        client.file.close()
        client.sock.close()


@pytest.mark.parametrize("round_number", range(2))
def test_acknowledged_messages_survive_kill_9_once(tmp_path: Path, key_pair: KeyPair, round_number: int) -> None:
    acknowledged: list[str] = []
    enough = threading.Event()
    with Server(tmp_path, key_pair) as server:
        writers = [
            threading.Thread(target=append_until_killed, args=(server, writer, acknowledged, enough))
            for writer in range(4)
        ]
        for writer in writers:
            writer.start()
        assert enough.wait(30)
        server.process.send_signal(signal.SIGKILL)
        for writer in writers:
            writer.join(30)
    with Server(tmp_path, key_pair) as server:
        client = server.imap()
        client.select("INBOX")
        found = Counter(
            part[1].split(b"<")[1].split(b">")[0].decode()
            for part in client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (Message-ID)])")[1] or []
            if isinstance(part, tuple)
        )
        assert len(acknowledged) > 100
        assert set(acknowledged) <= set(found)
        assert set(found.values()) == {1}
        uids = [int(uid) for uid in client.uid("SEARCH", "ALL")[1][0].split()]
        assert uids == sorted(set(uids))
        client.logout()


def test_changes_survive_kill_9(tmp_path: Path, key_pair: KeyPair) -> None:
    """Flags, removals, copies, new mailboxes and subscriptions, and a maildrop's update."""
    with Server(tmp_path, key_pair) as server:
        client = server.imap()
        for number in range(6):
            client.append("INBOX", None, None, f"Message-ID: <{number}>\r\n\r\nx\r\n".encode())
        client.select("INBOX")
        assert client.store("1", "+FLAGS", "\\Deleted $Keyword")[0] == "OK"
        assert client.expunge()[1] == [b"1"]
        assert client.store("1:2", "+FLAGS", "$Keyword")[0] == "OK"
        assert client.copy("1", "Sent")[0] == "OK"
        assert client.create("Made/Below")[0] == "OK"
        assert client.subscribe("Made")[0] == "OK"
        drop = server.pop3()
        drop.dele(5)
        assert drop.quit().startswith(b"+OK")
        server.process.send_signal(signal.SIGKILL)
        client.file.close()
        client.sock.close()
    with Server(tmp_path, key_pair) as server:
        client = server.imap()
        assert client.select("INBOX")[1] == [b"4"]
        assert client.uid("SEARCH", "ALL")[1] == [b"2 3 4 5"]
        assert client.search(None, "KEYWORD", "$Keyword")[1] == [b"1 2"]
        assert client.lsub('""', "Made")[1] == [b'() "/" Made']
        assert client.select("Made/Below")[0] == "OK"
        assert client.select("Sent")[1] == [b"1"]
        client.logout()
