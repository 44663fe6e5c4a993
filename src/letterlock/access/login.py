"""The door that IMAP and POP3 share: passwords and SASL exchanges, offered only where they are safe.

Nobody logs in before TLS, not even with a proof that gives no password away, unless the settings say so for tests. A client that
fails too often is sent away, and waits before the next try (host/login_guard.py); what failed is logged
with its reason, while the client only learns that it did.

Standards: RFC 9051 section 6.2.2, section 6.2.3 and section 11.7; RFC 1939 section 7 and RFC 5034 (POP3);
RFC 4422 section 3; RFC 5802 section 6 (channel binding).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from letterlock.access.settings import AccessSettings
from letterlock.errors import LetterlockError, Malformed
from letterlock.host.entropy import Entropy
from letterlock.host.login_guard import LoginGuard
from letterlock.host.logs import Log
from letterlock.host.stream import Stream
from letterlock.host.tls import ServerTls
from letterlock.protocols.sasl.mechanism import ServerExchange, offered_mechanisms, server_exchange
from letterlock.protocols.sasl.step import (
    Authenticated,
    Challenge,
    IdentityClaimed,
    KeysWanted,
    PasswordGiven,
    Rejected,
    Step,
    TokenGiven,
)
from letterlock.store.accounts import Accounts
from letterlock.store.interface import Mailbox, Store
from letterlock.store.proofs import Proofs

Respond = Callable[[bytes], Awaitable[bytes | None]]
_MECHANISMS = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN")


class LoginFailed(LetterlockError):
    """Nobody came in. `code` is a response code of RFC 5530; the connection ends if `closes`."""

    def __init__(self, text: str, code: str = "", *, understood: bool = True, closes: bool = False) -> None:
        self.text = text
        self.code = code
        self.understood = understood
        self.closes = closes
        super().__init__(text)


class Gate:
    """The door of one service. `tls` is what STARTTLS and STLS begin, None where there is none.

    `proofs` are those that count beside passwords.
    """

    def __init__(
        self,
        accounts: Accounts,
        settings: AccessSettings,
        *,
        tls: ServerTls | None,
        guard: LoginGuard,
        entropy: Entropy,
        log: Log,
        proofs: Proofs | None = None,
    ) -> None:
        self.accounts = accounts
        self.settings = settings
        self.tls = tls
        self.guard = guard
        self.entropy = entropy
        self.log = log
        self.proofs = proofs or Proofs(accounts, log)

    def attempts(self, stream: Stream) -> Attempts:
        """Return the door as one connection sees it."""
        return Attempts(self, stream)


class Attempts:
    """One connection's attempts to come in."""

    def __init__(self, gate: Gate, stream: Stream) -> None:
        self._gate = gate
        self._stream = stream
        self._failures = 0
        self._entered = ""

    def leave(self) -> None:
        """Give the place back, if somebody came in: the session is over."""
        if self._entered:
            self._gate.guard.leave(self._entered)
            self._entered = ""

    @property
    def offers_tls(self) -> bool:
        """Whether TLS can begin now."""
        return self._gate.tls is not None and self._stream.tls is None

    @property
    def tls(self) -> ServerTls | None:
        """What begins TLS."""
        return self._gate.tls

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """The SASL mechanisms that may be used on this connection as it is now: none before TLS (RFC 8314 section 4.1)."""
        tls = self._stream.tls
        if tls is None and not self._gate.settings.plain_text_login:
            return ()
        proofs = self._gate.proofs
        first = proofs.first_mechanisms if tls is not None and tls.validated_chain else ()
        names = (*first, *_MECHANISMS, *proofs.last_mechanisms)
        return offered_mechanisms(names, {} if tls is None else tls.bindings)

    @property
    def takes_passwords(self) -> bool:
        """Whether a password may be sent as it is (LOGIN, USER and PASS)."""
        return "PLAIN" in self.mechanisms

    async def password(self, user: str, password: str) -> str:
        """Return the account of a user with this password. Raises LoginFailed."""
        if not self.takes_passwords:
            raise LoginFailed("begin TLS first; passwords are not taken in plain text", "PRIVACYREQUIRED")
        exchange = server_exchange("PLAIN", nonce=b"", bindings={}, offered=self.mechanisms)
        try:
            step = exchange.begin(f"\0{user}\0{password}".encode())
        except Malformed as fault:
            step = Rejected(str(fault), user)
        return await self._conclude(exchange, step, None)

    async def exchange(self, mechanism: str, initial: bytes | None, respond: Respond) -> str:
        """Return the account a SASL exchange proves. Raises LoginFailed."""
        if mechanism not in self.mechanisms:
            if mechanism in (*_MECHANISMS, *self._gate.proofs.last_mechanisms) and self._stream.tls is None:
                raise LoginFailed("begin TLS first; nobody logs in in plain text", "PRIVACYREQUIRED")
            raise LoginFailed("this mechanism is not offered")
        tls = self._stream.tls
        exchange = server_exchange(
            mechanism,
            nonce=self._gate.entropy.octets(18),
            bindings={} if tls is None else tls.bindings,
            offered=self.mechanisms,
            discovery=self._gate.proofs.discovery,
        )
        return await self._conclude(exchange, exchange.begin(initial), respond)

    async def inbox(self, store: Store, account: str) -> Mailbox:
        """Return the account's INBOX; where there is nothing beside it yet, the usual mailboxes are made first."""
        # mail that came before the first login has made INBOX already
        if not any(each.name != "INBOX" for each in await store.mailboxes(account)):
            await store.prepare_account(account, dict(self._gate.settings.mailboxes))
        mailbox = await store.mailbox(account, "INBOX")
        assert mailbox is not None
        return mailbox

    async def _conclude(self, exchange: ServerExchange, step: Step, respond: Respond | None) -> str:
        accounts, guard, host = self._gate.accounts, self._gate.guard, self._stream.peer.host
        if wait := guard.network_wait(host):
            raise LoginFailed(f"too many failures from your network: wait {int(wait) + 1} seconds", "LIMIT")
        while True:
            match step:
                case Challenge(octets):
                    answer = None if respond is None else await respond(octets)
                    if answer is None:
                        raise LoginFailed("the exchange was cancelled", understood=False)
                    step = exchange.respond(answer)
                case PasswordGiven(user) | KeysWanted(user) if wait := guard.user_wait(user, host):
                    raise LoginFailed(f"too many failures for that user: wait {int(wait) + 1} seconds", "LIMIT")
                case PasswordGiven(user, password):
                    step = exchange.decide(await accounts.verify(user, password) is not None)
                case KeysWanted(user, digest):
                    step = exchange.supply(accounts.keys(user, digest))
                case TokenGiven(user, token):
                    proved = await self._gate.proofs.by_token(user, token)
                    step = Authenticated(proved.name) if proved is not None else exchange.decide(False)
                case IdentityClaimed(user):
                    proved = self._gate.proofs.by_certificate(user, self._stream.tls)
                    step = Authenticated(proved.name) if proved is not None else exchange.decide(False)
                case Authenticated(user, authorization):
                    account = accounts.authenticated(user)
                    if account is not None and (not authorization or accounts.authenticated(authorization) == account):
                        guard.succeeded(host, user)
                        if not guard.enter(account.name):
                            raise LoginFailed("too many connections of this account: close one", "LIMIT", closes=True)
                        self._entered = account.name
                        return account.name
                    step = Rejected("acting as another account is not allowed", user)
                case Rejected(reason, user):
                    await self._fail(reason, user)

    async def _fail(self, reason: str, user: str) -> None:
        self._failures += 1
        self._gate.log.warning("login failed", peer=str(self._stream.peer), user=user, reason=reason)
        await self._gate.guard.failed(self._stream.peer.host, user)
        closes = self._failures >= self._gate.settings.login_attempts
        raise LoginFailed("wrong user or password", "AUTHENTICATIONFAILED", closes=closes)
