"""One event is one JSON line."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from letterlock.host import logs


@pytest.fixture
def lines() -> Iterator[list[str]]:
    collected: list[str] = []
    before = logs.send_to(collected.append)
    yield collected
    logs.send_to(before)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text() | st.binary())
def test_any_value_stays_on_one_printable_line(lines: list[str], value: str | bytes) -> None:
    """Promise 10: no octet of a peer begins a line or reaches a terminal."""
    lines.clear()
    logs.Log("mta").event("seen", value=value)
    (line,) = lines
    assert line.isascii()
    assert line.isprintable()
    expected = value.decode("latin-1") if isinstance(value, bytes) else value
    assert json.loads(line)["value"] == expected.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def test_bound_fields_come_with_every_event(lines: list[str]) -> None:
    """`bind` adds to what was bound before; the event's own field wins."""
    log = logs.Log("mta", session="1").bind(queue_id="q")
    log.warning("late", queue_id="r")
    assert json.loads(lines[0]) | {"time": ""} == {
        "time": "", "severity": "warning", "role": "mta", "event": "late", "session": "1", "queue_id": "r",
    }  # fmt: skip


def test_long_text_is_cut_and_says_so(lines: list[str]) -> None:
    """A value of a megabyte does not become a line of a megabyte."""
    logs.Log("mta").event("seen", value="x" * 1_000_000)
    assert len(lines[0]) < 2200
    assert "1000000 characters" in lines[0].encode().decode("unicode_escape")


def test_lone_surrogates_do_not_stop_the_log(lines: list[str]) -> None:
    """A path decoded with surrogateescape is still logged."""
    logs.Log("store").event("seen", value="\udcff")
    assert json.loads(lines[0])["value"] == "\\udcff"


def test_a_full_disk_is_no_fault_of_who_logs() -> None:
    """What cannot be written is counted; the one who logged goes on."""

    def full(_line: str) -> None:
        raise OSError(28, "No space left on device")

    before = logs.send_to(full)
    lost = logs.counts().get(("logs", "error", "line lost"), 0)
    try:
        logs.Log("mta").event("accepted")
    finally:
        logs.send_to(before)
    assert logs.counts()["logs", "error", "line lost"] == lost + 1
