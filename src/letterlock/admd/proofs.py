"""What a domain's settings say of logging in without a password: `[oauth]` and `[client_certificates]`."""

from __future__ import annotations

from pathlib import Path

from letterlock.admd.settings import Settings
from letterlock.errors import SettingsFault
from letterlock.host.clock import Clock
from letterlock.host.https import Fetch
from letterlock.host.logs import Log
from letterlock.host.resolver.interface import Resolver
from letterlock.host.tls import ServerTls, authenticated_client
from letterlock.host.token_keys import LONGEST_KEYS, TokenKeySource, split_url
from letterlock.store.accounts import Accounts
from letterlock.store.proofs import ClientCertificates, Proofs, Tokens
from letterlock.trust import oauth

_DISCOVERY_PATH = "/.well-known/openid-configuration"


def login_tls(settings: Settings, tls: ServerTls) -> ServerTls:
    """Return the TLS of services where people log in. Raises SettingsFault."""
    authorities = settings.client_certificates.authorities
    return tls if authorities is None else tls.asking_clients(settings.path(authorities))


def other_proofs(settings: Settings, accounts: Accounts, resolver: Resolver, clock: Clock) -> Proofs:
    """Return the proofs that count beside passwords. Raises SettingsFault."""
    wanted = settings.client_certificates
    certificates = None
    if wanted.authorities is not None:
        certificates = ClientCertificates(
            {fingerprint.replace(":", "").lower(): account for fingerprint, account in wanted.accounts.items()}
        )
    return Proofs(
        accounts,
        Log("login"),
        tokens=_tokens(settings, resolver, clock) if settings.oauth.issuer else None,
        certificates=certificates,
    )


def _tokens(settings: Settings, resolver: Resolver, clock: Clock) -> Tokens:
    wanted = settings.oauth
    source = _key_source(settings, resolver, clock)
    expected = oauth.Expectations(
        wanted.issuer,
        tuple(wanted.audiences) or (settings.host_name,),
        wanted.user_claim,
        wanted.scope,
        tuple(wanted.token_types),
    )

    async def judge(token: str) -> str:
        try:
            return oauth.user_of(token, await source.keys(), expected, clock.now())
        except oauth.UnknownKey:
            return oauth.user_of(token, await source.renewed(), expected, clock.now())

    return Tokens(judge, wanted.issuer.rstrip("/") + _DISCOVERY_PATH)


def _key_source(settings: Settings, resolver: Resolver, clock: Clock) -> TokenKeySource:
    place, log = settings.oauth.keys, Log("login")
    if not place:
        raise SettingsFault(
            ('oauth.keys: is missing; write the URL of the provider\'s keys, or a file: keys = "keys.json"',)
        )
    if not place.startswith("https:"):
        return TokenKeySource(settings.path(Path(place)), clock=clock, log=log)
    url = split_url(place)
    if url is None:
        raise SettingsFault((f"oauth.keys = {place!r}: write https://HOST/PATH, or a file",))
    host, port, path = url
    trusted = settings.path(settings.tls.trusted) if settings.tls.trusted else None
    # Whoever runs the domain named the place, so it may be in an inner network.
    fetch = Fetch(
        resolver, authenticated_client(trusted, beside_system=True), LONGEST_KEYS, 10, port=port, allow_private=True
    )
    return TokenKeySource((host, path), clock=clock, log=log, fetch=fetch)
