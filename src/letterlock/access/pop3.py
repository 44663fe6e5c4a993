"""One POP3 session: INBOX as it stood at login, and deletions that happen at QUIT, durably, or not at all.

Standards: RFC 1939 section 3 to 7, RFC 2449 (CAPA, RESP-CODES), RFC 2595 section 4 (STLS), RFC 5034 (AUTH), RFC 3206
(AUTH-RESP-CODE), RFC 6856 (UTF8).
Limits: AccessSettings; messages are sent one at a time, large ones in pieces of PIECE_OCTETS.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sized

from letterlock.access.login import Gate, LoginFailed
from letterlock.access.settings import AccessSettings
from letterlock.errors import Malformed, Unavailable
from letterlock.host.logs import Log
from letterlock.host.stream import DeadlinePassed, Stopping, Stream
from letterlock.protocols.imap.parse import decode_base64
from letterlock.protocols.pop3 import server as pop3
from letterlock.protocols.pop3.server import LineReceived, Received, Refused, ServerConversation, Verb
from letterlock.store.interface import Refused as StoreRefused
from letterlock.store.interface import Store
from letterlock.store.snapshot import Snapshot, to_ranges

FLUSH_OCTETS = 64 * 1024


class Pop3Session:
    """A session over one stream. `run` returns when the connection is to be closed."""

    def __init__(self, stream: Stream, settings: AccessSettings, store: Store, gate: Gate, log: Log) -> None:
        self._stream = stream
        self._settings = settings
        self._store = store
        self._door = gate.attempts(stream)
        self._log = log
        self._conversation = ServerConversation()
        self._user = ""
        self._maildrop: Snapshot | None = None
        self._deleted: set[int] = set()  # slots
        self._retrieved = 0
        self._login_deadline = 0.0
        self._output = bytearray()

    async def run(self) -> None:
        """Greet, serve, and take leave."""
        self._login_deadline = asyncio.get_running_loop().time() + self._settings.login_seconds
        self._output += pop3.positive(f"{self._settings.host_name} Letterlock is ready")
        try:
            await self._serve()
        except Stopping:
            self._output += pop3.negative("the server is stopping; nothing was deleted", "SYS/TEMP")
        except DeadlinePassed:
            pass  # RFC 1939 section 3: closed without a word, and nothing is deleted
        finally:
            self._door.leave()
        await self._flush()

    async def _serve(self) -> None:
        while True:
            event = self._conversation.next_event()
            match event:
                case None:
                    octets = await self._read()
                    if not octets:
                        return
                    self._conversation.receive(octets)
                case Received():
                    if not await self._carry_out(event):
                        return
                case Refused(octets, closes):
                    self._output += octets
                    if closes:
                        return
                case LineReceived():
                    return

    async def _read(self) -> bytes:
        await self._flush()
        seconds = self._settings.pop3_idle_seconds
        if self._maildrop is None:
            seconds = max(0.0, self._login_deadline - asyncio.get_running_loop().time())
        self._stream.expect_within(seconds)
        return await self._stream.read(idle=True)

    async def _flush(self) -> None:
        if self._output:
            octets = bytes(self._output)
            self._output.clear()
            self._stream.expect_within(self._settings.send_seconds)
            await self._stream.send(octets)

    async def _carry_out(self, command: Received) -> bool:
        """Answer one command; return whether the session goes on."""
        try:
            if command.verb is Verb.QUIT:
                await self._quit()
                return False
            await _HANDLERS[command.verb](self, command)
        except LoginFailed as failed:
            code = {"AUTHENTICATIONFAILED": "AUTH", "LIMIT": "LOGIN-DELAY"}.get(failed.code, "")  # RFC 2449, RFC 3206
            self._output += pop3.negative(failed.text, code)
            return not failed.closes
        except Malformed as fault:
            self._output += pop3.negative(str(fault))
        except StoreRefused as refused:
            self._output += pop3.negative(str(refused))
        except Unavailable as unavailable:
            self._log.error("store unavailable", command=command.verb.name, problem=unavailable.problem)
            self._output += pop3.negative("the store is not available", "SYS/TEMP")
        return True

    # AUTHORIZATION

    async def _capabilities(self, _command: Received) -> None:
        lines = [b"TOP", b"UIDL", b"RESP-CODES", b"AUTH-RESP-CODE", b"PIPELINING", b"UTF8", b"EXPIRE NEVER"]
        if self._maildrop is None:
            if self._door.offers_tls:
                lines.append(b"STLS")
            if self._door.takes_passwords:
                lines.append(b"USER")
                lines.append(" ".join(("SASL", *self._door.mechanisms)).encode("ascii"))
        lines.append(b"IMPLEMENTATION Letterlock")
        self._output += pop3.positive("capabilities follow") + pop3.listing(lines)

    async def _start_tls(self, _command: Received) -> None:
        tls = self._door.tls
        if tls is None or not self._door.offers_tls:
            self._output += pop3.negative("TLS cannot begin here (RFC 2595 section 4)")
            return
        await self._flush()
        self._conversation.begin_tls()
        self._user = ""
        await self._stream.start_tls(tls.context, announcement=pop3.positive("begin TLS now"))

    async def _name_user(self, command: Received) -> None:
        if not self._door.takes_passwords:
            raise LoginFailed("begin TLS first; passwords are not taken in plain text")
        self._user = _text(command.text)
        self._output += pop3.positive("and the password")  # whether there is such a user is not told

    async def _give_password(self, command: Received) -> None:
        user, self._user = self._user, ""
        if not user:
            self._output += pop3.negative("USER comes first (RFC 1939 section 7)")
            return
        await self._open(await self._door.password(user, _text(command.text)))

    async def _authenticate(self, command: Received) -> None:
        name, _, initial = command.text.partition(b" ")
        # QUIRK bare-auth: AUTH without a mechanism lists them, as old POP3 clients expect (RFC 5034 dropped it)
        if not name:
            mechanisms = [mechanism.encode("ascii") for mechanism in self._door.mechanisms]
            self._output += pop3.positive("mechanisms follow") + pop3.listing(mechanisms)
            return
        response = None
        if initial:
            response = b"" if initial == b"=" else decode_base64(initial)
        await self._open(await self._door.exchange(_text(name).upper(), response, self._respond_to))

    async def _respond_to(self, challenge: bytes) -> bytes | None:
        self._output += pop3.challenge(challenge)
        self._conversation.await_line()
        while (event := self._conversation.next_event()) is None:
            octets = await self._read()
            if not octets:
                return None
            self._conversation.receive(octets)
        if isinstance(event, LineReceived) and event.line != b"*":
            return decode_base64(event.line)
        return None

    async def _open(self, account: str) -> None:
        mailbox = await self._door.inbox(self._store, account)
        opened = await self._store.open(mailbox.id)
        self._maildrop = opened.snapshot()
        opened.close()
        self._log = self._log.bind(account=account)
        self._conversation.authenticated()
        self._output += pop3.positive(_count(self._maildrop))

    async def _allow_utf8(self, _command: Received) -> None:
        self._output += pop3.positive("UTF-8 it is")  # RFC 6856 section 2.1: messages are sent as they are anyway

    # TRANSACTION

    @property
    def _messages(self) -> Snapshot:
        if self._maildrop is None:
            raise LoginFailed("nobody has logged in")
        return self._maildrop

    def _slot(self, number: int) -> int:
        if not 1 <= number <= len(self._messages) or number - 1 in self._deleted:
            raise Malformed(f"there is no message {number}", clause="RFC 1939 section 5")
        return number - 1

    def _kept(self) -> list[int]:
        return [slot for slot in range(len(self._messages)) if slot not in self._deleted]

    async def _status(self, _command: Received) -> None:
        kept, sizes = self._kept(), self._messages.sizes
        self._output += pop3.positive(f"{len(kept)} {sum(sizes[slot] for slot in kept)}")

    async def _list(self, command: Received) -> None:
        sizes = self._messages.sizes
        self._tell(command, lambda slot: b"%d" % sizes[slot])

    async def _unique_ids(self, command: Received) -> None:
        # RFC 1939 section 7: unique in the maildrop for ever; UIDVALIDITY and UID are.
        messages = self._messages
        self._tell(command, lambda slot: b"%d.%d" % (messages.uid_validity, messages.uids[slot]))

    def _tell(self, command: Received, told: Callable[[int], bytes]) -> None:
        if command.numbers:
            slot = self._slot(command.numbers[0])
            self._output += pop3.positive(f"{slot + 1} {told(slot).decode('ascii')}")
            return
        lines = [b"%d %b" % (slot + 1, told(slot)) for slot in self._kept()]
        self._output += pop3.positive(_count(lines)) + pop3.listing(lines)

    async def _retrieve(self, command: Received) -> None:
        slot = self._slot(command.numbers[0])
        octets = await self._store.read(self._messages.contents[slot])
        self._retrieved += 1
        await self._send_message(f"{len(octets)} octets", octets)

    async def _top(self, command: Received) -> None:
        slot = self._slot(command.numbers[0])
        octets = await self._store.read(self._messages.contents[slot])
        await self._send_message("top of message follows", pop3.top(octets, command.numbers[1]))

    async def _send_message(self, text: str, octets: bytes) -> None:
        self._output += pop3.positive(text) + pop3.multiline(octets)
        if len(self._output) > FLUSH_OCTETS:
            await self._flush()

    async def _delete(self, command: Received) -> None:
        slot = self._slot(command.numbers[0])
        self._deleted.add(slot)
        self._output += pop3.positive(f"message {slot + 1} will be deleted at QUIT")

    async def _reset(self, _command: Received) -> None:
        self._deleted.clear()
        self._output += pop3.positive(_count(self._messages))

    async def _nothing(self, _command: Received) -> None:
        self._output += pop3.positive()

    async def _quit(self) -> None:
        """UPDATE: delete what was marked; +OK only when that is on disk (RFC 1939 section 6)."""
        maildrop = self._maildrop
        if maildrop is not None:
            if self._deleted:
                uids = to_ranges([maildrop.uids[slot] for slot in sorted(self._deleted)])
                try:
                    await self._store.expunge(maildrop.mailbox, uids, only_deleted=False)
                except (Unavailable, StoreRefused) as fault:
                    self._log.error("maildrop not updated", problem=str(fault))
                    self._output += pop3.negative("some deleted messages were not removed", "SYS/TEMP")
                    return
            self._log.event("session ended", retrieved=self._retrieved, deleted=len(self._deleted))
        self._output += pop3.positive("until next time")


def _text(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("text that is not UTF-8", clause="RFC 6856 section 2.2") from None


_HANDLERS: dict[Verb, Callable[[Pop3Session, Received], Awaitable[None]]] = {
    Verb.AUTH: Pop3Session._authenticate,
    Verb.CAPA: Pop3Session._capabilities,
    Verb.DELE: Pop3Session._delete,
    Verb.LIST: Pop3Session._list,
    Verb.NOOP: Pop3Session._nothing,
    Verb.PASS: Pop3Session._give_password,
    Verb.RETR: Pop3Session._retrieve,
    Verb.RSET: Pop3Session._reset,
    Verb.STAT: Pop3Session._status,
    Verb.STLS: Pop3Session._start_tls,
    Verb.TOP: Pop3Session._top,
    Verb.UIDL: Pop3Session._unique_ids,
    Verb.USER: Pop3Session._name_user,
    Verb.UTF8: Pop3Session._allow_utf8,
}


def _count(messages: Sized) -> str:
    return "1 message" if len(messages) == 1 else f"{len(messages)} messages"
