"""Who submits: one session's logins, each an exchange of SASL, decided by the accounts and slowed where somebody guesses.

Password guessing is slowed by network and by account; a shut key is answered the same whatever the password. A network
from which an account was used with its password is never shut out of it by the failures of others.

Standards: RFC 4954 (AUTH), RFC 4422 section 6.
See also: protocols/sasl, store/accounts.py, host/login_guard.py; msa/inbound.py asks.
"""

from __future__ import annotations

from typing import Protocol

from letterlock.errors import Unavailable
from letterlock.formats.address import Address
from letterlock.host.entropy import Entropy
from letterlock.host.login_guard import LoginGuard
from letterlock.host.logs import Log
from letterlock.mta.session import Session
from letterlock.protocols.sasl.mechanism import ServerExchange, server_exchange
from letterlock.protocols.sasl.step import (
    Authenticated,
    Challenge,
    IdentityClaimed,
    KeysWanted,
    PasswordGiven,
    Rejected,
    ScramKeys,
    Step,
    TokenGiven,
)
from letterlock.protocols.smtp.reply import reply
from letterlock.store.proofs import Proofs


class Account(Protocol):
    """Somebody who may submit."""

    @property
    def name(self) -> str:
        """The account's name."""
        ...


class Accounts(Protocol):
    """What submission asks of store/accounts.py."""

    async def verify(self, user: str, password: str) -> Account | None:
        """Return the account if the password is right."""
        ...

    def keys(self, user: str, digest: str) -> ScramKeys:
        """Return a user's keys, false ones for whoever has none."""
        ...

    def authenticated(self, user: str) -> Account | None:
        """Return the account a proved user name means."""
        ...

    def may_send_as(self, name: str, address: Address) -> bool:
        """Tell whether an address is the account's own."""
        ...


class Login:
    """The logins of one session. `offered` are the mechanisms; after `attempts` failures the session ends.

    `proofs` are those that count beside passwords.
    """

    def __init__(
        self,
        accounts: Accounts,
        guard: LoginGuard,
        entropy: Entropy,
        log: Log,
        *,
        offered: tuple[str, ...],
        proofs: Proofs | None,
        attempts: int,
    ) -> None:
        self._accounts = accounts
        self._guard = guard
        self._entropy = entropy
        self._log = log
        self._offered = offered
        self._proofs = proofs
        self._attempts = attempts
        self._exchange: ServerExchange | None = None
        self._failures = 0
        self._entered = ""

    def leave(self) -> None:
        """Give the account's place back, if it was taken."""
        if self._entered:
            self._guard.leave(self._entered)

    async def begin(self, session: Session, mechanism: str, initial: bytes | None) -> None:
        """Begin an exchange, unless this network has guessed too often."""
        wait = self._guard.network_wait(session.peer_address)
        if wait > 0:
            self._log.event("authentication shut", seconds=round(wait))
            session.conversation.refuse(
                reply(454, "4.7.0", f"Too many failures from your network: wait {int(wait) + 1} seconds")
            )
            return
        bindings = session.stream.tls.bindings if session.stream.tls is not None else {}
        proofs = self._proofs
        self._exchange = server_exchange(
            mechanism,
            nonce=self._entropy.octets(18),
            bindings=bindings,
            offered=self._offered,
            discovery=proofs.discovery if proofs is not None else "",
        )
        await self._proceed(session, self._exchange.begin(initial))

    async def go_on(self, session: Session, response: bytes) -> None:
        """Go on with the exchange."""
        assert self._exchange is not None
        await self._proceed(session, self._exchange.respond(response))

    async def _proceed(self, session: Session, step: Step) -> None:
        assert self._exchange is not None
        accounts = self._accounts
        while True:
            match step:
                case Challenge(octets):
                    return session.conversation.challenge(octets)
                case PasswordGiven(user) | KeysWanted(user) if self._is_shut(session, user):
                    return None
                case PasswordGiven(user, password):
                    step = self._exchange.decide(await accounts.verify(user, password) is not None)
                case KeysWanted(user, digest):
                    step = self._exchange.supply(accounts.keys(user, digest))
                case TokenGiven() | IdentityClaimed():
                    try:
                        account = await self._proved(session, step)
                    except Unavailable as problem:
                        self._log.error("unavailable", problem=problem.problem)
                        answer = reply(454, "4.7.0", "That cannot be checked now: try again later")
                        return session.conversation.refuse(answer)
                    step = Authenticated(account.name) if account is not None else self._exchange.decide(False)
                case Authenticated(user, authorization):
                    return await self._authenticated(session, user, authorization)
                case Rejected(reason, user):
                    return await self._rejected(session, user, reason)

    async def _proved(self, session: Session, step: TokenGiven | IdentityClaimed) -> Account | None:
        proofs = self._proofs
        if proofs is None:
            return None
        if isinstance(step, TokenGiven):
            return await proofs.by_token(step.user, step.token)
        return proofs.by_certificate(step.user, session.stream.tls)

    async def _authenticated(self, session: Session, user: str, authorization: str) -> None:
        account = self._accounts.authenticated(user)
        if account is None:
            return await self._rejected(session, user, "no account of that name may log in")
        if authorization:
            other = self._accounts.authenticated(authorization)
            if other is None or other.name != account.name:
                return await self._rejected(session, user, "acting as somebody else")
        guard = self._guard
        guard.succeeded(session.peer_address, user)
        if not guard.enter(account.name):
            answer = reply(421, "4.7.0", "Too many connections of this account: close one")
            self._log.event("too many sessions", user=account.name)
            return session.finish(answer)
        self._entered = account.name
        self._log.event("authenticated", user=account.name)
        return session.conversation.authenticated(account.name)

    async def _rejected(self, session: Session, user: str, reason: str) -> None:
        self._failures += 1
        self._log.event("authentication failed", user=user, problem=reason)
        await self._guard.failed(session.peer_address, user)
        answer = reply(535, "5.7.8", "The user name or the password is wrong")  # RFC 4954 section 6
        session.conversation.refuse(answer)
        if self._failures >= self._attempts:
            session.finish(reply(421, "4.7.0", "Too many failures. Closing"))

    def _is_shut(self, session: Session, user: str) -> bool:
        """Tell a client to wait where its user name was guessed at too often, from networks that user never used."""
        wait = self._guard.user_wait(user, session.peer_address)
        if wait <= 0:
            return False
        self._log.event("authentication shut", user=user, seconds=round(wait))
        answer = reply(454, "4.7.0", f"Too many failures for that user: wait {int(wait) + 1} seconds")
        session.conversation.refuse(answer)
        return True
