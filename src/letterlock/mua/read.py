"""Reading mail over IMAP: mailboxes, summaries, messages.

    async with MailReader(settings, SystemEntropy()) as reader:
        for summary in await reader.summaries("INBOX", newest=20): ...
        octets = await reader.message("INBOX", summary.uid)

Messages are read with PEEK: showing a message marks it only when asked. All that a server says is checked; what it
refuses raises Declined.

Standards: RFC 9051 section 6; RFC 2046 section 5.2.2 (fragments put together); RFC 4422 (the safest mechanism both know).
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType

from letterlock.errors import Malformed, PeerFault
from letterlock.formats.imf.addresses import parse_addresses
from letterlock.formats.imf.dates import parse_date
from letterlock.formats.imf.encoded_words import decode
from letterlock.formats.imf.header import read_header
from letterlock.formats.mime.entity import parse
from letterlock.formats.mime.partial import join, read_fragment
from letterlock.host.connect import connect
from letterlock.host.entropy import Entropy
from letterlock.host.stream import Stream
from letterlock.mua.connection import first_reached
from letterlock.mua.server_proof import Demand, Proving, Way, find_way
from letterlock.mua.settings import UserAgentSettings
from letterlock.protocols.imap import client
from letterlock.protocols.imap.client import ClientConversation, Condition, Continued, Literal, Untagged
from letterlock.protocols.imap.mailbox_name import from_wire
from letterlock.protocols.sasl.mechanism import client_exchange

_SUMMARY = b"(UID FLAGS RFC822.SIZE INTERNALDATE BODY.PEEK[HEADER.FIELDS (Date From To Subject Message-ID)])"
_MOST_FRAGMENTS = 1_000
_APPENDED = re.compile(rb"\d+ (\d+)")


class Declined(PeerFault):
    """The server answered NO or BAD."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A mailbox: its name and attributes (`\\Sent`)."""

    name: str
    attributes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """A line in a list of messages. Texts are decoded and may hold anything a sender wrote."""

    uid: int
    date: datetime | None
    sender: str
    recipients: str
    subject: str
    message_id: str
    size_octets: int
    flags: tuple[str, ...]


