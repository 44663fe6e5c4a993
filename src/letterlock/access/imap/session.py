"""One IMAP session: a connection from its greeting to its end.

Commands are carried out one at a time in the order they came. HANDLERS is the table of what each does; every handler
either returns Done or raises No, and may put out untagged responses before. When it has, the changes of the selected
mailbox that may be told now are told, then the tagged answer.

Standards: RFC 9051 section 3 (states), section 5.4 (the inactivity timer), section 7.5.1 (when EXPUNGE may be told),
RFC 2177 (IDLE), RFC 5161 (ENABLE), RFC 2971 (ID), RFC 6855 (UTF8=ACCEPT).
Limits: AccessSettings; ServerConversation bounds what a client may send before it is understood.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import letterlock
from letterlock.access.imap import mailboxes, messages
from letterlock.access.imap.answer import No, no_for
from letterlock.access.imap.context import Context, Done
from letterlock.access.login import Gate, LoginFailed
from letterlock.access.settings import AccessSettings
from letterlock.errors import LetterlockError, Malformed, Unavailable
from letterlock.host.logs import Log
from letterlock.host.stream import DeadlinePassed, Stopping, Stream
from letterlock.protocols.imap import command as c
from letterlock.protocols.imap import response
from letterlock.protocols.imap.parse import decode_base64
from letterlock.protocols.imap.server import LineReceived, LiteralAwaited, Received, Refused, State
from letterlock.store.interface import Refused as StoreRefused
from letterlock.store.interface import Store

# Each handler takes its own class of command, which a table cannot say.
Handler = Callable[[Context, bytes, Any], Awaitable[Done]]

HANDLERS: dict[type[c.Command], Handler] = {
    c.Select: mailboxes.select,
    c.Create: mailboxes.create,
    c.Delete: mailboxes.delete,
    c.Rename: mailboxes.rename,
    c.Subscribe: mailboxes.subscribe,
    c.List: mailboxes.list_names,
    c.Namespace: mailboxes.namespace,
    c.Status: mailboxes.status,
    c.GetQuota: mailboxes.quota,
    c.Append: mailboxes.append,
    c.Close: messages.close,
    c.Unselect: messages.unselect,
    c.Expunge: messages.expunge,
    c.Search: messages.search,
    c.Sort: messages.sort,
    c.Thread: messages.thread,
    c.Fetch: messages.fetch,
    c.Store: messages.store,
    c.Copy: messages.copy,
}

_ALWAYS = b"IMAP4rev1 IMAP4rev2 LITERAL+ ID ENABLE SASL-IR"
_AUTHENTICATED = (
    b" IDLE NAMESPACE UIDPLUS UNSELECT MOVE CHILDREN LIST-EXTENDED LIST-STATUS SPECIAL-USE CREATE-SPECIAL-USE"
    b" ESEARCH SEARCHRES SORT SORT=DISPLAY THREAD=ORDEREDSUBJECT THREAD=REFERENCES"
    b" BINARY CONDSTORE QRESYNC STATUS=SIZE OBJECTID SAVEDATE QUOTA QUOTA=RES-STORAGE UTF8=ACCEPT"
)
_ENABLED = {
    b"IMAP4REV2": b"IMAP4rev2",
    b"CONDSTORE": b"CONDSTORE",
    b"QRESYNC": b"QRESYNC",
    b"UTF8=ACCEPT": b"UTF8=ACCEPT",
}


class MailboxGone(LetterlockError):
    """The selected mailbox was deleted by another session; there is no state to go on in."""


class ImapSession:
    """A session over one stream. `run` returns when the connection is to be closed."""

    def __init__(self, stream: Stream, settings: AccessSettings, store: Store, gate: Gate, log: Log) -> None:
        self._context = Context(stream, settings, store, gate.accounts, log)
        self._stream = stream
        self._door = gate.attempts(stream)
        self._commands = 0
        self._login_deadline = 0.0

    async def run(self) -> None:
        """Greet, serve, and take leave."""
        context = self._context
        self._login_deadline = asyncio.get_running_loop().time() + context.settings.login_seconds
        greeting = f"{context.settings.host_name} Letterlock is ready"
        context.write(response.status(b"*", b"OK", greeting, b"CAPABILITY " + self._capabilities()))
        try:
            await self._serve()
        except Stopping:
            await self._farewell("the server is stopping; come back soon")
        except MailboxGone:
            await self._farewell("the mailbox was deleted")
        except DeadlinePassed:
            await self._farewell("nothing was heard for too long")
        finally:
            self._door.leave()
            if context.view is not None:
                context.view.opened.close()
            if context.account:
                context.log.event("session ended", commands=self._commands, octets_sent=context.octets_sent)

    async def _farewell(self, text: str) -> None:
        self._context.write(response.status(b"*", b"BYE", text))
        await self._context.flush()

    async def _serve(self) -> None:
        conversation = self._context.conversation
        while True:
            event = conversation.next_event()
            match event:
                case None if conversation.state is State.LOGOUT:
                    await self._context.flush()
                    return
                case None:
                    octets = await self._read()
                    if not octets:
                        return
                    conversation.receive(octets)
                case Received(tag, command):
                    self._commands += 1
                    if not await self._carry_out(tag, command):
                        return
                case Refused(octets, closes):
                    self._context.write(octets)
                    if closes:
                        await self._context.flush()
                        return
                case LiteralAwaited(octets):
                    self._context.write(octets)
                case LineReceived():  # only asked for by `_line`
                    return

    async def _read(self) -> bytes:
        """Send what is to be sent and wait for the client, as long as it may take."""
        context = self._context
        await context.flush()
        seconds = context.settings.idle_seconds
        if not context.account:
            seconds = max(0.0, self._login_deadline - asyncio.get_running_loop().time())
        self._stream.expect_within(seconds)
        return await self._stream.read(idle=context.conversation.is_between_commands)

    async def _line(self) -> bytes | None:
        """Return the next line raw, or None where the connection ends or the line was refused."""
        context = self._context
        context.conversation.await_line()
        while True:
            event = context.conversation.next_event()
            match event:
                case LineReceived(line):
                    return line
                case Refused(octets, _):
                    context.write(octets)
                    return None
                case _:
                    received = await self._read()
                    if not received:
                        return None
                    context.conversation.receive(received)

    async def _carry_out(self, tag: bytes, command: c.Command) -> bool:
        """Answer one command; return whether the session goes on."""
        context = self._context
        try:
            match command:
                case c.Logout():
                    context.write(b"* BYE Until next time\r\n" + response.status(tag, b"OK", "logged out"))
                    await context.flush()
                    return False
                case c.StartTls():
                    return await self._start_tls(tag)
                case c.Login() | c.Authenticate():
                    done = await self._log_in(command)
                case c.Idle():
                    done = await self._idle()
                case _:
                    done = await self._ordinary(tag, command)
        except No as no:
            return self._answer(tag, command, b"NO", no.text, no.code)
        except StoreRefused as refused:
            why = no_for(refused)
            return self._answer(tag, command, b"NO", why.text, why.code)
        except Unavailable as unavailable:
            context.log.error("store unavailable", command=type(command).__name__, problem=unavailable.problem)
            # RFC 5530 section 3: UNAVAILABLE says that trying later may help.
            return self._answer(tag, command, b"NO", "the store is not available; nothing was changed", b"UNAVAILABLE")
        except Malformed as fault:
            return self._answer(tag, command, b"BAD", str(fault))
        except LoginFailed as failed:
            condition = b"NO" if failed.understood else b"BAD"
            context.write(response.status(tag, condition, failed.text, failed.code.encode("ascii")))
            if failed.closes:
                await self._farewell("too many attempts")
            return not failed.closes
        return self._answer(tag, command, b"OK", done.text, done.code)

    def _answer(self, tag: bytes, command: c.Command, condition: bytes, text: str, code: bytes = b"") -> bool:
        """Tell what changed in the selected mailbox, then the outcome; return whether the session goes on."""
        context = self._context
        if (view := context.view) is not None:
            # RFC 9051 section 7.5.1: FETCH, STORE and SEARCH by sequence numbers keep all numbers as they are.
            numbered = isinstance(command, c.Fetch | c.Store | c.Search | c.Sort | c.Thread) and not command.uid
            uid = (
                not numbered
                and isinstance(command, c.Fetch | c.Store | c.Search | c.Sort | c.Thread | c.Copy)
                and command.uid
            )
            for line in view.updates(context.manner(with_uid=uid), may_expunge=not numbered):
                context.write(line)
            if view.is_gone:
                raise MailboxGone
        context.write(response.status(tag, condition, text, code))
        return True

    async def _ordinary(self, tag: bytes, command: c.Command) -> Done:
        context = self._context
        match command:
            case c.Capability():
                context.write(response.untagged(b"CAPABILITY " + self._capabilities()))
                return Done("those are the capabilities")
            case c.Noop():
                return Done("nothing was done")
            case c.Identify(parameters):
                if parameters:
                    context.log.event("client named itself", client=" ".join(f"{n}={v}" for n, v in parameters))
                version = letterlock.__version__.encode("ascii")
                context.write(b'* ID ("name" "Letterlock" "version" "' + version + b'")\r\n')
                return Done("pleased to meet you")
            case c.Enable(capabilities):
                return self._enable(capabilities)
            case _:
                return await HANDLERS[type(command)](context, tag, command)

    def _capabilities(self) -> bytes:
        context = self._context
        if context.account:
            return _ALWAYS + _AUTHENTICATED + b" APPENDLIMIT=%d" % context.settings.message_octets
        words = [_ALWAYS]
        if self._door.offers_tls:
            words.append(b"STARTTLS")
        words += [b"AUTH=" + mechanism.encode("ascii") for mechanism in self._door.mechanisms]
        if not self._door.takes_passwords:
            words.append(b"LOGINDISABLED")
        return b" ".join(words)

    def _enable(self, capabilities: tuple[bytes, ...]) -> Done:
        context = self._context
        names = [_ENABLED[name] for name in dict.fromkeys(capabilities) if name in _ENABLED]
        context.qresync = context.qresync or b"QRESYNC" in names
        context.condstore = context.condstore or context.qresync or b"CONDSTORE" in names
        context.rev2 = context.rev2 or b"IMAP4rev2" in names
        # RFC 6855 section 3: names and quoted strings are UTF-8 from here on
        context.conversation.utf8 = context.conversation.utf8 or context.rev2 or b"UTF8=ACCEPT" in names
        context.write(response.untagged(b" ".join([b"ENABLED", *names])))
        return Done("enabled")

    async def _start_tls(self, tag: bytes) -> bool:
        context = self._context
        tls = self._door.tls
        if tls is None or not self._door.offers_tls:
            context.write(response.status(tag, b"BAD", "TLS cannot begin here (RFC 9051 section 6.2.1)"))
            return True
        await context.flush()
        context.conversation.begin_tls()
        announcement = response.status(tag, b"OK", "begin TLS now")
        await self._stream.start_tls(tls.context, announcement=announcement)
        return True

    async def _log_in(self, command: c.Login | c.Authenticate) -> Done:
        context = self._context
        if isinstance(command, c.Login):
            account = await self._door.password(command.user, command.password)
        else:
            account = await self._door.exchange(command.mechanism, command.initial_response, self._respond_to)
        await self._door.inbox(context.store, account)
        context.account = account
        context.log = context.log.bind(account=account)
        context.conversation.authenticated()
        return Done("welcome", b"CAPABILITY " + self._capabilities())

    async def _respond_to(self, challenge: bytes) -> bytes | None:
        """Send a challenge and return the client's response, None where it cancels or goes."""
        self._context.write(response.continuation(response.base64(challenge)))
        line = await self._line()
        if line is None or line == b"*":
            return None
        return decode_base64(line)

    async def _idle(self) -> Done:
        """Tell changes as they happen until the client says DONE."""
        context = self._context
        context.write(response.continuation(b"idling"))
        await context.flush()
        line = asyncio.ensure_future(self._line())
        changes: asyncio.Future[Any] | None = None
        try:
            while not line.done():
                view = context.view
                if view is not None:
                    changes = asyncio.ensure_future(view.opened.changed(view.told))
                waiting = {line} if changes is None else {line, changes}
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if view is not None and changes is not None and changes.done():
                    changes.result()
                    await self._tell_idle()
        finally:
            for task in (line, changes):
                if task is not None:
                    task.cancel()
        if line.result() is None or (line.result() or b"").upper() != b"DONE":
            raise Malformed("IDLE ends with DONE", clause="RFC 9051 section 6.3.13")
        return Done("no longer idle")

    async def _tell_idle(self) -> None:
        context = self._context
        if context.view is not None:
            for line in context.view.updates(context.manner(), may_expunge=True):
                context.write(line)
            await context.flush()
            if context.view.is_gone:
                raise MailboxGone
            self._stream.expect_within(context.settings.idle_seconds)
