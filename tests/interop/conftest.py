"""A running lab for the tests against foreign programs: one for each test process, started once."""

from __future__ import annotations

import imaplib
import json
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.interop.smime_world import World

GUEST = "quarry.test"


@dataclass(frozen=True)
class Person:
    """An account: address and password."""

    address: str
    password: str


@dataclass(frozen=True)
class Site:
    """An organisation of the lab, as a mail program's settings need it."""

    domain: str
    host: str
    ports: dict[str, int]
    people: tuple[Person, ...]
    settings: Path


@dataclass(frozen=True)
class Lab:
    """What the lab's sheet says."""

    authority: Path
    sites: tuple[Site, Site]
    guest: dict[str, Any]

    @property
    def trusted(self) -> ssl.SSLContext:
        """A context that trusts the lab's authority."""
        return ssl.create_default_context(cafile=str(self.authority))

    def arrived(
        self, site: Site, person: Person, subject: str, *, by: str = "SUBJECT", within_seconds: float = 20
    ) -> bytes:
        """Wait for the message with this subject, or what else is searched for, and return its octets."""
        deadline = time.monotonic() + within_seconds
        with imaplib.IMAP4_SSL(site.host, site.ports["imaps"], ssl_context=self.trusted) as imap:
            imap.login(person.address, person.password)
            imap.select("INBOX")
            while time.monotonic() < deadline:
                _, (found,) = imap.search(None, by, f'"{subject}"')
                if found:
                    _, fetched = imap.fetch(found.split()[-1].decode(), "(BODY.PEEK[])")
                    octets = fetched[0][1]
                    assert isinstance(octets, bytes)
                    return octets
                time.sleep(0.1)
                imap.noop()
        raise AssertionError(f"{subject!r} did not arrive at {person.address} in {within_seconds} s")


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Run `letterlock lab` for the session."""
    folder = tmp_path_factory.mktemp("lab")
    command = [sys.executable, "-m", "letterlock", "lab", "--json", "--dir", str(folder), "--guest", GUEST]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = []
        while (line := process.stdout.readline()) and line != b"}\n":
            lines.append(line)
        if not line:
            assert process.stderr is not None
            raise RuntimeError(process.stderr.read().decode())
        sheet = json.loads(b"".join(lines) + line)
        yield Lab(
            Path(sheet["authority"]),
            tuple(  # type: ignore[arg-type]  # the sheet has two
                Site(
                    site["domain"],
                    site["address"],
                    site["ports"],
                    tuple(Person(person["address"], person["password"]) for person in site["people"]),
                    Path(site["settings"]),
                )
                for site in sheet["organisations"]
            ),
            sheet["guests"][0],
        )
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """An authority for S/MIME and its people; their keys are made once."""
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture
def common() -> Iterator[Path]:
    """A folder that other users may enter: pytest's own belong to whoever runs it, and Postfix runs as somebody else."""
    with tempfile.TemporaryDirectory(prefix="letterlock-") as name:
        Path(name).chmod(0o755)
        yield Path(name)