class MailReader:
    """A connection to an IMAP server, logged in. An asynchronous context manager.

    With `proving` the server's TLSA records count (server_proof.py).
    """

    def __init__(self, settings: UserAgentSettings, entropy: Entropy, proving: Proving | None = None) -> None:
        if settings.imap is None:
            raise Malformed("no IMAP server is set")
        self._settings = settings
        self._server = settings.imap
        self._entropy = entropy
        self._proving = proving
        self._conversation = ClientConversation()
        self._stream: Stream | None = None
        self._selected = ""

    async def __aenter__(self) -> MailReader:
        """Connect, begin TLS, log in. Raises ConnectionFailed, TlsFailed, Declined, PeerFault."""
        way = await find_way(self._server, self._settings, self._proving)
        stream = await way.first_proven(lambda demand: self._connect(way, demand))
        try:
            await self._learn_capabilities()
            await self._log_in()
            await self._learn_capabilities()
        except BaseException:
            await stream.close()
            raise
        return self

    async def _connect(self, way: Way, demand: Demand) -> Stream:
        """Begin a conversation, up to TLS that shows what is demanded."""
        seconds = self._settings.timeout_seconds
        stream = await first_reached(self._server, way, lambda endpoint: connect(endpoint, within_seconds=seconds))
        self._stream, self._conversation = stream, ClientConversation()
        try:
            if self._server.implicit_tls:
                stream.expect_within(seconds)
                await demand.begin_tls(stream)
            await self._greet()
            if not self._server.implicit_tls:
                await self._run(b"STARTTLS")
                self._conversation.begin_tls()
                stream.expect_within(seconds)
                await demand.begin_tls(stream)
        except BaseException:
            await stream.close()
            raise
        return stream

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Log out and close."""
        if self._stream is None:
            return
        try:
            if kind is None:
                await self._run(b"LOGOUT")
        except PeerFault:
            pass  # it was the last word either way
        finally:
            await self._stream.close()

    async def mailboxes(self) -> tuple[Listed, ...]:
        """Return all mailboxes."""
        found = []
        for untagged in await self._run(b"LIST", b'""', b"*"):
            match untagged:
                case Untagged(b"LIST", None, [list(attributes), _, bytes(name), *_]):
                    texts = tuple(word.decode("ascii", "replace") for word in attributes if isinstance(word, bytes))
                    found.append(Listed(_name(name), texts))
        return tuple(found)

    async def summaries(self, mailbox: str, *, newest: int = 0) -> tuple[Summary, ...]:
        """Return summaries of all messages, or of the `newest`, in the mailbox's order."""
        count = await self._select(mailbox)
        if not count:
            return ()
        first = max(1, count - newest + 1) if newest else 1
        responses = await self._run(b"FETCH", b"%d:*" % first, _SUMMARY)
        summaries = [_summary(client.fetched(one.values)) for one in responses if one.name == b"FETCH"]
        return tuple(summary for summary in summaries if summary is not None)

    async def message(self, mailbox: str, uid: int, *, mark_seen: bool = False) -> bytes:
        """Return the octets of a message. Raises Declined where there is none."""
        await self._select(mailbox)
        for untagged in await self._run(b"UID FETCH", b"%d" % uid, b"(UID BODY.PEEK[])"):
            if untagged.name != b"FETCH":
                continue
            items = client.fetched(untagged.values)
            octets = items.get(b"BODY[]")
            if items.get(b"UID") == b"%d" % uid and isinstance(octets, bytes):
                if mark_seen:
                    await self._run(b"UID STORE", b"%d" % uid, b"+FLAGS.SILENT", b"(\\Seen)")
                return octets
        raise Declined(f"there is no message {uid} in {mailbox}")

    async def joined(self, mailbox: str, octets: bytes) -> bytes:
        """Return the message a message/partial is a fragment of, where the mailbox holds all fragments; else `octets`."""
        fragment = read_fragment(parse(octets))
        if fragment is None:
            return octets
        await self._select(mailbox)
        found = await self._run(b"UID SEARCH", b"HEADER", b"Content-Type", b"message/partial")
        uids = [uid for one in found if one.name == b"SEARCH" for uid in one.values if isinstance(uid, bytes)]
        heads = await self._parts(uids[-_MOST_FRAGMENTS:], b"HEADER")
        ours = [uid for uid, head in heads.items() if _identifier(head) == fragment.identifier]
        bodies = await self._parts(ours, b"")
        return join(map(parse, bodies.values())).octets or octets

    async def _parts(self, uids: list[bytes], section: bytes) -> dict[bytes, bytes]:
        """Return one section of each message by UID."""
        if not uids:
            return {}
        parts: dict[bytes, bytes] = {}
        for one in await self._run(b"UID FETCH", b",".join(uids), b"(UID BODY.PEEK[%b])" % section):
            items = client.fetched(one.values) if one.name == b"FETCH" else {}
            uid, octets = items.get(b"UID"), items.get(b"BODY[%b]" % section)
            if isinstance(uid, bytes) and isinstance(octets, bytes):
                parts[uid] = octets
        return parts

    async def keep_sent(self, message: bytes) -> str | None:
        """Store a message as seen in the mailbox for sent mail; return its name, None where there is no such mailbox."""
        for mailbox in await self.mailboxes():
            if "\\sent" in (attribute.lower() for attribute in mailbox.attributes):
                await self.append(mailbox.name, message, "\\Seen")
                return mailbox.name
        return None

    async def sent(self, message_ids: Sequence[str]) -> bytes | None:
        """Return the first message with one of these identifiers in the mailbox for sent mail, None where there is none."""
        for mailbox in await self.mailboxes():
            if "\\sent" not in (attribute.lower() for attribute in mailbox.attributes):
                continue
            await self._select(mailbox.name)
            for message_id in message_ids:
                argument = client.string_argument(f"<{message_id}>")
                found = await self._run(b"UID SEARCH", b"HEADER", b"Message-ID", argument)
                uids = [uid for one in found if one.name == b"SEARCH" for uid in one.values if isinstance(uid, bytes)]
                for octets in (await self._parts(uids[-1:], b"")).values():
                    return octets
        return None

    async def append(self, mailbox: str, message: bytes, *flags: str) -> int:
        """Store a message; return its UID, or 0 where the server does not tell."""
        words = [flag.encode("ascii") for flag in flags]
        argument = client.mailbox_argument(mailbox)
        tagged = await self._conclude(b"APPEND", argument, client.list_argument(words), Literal(message))
        match tagged.code:
            case (b"APPENDUID", arguments) if found := _APPENDED.fullmatch(arguments):
                return int(found[1])
        return 0

    async def _select(self, mailbox: str) -> int:
        """Open a mailbox anew, so that its numbers are those of now; return how many messages it holds."""
        responses = await self._run(b"SELECT", client.mailbox_argument(mailbox))
        return next((one.number or 0 for one in reversed(responses) if one.name == b"EXISTS"), 0)

    async def _greet(self) -> None:
        match await self._event():
            case Condition(b"*", b"OK", _, _):
                pass
            case Condition(_, _, _, text):
                raise Declined(f"the server does not want to talk: {text}")
            case _:
                raise PeerFault("the server does not greet")

    async def _learn_capabilities(self) -> None:
        for untagged in await self._run(b"CAPABILITY"):
            if untagged.name == b"CAPABILITY":
                words = [word.upper() for word in untagged.values if isinstance(word, bytes)]
                self._conversation.capabilities = frozenset(words)

    async def _log_in(self) -> None:
        capabilities = self._conversation.capabilities
        offered = [name.removeprefix(b"AUTH=").decode("ascii", "replace") for name in sorted(capabilities)
                   if name.startswith(b"AUTH=")]  # fmt: skip
        settings, tls = self._settings, self._open.tls
        exchange = client_exchange(
            offered,
            user=settings.user,
            password=settings.password,
            nonce=self._entropy.octets(18),
            bindings={} if tls is None else tls.bindings,
            protected=tls is not None,
        )
        tag, octets = self._conversation.command(b"AUTHENTICATE", exchange.mechanism.encode("ascii"))
        await self._open.send(octets)
        first: bytes | None = exchange.first()
        while True:
            match await self._event():
                case Continued(text, _):
                    answer = exchange.respond(_from_base64(text)) if first is None else first
                    first = None
                    await self._open.send(binascii.b2a_base64(answer, newline=False) + b"\r\n")
                case Condition(answered, condition, _, text) if answered == tag:
                    if condition != b"OK":
                        raise Declined(f"the server does not let {settings.user} in: {text}")
                    exchange.finish()
                    return

    @property
    def _open(self) -> Stream:
        if self._stream is None:
            raise PeerFault("there is no connection")
        return self._stream

    async def _event(self) -> client.Event:
        stream = self._open
        while (event := self._conversation.next_event()) is None:
            stream.expect_within(self._settings.timeout_seconds)
            octets = await stream.read()
            if not octets:
                raise PeerFault("the server hung up")
            self._conversation.receive(octets)
        return event

    async def _run(self, name: bytes, *arguments: bytes | Literal) -> list[Untagged]:
        """Carry out a command and return the data that came with it. Raises Declined."""
        collected: list[Untagged] = []
        await self._conclude(name, *arguments, collected=collected)
        return collected

    async def _conclude(
        self, name: bytes, *arguments: bytes | Literal, collected: list[Untagged] | None = None
    ) -> Condition:
        tag, octets = self._conversation.command(name, *arguments)
        await self._open.send(octets)
        while True:
            match await self._event():
                case Continued(_, octets):
                    await self._open.send(octets)
                case Untagged() as untagged if collected is not None:
                    collected.append(untagged)
                case Condition(answered, condition, _, text) as tagged if answered == tag:
                    if condition != b"OK":
                        raise Declined(f"the server declines {name.decode('ascii')}: {text}")
                    return tagged


