"""What the commands of one IMAP session share: the store, who is asking, the selected mailbox, and the way out.

Output is gathered and written when the client has nothing more under way, or when FLUSH_OCTETS have come together;
`send` then waits for a client that reads slowly, so a session never holds much more than that.
"""

from __future__ import annotations

from dataclasses import dataclass

from letterlock.access.imap.answer import No
from letterlock.access.imap.sections import Sections
from letterlock.access.imap.view import Manner, View
from letterlock.access.settings import AccessSettings
from letterlock.errors import Malformed
from letterlock.host.logs import Log
from letterlock.host.stream import Stream
from letterlock.protocols.imap import mailbox_name
from letterlock.protocols.imap.server import Limits, ServerConversation
from letterlock.store.accounts import Accounts
from letterlock.store.interface import Mailbox, Store
from letterlock.store.snapshot import SYSTEM_FLAGS

FLUSH_OCTETS = 64 * 1024
_SYSTEM_FLAGS = {flag.lower(): flag for flag in SYSTEM_FLAGS}


@dataclass(frozen=True, slots=True)
class Done:
    """A command went well: the text of its tagged OK and a response code without brackets."""

    text: str
    code: bytes = b""


class Context:
    """The state of one session. `account` is empty until the client showed who it is."""

    def __init__(self, stream: Stream, settings: AccessSettings, store: Store, accounts: Accounts, log: Log) -> None:
        self.stream = stream
        self.settings = settings
        self.store = store
        self._accounts = accounts
        self.log = log
        self.conversation = ServerConversation(Limits(message_octets=settings.message_octets))
        self.account = ""
        self.view: View | None = None
        self.rev2 = False
        self.condstore = False
        self.qresync = False
        self.sections = Sections()
        self.octets_sent = 0
        self._output: list[bytes] = []
        self._pending = 0

    @property
    def selected(self) -> View:
        """The view of the selected mailbox; the conversation lets no command here without one."""
        if self.view is None:
            raise No("no mailbox is selected")
        return self.view

    @property
    def writable(self) -> View:
        """The selected mailbox, for a command that changes it. Raises No where it was only examined."""
        view = self.selected
        if view.read_only:
            raise No("the mailbox was opened with EXAMINE and is read-only", b"READ-ONLY")
        return view

    async def mailbox(self, name: str, *, missing: bytes = b"NONEXISTENT") -> Mailbox:
        """Return a mailbox of the account. Raises No with the code `missing`."""
        mailbox = await self.store.mailbox(self.account, name)
        if mailbox is None:
            raise No("there is no such mailbox", missing)
        return mailbox

    async def demand_room(self, octets: int) -> None:
        """Raise No where so much more would exceed the account's quota (RFC 9208 section 4.3.1)."""
        limit = self.quota_octets
        if limit and (await self.store.usage(self.account)).octets + octets > limit:
            raise No("the account's quota is used up", b"OVERQUOTA")

    @property
    def quota_octets(self) -> int:
        """What the account may hold now, 0 without a limit."""
        account = self._accounts.account(self.account)
        return 0 if account is None else account.quota_octets

    def manner(self, *, with_uid: bool = False) -> Manner:
        """Return how this client is told of changes; `with_uid` during UID commands."""
        # RFC 7162 section 3.2.3: with QRESYNC every FETCH response holds the UID
        return Manner(with_uid or self.rev2 or self.qresync, self.condstore, self.qresync)

    def wire(self, name: str) -> bytes:
        """Return a mailbox name as this client reads it, not yet quoted."""
        return mailbox_name.to_wire(name, utf8=self.conversation.utf8)

    def write(self, octets: bytes) -> None:
        """Put octets out, to be sent before long."""
        self._output.append(octets)
        self._pending += len(octets)

    async def send(self, octets: bytes) -> None:
        """Put octets out and, when enough came together, wait until the client has taken most of them."""
        self.write(octets)
        if self._pending >= FLUSH_OCTETS:
            await self.flush()

    async def flush(self) -> None:
        """Send all that was put out."""
        if not self._output:
            return
        octets = self._output[0] if len(self._output) == 1 else b"".join(self._output)
        self._output.clear()
        self.octets_sent += self._pending
        self._pending = 0
        self.stream.expect_within(self.settings.send_seconds)
        await self.stream.send(octets)

    def deselect(self) -> None:
        """Close the selected mailbox, if there is one."""
        if self.view is not None:
            self.view.opened.close()
            self.view = None
            self.conversation.deselected()


def flag_names(flags: tuple[bytes, ...]) -> tuple[str, ...]:
    r"""Return flags in their usual spelling, without \Recent, which nobody sets. Raises Malformed for `\Other`."""
    names: dict[str, None] = {}
    for flag in flags:
        name = flag.decode("ascii")
        if name.startswith("\\"):
            if name.lower() == "\\recent":
                continue
            if name.lower() not in _SYSTEM_FLAGS:
                raise Malformed(f"{name} is no flag that can be set", clause="RFC 9051 section 2.3.2")
            name = _SYSTEM_FLAGS[name.lower()]
        names[name] = None
    return tuple(names)
