"""rspamd, ClamAV and OpenDKIM as milters behind our server: mail that really comes in, and what becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import smtplib
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from bench._postfix import free_port

from interop.smtp_site import ADA, PASSWORD, Site, site
from letterlock.host.logs import Log
from letterlock.host.milter_client import FilterSettings
from letterlock.host.tls import KeyPair
from letterlock.mta.filters import FilterChain, Milter

pytestmark = pytest.mark.interop

HEADER = (
    "From: Rose <rose@harbor.test>\r\nTo: ada@rosewood.test\r\nSubject: hedge\r\n"
    "Date: Mon, 23 Nov 2026 13:15:15 +0000\r\nMessage-ID: <1@harbor.test>\r\n"
)
GTUBE = "{}JS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"
SPAM, MARKED, RENAMED = (HEADER + "\r\n" + GTUBE.format(letter) for letter in "XYZ")
HARMLESS = HEADER + "\r\nCut it.\r\n"
EICAR = r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
INFECTED = (
    HEADER + 'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nSee the file.\r\n'
    f'--b\r\nContent-Type: application/octet-stream; name="bill.com"\r\n\r\n{EICAR}\r\n--b--\r\n'
)


async def answers(port: int) -> None:
    """Wait until somebody listens."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def running(port: int, *command: str) -> AsyncIterator[None]:
    """Run a program that listens on a port, until the block ends."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, start_new_session=True
    )
    try:
        await answers(port)
        yield
    finally:
        # clamav-milter takes five seconds to end in peace, and rspamd is several processes: the whole group ends at once.
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


@contextlib.asynccontextmanager
async def rspamd(folder: Path, *, quarantines: bool = False) -> AsyncIterator[str]:
    """Run rspamd's proxy worker with its test patterns and its header module; yield its address as a milter."""
    port = free_port()
    (folder / "tld").write_text("test\n")
    configuration = folder / "rspamd.conf"
    configuration.write_text(
        f'options {{ pidfile = "{folder}/pid"; tempdir = "{folder}"; url_tld = "{folder}/tld"; filters = "";\n'
        "  disable_hyperscan = true; enable_test_patterns = true;\n"
        f'  control_socket = "{folder}/control mode=0600"; dns {{ nameserver = ["127.0.0.1:9:1"]; timeout = 0.1s; }} }}\n'
        'logging { type = "console"; level = "error"; }\nlua = "/usr/share/rspamd/rules/rspamd.lua";\n'
        f'worker "rspamd_proxy" {{ bind_socket = "127.0.0.1:{port}"; milter = yes; count = 1;\n'
        f"  quarantine_on_reject = {str(quarantines).lower()};\n"
        '  upstream "local" { default = yes; self_scan = yes; } }\n'
        "actions { reject = 15; add_header = 6; greylist = null; }\n"
        'modules { path = "/usr/share/rspamd/plugins/milter_headers.lua"; }\n'
        'milter_headers { use = ["x-spamd-bar"]; skip_local = false; skip_authenticated = false; }\n'
    )
    async with running(port, "rspamd", "-f", "-i", "-c", str(configuration)):
        yield f"inet:127.0.0.1:{port}"


@contextlib.asynccontextmanager
async def clamav(folder: Path, on_infected: str) -> AsyncIterator[str]:
    """Run clamd with one signature of our own, that of the EICAR test file, and clamav-milter before it."""
    scanner, port = free_port(), free_port()
    (folder / "signatures").mkdir()
    (folder / "signatures" / "local.ndb").write_text(f"Test-Signature:0:*:{EICAR.encode().hex()}\n")
    (folder / "clamd.conf").write_text(
        f"DatabaseDirectory {folder}/signatures\nTCPSocket {scanner}\nTCPAddr 127.0.0.1\nForeground yes\n"
        f"TemporaryDirectory {folder}\n"
    )
    (folder / "milter.conf").write_text(
        f"MilterSocket inet:{port}@127.0.0.1\nClamdSocket tcp:127.0.0.1:{scanner}\nForeground yes\n"
        f"OnInfected {on_infected}\nAddHeader Replace\nTemporaryDirectory {folder}\n"
        + ("RejectMsg Infected with %v: clean it and send it again\n" if on_infected == "Reject" else "")
    )
    async with (
        running(scanner, "/usr/sbin/clamd", "-c", str(folder / "clamd.conf")),
        running(port, "/usr/sbin/clamav-milter", "-c", str(folder / "milter.conf")),
    ):
        yield f"inet:127.0.0.1:{port}"


