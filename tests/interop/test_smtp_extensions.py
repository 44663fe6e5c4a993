"""XCLIENT, LMTP, tokens, client certificates and conversion, with programs that are not ours on the other side."""

from __future__ import annotations

import asyncio
import imaplib
import ipaddress
import smtplib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from bench._postfix import postfix
from tests.admd.test_proofs import Site, token
from tests.admd.test_serve import SERVICES, Server, unverified
from tests.interop.smtp_site import PASSWORD, site
from tests.interop.test_smtp_programs import run
from tests.mta.test_inbound import SETTINGS, inbound

from letterlock.host.tls import KeyPair

pytestmark = pytest.mark.interop

ADA, SECRET = "ada@rosewood.test", "a long enough secret"
MESSAGE = (
    "From: ada@rosewood.test\r\nTo: bob@harbor.test\r\nSubject: x\r\nMIME-Version: 1.0\r\n"
    "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n.\r\n"
)


@pytest.fixture
def common() -> Iterator[Path]:
    """A folder that other users may enter, as in test_smtp_programs."""
    with tempfile.TemporaryDirectory(prefix="letterlock-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def proofs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A whole server that takes tokens and certificates."""
    made = Site(tmp_path_factory.mktemp("site"))
    with made.server.running():
        yield made


def mailbox(server: Server, count: int, holding: bytes = b"") -> list[bytes]:
    """Wait for so many messages that hold some octets in Ada's INBOX and return them."""
    with imaplib.IMAP4_SSL("127.0.0.1", server.port("imaps"), ssl_context=unverified()) as reader:
        reader.login(ADA, SECRET)
        end = time.monotonic() + 30
        while True:
            found = reader.fetch("1:*", "(BODY[])")[1] if int(reader.select()[1][0] or 0) >= count else []
            received = [one[1] for one in found if isinstance(one, tuple) and holding in one[1]]
            if len(received) >= count:
                return received
            assert time.monotonic() < end, "the mail did not come"
            time.sleep(0.1)


@pytest.mark.parametrize("mechanism", ["oauthbearer", "xoauth2", "external"])
async def test_msmtp_proves_who_it_is(proofs: Site, tmp_path: Path, mechanism: str) -> None:
    """With a token or a certificate in place of a password, over STARTTLS."""
    arguments = ["msmtp", "--host=127.0.0.1", "--tls=on", "--tls-starttls=on", "--tls-certcheck=off", f"--auth={mechanism}",
                 f"--from={ADA}", f"--port={proofs.server.port('submission')}"]  # fmt: skip
    if mechanism == "external":
        certificate = proofs.authority.certify(ADA)
        arguments += [f"--tls-cert-file={certificate}", f"--tls-key-file={certificate}", f"--user={ADA}"]
    else:
        (tmp_path / "token").write_text(token())
        arguments += [f"--user={ADA}", f"--passwordeval=cat {tmp_path}/token"]
    text = MESSAGE.replace("Subject: x", f"Subject: {mechanism}").replace("\r", "")
    await run(*arguments, ADA, given=text.encode())
    received = await asyncio.to_thread(mailbox, proofs.server, 1)
    assert any(f"Subject: {mechanism}\r\n".encode() in octets and b"with ESMTPSA" in octets for octets in received)


@pytest.mark.parametrize(("options", "code"), [(("--oauth2-bearer", "TOKEN"), 0), (("--oauth2-bearer", "wrong"), 67)])
async def test_curl_proves_who_it_is(proofs: Site, tmp_path: Path, options: tuple[str, str], code: int) -> None:
    """OAUTHBEARER by curl, to submission and to IMAP; a wrong token is refused there (67: login denied)."""
    upload = tmp_path / "message"
    upload.write_bytes(MESSAGE.encode())
    bearer = [options[0], options[1].replace("TOKEN", token())]
    place = f"smtps://127.0.0.1:{proofs.server.port('submissions')}"
    await run("curl", "-sS", "-k", "--url", place, "--mail-from", ADA, "--mail-rcpt", ADA, "--user", ADA, *bearer,
              "--upload-file", str(upload), expected=code)  # fmt: skip
    place = f"imaps://127.0.0.1:{proofs.server.port('imaps')}/INBOX"
    await run("curl", "-sS", "-k", "--url", place, "--user", ADA, *bearer, "-X", "NOOP", expected=code)


async def test_curl_shows_a_certificate(proofs: Site, tmp_path: Path) -> None:
    """EXTERNAL, offered because a certificate was shown; the mail arrives."""
    upload = tmp_path / "message"
    upload.write_bytes(MESSAGE.replace("Subject: x", "Subject: by certificate").encode())
    place = f"smtps://127.0.0.1:{proofs.server.port('submissions')}"
    certificate = proofs.authority.certify(ADA)
    await run("curl", "-sS", "-k", "--url", place, "--mail-from", ADA, "--mail-rcpt", ADA, "--cert", str(certificate),
              "--user", f"{ADA}:", "--login-options", "AUTH=EXTERNAL", "--upload-file", str(upload))  # fmt: skip
    received = await asyncio.to_thread(mailbox, proofs.server, 1, b"Subject: by certificate\r\n")
    assert any(b"with ESMTPSA" in octets for octets in received)


async def test_swaks_introduces_a_client() -> None:
    """XCLIENT as a proxy says it: the client is who was introduced, in the trace and in the log."""
    trusting = replace(SETTINGS, trusted_proxies=(ipaddress.ip_network("127.0.0.1/32"),))
    async with inbound(trusting) as (endpoint, ledger, log):
        said = await run(
            "swaks", "-s", "127.0.0.1", "-p", str(endpoint.port), "-f", "x@harbor.test", "-t", ADA, "--ehlo",
            "mx.harbor.test", "--xclient-name", "mx.harbor.test", "--xclient-addr", "192.0.2.77", "--xclient-port", "4711",
            "--xclient-proto", "ESMTP", "--xclient-helo", "mx.harbor.test",
        )  # fmt: skip
    assert b"XCLIENT NAME ADDR PORT PROTO HELO" in said
    assert b"Received: from mx.harbor.test ([192.0.2.77])" in b"".join(ledger.transactions[0].octets)
    assert any(event["event"] == "client introduced" and event["client"] == "192.0.2.77:4711" for event in log)


async def test_postfix_hands_over_by_lmtp(common: Path) -> None:
    """Postfix in front, our socket behind it: each recipient has its own answer, and 8-bit text comes as it was."""
    folder = common / "here"
    folder.mkdir(mode=0o755)
    listen = {name: ["127.0.0.1:0"] for name in SERVICES} | {"lmtp": ["unix:lmtp"]}
    server = Server(folder, listen=listen)
    folder.chmod(0o755)
    with server.running():
        more = (
            f"transport_maps = inline:{{ rosewood.test=lmtp:unix:{folder}/lmtp }}\nmydestination =\n"
            "smtpd_recipient_restrictions = permit\n"
        )
        with postfix(common / "postfix", more) as port:

            def submit() -> None:
                with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
                    client.sendmail(ADA, [ADA, "nobody@rosewood.test"], MESSAGE.encode(), ["BODY=8BITMIME"])

            await asyncio.to_thread(submit)
            received = await asyncio.to_thread(mailbox, server, 2)  # the message, and Postfix's report of nobody
    message = next(
        octets for octets in received if b"Subject: x\r\n" in octets and b"MAILER-DAEMON" not in octets[:300]
    )
    assert message.endswith("\r\n\r\nGrüße\r\n.\r\n".encode())
    assert b"with LMTP\r\n" in message
    assert any(b"550 5.1.1" in octets and b"nobody@rosewood.test" in octets for octets in received)


async def test_postfix_that_takes_seven_bits_only(tmp_path: Path, common: Path, key_pair: KeyPair) -> None:
    """Without 8BITMIME and CHUNKING in its offer it gets quoted-printable, and the text reads the same."""
    maildir = common / "postfix" / "mail"
    more = (
        f"mydestination =\nvirtual_mailbox_domains = harbor.test\nvirtual_mailbox_base = {maildir}\n"
        "virtual_mailbox_maps = inline:{ bob@harbor.test=bob/ }\nvirtual_uid_maps = static:65534\n"
        "virtual_gid_maps = static:65534\nsmtpd_discard_ehlo_keywords = 8bitmime, chunking\n"
        "smtpd_relay_restrictions = reject_unauth_destination\n"
    )
    with postfix(common / "postfix", more) as port:
        maildir.mkdir()
        maildir.chmod(0o777)
        async with site(tmp_path / "here", key_pair, exchangers={"harbor.test": port}) as here:
            upload = tmp_path / "message"
            upload.write_bytes(MESSAGE.encode())
            place = f"smtps://127.0.0.1:{here.submissions}"
            await run("curl", "-sS", "-k", "--url", place, "--mail-from", ADA, "--mail-rcpt", "bob@harbor.test",
                      "--user", f"{ADA}:{PASSWORD}", "--upload-file", str(upload))  # fmt: skip
            octets = await asyncio.to_thread(_arrived, maildir / "bob" / "new")
    assert octets.isascii()
    assert b"Content-Transfer-Encoding: quoted-printable\n" in octets
    assert octets.endswith(b"\n\nGr=C3=BC=C3=9Fe\n=2E\n")


def _arrived(folder: Path) -> bytes:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        files = sorted(folder.glob("*")) if folder.is_dir() else []
        if files:
            return files[0].read_bytes()
        time.sleep(0.1)
    raise AssertionError("nothing arrived")
