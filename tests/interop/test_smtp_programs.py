"""Our SMTP services against programs that are not ours, without a lab: Postfix both ways, swaks, curl, msmtp."""

from __future__ import annotations

import asyncio
import smtplib
from pathlib import Path

import pytest
from bench._postfix import postfix
from tests.interop.smtp_site import ADA, HOST, MESSAGE, PASSWORD, body_of, files_in, run, site

from letterlock.host.tls import KeyPair

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("tls", [[], ["-tls"]])
async def test_swaks_delivers_on_the_border(tmp_path: Path, key_pair: KeyPair, tls: list[str]) -> None:
    """Plain and with STARTTLS; the message lies in the mailbox with its trace fields before it."""
    async with site(tmp_path, key_pair) as here:
        await run("swaks", "-s", "127.0.0.1", "-p", str(here.smtp), "-f", "x@harbor.test", "-t", ADA, *tls,
                  "--ehlo", "client.test", "--body", "line\n.dot\n")  # fmt: skip
        (octets,) = await here.inbox()
    assert octets.startswith(
        b"Return-Path: <x@harbor.test>\r\nDelivered-To: ada@rosewood.test\r\nReceived: from client.test "
    )
    assert (b"with ESMTPS\r\n\ttls TLS_" in octets) is bool(tls)
    assert body_of(octets).startswith(b"line\r\n.dot\r\n")


async def test_swaks_is_refused_what_it_may_not(tmp_path: Path, key_pair: KeyPair) -> None:
    """Relaying, unknown users, and a message too big by its own word: refused in the session."""
    async with site(tmp_path, key_pair) as here:
        base = ["swaks", "-s", "127.0.0.1", "-p", str(here.smtp), "-f", "x@harbor.test"]
        assert b"550 5.7.1" in await run(*base, "-t", "a@elsewhere.test", expected=24)
        assert b"550 5.1.1" in await run(*base, "-t", "nobody@rosewood.test", expected=24)
        assert b"LIMITS RCPTMAX=1000" in await run(*base, "-t", ADA, "--quit-after", "EHLO")


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_swaks_submits(tmp_path: Path, key_pair: KeyPair, mechanism: str) -> None:
    """AUTH over TLS from the start; a wrong password is not taken."""
    async with site(tmp_path, key_pair) as here:
        base = ["swaks", "-s", "127.0.0.1", "-p", str(here.submissions), "-tlsc", "-f", ADA, "-t", ADA, "--auth", mechanism,
                "--auth-user", ADA]  # fmt: skip
        await run(*base, "--auth-password", PASSWORD)
        (octets,) = await here.inbox()
        assert b"with ESMTPSA" in octets
        assert b"535 5.7.8" in await run(*base, "--auth-password", "wrong", expected=28)


@pytest.mark.parametrize("mechanism", ["plain", "scram-sha-1", "scram-sha-256"])
async def test_msmtp_submits(tmp_path: Path, key_pair: KeyPair, mechanism: str) -> None:
    """STARTTLS, and SCRAM by GNU SASL."""
    arguments = ["msmtp", "--host=127.0.0.1", "--tls=on", "--tls-starttls=on", f"--tls-trust-file={key_pair.chain}",
                 "--tls-host-override=mx.rosewood.test", f"--auth={mechanism}", f"--user={ADA}", f"--from={ADA}",
                 f"--passwordeval=echo {PASSWORD}"]  # fmt: skip
    async with site(tmp_path, key_pair) as here:
        await run(
            *arguments, f"--port={here.submission}", ADA, given=MESSAGE.format(subject="m").replace("\r", "").encode()
        )
        (octets,) = await here.inbox()
    assert body_of(octets) == body_of(MESSAGE.format(subject="m").encode())