@contextlib.asynccontextmanager
async def opendkim(folder: Path) -> AsyncIterator[str]:
    """Run OpenDKIM as a signer for rosewood.test."""
    port, key = free_port(), folder / "key.pem"
    made = await asyncio.create_subprocess_exec("openssl", "genrsa", "-traditional", "-out", str(key), "2048",
                                                stderr=asyncio.subprocess.DEVNULL)  # fmt: skip
    assert await made.wait() == 0
    (folder / "opendkim.conf").write_text(
        f"Mode s\nDomain rosewood.test\nSelector one\nKeyFile {key}\nSocket inet:{port}@127.0.0.1\nRequireSafeKeys no\n"
        f"Canonicalization relaxed/relaxed\nPidFile {folder / 'pid'}\nBackground no\n"
    )
    async with running(port, "/usr/sbin/opendkim", "-f", "-x", str(folder / "opendkim.conf")):
        yield f"inet:127.0.0.1:{port}"


def chain(*addresses: str, is_optional: bool = False) -> FilterChain:
    """Filters behind the server."""
    milters = [Milter(FilterSettings(address, answer_seconds=30), "mx.rosewood.test") for address in addresses]
    return FilterChain(milters, Log("mta"), is_optional)


@dataclass
class Client:
    """Somebody who sends to a site."""

    served: Site

    async def sends(self, message: str) -> str:
        """Send from outside; return the reply to the content."""
        return await asyncio.to_thread(self._send, message)

    async def submits(self, message: str) -> str:
        """Submit as ada; return the reply to the content."""
        return await asyncio.to_thread(self._submit, message)

    def _send(self, message: str) -> str:
        with smtplib.SMTP("127.0.0.1", self.served.smtp, local_hostname="mx.harbor.test", timeout=60) as client:
            return self._transact(client, "rose@harbor.test", message)

    def _submit(self, message: str) -> str:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with smtplib.SMTP_SSL("127.0.0.1", self.served.submissions, context=context, timeout=60) as client:
            client.login(ADA, PASSWORD)
            return self._transact(client, ADA, message.replace("Rose <rose@harbor.test>", ADA))

    def _transact(self, client: smtplib.SMTP, sender: str, message: str) -> str:
        client.ehlo_or_helo_if_needed()
        assert client.mail(sender)[0] == 250
        assert client.rcpt(ADA)[0] == 250
        code, text = client.data(message)
        return f"{code} {text.decode()}"


async def test_rspamd_adds_marks_renames_and_refuses(tmp_path: Path, key_pair: KeyPair) -> None:
    """Harmless mail gets its header, marked mail goes to Junk, spam is refused in rspamd's words; the body stays as it is."""
    async with rspamd(tmp_path) as address, site(tmp_path / "site", key_pair, filters=chain(address)) as served:
        client = Client(served)
        assert (await client.sends(HARMLESS))[:3] == "250"
        assert await client.sends(SPAM) == "554 5.7.1 Gtube pattern"
        assert (await client.sends(MARKED))[:3] == "250"
        assert (await client.sends(RENAMED))[:3] == "250"
        harmless, renamed = await served.inbox(2)
        (marked,) = await served.inbox(1, name="Junk")
    assert b"\r\nX-Spamd-Bar: /\r\n" in harmless
    assert harmless.endswith(b"\r\n\r\nCut it.\r\n")
    assert b"\r\nX-Spam: Yes\r\n" in marked
    assert b"\r\nSubject: *** SPAM *** hedge\r\n" in renamed
    assert [line["filter"] for line in served.log if line["event"] == "accepted"] == ["accept"] * 3


