"""Figures as text, and the pages that show them."""

import asyncio

import pytest

from letterlock.host.listen import Listener, bind
from letterlock.host.logs import Log
from letterlock.host.metrics import Metric, Sample, exposition
from letterlock.host.pages import Asked, Page, Pages


def test_the_text_format() -> None:
    """Numbers whole where they are, labels quoted, line ends and quotes escaped."""
    metrics = [
        Metric("a_total", "counter", "What\nhappened.", (Sample(3, event='say "x"\n'), Sample(0.5, event="\\"))),
        Metric("b", "gauge", "One.", (Sample(float("inf")),)),
    ]
    assert exposition(metrics) == (
        b"# HELP a_total What\\nhappened.\n# TYPE a_total counter\n"
        b'a_total{event="say \\"x\\"\\n"} 3\na_total{event="\\\\"} 0.5\n'
        b"# HELP b One.\n# TYPE b gauge\nb +Inf\n"
    )


@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [
        (b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", b"200 OK", b"fine"),
        (b"GET /health?verbose HTTP/1.0\r\n\r\n", b"200 OK", b"fine"),
        (b"HEAD /health HTTP/1.1\r\n\r\n", b"200 OK", b""),
        (b"POST /health HTTP/1.1\r\n\r\n", b"405 Method Not Allowed", b"Only GET and HEAD are answered here.\n"),
        (b"GET /other HTTP/1.1\r\n\r\n", b"404 Not Found", b"There are: /health\n"),
        (b"GET http://evil.test/ HTTP/1.1\r\n\r\n", b"400 Bad Request", b"This is no request.\n"),
        (b"GET /health HTTP/1.1\r\n" + b"x: y\r\n" * 3000, b"400 Bad Request", b"This is no request.\n"),
        (b"\x16\x03\x01\r\n\r\n", b"400 Bad Request", b"This is no request.\n"),
    ],
)
async def test_requests(request_: bytes, status: bytes, body: bytes) -> None:
    """Two methods, the paths of the table, and a plain word for everything else."""

    async def health() -> Page:
        return Page(b"fine")

    listener = Listener(Pages({"/health": health}).session, log=Log("metrics"))
    await listener.start([bind("127.0.0.1", 0)])
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.endpoints[0].port)
        writer.write(request_)
        answer = await reader.read()
        writer.close()
    finally:
        await listener.stop(grace_seconds=1)
    header, _, said = answer.partition(b"\r\n\r\n")
    assert header.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert said == body


@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [
        (b"POST /echo HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 200, b" hello"),
        (b"POST /echo/x%2F HTTP/1.1\r\ncontent-length:3\r\n\r\nabcdef", 200, b"x%2F abc"),
        (b"GET /echo/a//b HTTP/1.1\r\n\r\n", 200, b"a//b nothing"),
        (b"GET /echoes HTTP/1.1\r\n\r\n", 404, b"There are: /echo\n"),
        (b"POST /echoes HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 405,
         b"Only GET and HEAD are answered here.\n"),
        (b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", 411,
         b"Say how long the body is (Content-Length).\n"),
        (b"POST /echo HTTP/1.1\r\nContent-Length: 65537\r\n\r\n", 413,
         b"The body is too long.\n"),
    ],
)  # fmt: skip
async def test_services(request_: bytes, status: int, body: bytes) -> None:
    """A service is asked with a body of a length told before, or with what stands below its path."""

    async def echo(asked: Asked) -> Page:
        said = b"nothing" if asked.body is None else asked.body
        return Page(asked.below.encode() + b" " + said)

    listener = Listener(Pages({}, {"/echo": echo}).session, log=Log("metrics"))
    await listener.start([bind("127.0.0.1", 0)])
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.endpoints[0].port)
        for start in range(0, len(request_), 30):
            writer.write(request_[start : start + 30])
            await writer.drain()
        answer = await reader.read()
        writer.close()
    finally:
        await listener.stop(grace_seconds=1)
    header, _, said = answer.partition(b"\r\n\r\n")
    assert header.startswith(b"HTTP/1.1 %d " % status), header  # the phrase is for people, and Python's
    assert said == body
