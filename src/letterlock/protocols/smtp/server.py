"""The server's side of an SMTP or LMTP conversation, without sockets and clocks.

    conversation = ServerConversation(ServerSettings("mx.rosewood.test"))
    conversation.greet()
    conversation.receive(octets)
    while (event := conversation.next_event()) is not None:
        ...                                   # answer those that wait: conversation.accept(), .refuse(reply)
    send(conversation.take_output())

While an event waits for its answer, `next_event` returns None and what was pipelined behind it stays unread, so replies
go out in the order of the commands. Which command is allowed in which state stands in `_RULES`.

Promises: only CRLF ends a line; nothing pipelined behind STARTTLS or AUTH becomes an event; a line, the recipients, the
content and the client's faults are bounded; each octet of content is looked at a fixed number of times.

Standards: RFC 5321, RFC 2033 (LMTP), RFC 1870, RFC 2034, RFC 2920, RFC 3030, RFC 3207, RFC 3461, RFC 4954, RFC 6152,
RFC 6531, RFC 8689, RFC 9422 (LIMITS).
See also: protocols/smtp/event.py, protocols/smtp/command.py, protocols/smtp/content.py; mta/inbound.py drives it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence

from letterlock.errors import OurFault
from letterlock.formats.envelope import Body
from letterlock.protocols.smtp import words
from letterlock.protocols.smtp.command import CommandRefused, read_bdat, read_mail, read_rcpt
from letterlock.protocols.smtp.dialogue import Dialogue
from letterlock.protocols.smtp.event import (
    AuthenticationBegun,
    AuthenticationCancelled,
    AuthenticationContinued,
    ClientIntroduced,
    ContentEnded,
    Ended,
    Event,
    Greeted,
    RecipientGiven,
    SenderGiven,
    TlsRequested,
    TransactionDropped,
)
from letterlock.protocols.smtp.line import BareLineFeed, LineTooLong
from letterlock.protocols.smtp.offer import Dialect
from letterlock.protocols.smtp.reply import Reply, reply
from letterlock.protocols.smtp.transaction import Transaction, too_big
from letterlock.protocols.smtp.words import State, out_of_order
from letterlock.protocols.smtp.xclient import read_introduction

_LONGEST_COMMAND = 4096  # RFC 5321 section 4.5.3.1.4 asks for 512, and extensions add to it
_LONGEST_RESPONSE = 12288  # RFC 4954 section 4
_PLAIN_OCTETS = bytes((9, *range(32, 127), *range(128, 256)))
_OTHER_PROTOCOLS = frozenset({"GET", "POST", "PUT", "CONNECT", "OPTIONS", "HEAD", "USER-AGENT:", "HOST:"})


class ServerConversation(Dialogue):
    """One connection's conversation; see Dialogue for where it stands."""

    # Octets in and out.

    def greet(self) -> None:
        """Say the first word."""
        settings = self._settings
        self._say(reply(220, "", f"{settings.host_name} {words.GREETINGS[settings.dialect]} {settings.banner}"))

    def next_event(self) -> Event | None:
        """Return what happened next; None when more must come, or an answer is owed."""
        while self._pending is None:
            event = self._next
            if event is not None:
                self._next = None
            elif self.state is State.CONTENT or self.state is State.CHUNK:
                if not self._input:
                    return None
                event = self._read_content() if self.state is State.CONTENT else self._read_chunk()
            elif self.state is State.ENDED:
                return None
            else:
                longest = _LONGEST_RESPONSE if self.state is State.AUTHENTICATING else _LONGEST_COMMAND
                try:
                    line = self._input.take_line(longest)
                except BareLineFeed:
                    answer = reply(500, "5.5.2", "A bare LF ended that line; lines end in CRLF (RFC 5321). Closing")
                    return self._break_off(answer, "a bare LF")
                except LineTooLong:
                    event = self._mistaken(reply(500, "5.5.2", "That line is longer than allowed"))
                else:
                    if line is None:
                        return None
                    event = self._obey(line)
            if event is not None:
                if type(event) in _AWAITING_ANSWER:
                    self._pending = event
                return event
        return None

    # Answers.

    def accept(self, answer: Reply | None = None) -> None:
        """Say yes to the sender, the recipient or the content, in these words if given."""
        event, self._pending = self._pending, None
        if isinstance(event, SenderGiven):
            self._transaction, self.state = Transaction(self._settings.size_limit, event.sender), State.SENDER
            self._say(answer or words.SENDER_OK)
        elif isinstance(event, RecipientGiven):
            self._transaction.recipients.append(event.recipient)
            self.state = State.RECIPIENTS
            self._say(answer or words.RECIPIENT_OK)
        elif isinstance(event, ContentEnded):
            self._say_for_content(answer or words.CONTENT_OK)
        else:
            raise OurFault("nothing that can be accepted waits for an answer")

    def refuse(self, answer: Reply) -> None:
        """Say no to whatever waits."""
        event, self._pending = self._pending, None
        if event is None or answer.is_positive:
            raise OurFault("nothing waits to be refused, or not in these words")
        if isinstance(event, ContentEnded):
            self._say_for_content(answer)
            return
        if isinstance(event, RecipientGiven):
            self._transaction.refused_recipients += 1
            self._refused_recipients += 1
            if self._refused_recipients > self._settings.refusal_limit:
                self.end(words.TOO_MANY_REFUSED)
                self._next = Ended("too many recipients that are not taken")
                return
        elif not isinstance(event, SenderGiven):
            self.state = State.GREETED if self.name else State.CONNECTED
        self._say(answer)

    def answer_each(self, answers: Sequence[Reply]) -> None:
        """Answer whole content with one reply a recipient, in their order (LMTP, RFC 2033 section 4.2)."""
        event, self._pending = self._pending, None
        if not isinstance(event, ContentEnded) or self._settings.dialect is not Dialect.LMTP:
            raise OurFault("only whole content over LMTP is answered for each recipient")
        if len(answers) != len(self._transaction.recipients):
            raise OurFault("one answer for each recipient is owed")
        for answer in answers:
            self._say(answer)
        self._forget_transaction()
        self.state = State.GREETED

    def discard(self, answer: Reply) -> None:
        """Report no more of the content that is coming, and answer it so when it is there."""
        if isinstance(self._next, ContentEnded):
            self._next = None
            self._say_for_content(answer)
        elif self.state in (State.CONTENT, State.CHUNK, State.CHUNKS):
            self._transaction.verdict = self._transaction.verdict or answer
        else:
            raise OurFault("no content is coming")

    def end(self, answer: Reply) -> None:
        """Say last words (421) and report no more."""
        self._pending = self._next = None
        self._say(answer)
        self.state = State.ENDED

    def tls_begun(self) -> None:
        """Take note that TLS has begun: everything said before is forgotten (RFC 3207 section 4.2)."""
        if not isinstance(self._pending, TlsRequested):
            raise OurFault("TLS was not requested")
        self._pending = self._next = None
        self._out.clear()
        self._input.clear()
        self.tls, self.state = True, State.CONNECTED
        self.name, self.user, self.is_extended = "", "", False
        self._forget_transaction()

    def introduced(self, user: str) -> None:
        """Begin anew with the client a proxy introduced; `user` is who it has proved to be, or empty."""
        event, self._pending = self._pending, None
        if not isinstance(event, ClientIntroduced):
            raise OurFault("nobody was introduced")
        who = event.introduction
        self._forget_transaction()
        self._commands_without_mail = 0
        self.name, self.is_extended, self.user = who.hello, who.is_extended, user
        self.state = State.GREETED if who.hello else State.CONNECTED
        self._extensions = self._settings.extensions(tls=self.tls)
        self.greet()

    def challenge(self, octets: bytes) -> None:
        """Ask the client for more within AUTH."""
        self._pending = None
        self.state = State.AUTHENTICATING
        self._out.append(b"334 " + base64.b64encode(octets) + b"\r\n")

    def authenticated(self, user: str) -> None:
        """Say that the client has proved to be `user`."""
        self._pending = None
        self.user, self.state = user, State.GREETED
        self._say(words.AUTHENTICATED)

    # Lines.

    def _break_off(self, answer: Reply, reason: str) -> Ended:
        self.end(answer)
        return Ended(reason)

    def _obey(self, line: bytes) -> Event | None:
        try:
            if line.translate(None, _PLAIN_OCTETS):
                name = "NUL" if b"\0" in line else "bare CR" if b"\r" in line else "control character"
                raise CommandRefused(reply(500, "5.5.2", f"A {name} stands in that line: send the command without it"))
            return self._response(line) if self.state is State.AUTHENTICATING else self._command(line)
        except CommandRefused as refused:
            return self._mistaken(refused.answer)

    def _mistaken(self, answer: Reply) -> Event | None:
        self._faults += 1
        if self._faults > self._settings.fault_limit:
            return self._break_off(words.TOO_MANY_FAULTS, "too many wrong commands")
        self._say(answer)
        if self.state is State.AUTHENTICATING:
            self.state = State.GREETED
            return AuthenticationCancelled()
        return None

    def _command(self, line: bytes) -> Event | None:
        try:
            verb, _, rest = line.decode("utf-8").partition(" ")
        except UnicodeDecodeError:
            raise CommandRefused(reply(500, "5.5.2", "That line is neither ASCII nor UTF-8")) from None
        # Some letters beyond ASCII have ASCII capitals: what is no command for a proxy must be none for us.
        verb = verb.upper() if verb.isascii() else ""
        rule = _RULES.get(verb)
        if rule is None:
            if verb in _OTHER_PROTOCOLS:
                return self._break_off(reply(421, "4.7.0", "This is not a web server. Closing"), "another protocol")
            raise CommandRefused(reply(500, "5.5.1", "That command is not known here: send HELP for those that are"))
        self._commands_without_mail += 1
        if self._commands_without_mail > self._settings.idle_command_limit:
            return self._break_off(words.TOO_MANY_WITHOUT_MAIL, "too many commands without mail")
        states, obey = rule
        if self.state not in states:
            raise CommandRefused(
                out_of_order(self.state, verb, self._settings.dialect, self._transaction.refused_recipients)
            )
        return obey(self, rest)

    # Commands.

    def _ehlo(self, rest: str) -> Event | None:
        if self._settings.dialect is Dialect.LMTP:
            raise CommandRefused(reply(500, "5.5.1", "This is LMTP: send LHLO"))  # RFC 2033 section 4.1
        return self._hello(rest, extended=True)

    def _lhlo(self, rest: str) -> Event | None:
        if self._settings.dialect is Dialect.SMTP:
            raise CommandRefused(reply(500, "5.5.1", "This is SMTP: send EHLO"))
        return self._hello(rest, extended=True)

    def _helo(self, rest: str) -> Event | None:
        if self._settings.dialect is Dialect.LMTP:
            raise CommandRefused(reply(500, "5.5.1", "This is LMTP: send LHLO"))
        return self._hello(rest, extended=False)

    def _hello(self, rest: str, *, extended: bool) -> Event | None:
        # QUIRK helo-name: names that are no domain are taken as they are; policy may look at them.
        name = rest.strip()
        if not name or " " in name or len(name) > 255 or not name.isprintable():
            raise CommandRefused(reply(501, "5.5.4", "Send your domain name or address literal behind the command"))
        if self.state in (State.SENDER, State.RECIPIENTS, State.CHUNKS):
            self._next = TransactionDropped("")
        self._forget_transaction()
        self.name, self.is_extended, self.state = name, extended, State.GREETED
        greeting = f"{self._settings.host_name} greets {name}"
        if extended:
            self._extensions = self._settings.extensions(tls=self.tls)
            keywords = self._settings.keywords(tls=self.tls, authenticated=bool(self.user), certified=self.certified)
            self._say(reply(250, "", greeting, *keywords))
        else:
            self._say(reply(250, "", greeting))
        following, self._next = self._next, Greeted(name)
        return following

    def _mail(self, rest: str) -> Event | None:
        if self._settings.demands_tls and not self.tls:
            raise CommandRefused(reply(530, "5.7.0", "Send STARTTLS first"))  # RFC 3207 section 4
        if self._settings.demands_authentication and not self.user:
            raise CommandRefused(reply(530, "5.7.0", "Authentication required: send AUTH first"))  # RFC 4954 section 6
        if rest[:5].upper() != "FROM:":
            raise CommandRefused(reply(501, "5.5.2", "Send MAIL FROM:<local@domain>"))
        sender = read_mail(rest[5:], self._extensions)
        if sender.size > self._settings.size_limit:
            raise CommandRefused(too_big(self._settings.size_limit))
        return SenderGiven(sender)

    def _rcpt(self, rest: str) -> Event | None:
        if rest[:3].upper() != "TO:":
            raise CommandRefused(reply(501, "5.5.2", "Send RCPT TO:<local@domain>"))
        recipient = read_rcpt(
            rest[3:],
            self._extensions,
            smtputf8=self._transaction.sender.smtputf8,
            postmaster_domain=self._settings.host_name,
        )
        if len(self._transaction.recipients) >= self._settings.recipient_limit:
            # RFC 5321 section 4.5.3.1.10
            self._say(reply(452, "4.5.3", "Too many recipients: send the rest in another transaction"))
            return None
        return RecipientGiven(recipient)

    def _data(self, rest: str) -> Event | None:
        if rest.strip():
            raise CommandRefused(reply(501, "5.5.4", "DATA has no arguments"))
        if self._transaction.sender.body is Body.BINARY:
            raise CommandRefused(reply(503, "5.5.1", "BODY=BINARYMIME is sent with BDAT"))  # RFC 3030 section 3
        self.state = State.CONTENT
        self._say(words.GO_ON)
        return self._content_begun()

    def _bdat(self, rest: str) -> Event | None:
        count, last = read_bdat(rest)
        if count > 2 * self._settings.size_limit:
            answer = reply(552, "5.3.4", "A chunk of that size will never be taken. Closing")
            return self._break_off(answer, "a chunk without bound")
        if self.state not in (State.RECIPIENTS, State.CHUNKS):
            # Out of order; but its octets are on their way and must be read over (RFC 3030 section 2).
            answer = out_of_order(self.state, "DATA", self._settings.dialect, self._transaction.refused_recipients)
            self._stray_chunk = (self.state, self._transaction)
            self._transaction = Transaction(self._settings.size_limit)
            self._transaction.verdict = answer
        first = self._transaction.begin_chunk(count, last=last)
        self.state = State.CHUNK
        if count == 0:
            self._next = self._read_chunk()
        if first and self._stray_chunk is None:
            return self._content_begun()
        following, self._next = self._next, None
        return following

    def _rset(self, _rest: str) -> Event | None:
        begun = self.state in (State.SENDER, State.RECIPIENTS, State.CHUNKS)
        if self.state is not State.CONNECTED:
            self.state = State.GREETED
        self._forget_transaction()
        self._say(words.OK)
        return TransactionDropped("") if begun else None

    def _noop(self, _rest: str) -> Event | None:
        self._say(words.OK)
        return None

    def _vrfy(self, rest: str) -> Event | None:
        if not rest.strip():
            raise CommandRefused(reply(501, "5.5.4", "VRFY needs an address"))
        # RFC 5321 section 7.3: nothing is given away.
        self._say(reply(252, "2.5.0", "Cannot say; send RCPT and see"))
        return None

    def _expn(self, _rest: str) -> Event | None:
        raise CommandRefused(reply(502, "5.5.1", "EXPN is not done here"))

    def _help(self, _rest: str) -> Event | None:
        self._say(reply(214, "2.0.0", "Commands: " + " ".join(_RULES), "See RFC 5321"))
        return None

    def _quit(self, _rest: str) -> Event | None:
        self._say(reply(221, "2.0.0", f"{self._settings.host_name} closing"))
        self.state = State.ENDED
        return Ended("")

    def _starttls(self, rest: str) -> Event | None:
        if self.tls or not self._settings.offers_tls:
            raise CommandRefused(reply(502, "5.5.1", "TLS is not offered here, or is used already"))
        if rest.strip():
            raise CommandRefused(reply(501, "5.5.4", "STARTTLS has no arguments"))  # RFC 3207 section 4
        self._input.clear()
        return TlsRequested(reply(220, "2.0.0", "Go on with TLS").octets)

    def _xclient(self, rest: str) -> Event | None:
        offered = self._settings.client_attributes
        if not offered:
            raise CommandRefused(reply(550, "5.7.0", "XCLIENT is for proxies that are trusted here"))
        return ClientIntroduced(read_introduction(rest, offered))

    def _auth(self, rest: str) -> Event | None:
        mechanisms = self._settings.mechanisms(tls=self.tls, certified=self.certified)
        if not mechanisms:
            if self._settings.tls_mechanisms and not self.tls:
                raise CommandRefused(reply(538, "5.7.11", "Encryption required for AUTH: send STARTTLS first"))
            raise CommandRefused(reply(502, "5.5.1", "AUTH is not offered here"))
        if self.user:
            raise CommandRefused(reply(503, "5.5.1", "You are authenticated already"))  # RFC 4954 section 4
        if self._input:
            # RFC 4954 section 4: the last of a group. Who wrote what follows, nobody could say.
            answer = reply(503, "5.5.1", "AUTH must be the last command of a group. Closing")
            return self._break_off(answer, "octets pipelined behind AUTH")
        mechanism, _, text = rest.strip().partition(" ")
        if not mechanism.isascii() or mechanism.upper() not in mechanisms:
            raise CommandRefused(reply(504, "5.5.4", "That mechanism is not offered: EHLO shows those that are"))
        initial = None if not text else b"" if text == "=" else _decode_base64(text.encode())
        return AuthenticationBegun(mechanism.upper(), initial)

    def _response(self, line: bytes) -> Event | None:
        if self._input:
            answer = reply(503, "5.5.1", "Octets stand behind that response. Closing")
            return self._break_off(answer, "octets pipelined within AUTH")
        if line == b"*":  # RFC 4954 section 4
            raise CommandRefused(reply(501, "5.7.0", "Authentication cancelled"))
        return AuthenticationContinued(_decode_base64(line))


