"""How people prove who they are beside passwords: by a token of an identity provider, or by a certificate of their own.

    proofs = Proofs(accounts, tokens=judge, certificates=ClientCertificates({...}))
    account = await proofs.by_token(claimed, token)
    account = proofs.by_certificate(claimed, tls)

What is claimed must be what is proved, and there must be an account behind it that may log in.

Standards: RFC 7628 section 3 (tokens), RFC 4422 appendix A (EXTERNAL), RFC 8550 section 3 (addresses in certificates).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats.x509.certificate import Certificate
from letterlock.host.logs import Log
from letterlock.host.tls import TlsState
from letterlock.protocols.sasl.mechanism import TOKEN_MECHANISMS, JudgeToken
from letterlock.store.accounts import Account, Accounts


@dataclass(frozen=True, slots=True)
class Tokens:
    """Who judges tokens; `discovery` is the URL at which clients learn where to get one."""

    judge: JudgeToken
    discovery: str = ""


@dataclass(frozen=True, slots=True)
class ClientCertificates:
    """Accounts by the SHA-256 of a certificate, in hexadecimal; for others the addresses in the certificate count."""

    accounts: Mapping[str, str] = field(default_factory=dict)


class Proofs:
    """The proofs that count here; none by default."""

    def __init__(
        self,
        accounts: Accounts,
        log: Log,
        *,
        tokens: Tokens | None = None,
        certificates: ClientCertificates | None = None,
    ) -> None:
        self._accounts = accounts
        self._log = log
        self._tokens = tokens
        self._certificates = certificates
        self.discovery = tokens.discovery if tokens is not None else ""
        offered = ("EXTERNAL",) if certificates is not None else ()
        # EXTERNAL asks least of a client that has a certificate; tokens come after passwords for those who have none.
        self.first_mechanisms: tuple[str, ...] = offered
        self.last_mechanisms: tuple[str, ...] = TOKEN_MECHANISMS if tokens is not None else ()

    async def by_token(self, claimed: str, token: str) -> Account | None:
        """Return the account that a token opens, which `claimed`, unless empty, must name too. Raises Unavailable."""
        if self._tokens is None:
            return None
        try:
            user = await self._tokens.judge(token)
        except NotAuthentic as reason:
            self._log.event("token refused", user=claimed, problem=str(reason))
            return None
        return self._same(self._accounts.authenticated(user), claimed)

    def by_certificate(self, claimed: str, tls: TlsState | None) -> Account | None:
        """Return the account that the client's certificate is for, which `claimed`, unless empty, must name too.

        A certificate that leads to several accounts opens the one that is claimed, and none where nothing is claimed.
        """
        if self._certificates is None or tls is None or not tls.validated_chain:
            return None
        octets = tls.validated_chain[0]
        mapped = self._certificates.accounts.get(hashlib.sha256(octets).hexdigest())
        names = (mapped,) if mapped is not None else _addresses(octets)
        found = {account.name: account for name in names if (account := self._accounts.authenticated(name)) is not None}
        if claimed:
            wanted = self._accounts.authenticated(claimed)
            return found.get(wanted.name) if wanted is not None else None
        return next(iter(found.values())) if len(found) == 1 else None

    def _same(self, account: Account | None, claimed: str) -> Account | None:
        if account is None or not claimed:
            return account
        other = self._accounts.authenticated(claimed)
        return account if other is not None and other.name == account.name else None


def _addresses(octets: bytes) -> tuple[str, ...]:
    try:
        addresses = Certificate.parse(octets).addresses
    except Malformed:
        return ()
    return tuple(address for address in addresses if "@" in address)
