"""The PROXY protocol: headers read, and a client behind a balancer seen as itself, with TLS right behind the header."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.errors import PeerFault
from letterlock.host.connect import connect
from letterlock.host.listen import ConnectionLimits, Listener, bind
from letterlock.host.logs import Log, send_to
from letterlock.host.proxy_protocol import Proxied, read_header
from letterlock.host.stream import Stream
from letterlock.host.tls import KeyPair, ServerTls, opportunistic_client

TEXT = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 25\r\n"
BINARY = (
    b"\r\n\r\n\0\r\nQUIT\n\x21\x21"
    + struct.pack("!H", 36 + 5)
    + ipaddress.IPv6Address("2001:db8::7").packed
    + ipaddress.IPv6Address("2001:db8::1").packed
    + struct.pack("!HH", 4711, 25)
    + b"\x04\0\x02ab"
)


def test_headers() -> None:
    """Both versions, the balancer's own checks, and what follows left alone."""
    assert read_header(TEXT + b"EHLO") == Proxied("192.0.2.7", 4711, len(TEXT))
    assert read_header(BINARY + b"\x16\x03") == Proxied("2001:db8::7", 4711, len(BINARY))
    assert read_header(b"PROXY UNKNOWN whatever\r\n") == Proxied("", 0, 24)
    assert read_header(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0") == Proxied("", 0, 16)


@pytest.mark.parametrize("header", [TEXT, BINARY])
def test_a_header_is_whole_or_not_there_yet(header: bytes) -> None:
    """Every beginning of a header is a beginning."""
    for end in range(len(header)):
        assert read_header(header[:end]) is None


@pytest.mark.parametrize(
    "octets",
    [b"EHLO x\r\n", b"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", b"PROXY TCP6 192.0.2.1 192.0.2.1 1 2\r\n", b"PROXY " + b"x" * 120,
     b"PROXY TCP4 192.0.2.1 192.0.2.1 99999 2\r\n", b"PROXY TCP4 192.0.2.1 192.0.2.1 1 2\n", BINARY[:12] + b"\x31\x11\0\0",
     BINARY[:12] + b"\x21\x11\xff\xff", b"PROXYTCP4"],
)  # fmt: skip
def test_what_is_no_header(octets: bytes) -> None:
    """It is refused, not guessed at."""
    with pytest.raises(PeerFault):
        read_header(octets)


@given(st.one_of(st.binary(max_size=60), st.binary(max_size=40).map(lambda tail: BINARY[:12] + tail)))
def test_random_octets(octets: bytes) -> None:
    """Nothing but a header, a wait, or PeerFault."""
    try:
        header = read_header(octets)
    except PeerFault:
        return
    assert header is None or header.length <= len(octets)


async def test_a_client_behind_a_balancer_is_seen_as_itself(key_pair: KeyPair) -> None:
    """In plain text and with TLS; limits count for the client; without a header the connection is closed."""
    seen: list[str] = []
    before = send_to(lambda _line: None)

    async def session(stream: Stream) -> None:
        seen.append(str(stream.peer))
        stream.expect_within(5)
        await stream.send(b"hello " + await stream.read())

    loopback = (ipaddress.ip_network("127.0.0.0/8"),)
    for tls in (None, ServerTls([key_pair])):
        listener = Listener(session, log=Log("test"), tls=tls, proxies=loopback, limits=ConnectionLimits(per_network=1))
        await listener.start([bind("127.0.0.1", 0)])
        client = await connect(listener.endpoints[0], within_seconds=5)
        client.expect_within(5)
        client.write(TEXT)
        if tls is not None:
            await client.start_tls(opportunistic_client(), server_side=False)
        client.write(b"there")
        assert await client.read() == b"hello there"
        await client.close()
        wrong = await asyncio.to_thread(socket.create_connection, ("127.0.0.1", listener.endpoints[0].port), 5)
        wrong.sendall(b"EHLO x\r\n")
        assert await asyncio.to_thread(_ended, wrong)
        await listener.stop(grace_seconds=2)
    send_to(before)
    assert seen == ["192.0.2.7:4711", "192.0.2.7:4711"]


def _ended(connection: socket.socket) -> bool:
    """Whether the server says nothing and closes, or resets."""
    with connection:
        try:
            return connection.recv(100) == b""
        except ConnectionResetError:
            return True
