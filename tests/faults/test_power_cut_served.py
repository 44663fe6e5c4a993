"""Power cuts under a whole served domain on ext4 and xfs: what it acknowledged before the cut is where it belongs, once.

As test_power_cut.py, with `letterlock serve` under the load of kill_rounds.py in place of a writer to the store, and a next
host that is not cut off. Needs root.
"""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest
from tests.faults.kill_rounds import ALIASES, CLIENTS, SERVICES
from tests.faults.load import under_load
from tests.faults.served import Site, kill_group, name_server
from tests.faults.sink import Sink, sink
from tests.faults.test_power_cut import cut_power, disk, mounted, unmounted

pytestmark = pytest.mark.slow


def serve_until_the_cut(site: Site, mount: Path, name: str, count: int, *, lying: bool) -> None:
    """Serve under load until `count` messages more are acknowledged, and cut the power; expect what held before the cut.

    A message that was moved just then may be where it was, or where it is going.
    """
    process = site.start(environment={"LD_PRELOAD": "libeatmydata.so"} if lying else None)
    try:
        with under_load(site, name, CLIENTS) as over:
            site.up()
            enough, deadline = len(site.expected) + count, time.monotonic() + 60
            while len(site.expected) < enough:
                assert time.monotonic() < deadline, "nothing is acknowledged any more"
                time.sleep(0.005)  # the clients work
            before = dict(site.expected)
            cut_power(mount)
            over.set()
            kill_group(process)
    finally:
        kill_group(process)
    site.expected = {ident: places | site.expected[ident] for ident, places in before.items()}


def rounds(site: Site, mount: Path, next_host: Sink, count: int, seed: int, *, lying: bool = False) -> list[str]:
    """Cut the power `count` times; return what was found wrong."""
    chance, faults = random.Random(seed), list[str]()
    for number in range(count):
        serve_until_the_cut(site, mount, f"{seed}.{number}", chance.randrange(20, 120), lying=lying)
        unmounted(mount)
        mounted(mount)
        faults += asyncio.run(site.faults(next_host.taken))
    unmounted(mount)
    return faults


def cuts(folder: Path, kind: str, count: int, *, lying: bool = False) -> tuple[list[str], int]:
    """Make a domain on a disk of that kind and cut the power so often; return what is wrong, and how much it took."""
    with disk(folder, kind) as mount, name_server() as names, sink() as next_host:
        mounted(mount)
        more = {"transfer": {"relay": next_host.address, "retry_first_seconds": 1}}
        site = Site(mount / "site", names, services=SERVICES, more=more, aliases=ALIASES)
        with site.served():
            pass
        return rounds(site, mount, next_host, count, 3, lying=lying), len(site.expected)


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_twenty_power_cuts_of_a_served_domain(tmp_path: Path, kind: str) -> None:
    faults, acknowledged = cuts(tmp_path, kind, 20)
    assert faults == []
    assert acknowledged > 400


def test_without_syncs_a_served_domain_is_seen_to_lose(tmp_path: Path) -> None:
    """What was synced before the lies began is there still; what was acknowledged under them is not."""
    faults, _ = cuts(tmp_path, "ext4", 1, lying=True)
    assert any("is in ['gone']" in fault for fault in faults)
