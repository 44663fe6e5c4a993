"""Founding an installation."""

import stat
from pathlib import Path

import pytest

from letterlock.admd import settings as settings_file
from letterlock.admd.create import create
from letterlock.errors import SettingsFault
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SeededEntropy
from letterlock.host.tls import KeyPair, ServerTls


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    """The file reads back to the same settings; the key is its owner's alone; the pair serves TLS."""
    found = create(
        tmp_path / "a", "rosewood.test", {"listen": {"pop3": []}}, clock=SystemClock(), entropy=SeededEntropy()
    )
    assert settings_file.load(found.file) == found.settings
    key = found.settings.path(found.settings.tls.key)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert ServerTls([KeyPair(found.settings.path(found.settings.tls.certificate), key)]).context


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A second init in the same folder changes nothing and says what to do."""
    create(tmp_path, "rosewood.test", {}, clock=SystemClock(), entropy=SeededEntropy())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(SettingsFault, match="exists already"):
        create(tmp_path, "harbor.test", {}, clock=SystemClock(), entropy=SeededEntropy())
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_wrong_setting_leaves_nothing_behind(tmp_path: Path) -> None:
    """Settings are checked before anything is written."""
    with pytest.raises(SettingsFault, match="domain"):
        create(tmp_path / "a", "no domain", {}, clock=SystemClock(), entropy=SeededEntropy())
    assert not (tmp_path / "a").exists()
