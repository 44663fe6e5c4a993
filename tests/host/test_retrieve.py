"""Fetching for decisions about certificates: which places may be asked, how much, how long, and what is remembered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.conftest import self_signed

from fakes.certified import Certified
from letterlock.errors import Malformed, PeerFault
from letterlock.formats.x509 import ocsp
from letterlock.host import http
from letterlock.host.clock import SetClock
from letterlock.host.http import Place, Web
from letterlock.host.listen import Listener, bind
from letterlock.host.logs import Log
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.host.retrieve import Retriever, RetrieveSettings
from letterlock.host.stream import Stream
from letterlock.host.tls import ServerTls
from letterlock.trust.pkix.ocsp_check import certificate_id
from letterlock.trust.pkix.retrieval import Kind, Retrieval, Retrieved, Search

ZONE = "ca.test. A 127.0.0.1\nfar.test. A 192.0.2.1\n"
WORLD = Certified()
Answer = bytes | Callable[[Stream, bytes], Awaitable[None]]


class Site:
    """A web server that says what it is told to, octet for octet; `requests` are what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.port = 0

    async def session(self, stream: Stream) -> None:
        stream.expect_within(30)
        octets = b""
        while b"\r\n\r\n" not in octets:
            more = await stream.read()
            octets += more
            if not more:
                return
        self.requests.append(octets)
        if callable(self.answer):
            await self.answer(stream, octets)
        else:
            await stream.send(self.answer)
        await stream.close()

    def at(self, path: str = "/x.crl", host: str = "ca.test") -> str:
        return f"http://{host}:{self.port}{path}"


@asynccontextmanager
async def site(answer: Answer) -> AsyncIterator[Site]:
    made = Site(answer)
    listener = Listener(made.session, log=Log("site"))
    await listener.start([bind("127.0.0.1", 0)])
    made.port = listener.endpoints[0].port
    try:
        yield made
    finally:
        await listener.stop(grace_seconds=0)


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def plain(longest: int = 1 << 20, *, allow_private: bool = True, seconds: float = 30) -> Web:
    return Web(ZoneTable.parse(ZONE), longest, seconds, allow_private)


async def test_what_lies_somewhere() -> None:
    """By name or address; the Host field names the port where it is not the usual one."""
    async with site(ok(b"octets")) as there:
        assert await http.get(there.at(), plain()) == b"octets"
        assert await http.get(there.at(host="127.0.0.1"), plain()) == b"octets"
        assert await http.post(there.at("/ocsp"), b"\0\xff", "application/ocsp-request", plain()) == b"octets"
    assert there.requests[0].startswith(f"GET /x.crl HTTP/1.1\r\nHost: ca.test:{there.port}\r\n".encode())
    assert b"Content-Type: application/ocsp-request\r\nContent-Length: 2\r\n" in there.requests[2]


@pytest.mark.parametrize("host", ["127.0.0.1", "ca.test", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "0.0.0.0"])
async def test_networks_of_our_own_are_not_asked(host: str) -> None:
    """Neither by address nor by a name that leads there."""
    async with site(ok(b"secret")) as there:
        with pytest.raises(PeerFault, match="no address that may be asked"):
            await http.get(there.at(host=host), plain(allow_private=False))
    assert there.requests == []


async def test_redirections() -> None:
    """A few are followed, to http alone; where they lead is looked at as the first place was."""

    async def elsewhere(stream: Stream, octets: bytes) -> None:
        path = octets.split()[1].decode()
        told = {"/a": "/b", "/b": f"http://ca.test:{there.port}/c", "/s": "ldap://ca.test/c", "/r": "/r"}
        told["/f"] = "http://[::1]:1/"
        if path not in told:
            await stream.send(ok(path.encode()))
        else:
            await stream.send(f"HTTP/1.1 302 Found\r\nLocation: {told[path]}\r\n\r\n".encode())

    async with site(elsewhere) as there:
        assert await http.get(there.at("/a"), plain()) == b"/c"
        with pytest.raises(PeerFault, match="is no http or https URI"):
            await http.get(there.at("/s"), plain())
        with pytest.raises(PeerFault, match="more than 3 redirections"):
            await http.get(there.at("/r"), plain())
        with pytest.raises(PeerFault, match="refused the connection|cannot assign"):
            await http.get(there.at("/f"), plain())
        with pytest.raises(PeerFault, match="answered 302 to POST"):
            await http.post(there.at("/a"), b"x", "a/b", plain())


