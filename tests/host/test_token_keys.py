"""An identity provider's keys over https: fetched, kept, renewed, and done without for a while."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from tests.conftest import self_signed
from tests.trust.oauth.tokens import ISSUER, PrivateKey, claims_for, make_token, web_key

from letterlock.errors import Unavailable
from letterlock.host.clock import SetClock
from letterlock.host.https import Fetch
from letterlock.host.listen import Listener, bind
from letterlock.host.logs import Log, send_to
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.host.stream import Stream
from letterlock.host.tls import ServerTls, authenticated_client
from letterlock.host.token_keys import LONGEST_KEYS, TokenKeySource, split_url
from letterlock.trust.oauth import Expectations, TokenKeys, UnknownKey, user_of

ADA = "ada@rosewood.test"
HOST, PATH = "id.rosewood.test", "/keys?v=1"
FIRST, SECOND = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()


class Provider:
    """A web server that hands out keys, or says `response` in their place."""

    def __init__(self) -> None:
        self.keys = {"first": FIRST}
        self.response: bytes | None = None
        self.requests: list[bytes] = []

    async def __call__(self, stream: Stream) -> None:
        stream.expect_within(10)
        self.requests.append(await stream.read())
        body = json.dumps({"keys": [web_key(key, name) for name, key in self.keys.items()]}).encode()
        header = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        await stream.send(self.response if self.response is not None else header.encode() + body)


@contextlib.asynccontextmanager
async def provider(folder: Path) -> AsyncIterator[tuple[Provider, Fetch, SetClock, list[str]]]:
    """The provider with a certificate of our own authority, how it is asked, and what is logged."""
    lines: list[str] = []
    before = send_to(lines.append)
    pair = self_signed(folder, HOST)
    site = Provider()
    listener = Listener(site, log=Log("web"), tls=ServerTls([pair]))
    await listener.start([bind("127.0.0.1", 0)])
    fetch = Fetch(ZoneTable.parse(f"{HOST}. 300 IN A 127.0.0.1\n"), authenticated_client(pair.chain), LONGEST_KEYS, 10,
                  port=listener.endpoints[0].port, allow_private=True)  # fmt: skip
    try:
        yield site, fetch, SetClock(), lines
    finally:
        await listener.stop(grace_seconds=1)
        send_to(before)


def source_of(fetch: Fetch, clock: SetClock) -> TokenKeySource:
    """Where the keys come from."""
    return TokenKeySource((HOST, PATH), clock=clock, log=Log("login"), fetch=fetch)


def user(keys: TokenKeys, key: PrivateKey, name: str, clock: SetClock) -> str:
    """Whom a token of that key lets in."""
    token = make_token(key, claims_for(ADA, clock.now()), key_id=name)
    return user_of(token, keys, Expectations(ISSUER, ("mx.rosewood.test",)), clock.now())


async def test_keys_are_fetched_once_an_hour(tmp_path: Path) -> None:
    """And let in whom their tokens name."""
    async with provider(tmp_path) as (site, fetch, clock, _):
        source = source_of(fetch, clock)
        assert user(await source.keys(), FIRST, "first", clock) == ADA
        clock.move(3599)
        await source.keys()
        assert len(site.requests) == 1
        assert site.requests[0].startswith(b"GET /keys?v=1 HTTP/1.1\r\nHost: id.rosewood.test\r\n")
        clock.move(2)
        await source.keys()
        assert len(site.requests) == 2


async def test_a_new_key_is_looked_for(tmp_path: Path) -> None:
    """A key that is not known is asked for, not more than once a minute."""
    async with provider(tmp_path) as (site, fetch, clock, _):
        source = source_of(fetch, clock)
        keys = await source.keys()
        site.keys = {"second": SECOND}
        with pytest.raises(UnknownKey):
            user(keys, SECOND, "second", clock)
        with pytest.raises(UnknownKey):
            user(await source.renewed(), SECOND, "second", clock)
        assert len(site.requests) == 1
        clock.move(61)
        keys = await source.renewed()
        assert user(keys, SECOND, "second", clock) == ADA
        with pytest.raises(UnknownKey):  # and the one that was withdrawn counts no more
            user(keys, FIRST, "first", clock)


@pytest.mark.parametrize(
    "response",
    [
        b"", b"HTTP/1.1 404 Gone\r\n\r\n", b"HTTP/1.1 302 Found\r\nLocation: https://evil.test/\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{[]", b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (LONGEST_KEYS + 1),
    ],
)  # fmt: skip
async def test_keys_of_before_stay_good_for_a_day(tmp_path: Path, response: bytes) -> None:
    """Whatever the provider says in their place; after that nobody is let in, and nobody is called wrong for it."""
    async with provider(tmp_path) as (site, fetch, clock, lines):
        source = source_of(fetch, clock)
        await source.keys()
        site.response = response
        clock.move(86_000)
        assert user(await source.keys(), FIRST, "first", clock) == ADA
        assert len(site.requests) == 2
        assert any("token keys not renewed" in line for line in lines)
        clock.move(500)
        with pytest.raises(Unavailable):
            await source.keys()
        site.response = None
        clock.move(61)
        assert user(await source.keys(), FIRST, "first", clock) == ADA


async def test_a_stranger_in_the_providers_place_is_not_believed(tmp_path: Path) -> None:
    """A certificate that no authority we trust vouches for, or for another name: no keys at all."""
    async with provider(tmp_path) as (site, fetch, clock, lines):
        other = authenticated_client(self_signed(tmp_path, "other.test").chain)
        elsewhere = ZoneTable.parse("id.harbor.test. 300 IN A 127.0.0.1\n")
        for source in (
            source_of(replace(fetch, context=other), clock),
            TokenKeySource(
                ("id.harbor.test", PATH), clock=clock, log=Log("login"), fetch=replace(fetch, resolver=elsewhere)
            ),
        ):
            with pytest.raises(Unavailable):
                await source.keys()
        assert site.requests == []
        assert sum("certificate is not accepted" in line for line in lines) == 2


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://id.rosewood.test/keys", ("id.rosewood.test", 443, "/keys")),
        ("https://ID.rosewood.test:8443", ("id.rosewood.test", 8443, "/")),
        ("http://id.rosewood.test/keys", None), ("https://ada@id.rosewood.test/", None), ("https:///keys", None),
        ("https://id.rosewood.test/a b", None), ("https://id.rosewood.test/\r\nX: y", None),
    ],
)  # fmt: skip
def test_only_https_urls_are_places(url: str, expected: tuple[str, int, str] | None) -> None:
    assert split_url(url) == expected
