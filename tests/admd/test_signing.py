"""The signer of a running domain follows its keys."""

from pathlib import Path

from letterlock.admd import settings
from letterlock.admd.signing import Signer
from letterlock.host.clock import SetClock
from letterlock.host.key_ring import KeyRing
from letterlock.host.logs import send_to
from letterlock.host.signing_keys import generate, write_key

MESSAGE = (b"From: a@rosewood.test\r\n\r\n", b"Hi\r\n")
DAY = 86_400


def _settings(folder: Path) -> settings.Settings:
    (folder / "dkim").mkdir()
    write_key(folder / "dkim" / "e1.pem", generate("", "", "ed25519"))
    return settings.parse({"domain": "rosewood.test"}, folder / "letterlock.toml")


def _selectors(fields: bytes) -> list[str]:
    return [word.split(b"=")[1].rstrip(b";").decode() for word in fields.split() if word.startswith(b"s=")]


async def test_a_roll_over_while_it_runs(tmp_path: Path) -> None:
    """The new key signs two days after it was made, without a restart; strangers' mail is not signed."""
    clock = SetClock()
    signer = Signer(_settings(tmp_path), clock)
    assert _selectors(await signer("rosewood.test", MESSAGE)) == ["e1"]
    assert await signer("other.test", MESSAGE) == b""
    ring = KeyRing.load(tmp_path / "dkim").begin(int(clock.now()))
    new = ring.entries[0].selector
    assert _selectors(await signer("rosewood.test", MESSAGE)) == ["e1"]
    clock.move(2 * DAY + 1)
    assert _selectors(await signer("rosewood.test", MESSAGE)) == [new]


async def test_a_broken_key_stops_nothing(tmp_path: Path) -> None:
    """The keys of before stay in force, and the log says why."""
    lines: list[str] = []
    before = send_to(lines.append)
    try:
        signer = Signer(_settings(tmp_path), SetClock())
        (tmp_path / "dkim" / "x.pem").write_text("no key")
        assert _selectors(await signer("rosewood.test", MESSAGE)) == ["e1"]
        assert _selectors(await signer("rosewood.test", MESSAGE)) == ["e1"]
    finally:
        send_to(before)
    assert len([line for line in lines if "x.pem" in line]) == 1
