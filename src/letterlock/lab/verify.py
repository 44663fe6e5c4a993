"""Read every letter at the other side, over IMAP and over POP3, and compare it octet for octet with what was sent.

The readers are the standard library's imaplib and poplib: programs that are not ours judge what we serve. They block, so
`verify` runs in a thread.

A letter is whole when what was sent stands at the end of what was read, and everything before it is trace fields that
the way has added (RFC 5321 section 4.4).
"""

from __future__ import annotations

import imaplib
import poplib
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass

from letterlock.formats.imf.header import read_header
from letterlock.lab.letters import Letter
from letterlock.lab.plan import Organisation, Person, Plan

# What agents on the way may put in front; anything else there is a change of the message.
_ADDED = {"return-path", "received", "delivered-to", "authentication-results", "dkim-signature", "received-spf"}
_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one letter for one recipient; `imap` and `pop3` are "" where all is well, or say what is not."""

    title: str
    sender: str
    recipient: str
    octets: int
    imap: str
    pop3: str

    @property
    def is_good(self) -> bool:
        """Whether both ways gave back what was sent."""
        return not self.imap and not self.pop3


def verify(plan: Plan, letters: Sequence[Letter], trusted: ssl.SSLContext, *, within_seconds: float) -> list[Finding]:
    """Return a finding for every letter and recipient, waiting for arrivals until the time is up."""
    deadline = time.monotonic() + within_seconds
    findings = []
    for letter in letters:
        for recipient in letter.recipients:
            home, person = _owner(plan, recipient)
            imap = _over_imap(home, person, letter, trusted, deadline)
            pop3 = _over_pop3(home, person, letter, trusted)
            sender = letter.home.address_of(letter.author)
            findings.append(Finding(letter.title, sender, recipient, len(letter.octets), imap, pop3))
    return findings


def _owner(plan: Plan, recipient: str) -> tuple[Organisation, Person]:
    local_part, _, domain = recipient.partition("@")
    home = next(organisation for organisation in plan.organisations if organisation.domain == domain)
    user = local_part.partition("+")[0]
    return home, next(person for person in home.people if person.local_part == user)


def _over_imap(home: Organisation, person: Person, letter: Letter, trusted: ssl.SSLContext, deadline: float) -> str:
    try:
        with imaplib.IMAP4_SSL(home.address, home.ports["imaps"], ssl_context=trusted, timeout=10) as imap:
            imap.login(home.address_of(person), person.password)
            imap.select("INBOX", readonly=True)
            while True:
                _, (found,) = imap.uid("SEARCH", "HEADER", "Message-ID", letter.message_id)
                if found or time.monotonic() > deadline:
                    break
                time.sleep(_PAUSE_SECONDS)
                imap.noop()
            uids = found.split()
            if len(uids) != 1:
                return f"found {len(uids)} times"
            _, fetched = imap.uid("FETCH", uids[0].decode(), "(BODY.PEEK[])")
    except (OSError, imaplib.IMAP4.error) as error:
        return f"IMAP failed: {error}"
    return next((_difference(item[1], letter.octets) for item in fetched if isinstance(item, tuple)), "no body")


def _over_pop3(home: Organisation, person: Person, letter: Letter, trusted: ssl.SSLContext) -> str:
    wanted = f"message-id: {letter.message_id}".lower().encode()
    try:
        pop3 = poplib.POP3_SSL(home.address, home.ports["pop3s"], context=trusted, timeout=10)
        try:
            pop3.user(home.address_of(person))
            pop3.pass_(person.password)
            for number in range(pop3.stat()[0], 0, -1):
                header = [line.lower() for line in pop3.top(number, 0)[1]]
                if wanted in header:
                    # poplib takes line ends off; every line end of ours is CRLF.
                    return _difference(b"\r\n".join(pop3.retr(number)[1]) + b"\r\n", letter.octets)
        finally:
            pop3.quit()
    except (OSError, poplib.error_proto) as error:
        return f"POP3 failed: {error}"
    return "not found"


def _difference(read: bytes, sent: bytes) -> str:
    if not read.endswith(sent):
        place = next((at for at, (a, b) in enumerate(zip(read[::-1], sent[::-1], strict=False)) if a != b), len(sent))
        return f"{len(read)} octets read for {len(sent)} sent, different {place} octets before the end"
    added = read_header(read[: len(read) - len(sent)])
    if added.defects:
        return f"what was put in front is no header: {added.defects[0]}"
    strange = {field.name for field in added if field.name.lower() not in _ADDED}
    return f"the way added {', '.join(sorted(strange))}" if strange else ""