def _from_base64(octets: bytes) -> bytes:
    try:
        return binascii.a2b_base64(octets, strict_mode=True)
    except binascii.Error:
        raise PeerFault("the server sends a challenge that is not base64") from None


def _name(octets: bytes) -> str:
    try:
        return from_wire(octets, utf8=not octets.isascii())
    except Malformed:
        return octets.decode("utf-8", "replace")


def _summary(items: dict[bytes, client.Value]) -> Summary | None:
    uid, size, flags = items.get(b"UID"), items.get(b"RFC822.SIZE"), items.get(b"FLAGS")
    section = next((value for name, value in items.items() if name.startswith(b"BODY[HEADER.FIELDS")), None)
    if not (isinstance(uid, bytes) and isinstance(size, bytes) and uid.isdigit() and size.isdigit()):
        return None
    header = read_header(section if isinstance(section, bytes) else b"")
    names = tuple(flag.decode("ascii", "replace") for flag in flags or () if isinstance(flag, bytes))
    return Summary(
        uid=int(uid),
        date=parse_date(header.text("date")),
        sender=_people(header.text("from")),
        recipients=_people(header.text("to")),
        subject=decode(header.text("subject")),
        message_id=header.text("message-id"),
        size_octets=int(size),
        flags=names,
    )


def _identifier(header: bytes) -> str:
    fragment = read_fragment(parse(header))
    return fragment.identifier if fragment else ""


def _people(value: str) -> str:
    people = parse_addresses(value).mailboxes
    return ", ".join(f"{one.display_name} <{one.address}>" if one.name else one.address for one in people)