_AWAITING_ANSWER = frozenset(
    {SenderGiven, RecipientGiven, ContentEnded, TlsRequested, AuthenticationBegun, AuthenticationContinued}
    | {ClientIntroduced}
)

_Obey = Callable[[ServerConversation, str], Event | None]
_ANY = frozenset({State.CONNECTED, State.GREETED, State.SENDER, State.RECIPIENTS, State.CHUNKS})
_GREETED = frozenset({State.GREETED})
_IN_TRANSACTION = frozenset({State.SENDER, State.RECIPIENTS})

# Which command is allowed where, and what obeys it. RFC 5321 section 4.1.4.
_RULES: dict[str, tuple[frozenset[State], _Obey]] = {
    "EHLO": (_ANY, ServerConversation._ehlo),
    "HELO": (_ANY, ServerConversation._helo),
    "LHLO": (_ANY, ServerConversation._lhlo),
    "MAIL": (_GREETED, ServerConversation._mail),
    "RCPT": (_IN_TRANSACTION, ServerConversation._rcpt),
    "DATA": (frozenset({State.RECIPIENTS}), ServerConversation._data),
    # Octets follow whatever the state; they must be read over.
    "BDAT": (_ANY, ServerConversation._bdat),
    "RSET": (_ANY, ServerConversation._rset),
    "NOOP": (_ANY, ServerConversation._noop),
    "VRFY": (_ANY, ServerConversation._vrfy),
    "EXPN": (_ANY, ServerConversation._expn),
    "HELP": (_ANY, ServerConversation._help),
    "QUIT": (_ANY, ServerConversation._quit),
    "STARTTLS": (frozenset({State.CONNECTED, State.GREETED}), ServerConversation._starttls),
    "XCLIENT": (frozenset({State.CONNECTED, State.GREETED}), ServerConversation._xclient),
    "AUTH": (_GREETED, ServerConversation._auth),
}


def _decode_base64(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise CommandRefused(reply(501, "5.5.2", "That is no base64")) from None
