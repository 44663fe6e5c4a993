"""Fixed journeys through a served domain: every way by which mail comes in, changes, and leaves, a message for each.

A step that is acknowledged says in `site.expected` where its message must be from then on; one that is not may have been
done or not. A step raises AssertionError where it is answered otherwise than with success or a failure for now.
"""

from __future__ import annotations

import base64
import contextlib
import imaplib
import poplib
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.faults.load import CLIENT_ERRORS, Conversation, by_chunks, by_data, unverified
from tests.faults.served import DOMAIN, GONE, ONWARD, PASSWORD, QUEUE, RELAYED, Site

ANNA, BEN = f"anna@{DOMAIN}", f"ben@{DOMAIN}"
RETURNED = "returned"  # the place of what is queued for a host that refuses it, or came back
_SECONDS = 30.0
Step = Callable[[Site], None]


def octets_for(ident: str) -> bytes:
    """Return the message with this id."""
    return b"From: anna@rosewood.test\r\nSubject: %b\r\n\r\n" % ident.encode() + b"x" * 3000 + b"\r\n"


def _transfer(
    talk: Conversation, recipients: tuple[str, ...], ident: str, content: Callable[..., bytes] = by_data
) -> bool:
    talk.expect(b"250", f"MAIL FROM:<{ANNA}>\r\n".encode())
    for recipient in recipients:
        talk.expect(b"250", f"RCPT TO:<{recipient}>\r\n".encode())
    answer = content(talk, octets_for(ident))
    assert answer[:1] in (b"2", b"4"), answer
    return answer.startswith(b"250")


def _note(site: Site, done: bool, ident: str, *places: str) -> None:
    if done:
        site.expected[ident] = frozenset(places)


def arrive_by_data(site: Site) -> None:
    """Mail from outside for a mailbox, and for an alias that leads to another domain."""
    with site.connect() as connection:
        talk = Conversation(connection)
        _note(site, _transfer(talk, (ANNA,), "data"), "data", "anna/INBOX")
        _note(site, _transfer(talk, (f"{ONWARD}@{DOMAIN}",), "alias"), "alias", RELAYED)


def arrive_by_chunks(site: Site) -> None:
    """Mail from outside by BDAT."""
    with site.connect() as connection:
        _note(site, _transfer(Conversation(connection), (BEN,), "chunks", by_chunks), "chunks", "ben/INBOX")


def submit(site: Site) -> None:
    """Mail of a user for another domain that takes it, for one that does not now, and for one that never will."""
    with site.connect("submissions") as plain, unverified().wrap_socket(plain) as connection:
        talk = Conversation(connection)
        talk.expect(b"235", b"AUTH PLAIN " + base64.b64encode(f"\0{ANNA}\0{PASSWORD}".encode()) + b"\r\n")
        _note(site, _transfer(talk, ("bob@harbor.test",), "relay"), "relay", RELAYED)
        _note(site, _transfer(talk, ("bob@unreachable.test",), "late"), "late", QUEUE)
        _note(site, _transfer(talk, ("bob@absent.test",), "bounce"), "bounce", RETURNED)


def change_by_imap(site: Site) -> None:
    """APPEND, MOVE, EXPUNGE."""
    client = imaplib.IMAP4_SSL(site.host, site.ports["imaps"], ssl_context=unverified(), timeout=_SECONDS)
    try:
        client.login(BEN, PASSWORD)
        there_is_kept = _taken(client.create("Kept"))
        for ident in ("append", "move", "expunge"):
            _note(site, _taken(client.append("INBOX", "", "", octets_for(ident))), ident, "ben/INBOX")
        client.select("INBOX")
        for ident in ("move", "expunge"):
            _, (found,) = client.uid("SEARCH", "SUBJECT", ident)
            if not found:
                continue
            if ident == "move" and there_is_kept:
                _begin(site, ident, "ben/Kept")
                _note(site, _taken(client.uid("MOVE", found.decode(), "Kept")), ident, "ben/Kept")
            elif ident == "expunge" and _taken(client.uid("STORE", found.decode(), "+FLAGS", r"(\Deleted)")):
                _begin(site, ident, GONE)
                _note(site, _taken(client.uid("EXPUNGE", found.decode())), ident, GONE)
    finally:
        with contextlib.suppress(*CLIENT_ERRORS):
            client.shutdown()


def remove_by_pop3(site: Site) -> None:
    """DELE of the message that came by BDAT, and QUIT."""
    client = poplib.POP3_SSL(site.host, site.ports["pop3s"], context=unverified(), timeout=_SECONDS)
    with contextlib.closing(client):
        client.user(BEN)
        client.pass_(PASSWORD)
        for number in range(1, client.stat()[0] + 1):
            if b"Subject: chunks" in client.top(number, 0)[1]:
                client.dele(number)
                _begin(site, "chunks", GONE)
                _note(site, client.quit().startswith(b"+OK"), "chunks", GONE)
                return


def _begin(site: Site, ident: str, place: str) -> None:
    """From now on a message may be elsewhere, too."""
    if ident in site.expected:
        site.expected[ident] |= {place}


def _taken(answer: tuple[str, list[bytes]]) -> bool:
    kind, words = answer
    # RFC 5530 section 3: a failure of ours says that it is one.
    assert kind == "OK" or b"[UNAVAILABLE]" in words[0] or b"[ALREADYEXISTS]" in words[0], answer
    return kind == "OK"


def arrive_by_lmtp(site: Site) -> None:
    """Mail handed over by a server in front: for a mailbox, and for an alias that leads to another domain."""
    with site.connect("lmtp") as connection:
        talk = Conversation(connection, b"LHLO")
        _note(site, _transfer(talk, (BEN,), "lmtp"), "lmtp", "ben/INBOX")
        _note(site, _transfer(talk, (f"{ONWARD}@{DOMAIN}",), "lmtp alias"), "lmtp alias", RELAYED)


def travel(site: Site, steps: Iterable[Step]) -> None:
    """Take every step; where the server is gone, the next may find it again."""
    for step in steps:
        with contextlib.suppress(*CLIENT_ERRORS, poplib.error_proto, socket.timeout):
            step(site)


def nothing(_site: Site) -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Journey:
    """What is prepared before the domain is served, the steps, and how many messages these are if nothing fails."""

    services: tuple[str, ...]
    steps: tuple[Step, ...]
    messages: int
    prepare: Step = nothing


MAIL = Journey(
    ("smtp", "submissions", "imaps", "pop3s"),
    (arrive_by_data, arrive_by_chunks, submit, change_by_imap, remove_by_pop3),
    9,
)
LMTP = Journey(("smtp", "lmtp"), (arrive_by_lmtp,), 2)
