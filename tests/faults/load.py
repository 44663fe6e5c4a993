"""Load for a served domain: clients that note what was acknowledged, until the connection dies, and then come again."""

from __future__ import annotations

import base64
import contextlib
import imaplib
import random
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from functools import cache

from tests.faults.served import DOMAIN, PASSWORD, USERS, Site, place_of

FILLER = b"x" * 70 + b"\r\n"
CLIENT_ERRORS = (OSError, imaplib.IMAP4.error)
Client = Callable[[Site, str], None]


@cache
def unverified() -> ssl.SSLContext:
    """Return a client's context that takes any certificate: one for all, for to make one reads every root there is."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Conversation:
    """SMTP as a client: octets there and replies back; OSError when the other side is gone, or says 4xx as it goes."""

    def __init__(self, connection: socket.socket, hello: bytes = b"EHLO") -> None:
        self._stream = connection.makefile("rwb")
        self.expect(b"220", b"")
        self.expect(b"250", hello + b" client.test\r\n")

    def say(self, octets: bytes) -> bytes:
        """Send octets and return the last line of the reply."""
        self._stream.write(octets)
        self._stream.flush()
        while (line := self._stream.readline())[3:4] == b"-":
            pass
        if not line.endswith(b"\n"):
            raise ConnectionResetError
        return line

    def expect(self, code: bytes, octets: bytes) -> None:
        """Send octets that must be answered with `code`."""
        answer = self.say(octets)
        if answer[:1] == b"4":
            raise ConnectionResetError
        assert answer.startswith(code), (octets[:80], answer)


def messages(name: str, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """Yield messages, each with its id."""
    for number in range(1_000_000):
        ident = f"{name}.{number}"
        head = b"From: a@harbor.test\r\nSubject: %b\r\n\r\n" % ident.encode()
        yield ident, head + FILLER * chance.randrange(200)


def by_data(talk: Conversation, octets: bytes) -> bytes:
    """Send content with DATA and return the reply."""
    talk.expect(b"354", b"DATA\r\n")
    return talk.say(octets + b".\r\n")


def by_chunks(talk: Conversation, octets: bytes) -> bytes:
    """Send content with BDAT, cut in the middle, and return the reply."""
    first, last = octets[: len(octets) // 2], octets[len(octets) // 2 :]
    talk.expect(b"250", b"BDAT %d\r\n" % len(first) + first)
    return talk.say(b"BDAT %d LAST\r\n" % len(last) + last)


def _transfer(
    site: Site, name: str, talk: Conversation, sender: str, content: Callable[[Conversation, bytes], bytes]
) -> None:
    chance = random.Random(name)
    for ident, octets in messages(name, chance):
        user = chance.choice((*USERS, *site.aliases))
        talk.expect(b"250", b"MAIL FROM:<%b>\r\n" % sender.encode())
        talk.expect(b"250", f"RCPT TO:<{user}@{DOMAIN}>\r\n".encode())
        answer = content(talk, octets)
        if answer.startswith(b"250"):
            site.expected[ident] = frozenset({place_of(user)})


def data_client(site: Site, name: str) -> None:
    """Mail from outside, by DATA."""
    with site.connect() as connection:
        _transfer(site, name, Conversation(connection), "a@harbor.test", by_data)


def chunking_client(site: Site, name: str) -> None:
    """Mail from outside, by BDAT (RFC 3030)."""
    with site.connect() as connection:
        _transfer(site, name, Conversation(connection), "a@harbor.test", by_chunks)


def submitting_client(site: Site, name: str) -> None:
    """Mail of a user, under TLS and with AUTH."""
    with site.connect("submissions") as plain, unverified().wrap_socket(plain) as connection:
        talk = Conversation(connection)
        account = f"anna@{DOMAIN}"
        talk.expect(b"235", b"AUTH PLAIN " + base64.b64encode(f"\0{account}\0{PASSWORD}".encode()) + b"\r\n")
        _transfer(site, name, talk, account, by_data)


def imap_client(site: Site, name: str) -> None:
    """Appends to INBOX, and moves every third message on to Kept."""
    chance = random.Random(name)
    client = imaplib.IMAP4_SSL(site.host, site.ports["imaps"], ssl_context=unverified(), timeout=20)
    try:
        client.login(f"ben@{DOMAIN}", PASSWORD)
        client.create("Kept")  # NO when it is there
        client.select("INBOX")
        for number, (ident, octets) in enumerate(messages(name, chance)):
            if client.append("INBOX", "", "", octets)[0] != "OK":
                raise ConnectionResetError
            uid = client.response("APPENDUID")[1][-1].split()[1].decode()
            site.expected[ident] = frozenset({"ben/INBOX"})
            if number % 3 == 0:
                site.expected[ident] |= {"ben/Kept"}
                if client.uid("MOVE", uid, "Kept")[0] == "OK":
                    site.expected[ident] = frozenset({"ben/Kept"})
    finally:
        with contextlib.suppress(*CLIENT_ERRORS):
            client.shutdown()


def again_and_again(client: Client, site: Site, name: str, over: threading.Event) -> None:
    """Run a client; when it is cut off, run it again, until `over`."""
    number = 0
    while not over.is_set():
        with contextlib.suppress(*CLIENT_ERRORS):
            client(site, f"{name}.{number}")
        number += 1
        over.wait(0.01)  # nobody listens while it starts


@contextlib.contextmanager
def under_load(site: Site, name: str, clients: tuple[Client, ...]) -> Iterator[threading.Event]:
    """Run clients until the context ends and the server is gone, or the event it yields is set by then."""
    over = threading.Event()
    threads = [
        threading.Thread(target=again_and_again, args=(client, site, f"{name}.{number}", over))
        for number, client in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    try:
        yield over
    finally:
        over.set()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)
