"""Our SMTP services and Exim, both ways: TLS, CHUNKING, PIPELINING, SMTPUTF8, DSN, AUTH, LMTP."""

from __future__ import annotations

import asyncio
import shutil
import smtplib
from pathlib import Path

import pytest
from bench._exim import USER, exim
from bench._postfix import free_port
from tests.interop.smtp_site import ADA, MESSAGE, PASSWORD, body_of, files_in, run, send, site

from letterlock.host.tls import KeyPair

pytestmark = pytest.mark.interop

TO_US = """
out:
  driver = manualroute
  route_list = * 127.0.0.1::{port} byname
  self = send
  transport = out
"""
BY_SMTP = """
out:
  driver = smtp
  allow_localhost
  tls_verify_certificates = {chain}
  tls_try_verify_hosts =
  {more}
"""
OFFERS = "smtputf8_advertise_hosts = *\ndsn_advertise_hosts = *\nlog_selector = +pipelining\n"
HERE = """
here:
  driver = accept
  domains = harbor.test
  local_parts = bob : grüße
  transport = maildir
"""
MAILDIR = """
maildir:
  driver = appendfile
  directory = {folder}/mail
  maildir_format
  create_directory
  user = Debian-exim
"""
PLAIN = """
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  client_send = ^{user}^{password}
"""
KNOWN_ONLY = """
  require verify = recipient
  accept
"""


def readable_by_exim(pair: KeyPair, folder: Path) -> str:
    """Return main options that make Exim offer STARTTLS with a certificate."""
    key = folder / "exim-key.pem"
    shutil.copy(pair.key, key)
    shutil.chown(key, USER)
    chain = folder / "exim-chain.pem"
    shutil.copy(pair.chain, chain)
    return f"tls_advertise_hosts = *\ntls_certificate = {chain}\ntls_privatekey = {key}\n"


@pytest.mark.parametrize(
    ("more", "flags"),
    [
        ("hosts_require_tls = *", (" X=TLS", " K ", " L ")),
        ("hosts_avoid_tls = *", (" K ", " L ")),
        ("hosts_avoid_tls = *\n  hosts_try_chunking =", (" L ",)),
        ("hosts_avoid_tls = *\n  hosts_avoid_pipelining = *\n  hosts_try_chunking =", ()),
    ],
)
async def test_exim_sends_to_us(
    tmp_path: Path, common: Path, key_pair: KeyPair, more: str, flags: tuple[str, ...]
) -> None:
    """By BDAT and DATA, pipelined and not, under TLS and plain: 8-bit octets and dots arrive as they were sent."""
    shutil.copy(key_pair.chain, common / "chain.pem")
    async with site(tmp_path / "here", key_pair) as here:
        transport = BY_SMTP.format(chain=common / "chain.pem", more=more)
        with exim(common / "exim", OFFERS, routers=TO_US.format(port=here.smtp), transports=transport) as port:
            await send(port, 5)
            received = await here.inbox(5)
            sent: list[str] = []
            while len(sent) < 5:  # it writes of a delivery behind our reply
                await asyncio.sleep(0.02)
                (log,) = files_in(common / "exim" / "log")
                sent = [f" {line} " for line in log.decode().splitlines() if " => " in line]
    assert all(octets.endswith(body_of(MESSAGE.encode())) for octets in received)
    under_tls = "hosts_require_tls" in more
    assert all((b"with ESMTPS" in octets.partition(b"by mx.rosewood.test")[2][:40]) is under_tls for octets in received)
    assert [line for line in sent if not all(flag in line for flag in flags)] == []


async def test_exim_sends_internationalized_mail(tmp_path: Path, common: Path, key_pair: KeyPair) -> None:
    """RFC 6531: a sender beyond ASCII arrives with UTF8SMTP said in our trace."""
    async with site(tmp_path / "here", key_pair) as here:
        transport = BY_SMTP.format(chain="", more="hosts_avoid_tls = *")
        with exim(common / "exim", OFFERS, routers=TO_US.format(port=here.smtp), transports=transport) as port:
            await send(port, 1, sender="grüße@harbor.test", options=("BODY=8BITMIME", "SMTPUTF8"))
            (octets,) = await here.inbox()
    assert "Return-Path: <grüße@harbor.test>\r\n".encode() in octets
    assert b"with UTF8SMTP" in octets


async def test_a_notification_of_success_goes_round(tmp_path: Path, common: Path, key_pair: KeyPair) -> None:
    """RFC 3461: what was asked of Exim reaches us, and our report goes back to Exim's maildir, with the envelope's id."""
    port = free_port()
    async with site(tmp_path / "here", key_pair, exchangers={"harbor.test": port}) as here:
        transports = BY_SMTP.format(chain="", more="") + MAILDIR.format(folder=common / "exim")
        routers = HERE + TO_US.format(port=here.smtp)
        with exim(common / "exim", OFFERS, routers=routers, transports=transports, port=port):
            options = ("BODY=8BITMIME", "ENVID=QQ314159", "RET=HDRS")
            await send(port, 1, options=options, for_each=("NOTIFY=SUCCESS,FAILURE", f"ORCPT=rfc822;{ADA}"))
            await here.inbox()
            (report,) = await asyncio.to_thread(files_in, common / "exim" / "mail" / "new")
    assert b"Original-Envelope-Id: QQ314159" in report
    assert b"Action: delivered" in report
    assert f"Original-Recipient: rfc822; {ADA}".encode() in report
    assert "Grüße".encode() not in report


