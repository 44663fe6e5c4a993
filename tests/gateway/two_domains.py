"""Two domains of the lab in this process: real settings, sockets, TLS, DNS and store, wired as `letterlock serve` wires them."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import email.utils
import secrets
import smtplib
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from letterlock.admd import settings as admd_settings
from letterlock.admd.domain_facts import facts_of
from letterlock.admd.run import Admd, running
from letterlock.admd.settings import Settings
from letterlock.cli.root import letterlock
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.host.logs import send_to
from letterlock.hostmaster.records import wanted_records
from letterlock.hostmaster.tree import sign_tree
from letterlock.lab.internet import Internet
from letterlock.lab.names import anchor_of, start_name_server, zone_plans
from letterlock.lab.plan import Organisation, Person, Plan, draw
from letterlock.store.interface import Store

PASSWORD = "the domain's own secret\n"


class _Founded(Internet):
    """A lab whose settings are our own."""

    more: Mapping[str, Mapping[str, Any]] = {}

    def _overrides(self, organisation: Organisation) -> dict[str, Any]:
        usual, more = super()._overrides(organisation), self.more.get(organisation.domain, {})
        return usual | dict(more) | {"listen": usual["listen"] | more.get("listen", {})}


@dataclass
class Lab:
    """rosewood.test and harbor.test, each with two people."""

    internet: Internet
    admds: dict[str, Admd] = field(default_factory=dict)
    settings: dict[str, Settings] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    @property
    def plan(self) -> Plan:
        return self.internet.plan

    def home(self, address: str) -> Organisation:
        return next(one for one in self.plan.organisations if one.domain == address.rpartition("@")[2])

    def person(self, address: str) -> Person:
        return next(one for one in self.home(address).people if one.local_part == address.partition("@")[0])

    def profile(self, address: str) -> Path:
        return self.internet.profile(self.person(address))

    def folder(self, domain: str) -> Path:
        return self.internet.folder / domain

    def store(self, domain: str) -> Store:
        return self.admds[domain].store

    @property
    def trusted(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.internet.authority))
        context.check_hostname = False
        return context

    async def submit(self, author: str, message: bytes, *recipients: str) -> tuple[int, bytes]:
        """Submit as a person of the lab; return the answer to DATA."""

        def send() -> tuple[int, bytes]:
            home = self.home(author)
            with smtplib.SMTP_SSL(
                home.address, home.ports["submissions"], local_hostname="localhost", context=self.trusted, timeout=30
            ) as smtp:
                smtp.login(author, self.person(author).password)
                smtp.mail(author, [] if message.isascii() else ["BODY=8BITMIME"])
                for recipient in recipients:
                    assert smtp.rcpt(recipient)[0] == 250
                return smtp.data(message)

        return await asyncio.to_thread(send)

    async def arrived(self, address: str, which: bytes, mailbox: str = "INBOX") -> bytes:
        """Return the one message of a mailbox that holds some octets, waiting until it is there."""
        for _ in range(3000):
            found = [octets for octets in await self.inbox(address, mailbox) if which in octets]
            if found:
                assert len(found) == 1
                return found[0]
            await asyncio.sleep(0.02)
        raise AssertionError(f"{address} has no {which!r} in {mailbox}: " + "".join(self.log[-20:]))

    async def inbox(self, address: str, mailbox: str = "INBOX") -> list[bytes]:
        """Return the messages of a mailbox."""
        store = self.store(address.rpartition("@")[2])
        found = await store.mailbox(address, mailbox)
        if found is None:
            return []
        handle = await store.open(found.id)
        octets = [await store.read(content) for content in handle.snapshot().contents]
        handle.close()
        return octets

    async def settled(self) -> None:
        """Wait until no queue holds anything."""
        for _ in range(3000):
            sizes = [await admd.store.queue_size() for admd in self.admds.values()]
            if all(size == (0, 0) for size in sizes):
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the queues do not become empty: " + "".join(self.log[-20:]))

    async def run(self, *arguments: str, succeeds: bool = True) -> Result:
        """Run a command."""
        return await asyncio.to_thread(command, *arguments, succeeds=succeeds)


def command(*arguments: str, succeeds: bool = True) -> Result:
    result = CliRunner().invoke(letterlock, arguments)
    assert (result.exit_code == 0) is succeeds, result.output
    return result


def identifier(message: bytes) -> bytes:
    """Return what tells a message from others."""
    return message.partition(b"Message-ID: ")[2].partition(b"\r\n")[0]


def message(author: str, to: str, text: str = "Dig on Monday.", subject: str = "Beds", **fields: str) -> bytes:
    now = email.utils.format_datetime(datetime.datetime.now(datetime.UTC))
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    head = (
        f"From: {author}\r\nTo: {to}\r\nSubject: {subject}\r\nDate: {now}\r\nMessage-ID: <{secrets.token_hex(8)}@x>\r\n"
    )
    return (head + more + "\r\n" + text + "\r\n").encode()


def founded_authority(settings: Settings) -> None:
    """Found the domain's certification authority and write the passwords' files."""
    folder = settings.folder
    for name in ("ca.password", "smime.password"):
        (folder / name).write_text(PASSWORD)
    command("ca", "init", settings.domain, "--folder", str(folder / "ca"), "--password-file", str(folder / "ca.password"),
            "--kind", "p256")  # fmt: skip


@contextlib.asynccontextmanager
async def two_domains(
    folder: Path,
    more: Mapping[str, Mapping[str, Any]],
    prepare: Callable[[Lab, Settings], None] = lambda _lab, _settings: None,
) -> AsyncIterator[Lab]:
    """Run both domains with `more` settings by domain; `prepare` is called for each before it starts."""
    clock, entropy = SystemClock(), SystemEntropy()
    plan = draw(secrets.randbelow, lambda: secrets.token_hex(9))
    internet = _Founded(plan, folder / "lab", folder / "lab" / "authority.pem")
    type(internet).more = more
    await internet._found_all(clock, entropy)
    lab = Lab(internet)
    before = send_to(lambda line: lab.log.append(line + "\n"))
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(send_to, before)
        for organisation in plan.organisations:
            settings = admd_settings.load(lab.folder(organisation.domain))
            lab.settings[organisation.domain] = settings
            await asyncio.to_thread(prepare, lab, settings)
        published = {
            one.domain: wanted_records(facts_of(lab.settings[one.domain], addresses=(one.address,)))
            for one in plan.organisations
        }
        plans = zone_plans(plan, published)
        (internet.folder / "anchors.zone").write_text(anchor_of(plans), encoding="ascii")
        server = await start_name_server(plan, sign_tree(plans, int(clock.now())))
        stack.push_async_callback(server.aclose)
        for domain, settings in lab.settings.items():
            lab.admds[domain] = await stack.enter_async_context(running(settings, clock=clock, entropy=entropy))
        yield lab
