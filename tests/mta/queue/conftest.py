"""What tests of the queue begin with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fakes.queue_site import Site, opened_site
from letterlock.host.logs import send_to
from letterlock.mta.queue.runner import RunnerSettings


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A site where three messages may wait for a destination."""
    async with opened_site(tmp_path, RunnerSettings(most_waiting=3)) as opened:
        yield opened


@pytest.fixture
def lines(site: Site) -> list[str]:
    """What is logged from now on."""
    assert site.store is not None
    logged: list[str] = []
    send_to(logged.append)
    return logged


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be done is tried again at once."""
    monkeypatch.setattr("letterlock.mta.queue.runner._RECORD_AGAIN_SECONDS", 0.001)
