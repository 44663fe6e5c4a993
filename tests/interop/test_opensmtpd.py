"""Our SMTP services and OpenSMTPD, both ways: TLS, AUTH, DSN, LMTP.

Debian 12's OpenSMTPD cannot serve TLS (its key process and OpenSSL 3 do not agree: OpenSMTPD issue 1171), so our own TLS is
shown with it as client only. It offers neither CHUNKING nor SMTPUTF8.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from bench._opensmtpd import opensmtpd
from bench._postfix import free_port
from tests.interop.smtp_site import ADA, HOST, MESSAGE, PASSWORD, body_of, files_in, run, send, site

from letterlock.host.tls import KeyPair

pytestmark = pytest.mark.interop

# Mail for bob goes into a maildir; anybody else of the domain is unknown.
HERE = """
action "here" maildir "{mail}" virtual <people>
match from any for domain "harbor.test" action "here"
"""
PEOPLE = 'table people {{ "bob@harbor.test" = "{user}" }}'
USER = "nobody"


def maildir(common: Path) -> Path:
    """Make a folder that OpenSMTPD's deliveries, run as nobody, may write into."""
    folder = common / "mail"
    folder.mkdir()
    shutil.chown(folder, USER)
    return folder


@pytest.mark.parametrize(
    ("scheme", "protocol"),
    [("smtp://", b"with ESMTP "), ("smtp+tls://", b"with ESMTPS"), ("smtp+notls://", b"with ESMTP ")],
)
async def test_opensmtpd_sends_to_us(
    tmp_path: Path, common: Path, key_pair: KeyPair, scheme: str, protocol: bytes
) -> None:
    """Plain, with TLS demanded, and with TLS if it is there: 8-bit octets and dots arrive as they were sent."""
    async with site(tmp_path / "here", key_pair) as here:
        out = (
            f'action "out" relay host {scheme}127.0.0.1:{here.smtp} tls no-verify\nmatch from any for any action "out"'
        )
        if scheme == "smtp+notls://":
            out = out.replace(" tls no-verify", "")
        with opensmtpd(common / "opensmtpd", out) as port:
            await send(port, 5)
            received = await here.inbox(5)
    assert all(octets.endswith(body_of(MESSAGE.encode())) for octets in received)
    assert all(protocol in octets or b"with ESMTPS" in octets for octets in received)


@pytest.mark.parametrize("service", ["submission", "submissions"])
async def test_opensmtpd_submits(tmp_path: Path, common: Path, key_pair: KeyPair, service: str) -> None:
    """As the smart host's customer: TLS, verified, by STARTTLS and from the start, and AUTH."""
    async with site(tmp_path / "here", key_pair) as here:
        scheme, port_there = {"submission": ("smtp+tls", here.submission), "submissions": ("smtps", here.submissions)}[
            service
        ]
        out = (
            f'action "out" relay host {scheme}://us@127.0.0.1:{port_there} auth <secrets> tls no-verify\n'
            'match from any for any action "out"'
        )
        secrets = f'table secrets {{ "us" = "{ADA}:{PASSWORD}" }}'
        with opensmtpd(common / "opensmtpd", out, more=secrets) as port:
            await send(port, 2, sender=ADA)
            received = await here.inbox(2)
    assert all(b"with ESMTPSA" in octets for octets in received)


async def test_opensmtpd_delivers_by_lmtp(tmp_path: Path, common: Path, key_pair: KeyPair) -> None:
    """Its LMTP agent hands us a message for an address, one at a time."""
    async with site(tmp_path / "here", key_pair) as here:
        actions = (
            f'action "in" lmtp "127.0.0.1:{here.lmtp}" rcpt-to virtual <people>\n'
            'match from any for domain "rosewood.test" action "in"'
        )
        with opensmtpd(common / "opensmtpd", actions, more=f'table people {{ "{ADA}" = "{USER}" }}') as port:
            await send(port, 3)
            received = await here.inbox(3)
    assert all(octets.endswith(body_of(MESSAGE.encode())) for octets in received)
    assert all(b"with LMTP" in octets for octets in received)


async def test_we_send_to_opensmtpd(tmp_path: Path, common: Path, key_pair: KeyPair) -> None:
    """From submission through the queue to its maildir; an unknown user bounces."""
    port = free_port()
    folder = maildir(common)
    async with site(tmp_path / "here", key_pair, exchangers={"harbor.test": port}) as here:
        upload = tmp_path / "message"
        upload.write_bytes(MESSAGE.format(subject="out").encode())
        with opensmtpd(common / "opensmtpd", HERE.format(mail=folder), more=PEOPLE.format(user=USER), port=port):
            await run(
                "curl", "-sS", "-k", "--url", f"smtps://127.0.0.1:{here.submissions}", "--mail-from", ADA, "--mail-rcpt",
                "bob@harbor.test", "--mail-rcpt", "nobody@harbor.test", "--user", f"{ADA}:{PASSWORD}", "--upload-file",
                str(upload),
            )  # fmt: skip
            (bounce,) = await here.inbox()
            (octets,) = await asyncio.to_thread(files_in, folder / "new")
    assert octets.replace(b"\r\n", b"\n").endswith(MESSAGE.format(subject="out").replace("\r\n", "\n").encode())
    assert b"Final-Recipient: rfc822; nobody@harbor.test" in bounce


async def test_a_notification_of_success_goes_round(tmp_path: Path, common: Path, key_pair: KeyPair) -> None:
    """RFC 3461: what was asked of OpenSMTPD reaches us, and our report goes back into its maildir."""
    port = free_port()
    folder = maildir(common)
    async with site(tmp_path / "here", key_pair, exchangers={"harbor.test": port}) as here:
        out = (
            HERE.format(mail=folder)
            + f'action "out" relay host smtp://127.0.0.1:{here.smtp} tls no-verify\nmatch from any for any action "out"'
        )
        with opensmtpd(common / "opensmtpd", out, more=PEOPLE.format(user=USER), port=port):
            await send(
                port, 1, options=("BODY=8BITMIME", "ENVID=QQ314159", "RET=HDRS"), for_each=("NOTIFY=SUCCESS,FAILURE",)
            )
            await here.inbox()
            (report,) = await asyncio.to_thread(files_in, folder / "new")
    assert b"Original-Envelope-Id: QQ314159" in report
    assert b"Action: delivered" in report
    assert f"Reporting-MTA: dns; {HOST}".encode() in report
