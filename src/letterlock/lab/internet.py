"""A running lab: the name server here, each organisation's server in a process of its own, as `letterlock serve` runs it.

    async with Internet.running(plan, folder, clock=..., entropy=...) as internet:
        ...

The servers end with us whatever ends us: each watches its standard input, whose other end we hold. They say that they are
ready over a notification socket, as they would to systemd.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit

from letterlock.admd.create import create
from letterlock.admd.domain_facts import facts_of
from letterlock.errors import OurFault
from letterlock.host.clock import Clock
from letterlock.host.entropy import Entropy
from letterlock.hostmaster.records import WantedRecord, wanted_records
from letterlock.hostmaster.tree import sign_tree
from letterlock.lab.names import add_examples, anchor_of, start_name_server, zone_plans
from letterlock.lab.plan import SERVICES, Organisation, Person, Plan
from letterlock.trust.primitives import server_certificates
from letterlock.trust.primitives.server_certificates import Identity, Validity

READY_WITHIN_SECONDS = 30.0
_STOP_WITHIN_SECONDS = 15.0
_LAB_DAYS = 30


@dataclass(frozen=True, slots=True)
class Internet:
    """A lab that runs: its plan, its folder, and the certificate (PEM file) that all its servers' certificates hang on."""

    plan: Plan
    folder: Path
    authority: Path

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls, plan: Plan, folder: Path, *, clock: Clock, entropy: Entropy, python: str = sys.executable
    ) -> AsyncIterator[Internet]:
        """Set everything up in `folder`, start it, and take it down again at the end. Raises OurFault, OSError."""
        internet = cls(plan, folder, folder / "authority.pem")
        published = await internet._found_all(clock, entropy)
        plans = zone_plans(plan, published)
        (folder / "anchors.zone").write_text(anchor_of(plans), encoding="ascii")
        name_server = await start_name_server(plan, sign_tree(plans, int(clock.now())))
        try:
            async with contextlib.AsyncExitStack() as servers:
                async with asyncio.TaskGroup() as starting:
                    for organisation in plan.organisations:
                        server = _Server(organisation, folder / organisation.domain, python)
                        servers.push_async_callback(server.stop)
                        starting.create_task(server.start())
                # Who looks at the examples comes later than the mail.
                examples = asyncio.create_task(add_examples(name_server, plans, int(clock.now())))
                servers.callback(examples.cancel)
                yield internet
        finally:
            await name_server.aclose()

    async def _found_all(self, clock: Clock, entropy: Entropy) -> dict[str, tuple[WantedRecord, ...]]:
        """Set up both installations; return the records they want published, by domain."""
        now = datetime.datetime.fromtimestamp(clock.now(), datetime.UTC)
        validity = Validity(now - datetime.timedelta(hours=1), datetime.timedelta(days=_LAB_DAYS))
        issuer = server_certificates.authority("The lab's certification authority", validity, 1)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.authority.write_bytes(issuer.certificate)
        # Making keys takes a while, and a core each.
        published = await asyncio.gather(
            *(
                asyncio.to_thread(self._found, organisation, issuer, clock, entropy)
                for organisation in self.plan.organisations
            )
        )
        return {
            organisation.domain: records
            for organisation, records in zip(self.plan.organisations, published, strict=True)
        }

    def _found(
        self, organisation: Organisation, issuer: Identity, clock: Clock, entropy: Entropy
    ) -> tuple[WantedRecord, ...]:
        found = create(
            self.folder / organisation.domain,
            organisation.domain,
            self._overrides(organisation),
            clock=clock,
            entropy=entropy,
            issuer=issuer,
            passwords={person.local_part: person.password for person in organisation.people},
        )
        for person in organisation.people:
            self._write_profile(organisation, person)
        return wanted_records(facts_of(found.settings, addresses=(organisation.address,)))

    def _write_profile(self, organisation: Organisation, person: Person) -> None:
        """Write what `letterlock mail --profile` needs to act as this person."""
        profile = {
            "user": organisation.address_of(person),
            "password": person.password,
            "imap": f"imaps://{organisation.endpoint('imaps')}",
            "submission": f"submissions://{organisation.endpoint('submissions')}",
            "ca": str(self.authority),
            "server-name": organisation.host_name,
            # The servers prove themselves by DANE, as the lab's zones say.
            "resolver": "iterate",
            "root-servers": "{}:{}".format(*self.plan.name_server),
            "dns-port": str(self.plan.name_server[1]),
            "anchors": "anchors.zone",
        }
        path = self.profile(person)
        path.touch(mode=0o600)
        path.write_text(tomlkit.dumps({"user-agent": profile}), encoding="utf-8")

    def profile(self, person: Person) -> Path:
        """Return the file with a person's settings for the user agent."""
        return self.folder / f"{person.local_part}.toml"

    def _overrides(self, organisation: Organisation) -> dict[str, Any]:
        peers = {peer.host_name: peer.ports["smtp"] for peer in self.plan.organisations}
        peers |= {guest.host_name: guest.port for guest in self.plan.guests}
        return {
            "listen": {service: [organisation.endpoint(service)] for service in SERVICES},
            "tls": {"trusted": "../authority.pem"},
            "dns": {
                "mode": "iterate",
                "root_servers": ["{}:{}".format(*self.plan.name_server)],
                "port": self.plan.name_server[1],
                "anchors": "../anchors.zone",
            },
            "transfer": {
                "port": organisation.ports["smtp"],
                "ports": peers,
                "source_address": organisation.address,
                "retry_first_seconds": 5,
            },
            "log": {"file": "log.jsonl"},
        }


class _Server:
    """One organisation's `letterlock serve`."""

    def __init__(self, organisation: Organisation, folder: Path, python: str) -> None:
        self._organisation = organisation
        self._folder = folder
        self._python = python
        self._words = folder / "standard-error.txt"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it is ready. Raises OurFault with what it said where it is not."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.setblocking(False)
            address = f"{self._folder}/ready"
            ready.bind(address)
            arguments = ("-m", "letterlock", "serve", "--config", str(self._folder), "--until-stdin-closes")
            with self._words.open("wb") as words:
                self._process = await asyncio.create_subprocess_exec(
                    self._python,
                    *arguments,
                    stdin=asyncio.subprocess.PIPE,
                    stderr=words,
                    env={**os.environ, "NOTIFY_SOCKET": address},
                    # A Ctrl-C at the terminal is for us; we stop the servers in our own time.
                    start_new_session=True,
                )
            told = asyncio.create_task(asyncio.get_running_loop().sock_recv(ready, 100))
            ended = asyncio.create_task(self._process.wait())
            await asyncio.wait({told, ended}, timeout=READY_WITHIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            is_ready = told.done()
            for task in (told, ended):
                task.cancel()
        if not is_ready:
            raise OurFault(f"the server of {self._organisation.domain} did not start: {self._last_words()}")

    def _last_words(self) -> str:
        return self._words.read_text("utf-8", "replace").strip() or f"it was silent for {READY_WITHIN_SECONDS:g} s"

    async def stop(self) -> None:
        """Let it finish what it has begun; after a while, end it."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _STOP_WITHIN_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
