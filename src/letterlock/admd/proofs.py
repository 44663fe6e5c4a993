"""What a domain's settings say of logging in without a password: `[oauth]` and `[client_certificates]`."""

from __future__ import annotations

from letterlock.admd.settings import Settings
from letterlock.host.clock import Clock
from letterlock.host.logs import Log
from letterlock.host.resolver.interface import Resolver
from letterlock.host.tls import ServerTls
from letterlock.store.accounts import Accounts
from letterlock.store.proofs import ClientCertificates, Proofs


def login_tls(settings: Settings, tls: ServerTls) -> ServerTls:
    """Return the TLS of services where people log in. Raises SettingsFault."""
    authorities = settings.client_certificates.authorities
    return tls if authorities is None else tls.asking_clients(settings.path(authorities))


def other_proofs(settings: Settings, accounts: Accounts, resolver: Resolver, clock: Clock) -> Proofs:
    """Return the proofs that count beside passwords. Raises SettingsFault."""
    wanted = settings.client_certificates
    certificates = tokens = None
    if wanted.authorities is not None:
        certificates = ClientCertificates(
            {fingerprint.replace(":", "").lower(): account for fingerprint, account in wanted.accounts.items()}
        )
    if settings.oauth.issuer:
        # What reads tokens brings an HTTP client of its own along, several megabytes that few servers need.
        from letterlock.admd.tokens import tokens_of

        tokens = tokens_of(settings, resolver, clock)
    return Proofs(
        accounts,
        Log("login"),
        tokens=tokens,
        certificates=certificates,
    )