async def test_curl_submits(tmp_path: Path, key_pair: KeyPair) -> None:
    """Both ports, verified against the certificate's own name."""
    upload = tmp_path / "message"
    upload.write_bytes(MESSAGE.format(subject="c").encode())
    async with site(tmp_path, key_pair) as here:
        for scheme, port in (("smtps", here.submissions), ("smtp", here.submission)):
            await run(
                "curl", "-sS", "--ssl-reqd", "--cacert", str(key_pair.chain), "--resolve", f"{HOST}:{port}:127.0.0.1",
                "--url", f"{scheme}://{HOST}:{port}", "--mail-from", ADA, "--mail-rcpt", ADA, "--user", f"{ADA}:{PASSWORD}",
                "--upload-file", str(upload),
            )  # fmt: skip
        received = await here.inbox(2)
    assert [octets.endswith(MESSAGE.format(subject="c").encode()) for octets in received] == [True, True]


async def test_postfix_sends_to_us(tmp_path: Path, common: Path, key_pair: KeyPair) -> None:
    """Over STARTTLS with pipelining and CHUNKING; 8-bit octets and dots arrive as they were sent."""
    async with site(tmp_path / "here", key_pair) as here:
        more = (
            f"transport_maps = inline:{{ rosewood.test=smtp:[127.0.0.1]:{here.smtp} }}\nmydestination =\n"
            f"smtpd_recipient_restrictions = permit\nsmtp_tls_security_level = encrypt\n"
        )
        with postfix(common / "postfix", more) as port:

            def submit() -> None:
                with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
                    for number in range(5):
                        client.sendmail("bob@harbor.test", [ADA], MESSAGE.format(subject=f"n{number}").encode(),
                                        ["BODY=8BITMIME"])  # fmt: skip

            await asyncio.to_thread(submit)
            received = await here.inbox(5)
    assert all(octets.endswith(body_of(MESSAGE.encode())) for octets in received)
    assert all(b"with ESMTPS" in octets for octets in received)


@pytest.mark.parametrize("level", ["none", "encrypt"])
async def test_we_send_to_postfix(tmp_path: Path, common: Path, key_pair: KeyPair, level: str) -> None:
    """From submission through the queue to Postfix's maildir, with and without its TLS; an unknown user bounces."""
    maildir = common / "postfix" / "mail"
    more = (
        f"mydestination =\nvirtual_mailbox_domains = harbor.test\nvirtual_mailbox_base = {maildir}\n"
        "virtual_mailbox_maps = inline:{ bob@harbor.test=bob/ }\nvirtual_uid_maps = static:65534\n"
        f"virtual_gid_maps = static:65534\nsmtpd_tls_cert_file = {key_pair.chain}\nsmtpd_tls_key_file = {key_pair.key}\n"
        f"smtpd_tls_security_level = {level}\nsmtpd_relay_restrictions = reject_unauth_destination\n"
    )
    with postfix(common / "postfix", more) as port:
        maildir.mkdir()
        maildir.chmod(0o777)
        async with site(tmp_path / "here", key_pair, exchangers={"harbor.test": port}) as here:
            upload = tmp_path / "message"
            upload.write_bytes(MESSAGE.format(subject="out").encode())
            await run(
                "curl", "-sS", "-k", "--url", f"smtps://127.0.0.1:{here.submissions}", "--mail-from", ADA, "--mail-rcpt",
                "bob@harbor.test", "--mail-rcpt", "nobody@harbor.test", "--user", f"{ADA}:{PASSWORD}", "--upload-file",
                str(upload),
            )  # fmt: skip
            (bounce,) = await here.inbox()
            files = await asyncio.to_thread(files_in, maildir / "bob" / "new")
            relayed = next(line for line in here.log if line["event"] == "relayed")
    (octets,) = files
    assert octets.replace(b"\r\n", b"\n").endswith(MESSAGE.format(subject="out").replace("\r\n", "\n").encode())
    assert b"5.1.1" in bounce
    assert relayed["security"] == ("TLSv1.3 may" if level == "encrypt" else "none")