async def test_rspamd_quarantines_into_junk(tmp_path: Path, key_pair: KeyPair) -> None:
    """What it would keep aside is in the junk mailbox, whole."""
    async with (
        rspamd(tmp_path, quarantines=True) as address,
        site(tmp_path / "site", key_pair, filters=chain(address)) as served,
    ):
        assert (await Client(served).sends(SPAM))[:3] == "250"
        (quarantined,) = await served.inbox(1, name="Junk")
    assert quarantined.endswith(GTUBE.format("X").encode())


async def test_rspamd_sees_submitted_mail(tmp_path: Path, key_pair: KeyPair) -> None:
    """Spam of our own people does not leave; the rest carries its header under our signature."""
    async with (
        rspamd(tmp_path) as address,
        site(tmp_path / "site", key_pair, submission_filters=chain(address)) as served,
    ):
        client = Client(served)
        assert await client.submits(SPAM) == "554 5.7.1 Gtube pattern"
        assert (await client.submits(HARMLESS))[:3] == "250"
        (harmless,) = await served.inbox(1)
    assert b"\r\nX-Spamd-Bar: " in harmless


@pytest.mark.parametrize(
    ("on_infected", "expected"),
    [("Reject", "550 5.7.1 Infected with Test-Signature.UNOFFICIAL: clean it and send it again"), ("Defer", "451"),
     ("Quarantine", "250"), ("Blackhole", "250")],
)  # fmt: skip
async def test_clamav_finds_what_is_infected(
    tmp_path: Path, key_pair: KeyPair, on_infected: str, expected: str
) -> None:
    """Refused, deferred or put aside as it is told; what it would throw away is in Junk; clean mail says that it is."""
    (tmp_path / "av").mkdir()
    async with (
        clamav(tmp_path / "av", on_infected) as address,
        site(tmp_path / "site", key_pair, filters=chain(address), submission_filters=chain(address)) as served,
    ):
        client = Client(served)
        assert (await client.sends(INFECTED)).startswith(expected)
        assert (await client.submits(INFECTED))[:3] == {"Defer": "451"}.get(on_infected, "550")
        assert (await client.sends(HARMLESS))[:3] == "250"
        (clean,) = await served.inbox(1)
        if expected == "250":
            (aside,) = await served.inbox(1, name="Junk")
            assert EICAR.encode() in aside
    assert b"\r\nX-Virus-Status: Clean\r\n" in clean


async def test_one_filter_after_the_other(tmp_path: Path, key_pair: KeyPair) -> None:
    """OpenDKIM signs what rspamd has added to, and ClamAV has found clean: three programs, one message."""
    for name in ("av", "spam", "dkim"):
        (tmp_path / name).mkdir()
    async with (
        clamav(tmp_path / "av", "Reject") as first,
        rspamd(tmp_path / "spam") as second,
        opendkim(tmp_path / "dkim") as third,
        site(tmp_path / "site", key_pair, submission_filters=chain(first, second, third)) as served,
    ):
        client = Client(served)
        assert (await client.submits(INFECTED))[:3] == "550"
        assert (await client.submits(SPAM))[:3] == "554"
        assert (await client.submits(HARMLESS))[:3] == "250"
        (message,) = await served.inbox(1)
    for field in (b"DKIM-Signature: v=1;", b"X-Spamd-Bar: ", b"X-Virus-Status: Clean"):
        assert field in message


@pytest.mark.parametrize("is_optional", [False, True])
async def test_a_filter_that_dies(tmp_path: Path, key_pair: KeyPair, is_optional: bool) -> None:
    """With the filter gone, mail waits at its sender, or goes on unfiltered where that was chosen."""
    async with contextlib.AsyncExitStack() as running_filter:
        filters = chain(await running_filter.enter_async_context(rspamd(tmp_path)), is_optional=is_optional)
        async with site(tmp_path / "site", key_pair, filters=filters, submission_filters=filters) as served:
            client = Client(served)
            assert (await client.sends(SPAM))[:3] == "554"
            await running_filter.aclose()
            expected = "250" if is_optional else "451"
            assert (await client.sends(HARMLESS))[:3] == expected
            assert (await client.submits(HARMLESS))[:3] == expected
            assert [line["event"] for line in served.log].count("filter failed") == 2
