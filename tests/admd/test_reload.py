"""Settings read again: what is taken up, what waits for a restart, and that a mistake changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from letterlock.admd.reload import LIVE, Reloader
from letterlock.admd.settings import Settings, load
from letterlock.errors import SettingsFault
from letterlock.host.logs import Log, send_to

BEFORE = 'domain = "rosewood.test"\n[transfer]\nretry_first_seconds = 100\n'


class Site:
    """A file, and somebody who goes by it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "other.toml"
        self.file.write_text(BEFORE)
        self.taken: list[Settings] = []
        self.fault = ""
        self.reloader = Reloader(load(self.file), [self._prepare, self._refuse], Log("admd"))

    def _prepare(self, settings: Settings) -> Callable[[], None]:
        return lambda: self.taken.append(settings)

    def _refuse(self, _settings: Settings) -> Callable[[], None]:
        if self.fault:
            raise SettingsFault((self.fault,))
        return lambda: None


@pytest.fixture
def lines() -> Iterator[list[str]]:
    found: list[str] = []
    before = send_to(found.append)
    yield found
    send_to(before)


def test_what_is_live_is_taken_up_and_the_rest_named(tmp_path: Path, lines: list[str]) -> None:
    site = Site(tmp_path)
    site.file.write_text('domain = "harbor.test"\n[transfer]\nretry_first_seconds = 7\nrelay = "a.test"\n'
                         '[limits]\nconnections = 5\nmessage_octets = 100000\n')  # fmt: skip
    assert site.reloader.reload()
    (settings,) = site.taken
    assert (settings.domain, settings.transfer.retry_first_seconds, settings.limits.connections) == (
        "rosewood.test",
        7,
        5,
    )
    assert settings.limits.message_octets != 100_000
    event = json.loads(lines[-1])
    assert event["event"] == "settings reloaded"
    assert event["changed"] == ["limits.connections", "transfer.relay", "transfer.retry_first_seconds"]
    assert event["needs_restart"] == ["domain", "host_name", "limits.message_octets"]
    site.file.write_text(BEFORE)
    assert site.reloader.reload()
    assert site.taken[-1].transfer.retry_first_seconds == 100


def test_nothing_changed_is_nothing_to_do(tmp_path: Path, lines: list[str]) -> None:
    site = Site(tmp_path)
    assert site.reloader.reload()
    assert (site.taken, lines) == ([], [])


@pytest.mark.parametrize("text", ["domain = ", 'domain = "rosewood.test"\n[transfer]\nport = 0\n', ""])
def test_a_mistake_changes_nothing(tmp_path: Path, lines: list[str], text: str) -> None:
    site = Site(tmp_path)
    site.file.write_text(text)
    assert not site.reloader.reload()
    assert site.taken == []
    event = json.loads(lines[-1])
    assert (event["severity"], event["event"]) == ("error", "settings not reloaded")
    assert event["problems"]
    assert str(site.file) in event["problems"][0]


def test_what_one_cannot_take_up_nobody_takes_up(tmp_path: Path, lines: list[str]) -> None:
    """A password file that is missing is found before anything changed."""
    site = Site(tmp_path)
    site.fault = "the file is not there"
    site.file.write_text(BEFORE.replace("100", "200"))
    assert not site.reloader.reload()
    assert site.taken == []
    assert json.loads(lines[-1])["problems"] == ["the file is not there"]


def test_what_is_live_exists() -> None:
    for live in LIVE:
        section, _, key = live.partition(".")
        model = Settings.model_fields[section].annotation
        assert model is not None
        assert not key or key in model.model_fields, live
