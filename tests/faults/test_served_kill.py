"""kill -9 of a served domain under load: what was acknowledged is where it belongs once. The rounds: kill_rounds.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults.kill_rounds import CLIENTS, rounds
from tests.faults.load import under_load
from tests.faults.served import Site, kill_group, name_server, tree

from letterlock.store.engine import StoreSettings, open_store

SERVICES = ("smtp", "submissions", "imaps")


@pytest.mark.parametrize("workers", [0, 2])
def test_what_was_acknowledged_survives_the_kill_of_a_served_domain(tmp_path: Path, workers: int) -> None:
    """DATA, BDAT, submission, APPEND and MOVE, and kills at random instants."""
    done = rounds(tmp_path, 2, 1, workers)
    assert done.faults == []
    assert done.acknowledged > 0


async def test_the_oracle_sees_what_it_must(tmp_path: Path) -> None:
    """A message that is lost, one that is in the wrong place, and one that is there twice."""
    with name_server() as names:
        site = Site(tmp_path / "site", names, services=SERVICES)
        process = site.start()
        with under_load(site, "load", CLIENTS) as over:
            while len(site.expected) < 20 or frozenset({"ben/Kept"}) not in site.expected.values():
                assert process.poll() is None
                over.wait(0.05)
            over.set()
            kill_group(process)
        assert await site.faults() == []
        kept = next(ident for ident, places in site.expected.items() if places == frozenset({"ben/Kept"}))
        site.expected[kept] = frozenset({"ben/INBOX"})
        site.expected["never"] = frozenset({"anna/INBOX"})
        store = await open_store(StoreSettings(site.store))
        inbox = await store.mailbox("anna@rosewood.test", "INBOX")
        assert inbox is not None
        await store.copy(inbox.id, ((1, 1),), inbox.id)
        await store.close()
        wrong = await site.faults()
    assert {
        f"{kept} is in ['ben/Kept'], not in one of ['ben/INBOX']",
        "never is in ['gone'], not in one of ['anna/INBOX']",
    } < {*wrong}
    assert any("is in ['anna/INBOX', 'anna/INBOX']" in fault for fault in wrong)


def test_the_tree_of_a_process_is_found() -> None:
    """Children and theirs."""
    script = "sleep 60 & sh -c 'sleep 60 & echo; wait' & wait"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert len(tree(process.pid)) == 4
        kill_group(process)
    assert tree(process.pid) == [process.pid]


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "2"])
def test_hundreds_of_kills_of_a_served_domain(tmp_path: Path, workers: str) -> None:
    """The long form, in a process of its own, as by hand."""
    command = [sys.executable, "-m", "tests.faults.kill_rounds", "--rounds", "300", "--workers", workers]
    command += ["--folder", str(tmp_path)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
