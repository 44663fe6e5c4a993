"""IMAP and POP3 as services: what a listener is given to run for each connection.

    service = AccessService(
        settings, store, accounts, tls=tls, guard=LoginGuard(SystemClock()), entropy=SystemEntropy(), log=Log("access")
    )
    listener = Listener(service.imap, log=log)              # port 143, STARTTLS
    listener = Listener(service.imap, log=log, tls=tls)     # port 993, TLS from the start
    listener = Listener(service.pop3, log=log)              # port 110, STLS; 995 likewise

See also: admd/, which builds one from the settings of a domain.
"""

from __future__ import annotations

from letterlock.access.imap.session import ImapSession
from letterlock.access.login import Gate
from letterlock.access.pop3 import Pop3Session
from letterlock.access.settings import AccessSettings
from letterlock.host.entropy import Entropy
from letterlock.host.login_guard import LoginGuard
from letterlock.host.logs import Log
from letterlock.host.stream import Stream
from letterlock.host.tls import ServerTls
from letterlock.store.accounts import Accounts
from letterlock.store.interface import Store
from letterlock.store.proofs import Proofs


class AccessService:
    """Both services over one store and its accounts."""

    def __init__(
        self,
        settings: AccessSettings,
        store: Store,
        accounts: Accounts,
        *,
        tls: ServerTls | None,
        guard: LoginGuard,
        entropy: Entropy,
        log: Log,
        proofs: Proofs | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._entropy = entropy
        self._log = log
        self._gate = Gate(accounts, settings, tls=tls, guard=guard, entropy=entropy, log=log, proofs=proofs)

    async def imap(self, stream: Stream) -> None:
        """Serve one IMAP connection."""
        await ImapSession(stream, self._settings, self._store, self._gate, self._bound("imap", stream)).run()

    async def pop3(self, stream: Stream) -> None:
        """Serve one POP3 connection."""
        await Pop3Session(stream, self._settings, self._store, self._gate, self._bound("pop3", stream)).run()

    def _bound(self, protocol: str, stream: Stream) -> Log:
        session = self._entropy.octets(6).hex()
        return self._log.bind(session=session, protocol=protocol, peer=str(stream.peer))
