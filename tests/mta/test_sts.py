"""MTA-STS end to end: policies fetched over HTTPS, kept, and applied; and a web client that trusts nobody."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.conftest import self_signed

from letterlock.errors import NotAuthentic, PeerFault
from letterlock.formats.mta_sts import Mode
from letterlock.host import https
from letterlock.host.clock import SetClock
from letterlock.host.https import Fetch
from letterlock.host.listen import Listener, bind
from letterlock.host.logs import Log, send_to
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.host.stream import Endpoint, Stream
from letterlock.host.tls import KeyPair, ServerTls, authenticated_client
from letterlock.mta.demand import Demands
from letterlock.mta.route import Hop
from letterlock.mta.sts_policies import StsPolicies
from letterlock.trust.dane.plan import Host, Requirement

POLICY = "version: STSv1\nmode: enforce\nmx: mx.harbor.test\nmax_age: 1000\n"
OK = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n"


class Web:
    """A web server that says what it is told to, and the zone that leads to it."""

    def __init__(self) -> None:
        self.response = OK.format(len(POLICY)).encode() + POLICY.encode()
        self.requests: list[bytes] = []
        self.id = "1"

    async def __call__(self, stream: Stream) -> None:
        stream.expect_within(5)
        self.requests.append(await stream.read())
        await stream.send(self.response)

    @property
    def zone(self) -> ZoneTable:
        lines = ["mta-sts.harbor.test. 300 IN A 127.0.0.1"]
        if self.id:
            lines.append(f'_mta-sts.harbor.test. 300 IN TXT "v=STSv1; id={self.id};"')
        return ZoneTable.parse("\n".join(lines) + "\n")


@contextlib.asynccontextmanager
async def web(folder: Path) -> AsyncIterator[tuple[Web, Fetch]]:
    """Run the server with a certificate for its name; yield it and how to fetch from it."""
    before = send_to(lambda _line: None)
    pair = self_signed(folder, "mta-sts.harbor.test")
    site = Web()
    listener = Listener(site, log=Log("web"), tls=ServerTls([pair]))
    await listener.start([bind("127.0.0.1", 0)])
    fetch = Fetch(site.zone, authenticated_client(pair.chain), 65_536, within_seconds=5,
                  port=listener.endpoints[0].port, allow_private=True)  # fmt: skip
    try:
        yield site, fetch
    finally:
        await listener.stop(grace_seconds=1)
        send_to(before)


def policies(site: Web, fetch: Fetch, clock: SetClock, file: Path | None = None) -> StsPolicies:
    """The policies as seen through the zone of this moment."""
    return StsPolicies(fetch, clock=clock, log=Log("x"), file=file)


async def test_a_policy_is_fetched_once_and_kept(tmp_path: Path) -> None:
    """Two messages, one request; kept over a restart; renewed for a new id; gone when its time is over."""
    clock = SetClock()
    async with web(tmp_path) as (site, fetch):
        known = policies(site, fetch, clock, tmp_path / "sts.sqlite")
        found = await asyncio.gather(known.policy("harbor.test"), known.policy("harbor.test"))
        assert all(policy is not None and policy.mode is Mode.ENFORCE for policy in found)
        assert len(site.requests) == 1
        assert site.requests[0].startswith(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.harbor.test\r\n")
        known = policies(site, fetch, clock, tmp_path / "sts.sqlite")
        assert await known.policy("harbor.test") is not None
        assert len(site.requests) == 1
        fetch.resolver.records = ZoneTable.parse(  # type: ignore[attr-defined]
            'mta-sts.harbor.test. 300 IN A 127.0.0.1\n_mta-sts.harbor.test. 300 IN TXT "v=STSv1; id=2;"\n'
        ).records
        assert await known.policy("harbor.test") is not None
        assert len(site.requests) == 2
        # RFC 8461 section 10.2: who takes the record away does not take the policy away, before its time.
        fetch.resolver.records = {}  # type: ignore[attr-defined]
        assert await known.policy("harbor.test") is not None
        clock.move(1001)
        assert await known.policy("harbor.test") is None


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 301 Moved\r\nLocation: https://evil.test/\r\n\r\n",
        b"HTTP/1.1 404 No\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi",
        OK.format(10).encode() + b"short",
        OK.format(5).encode() + b"wrong",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + b"x" * 70_000,
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000,
        b"rubbish\r\n\r\n",
        b"",
    ],
)
async def test_what_the_web_may_answer(tmp_path: Path, response: bytes) -> None:
    """Redirects, other media types, lies about lengths and floods: no policy, and no second request at once."""
    async with web(tmp_path) as (site, fetch):
        site.response = response
        known = policies(site, fetch, SetClock())
        assert await known.policy("harbor.test") is None
        assert await known.policy("harbor.test") is None
        assert len(site.requests) == 1


async def test_a_chunked_policy(tmp_path: Path) -> None:
    """RFC 9112 section 7.1."""
    async with web(tmp_path) as (site, fetch):
        half = len(POLICY) // 2
        pieces = (POLICY[:half], POLICY[half:])
        body = "".join(f"{len(piece):x};x=y\r\n{piece}\r\n" for piece in pieces) + "0\r\n\r\n"
        site.response = (
            f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n{body}".encode()
        )
        assert await policies(site, fetch, SetClock()).policy("harbor.test") is not None


async def test_the_certificate_must_be_for_the_name(tmp_path: Path) -> None:
    """RFC 8461 section 3.3."""
    async with web(tmp_path) as (site, fetch):
        fetch.resolver.records |= ZoneTable.parse("other.test. 300 IN A 127.0.0.1\n").records  # type: ignore[attr-defined]
        with pytest.raises(PeerFault, match="certificate"):
            await https.get("other.test", "/", fetch)
        assert not site.requests


async def test_private_addresses_are_not_asked(tmp_path: Path) -> None:
    """RELIABILITY promise 9: names that lead into our own networks are not followed."""
    async with web(tmp_path) as (site, fetch):
        strict = Fetch(fetch.resolver, fetch.context, 100, port=fetch.port)
        with pytest.raises(PeerFault, match="no address"):
            await https.get("mta-sts.harbor.test", "/", strict)
        assert not site.requests


def test_which_addresses_are_public() -> None:
    """Seen through IPv4-mapped, 6to4, Teredo and NAT64 forms."""
    private = ["127.0.0.1", "10.1.2.3", "192.168.1.1", "169.254.1.1", "100.64.0.1", "0.0.0.0", "224.0.0.1", "::1", "fe80::1",
               "fd00::1", "::ffff:127.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "::"]  # fmt: skip
    assert not [address for address in private if https.is_public(address)]
    assert all(
        https.is_public(address) for address in ("1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101")
    )


def hop(name: str, requirement: Requirement = Requirement.OPPORTUNISTIC) -> Hop:
    """A host of harbor.test."""
    return Hop(Host(name, 0, ("127.0.0.1",), requirement, ""), (Endpoint("127.0.0.1", 25),))


async def test_demands(tmp_path: Path, key_pair: KeyPair) -> None:
    """DANE first, then an enforced policy, then opportunism; REQUIRETLS asks for a name in any case."""
    async with web(tmp_path) as (site, fetch):
        authenticated = authenticated_client(key_pair.chain)
        demands = Demands(clock=SetClock(), authenticated=authenticated, policies=policies(site, fetch, SetClock()))
        named = await demands("harbor.test", hop("mx.harbor.test"))
        assert (named.label, named.is_mandatory, named.context) == ("sts", True, authenticated)
        with pytest.raises(NotAuthentic, match="does not name"):
            await demands("harbor.test", hop("mx.evil.test"))
        dane = await demands("harbor.test", hop("mx.evil.test", Requirement.AUTHENTICATED))
        assert dane.label == "dane"
        assert (await demands("other.test", hop("mx.harbor.test"))).label == "may"


async def test_a_file_that_is_no_database_is_no_hindrance(tmp_path: Path) -> None:
    """What was learned is lost, and said so; mail goes on, and what is learned anew is kept."""
    (tmp_path / "sts.sqlite").write_bytes(b"rubbish" * 1000)
    async with web(tmp_path) as (site, fetch):
        known = policies(site, fetch, SetClock(), tmp_path / "sts.sqlite")
        assert await known.policy("harbor.test") is not None
        assert await policies(site, fetch, SetClock(), tmp_path / "sts.sqlite").policy("harbor.test") is not None
        assert len(site.requests) == 1


async def test_a_report_is_posted(tmp_path: Path) -> None:
    """Any 2xx of taking is success; the body arrives as it was; other answers, ports and schemes are faults."""
    async with web(tmp_path) as (site, fetch):
        for status in (b"200 OK", b"201 Created", b"202 Accepted", b"204 No Content"):
            site.response = b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n"
            await https.post("https://mta-sts.harbor.test/in?x=y", b"\x1f\x8bz", "application/tlsrpt+gzip", fetch)
        assert site.requests[-1] == (
            b"POST /in?x=y HTTP/1.1\r\nHost: mta-sts.harbor.test\r\nContent-Type: application/tlsrpt+gzip\r\n"
            b"Content-Length: 3\r\nConnection: close\r\n\r\n\x1f\x8bz"
        )
        site.response = b"HTTP/1.1 500 Oh\r\n\r\n"
        with pytest.raises(PeerFault, match="answered 500 to POST"):
            await https.post("https://mta-sts.harbor.test/", b"", "x/y", fetch)
        asked = len(site.requests)
        for uri in ("http://mta-sts.harbor.test/", "https://mta-sts.harbor.test:8443/", "https://u@mta-sts.harbor.test/",
                    "https://mta-sts.harbor.test/a b", "https://mta-sts.harbor.test/\r\nX: y", "https:///", ""):  # fmt: skip
            with pytest.raises(PeerFault, match="no https URI"):
                await https.post(uri, b"", "x/y", fetch)
        assert len(site.requests) == asked