@pytest.mark.parametrize("name", ["ca.test", "other.test"])
async def test_https(name: str, tmp_path: Path) -> None:
    """Where the server shows a certificate for its name, of an authority that is trusted; and no way leads back to http."""
    pair = self_signed(tmp_path, name)

    async def say(stream: Stream, octets: bytes) -> None:
        path = octets.split()[1]
        away = b"HTTP/1.1 302 Found\r\nLocation: http://ca.test/\r\n\r\n"
        await stream.send(away if path == b"/away" else ok(LIST))

    made = Site(say)
    listener = Listener(made.session, log=Log("site"), tls=ServerTls([pair]))
    await listener.start([bind("127.0.0.1", 0)])
    try:
        uri = f"https://ca.test:{listener.endpoints[0].port}"
        asked = Retrieval(Kind.LIST, f"{uri}/x.crl"), Retrieval(Kind.LIST, f"{uri}/away")
        async with retriever(roots=pair.chain) as fetching, retriever() as strict:
            found, away = await fetching.search(wanting(*asked))
            (refused,) = await strict.search(wanting(asked[0]))
    finally:
        await listener.stop(grace_seconds=0)
    assert refused.problem.startswith("https to ca.test: the certificate is not accepted:")
    if name == "ca.test":
        assert found.octets == LIST
        assert made.requests[0].startswith(f"GET /x.crl HTTP/1.1\r\nHost: {uri[8:]}\r\n".encode())
        assert away.problem == "a redirection from https to 'http://ca.test/'"
    else:
        assert found.problem.startswith("https to ca.test: the certificate is not accepted: Hostname mismatch")


