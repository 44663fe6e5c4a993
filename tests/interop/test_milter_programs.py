"""Filters of others behind our server: OpenDKIM signs what passes through, and our own verifier agrees."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bench._postfix import free_port

from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.host.logs import Log
from letterlock.host.milter_client import FilterSettings
from letterlock.host.stream import Endpoint
from letterlock.mta.arrival import Arrival, take_as_it_is
from letterlock.mta.filters import FilterChain, Filtered, Milter

pytestmark = pytest.mark.interop

MESSAGE = (
    b"From: Ada <ada@rosewood.test>\r\nTo: bob@harbor.test\r\nSubject: signed\r\n"
    b"Date: Mon, 23 Nov 2026 13:15:15 +0000\r\nMessage-ID: <1@rosewood.test>\r\n\r\n" + b"A line of text.\r\n" * 9000
)


async def run(*command: str) -> bytes:
    """Run a program to its end and return what it said."""
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, said
    return said


@contextlib.asynccontextmanager
async def opendkim(folder: Path) -> AsyncIterator[tuple[int, str]]:
    """Run OpenDKIM as a signer for rosewood.test; yield its port and its public key."""
    key = folder / "key.pem"
    await run("openssl", "genrsa", "-traditional", "-out", str(key), "2048")
    public = await run("openssl", "rsa", "-in", str(key), "-pubout")
    port = free_port()
    configuration = folder / "opendkim.conf"
    configuration.write_text(
        f"Mode s\nDomain rosewood.test\nSelector one\nKeyFile {key}\nSocket inet:{port}@127.0.0.1\nRequireSafeKeys no\n"
        f"Canonicalization relaxed/relaxed\nPidFile {folder / 'pid'}\nBackground no\n"
    )
    process = await asyncio.create_subprocess_exec("/usr/sbin/opendkim", "-f", "-x", str(configuration))
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            await asyncio.sleep(0.05)
        yield port, "".join(line for line in public.decode().splitlines() if not line.startswith("-"))
    finally:
        process.terminate()
        await process.wait()


async def test_opendkim_signs_and_we_verify(tmp_path: Path) -> None:
    """The signature over 150 KB of body holds, so it saw every octet as it was and its field stands where it put it."""
    envelope = Envelope(Address("ada", "rosewood.test"), (Recipient(Address("bob", "harbor.test")),))
    arrival = Arrival("1", 0.0, Endpoint("127.0.0.1", 4711), "client.test", "ESMTPA", None, "ada", envelope, (MESSAGE,))
    async with opendkim(tmp_path) as (port, public):
        chain = FilterChain((Milter(FilterSettings(f"inet:127.0.0.1:{port}"), "mx.rosewood.test"),), Log("mta"))
        assessment = await Filtered(take_as_it_is, chain)(arrival)
    assert assessment.refusal is None
    signed = b"".join(assessment.content or ())
    assert signed.endswith(MESSAGE)
    assert signed.startswith(b"DKIM-Signature: ")
    halves = f'"v=DKIM1; k=rsa; p={public[:200]}" "{public[200:]}"'
    (tmp_path / "zone").write_text(f"one._domainkey.rosewood.test. 300 IN TXT {halves}\n")
    (tmp_path / "message").write_bytes(signed)
    verdict = await run(
        sys.executable, "-m", "letterlock", "dkim", "verify", "--zone", str(tmp_path / "zone"), "--json",
        str(tmp_path / "message"),
    )  # fmt: skip
    assert '"pass"' in json.dumps(json.loads(verdict))
