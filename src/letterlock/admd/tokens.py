"""What a domain's settings say of logging in with a token of an OAuth provider: `[oauth]`."""

from __future__ import annotations

from pathlib import Path

from letterlock.admd.settings import Settings
from letterlock.errors import SettingsFault
from letterlock.host.clock import Clock
from letterlock.host.https import Fetch
from letterlock.host.logs import Log
from letterlock.host.resolver.interface import Resolver
from letterlock.host.tls import authenticated_client
from letterlock.host.token_keys import LONGEST_KEYS, TokenKeySource, split_url
from letterlock.store.proofs import Tokens
from letterlock.trust import oauth

_DISCOVERY_PATH = "/.well-known/openid-configuration"


def tokens_of(settings: Settings, resolver: Resolver, clock: Clock) -> Tokens:
    """Return who judges tokens. Raises SettingsFault."""
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
