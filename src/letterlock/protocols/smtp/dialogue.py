"""What one conversation of a server keeps: octets in and out, where it stands, and the content that is coming.

ServerConversation adds the commands and the answers to this.

Standards: RFC 5321 section 3.3 and 4.5.2 (content), RFC 3030 section 2 (chunks), RFC 2033 section 4.2 (a reply for each
recipient), RFC 3848 (names of protocols).
"""

from __future__ import annotations

from letterlock.protocols.smtp.command import Extensions
from letterlock.protocols.smtp.event import ContentBegun, ContentEnded, Event
from letterlock.protocols.smtp.line import Input
from letterlock.protocols.smtp.offer import Dialect, ServerSettings
from letterlock.protocols.smtp.reply import Reply, reply
from letterlock.protocols.smtp.transaction import Transaction
from letterlock.protocols.smtp.words import State


class Dialogue:
    """One connection's conversation. `name` is the client's EHLO name, `is_extended` whether it said EHLO or LHLO.

    `tls` and `user` are set through `tls_begun` and `authenticated`, and decide what is offered, as does `certified`: that
    the client has shown a certificate that is trusted.
    """

    def __init__(self, settings: ServerSettings, *, tls: bool = False) -> None:
        self._settings = settings
        self.state = State.CONNECTED
        self.name = ""
        self.is_extended = False
        self.tls = tls
        self.certified = False
        self.user = ""
        self._extensions = Extensions()
        self._input = Input()
        self._out: list[bytes] = []
        self._pending: Event | None = None
        self._next: Event | None = None
        self._faults = 0
        self._refused_recipients = 0
        self._commands_without_mail = 0
        self._stray_chunk: tuple[State, Transaction] | None = None
        self._transaction = Transaction(settings.size_limit)
        self._content_envelope = self._transaction.envelope

    def receive(self, octets: bytes) -> None:
        """Take what came."""
        self._input.receive(octets)

    def take_output(self) -> bytes:
        """Return the replies said since the last call."""
        if not self._out:
            return b""
        octets = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        return octets

    @property
    def protocol(self) -> str:
        """The name of what is spoken, for Received: ESMTPSA and the like (RFC 3848, RFC 6531 section 4.3)."""
        if not self.is_extended:
            return "SMTP"
        security = ("S" if self.tls else "") + ("A" if self.user else "")
        base = "LMTP" if self._settings.dialect is Dialect.LMTP else "ESMTP"
        if self._transaction.sender.smtputf8:
            base = "UTF8" + base.removeprefix("E")
        return base + security

    @property
    def is_between_transactions(self) -> bool:
        """Whether nothing is half done that stopping would lose."""
        return self.state in (State.CONNECTED, State.GREETED) and self._pending is None

    # Content.

    def _read_content(self) -> Event | None:
        event, rest = self._transaction.receive_dotted(self._input.take_all())
        if rest is None:
            return event
        self._input.receive(rest)
        return self._in_order(event, self._content_whole())

    def _read_chunk(self) -> Event | None:
        event, rest, complete = self._transaction.receive_chunk(self._input.take_all())
        self._input.receive(rest)
        return self._in_order(event, self._chunk_whole()) if complete else event

    def _in_order(self, first: Event | None, second: Event | None) -> Event | None:
        if first is None:
            return second
        self._next = second
        return first

    def _chunk_whole(self) -> Event | None:
        if self._stray_chunk is not None:
            assert self._transaction.verdict is not None
            self._say(self._transaction.verdict)
            (self.state, self._transaction), self._stray_chunk = self._stray_chunk, None
            return None
        if self._transaction.is_last_chunk:
            return self._content_whole()
        self.state = State.CHUNKS
        received = f"{self._transaction.chunk_size} octets received"
        self._say(self._transaction.verdict or reply(250, "2.0.0", received))
        return None

    def _content_begun(self) -> ContentBegun:
        self._content_envelope = self._transaction.envelope
        return ContentBegun(self._content_envelope)

    def _content_whole(self) -> Event | None:
        if self._transaction.verdict is not None:
            self._say_for_content(self._transaction.verdict)
            return None
        self.state = State.RECIPIENTS
        return ContentEnded(self._content_envelope, self._transaction.size)

    # Inside.

    def _say(self, answer: Reply) -> None:
        self._out.append(answer.octets)

    def _say_for_content(self, answer: Reply) -> None:
        times = len(self._transaction.recipients) if self._settings.dialect is Dialect.LMTP else 1
        for _ in range(times):
            self._say(answer)
        self._forget_transaction()
        self._commands_without_mail = 0
        self.state = State.GREETED

    def _forget_transaction(self) -> None:
        self._transaction = Transaction(self._settings.size_limit)