def chunks(*pieces: bytes) -> bytes:
    made = b"".join(b"%x;a=b\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + made + b"0\r\n\r\n"


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
async def test_chunks_cut_anywhere(size: int) -> None:
    """Put together as they come."""
    whole = chunks(b"ab", b"c" * 300, b"\r\n0\r\n\r\n")

    async def slowly(stream: Stream, _octets: bytes) -> None:
        for at in range(0, len(whole), size):
            await stream.send(whole[at : at + size])
            await asyncio.sleep(0)

    async with site(slowly) as there:
        assert await http.get(there.at(), plain()) == b"ab" + b"c" * 300 + b"\r\n0\r\n\r\n"


GARBAGE = {
    "not found": (b"HTTP/1.1 404 Not Found\r\n\r\n", "answered 404"),
    "no HTTP": (b"220 mail.test ESMTP\r\n\r\n", "sent no HTTP response"),
    "a header without end": (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 9000, "sent no HTTP response"),
    "too long by what it says": (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + b"x" * 2000, "more than 1000"),
    "too long without saying": (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2000, "more than 1000"),
    "too long in chunks": (chunks(b"x" * 600, b"x" * 600), "more than 1000"),
    "cut off": (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nabc", "closed within its answer"),
    "chunks that are none": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "not understood"),
    "a chunk without end": (chunks()[:-5] + b"1" * 9000, "not understood"),
    "chunks cut off": (chunks(b"abc")[:-5], "closed within its answer"),
}


@pytest.mark.parametrize("what", GARBAGE)
async def test_garbage(what: str) -> None:
    """Each has its reason."""
    said, reason = GARBAGE[what]
    async with site(said) as there:
        with pytest.raises(PeerFault, match=reason):
            await http.get(there.at(), plain(1000))


@pytest.mark.parametrize(
    "uri", ["", "ftp://x/", "http://", "http://a b/", "http://u:p@ca.test/", "http://ca.test:x/",
            "http://ca.test/\r\nX: y", "http://ca.test/é", "http://" + "a" * 3000, "file:///etc/passwd", "http://[::1"]
)  # fmt: skip
def test_places_that_are_none(uri: str) -> None:
    """Whatever a certificate says."""
    with pytest.raises(Malformed):
        Place.of(uri)


def wanting(*wanted: Retrieval) -> Search[tuple[Retrieved, ...]]:
    """A search that asks for some things together."""
    answers = yield wanted
    return answers


def retriever(clock: SetClock | None = None, **settings: object) -> Retriever:
    wanted = RetrieveSettings(**({"allow_private": True} | settings))  # type: ignore[arg-type]
    return Retriever(wanted, ZoneTable.parse(ZONE), clock=clock or _clock(), log=Log("retrieve"))


def _clock() -> SetClock:
    return SetClock(WORLD.now.timestamp())


LIST = WORLD.list_of(WORLD.root)


async def test_asked_once() -> None:
    """However many ask at once, and as long as the answer may be kept; then anew."""
    clock = _clock()
    async with site(ok(LIST)) as there, retriever(clock) as fetching:
        wanted = Retrieval(Kind.LIST, there.at())
        found = await asyncio.gather(*(fetching.search(wanting(wanted)) for _ in range(5)))
        assert found == [(Retrieved(LIST),)] * 5
        clock.move(23 * 3600)
        await fetching.search(wanting(wanted))
        assert len(there.requests) == 1
        clock.move(2 * 3600)
        await fetching.search(wanting(wanted))
        assert len(there.requests) == 2


async def test_what_cannot_be_had_is_not_asked_for_at_every_message() -> None:
    """For five minutes; an old answer is given when no new one comes."""
    clock = _clock()
    async with site(b"HTTP/1.1 500 No\r\n\r\n") as there, retriever(clock) as fetching:
        wanted = Retrieval(Kind.LIST, there.at())
        for _ in range(3):
            (found,) = await fetching.search(wanting(wanted))
            assert found.octets is None
            assert found.problem.startswith("ca.test answered 500 to GET /x.crl")
        assert len(there.requests) == 1
        clock.move(301)
        there.answer = ok(LIST)
        assert (await fetching.search(wanting(wanted)))[0].octets == LIST
        clock.move(25 * 3600)
        there.answer = b"HTTP/1.1 500 No\r\n\r\n"
        assert (await fetching.search(wanting(wanted)))[0].octets == LIST
        assert len(there.requests) == 3


async def test_a_list_that_has_run_out_is_not_asked_for_at_every_message() -> None:
    """An authority that forgot to make a new one is asked again after five minutes."""
    clock = SetClock(WORLD.now.timestamp() + 30 * 86_400)
    async with site(ok(LIST)) as there, retriever(clock) as fetching:
        for seconds, expected in ((0, 1), (299, 1), (2, 2)):
            clock.move(seconds)
            assert (await fetching.search(wanting(Retrieval(Kind.LIST, there.at()))))[0].octets == LIST
            assert len(there.requests) == expected


async def test_what_was_kept_is_there_for_who_asks_nobody(tmp_path: Path) -> None:
    """However old, for decisions look at dates themselves; of anything else it is said that nobody was asked."""
    clock = _clock()
    async with site(ok(LIST)) as there:
        wanted, other = Retrieval(Kind.LIST, there.at()), Retrieval(Kind.LIST, there.at("/other"))
        async with retriever(clock, file=tmp_path / "kept") as fetching:
            await fetching.search(wanting(wanted))
        clock.move(90 * 86_400)
        async with retriever(clock, file=tmp_path / "kept", asks=False) as reading:
            found = await reading.search(wanting(wanted, other))
        assert found == (Retrieved(LIST), Retrieved(None, "nobody was asked"))
        assert len(there.requests) == 1


async def test_what_is_no_list_is_not_kept_as_one() -> None:
    """What cannot be read is a failure, with the reason."""
    async with site(ok(b"<html>")) as there, retriever() as fetching:
        (found,) = await fetching.search(wanting(Retrieval(Kind.LIST, there.at())))
    assert found.octets is None
    assert found.problem


async def test_nobody_waits_longer_than_they_have_patience() -> None:
    """All answers together are waited for; what comes too late is there for the next one."""
    let_go = asyncio.Event()

    async def late(stream: Stream, _octets: bytes) -> None:
        await let_go.wait()
        await stream.send(ok(LIST))

    async with site(late) as there, retriever(patience_seconds=0.2) as fetching:
        wanted = (Retrieval(Kind.LIST, there.at("/1")), Retrieval(Kind.LIST, there.at("/2")))
        begun = asyncio.get_running_loop().time()
        found = await fetching.search(wanting(*wanted))
        assert {each.problem for each in found} == {"no answer within 0.2 s"}
        assert asyncio.get_running_loop().time() - begun < 5
        let_go.set()
        for _ in range(100):
            if all(each.octets == LIST for each in await fetching.search(wanting(*wanted))):
                break
        else:
            raise AssertionError("what came late is not there")
        assert len(there.requests) == 2


async def test_remembered_over_restarts(tmp_path: Path) -> None:
    """By the file; what was made for one question alone is not kept."""
    file = tmp_path / "revocation.sqlite"
    request = b"asked"
    now = WORLD.now
    answer = WORLD.answer(_request(), at=now)
    async with site(ok(LIST)) as there:
        kept, once = Retrieval(Kind.LIST, there.at()), Retrieval(Kind.OCSP, there.at("/ocsp"), request, False)
        for _ in range(2):
            async with retriever(file=file) as fetching:
                there.answer = ok(LIST)
                assert (await fetching.search(wanting(kept)))[0].octets == LIST
                there.answer = ok(answer)
                assert (await fetching.search(wanting(once)))[0].octets == answer
    paths = [request.split()[1] for request in there.requests]
    assert paths == [b"/x.crl", b"/ocsp", b"/ocsp"]


def _request() -> bytes:
    certificate = WORLD.person
    return ocsp.encode_request((certificate_id(certificate.issuer, WORLD.middle.key.public, certificate.serial),))


async def test_a_file_that_is_full_of_others_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that end first go first."""
    monkeypatch.setattr("letterlock.host.retrieve.MOST_KEPT", 3)
    file = tmp_path / "revocation.sqlite"
    clock = _clock()
    async with site(ok(LIST)) as there:
        async with retriever(clock, file=file) as fetching:
            for number in range(5):
                await fetching.search(wanting(Retrieval(Kind.LIST, there.at(f"/{number}"))))
                clock.move(60)
        async with retriever(clock, file=file) as fetching:
            for number in reversed(range(5)):
                await fetching.search(wanting(Retrieval(Kind.LIST, there.at(f"/{number}"))))
    assert sorted(request.split()[1] for request in there.requests[5:]) == [b"/0", b"/1"]


async def test_closing_gives_up_what_is_being_fetched() -> None:
    """Nothing is left running."""

    async def never(stream: Stream, _octets: bytes) -> None:
        await stream.read()

    async with site(never) as there, retriever(patience_seconds=0.05) as fetching:
        (found,) = await fetching.search(wanting(Retrieval(Kind.LIST, there.at())))
        assert found.octets is None
    assert len(asyncio.all_tasks()) == 1