@pytest.mark.parametrize("service", ["submission", "submissions"])
async def test_exim_submits(tmp_path: Path, common: Path, key_pair: KeyPair, service: str) -> None:
    """As the smart host's customer: TLS, by STARTTLS and from the start, and AUTH PLAIN."""
    shutil.copy(key_pair.chain, common / "chain.pem")
    async with site(tmp_path / "here", key_pair) as here:
        more = "hosts_require_tls = *\n  hosts_require_auth = *"
        more += "\n  protocol = smtps" if service == "submissions" else ""
        ours = {"submission": here.submission, "submissions": here.submissions}[service]
        sections = PLAIN.format(user=ADA, password=PASSWORD)
        transport = BY_SMTP.format(chain=common / "chain.pem", more=more)
        with exim(
            common / "exim", OFFERS, routers=TO_US.format(port=ours), transports=transport, sections=sections
        ) as port:
            await send(port, 2, sender=ADA)
            received = await here.inbox(2)
    assert all(b"with ESMTPSA" in octets for octets in received)
    assert all(octets.endswith(body_of(MESSAGE.encode())) for octets in received)


async def test_exim_delivers_by_lmtp(tmp_path: Path, common: Path, key_pair: KeyPair) -> None:
    """RFC 2033: two recipients, one unknown; the one gets its copy, and only the other bounces to the sender."""
    port = free_port()
    async with site(tmp_path / "here", key_pair) as here:
        transports = BY_SMTP.format(chain="", more=f"protocol = lmtp\n  port = {here.lmtp}") + MAILDIR.format(
            folder=common / "exim"
        )
        routers = HERE + TO_US.format(port=here.lmtp)
        with exim(common / "exim", OFFERS, routers=routers, transports=transports, port=port):
            await send(port, 1, recipients=(ADA, "nobody@rosewood.test"))
            (octets,) = await here.inbox()
            (bounce,) = await asyncio.to_thread(files_in, common / "exim" / "mail" / "new")
    assert octets.endswith(body_of(MESSAGE.encode()))
    assert b"with LMTP" in octets
    assert b"nobody@rosewood.test" in bounce
    assert b"550 5.1.1" in bounce
    assert b"Final-Recipient: rfc822;ada@" not in bounce


@pytest.mark.parametrize("tls", [True, False])
async def test_we_send_to_exim(tmp_path: Path, common: Path, key_pair: KeyPair, tls: bool) -> None:
    """From submission through the queue to Exim's maildir, with and without its TLS; an unknown user bounces."""
    port = free_port()
    options = OFFERS + (readable_by_exim(key_pair, common) if tls else "tls_advertise_hosts =\n")
    async with site(tmp_path / "here", key_pair, exchangers={"harbor.test": port}) as here:
        upload = tmp_path / "message"
        upload.write_bytes(MESSAGE.format(subject="out").encode())
        with exim(common / "exim", options, acl=KNOWN_ONLY, routers=HERE, port=port,
                  transports=MAILDIR.format(folder=common / "exim")):  # fmt: skip
            await run(
                "curl", "-sS", "-k", "--url", f"smtps://127.0.0.1:{here.submissions}", "--mail-from", ADA, "--mail-rcpt",
                "bob@harbor.test", "--mail-rcpt", "nobody@harbor.test", "--user", f"{ADA}:{PASSWORD}", "--upload-file",
                str(upload),
            )  # fmt: skip
            (bounce,) = await here.inbox()
            (octets,) = await asyncio.to_thread(files_in, common / "exim" / "mail" / "new")
            relayed = next(line for line in here.log if line["event"] == "relayed")
    assert octets.replace(b"\r\n", b"\n").endswith(MESSAGE.format(subject="out").replace("\r\n", "\n").encode())
    assert b"Final-Recipient: rfc822; nobody@harbor.test" in bounce
    assert relayed["security"] == ("TLSv1.3 may" if tls else "none")


async def test_we_send_internationalized_mail_to_exim(tmp_path: Path, common: Path, key_pair: KeyPair) -> None:
    """RFC 6531 outward: the mailbox's name is not ASCII."""
    port = free_port()
    async with site(tmp_path / "here", key_pair, exchangers={"harbor.test": port}) as here:

        def submit_here() -> None:
            with smtplib.SMTP("127.0.0.1", here.submission, timeout=20) as client:
                client.starttls()
                client.login(ADA, PASSWORD)
                client.sendmail(
                    ADA, ["grüße@harbor.test"], MESSAGE.format(subject="u").encode(), ["SMTPUTF8", "BODY=8BITMIME"]
                )

        with exim(common / "exim", OFFERS, acl=KNOWN_ONLY, routers=HERE, port=port,
                  transports=MAILDIR.format(folder=common / "exim")):  # fmt: skip
            await asyncio.to_thread(submit_here)
            (octets,) = await asyncio.to_thread(files_in, common / "exim" / "mail" / "new")
    assert octets.endswith(body_of(MESSAGE.encode()).replace(b"\r\n", b"\n"))
