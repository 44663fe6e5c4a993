"""The life of DKIM keys: at every moment what signs verifies, and what is revoked signs nothing."""

import json
from pathlib import Path

import pytest

from letterlock.errors import Malformed
from letterlock.formats.dns.question import Answer, Outcome, Question
from letterlock.formats.dns.rdata import Txt
from letterlock.host.key_ring import REVOKED, KeyRing, Schedule, State
from letterlock.host.signing_keys import generate, write_key
from letterlock.trust import dkim

DAY = 86_400
START = 1_800_000_000
MESSAGE = b"From: a@rosewood.test\r\n\r\nHi\r\n"


def _ring(folder: Path, *kinds: str) -> KeyRing:
    for kind in kinds or ("rsa", "ed25519"):
        write_key(folder / f"{kind[0]}1.pem", generate("", "", kind))
    return KeyRing.load(folder)


def _verifies(ring: KeyRing, signed: bytes, now: int) -> list[str]:
    records = {f"{selector}._domainkey.rosewood.test": text for selector, text in ring.records("rosewood.test")}

    def answer(question: Question) -> Answer:
        text = records.get(question.name)
        found = (Txt((text.encode(),)),) if text else ()
        return Answer(question, Outcome.FOUND if found else Outcome.NO_NAME, found)

    return [one.result.value for one in dkim.verify_blocking(answer, signed, now).signatures]


def test_a_roll_over_day_by_day(tmp_path: Path) -> None:
    """Mail signed on any day verifies with the records of that day, of two days before and of a week after."""
    ring = _ring(tmp_path, "ed25519")
    schedule = Schedule()
    rings: dict[int, KeyRing] = {}
    signed: dict[int, bytes] = {}
    for day in range(50):
        now = START + day * DAY
        ring = KeyRing.load(tmp_path).advance(now, schedule)
        if day == 5:
            ring = ring.begin(now)
        signed[day] = dkim.sign(MESSAGE, ring.signing("rosewood.test"), now) + MESSAGE
        # Records as they were, with the private key kept for the comparison.
        rings[day] = ring
        assert _verifies(ring, signed[day], now) == ["pass"]
        for earlier in range(max(0, day - 7), day):
            assert _verifies(ring, signed[earlier], now) == ["pass"], (earlier, day)
    states = {day: sorted(entry.state.value for entry in rings[day].entries) for day in (4, 5, 7, 15, 49)}
    assert states == {
        4: ["active"],
        5: ["active", "pending"],
        7: ["active", "retiring"],
        15: ["active", "retired"],
        49: ["active"],
    }
    assert _verifies(rings[15], signed[0], START + 15 * DAY) == ["permerror"]


def test_retired_keys_leave_the_disk(tmp_path: Path) -> None:
    """The private key goes, the revocation stays published."""
    ring = _ring(tmp_path).begin(START)
    ring = ring.advance(START + 2 * DAY, Schedule()).advance(START + 10 * DAY, Schedule())
    retired = [entry.selector for entry in ring.entries if entry.state is State.RETIRED]
    assert sorted(retired) == ["e1", "r1"]
    assert not (tmp_path / "r1.pem").exists()
    assert dict(KeyRing.load(tmp_path).records("rosewood.test"))["r1"] == REVOKED


def test_when_a_key_is_due(tmp_path: Path) -> None:
    """After a year, unless a follower waits already."""
    ring = _ring(tmp_path)
    since = ring.entries[0].since
    assert not ring.is_due(since + 300 * DAY, Schedule())
    assert ring.is_due(since + 366 * DAY, Schedule())
    assert not ring.begin(since + 366 * DAY).is_due(since + 366 * DAY, Schedule())


def test_a_broken_ring_is_named(tmp_path: Path) -> None:
    """Malformed with the path, for a state file and for a key file."""
    _ring(tmp_path)
    (tmp_path / "ring.json").write_text(json.dumps({"r1": {"state": "asleep", "since": 1}}))
    with pytest.raises(Malformed, match=r"ring\.json"):
        KeyRing.load(tmp_path)
    (tmp_path / "ring.json").unlink()
    (tmp_path / "x.pem").write_text("no key")
    with pytest.raises(Malformed, match=r"x\.pem"):
        KeyRing.load(tmp_path)
