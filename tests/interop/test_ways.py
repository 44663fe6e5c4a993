"""Ways the administrator sets, to foreign programs: Dovecot over LMTP, and Postfix as a smart host that wants a password."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from bench._postfix import postfix
from tests.conftest import self_signed
from tests.interop.smtp_site import files_in

from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.host.logs import Log, send_to
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.host.tls import authenticated_client
from letterlock.mta.demand import Demands
from letterlock.mta.outbound import Outbound, OutboundSettings
from letterlock.mta.route import Relay, RoutingSettings

pytestmark = pytest.mark.interop

CONTENT = (
    b"From: x@rosewood.test\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@rosewood.test>\r\n"
    b"Subject: by another way\r\n\r\n.dot\r\n..dots\r\n"
)
_DOVECOT = """
protocols = lmtp
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
ssl = no
mail_location = maildir:{folder}/mail/%n
lda_mailbox_autocreate = yes
postmaster_address = postmaster@harbor.test
auth_username_format = %n
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = passwd-file
  args = {folder}/users
}}
service lmtp {{
  unix_listener lmtp {{
    mode = 0666
  }}
}}
service auth {{
  unix_listener {folder}/auth {{
    mode = 0666
  }}
}}
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users may enter."""
    made = Path(tempfile.mkdtemp(prefix="letterlock-ways-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@contextlib.asynccontextmanager
async def dovecot(folder: Path) -> AsyncIterator[Path]:
    """Dovecot with mailboxes for ada and bob, LMTP, and a socket that checks passwords (always "secret")."""
    folder.mkdir()
    (folder / "mail").mkdir()
    (folder / "mail").chmod(0o777)
    users = "".join(f"{name}::65534:65534::{folder}/mail/{name}::\n" for name in ("ada", "bob"))
    (folder / "users").write_text(users)
    (folder / "dovecot.conf").write_text(_DOVECOT.format(folder=folder))
    process = await asyncio.create_subprocess_exec("/usr/sbin/dovecot", "-F", "-c", str(folder / "dovecot.conf"))
    try:
        async with asyncio.timeout(60):
            while not ((folder / "run" / "lmtp").exists() and (folder / "auth").exists()):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        yield folder
    finally:
        process.terminate()
        await process.wait()


@contextlib.asynccontextmanager
async def sender(trusted: Path | None = None, **ways: Relay) -> AsyncIterator[Outbound]:
    """What sends mail for NAME.test by the way of that name."""
    before = send_to(lambda _line: None)
    clock = SystemClock()
    outbound = Outbound(
        OutboundSettings(
            "mx.rosewood.test", RoutingSettings(frozenset(), ways={f"{n}.test": w for n, w in ways.items()})
        ),
        resolver=ZoneTable.parse("relay.test. 300 IN A 127.0.0.1\n"),
        clock=clock,
        entropy=SystemEntropy(),
        log=Log("mta"),
        demand=Demands(clock=clock, authenticated=authenticated_client(trusted)),
    )
    try:
        yield outbound
    finally:
        await outbound.close()
        send_to(before)


async def send(outbound: Outbound, *recipients: str) -> list[Outcome]:
    """Send the message to these."""
    to = tuple(Recipient(Address.parse(recipient)) for recipient in recipients)
    return list(await outbound.deliver(Envelope(Address("x", "rosewood.test"), to), CONTENT))


def stored(folder: Path) -> list[bytes]:
    """What lies in a maildir, with CRLF."""
    return [octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for octets in files_in(folder / "new")]


async def test_dovecot_takes_mail_over_lmtp(folder: Path) -> None:
    """Two of three recipients exist: each has its own answer, the octets are equal."""
    async with dovecot(folder / "dovecot") as peer:
        async with sender(harbor=Relay(str(peer / "run" / "lmtp"), is_lmtp=True)) as outbound:
            outcomes = await send(outbound, "ada@harbor.test", "nobody@harbor.test", "bob@harbor.test")
        assert [outcome.result for outcome in outcomes] == [Result.RELAYED, Result.FAILED, Result.RELAYED]
        assert outcomes[1].status == "5.1.1"
        for name in ("ada", "bob"):
            (octets,) = await asyncio.to_thread(stored, peer / "mail" / name)
            assert octets.endswith(CONTENT)


async def test_postfix_as_a_smart_host(folder: Path) -> None:
    """With the password over TLS that proves its name it relays; without one, or under another name, nothing goes."""
    pair = self_signed(folder, "relay.test")
    maildir = folder / "mail"
    maildir.mkdir()
    maildir.chmod(0o777)
    async with dovecot(folder / "dovecot") as peer:
        more = (
            f"mydestination =\nvirtual_mailbox_domains = harbor.test\nvirtual_mailbox_base = {maildir}\n"
            "virtual_mailbox_maps = inline:{ bob@harbor.test=bob/ }\nvirtual_uid_maps = static:65534\n"
            f"virtual_gid_maps = static:65534\nsmtpd_tls_cert_file = {pair.chain}\nsmtpd_tls_key_file = {pair.key}\n"
            "smtpd_tls_security_level = may\nsmtpd_tls_auth_only = yes\nsmtpd_sasl_auth_enable = yes\n"
            f"smtpd_sasl_type = dovecot\nsmtpd_sasl_path = {peer}/auth\nmynetworks =\n"
            "smtpd_recipient_restrictions = permit_sasl_authenticated, reject\n"
        )
        with postfix(folder / "postfix", more) as port:
            known = Relay("relay.test", port, "us", "secret")
            async with sender(pair.chain, harbor=known) as outbound:
                (outcome,) = await send(outbound, "bob@harbor.test")
            assert (outcome.result, outcome.security) == (Result.RELAYED, "TLSv1.3 relay"), outcome
            for way, trusted, expected in (
                (Relay("relay.test", port), pair.chain, (Result.FAILED, "5.7.1")),
                (Relay("relay.test", port, "us", "wrong"), pair.chain, (Result.DEFERRED, "4.7.8")),
                (known, None, (Result.DEFERRED, "4.7.5")),
            ):
                async with sender(trusted, harbor=way) as outbound:
                    (outcome,) = await send(outbound, "bob@harbor.test")
                assert (outcome.result, outcome.status) == expected, outcome
            async with asyncio.timeout(60):
                while not (files := await asyncio.to_thread(stored, maildir / "bob")):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
    (octets,) = files
    assert octets.endswith(CONTENT)
