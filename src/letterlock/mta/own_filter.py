"""A filter of the site's own, in Python: a function that is given a message and says what becomes of it.

    # /srv/mail/filters.py                             letterlock.toml:  [filters]
    from letterlock.mta.own_filter import (                              python = ["filters.py:no_programs"]
        Mail, Refuse, Take, Verdict,
    )

    def no_programs(mail: Mail) -> Verdict:
        if not mail.user and b'.exe"' in mail.content:
            return Refuse("Programs are not taken by mail: put it on a web page and send the link")
        return Take()

It sees mail from outside and submitted mail (then `mail.user` is who submits), after our own checks and after the milters, as
they left it. A plain function runs in a thread; a coroutine function runs on the event loop and may await, but must not
compute for long. One that raises, or takes too long, defers the message (451), or is passed over where `filters.optional`
says so. docs/filters.md has the whole story.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property

from letterlock.formats.authentication_results import AuthenticationResults
from letterlock.formats.imf.header import Header, read_header


@dataclass(frozen=True)
class Mail:
    """A message at the border. Addresses are text, `sender` is "" for a notification; `client_address` is an IP address.

    `client_name` is what the client called itself, `client_host` its confirmed name in the DNS or empty; `findings` are what
    speaks for and against it, with points; `user` is the account that submits, empty for mail from outside.
    """

    id: str
    received_at: float
    client_address: str
    client_name: str
    client_host: str
    user: str
    sender: str
    recipients: tuple[str, ...]
    content: bytes
    points: float = 0
    findings: tuple[str, ...] = ()
    authentication: AuthenticationResults | None = None

    @cached_property
    def header(self) -> Header:
        """The header section, read when it is first asked for: `mail.header.text("Subject")`."""
        return read_header(self.content)

    @property
    def body(self) -> bytes:
        """What stands behind the header section."""
        return self.content[self.header.body_start :]

    def result(self, method: str) -> str:
        """Return what our own checks found: `mail.result("dmarc")` is "pass", "fail", ...; "" where it was not judged."""
        found = self.authentication.of(method) if self.authentication is not None else ()
        return found[0].result if found else ""


@dataclass(frozen=True, slots=True)
class Take:
    """Take it; `fields` are (name, value) pairs of header fields to put before it."""

    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Junk:
    """Take it into the junk mailbox. Submitted mail is refused instead, with the reason."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Refuse it in the session, for good, with a sentence that says what to do. `status` begins with 5."""

    reason: str
    status: str = "5.7.1"


@dataclass(frozen=True, slots=True)
class Defer:
    """Ask its sender to come again."""

    reason: str
    status: str = "4.7.1"


Verdict = Take | Junk | Refuse | Defer
OwnFilter = Callable[[Mail], Verdict | Awaitable[Verdict]]
