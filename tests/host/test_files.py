"""Files and folders that are made to last. That they outlive a power cut: tests/faults/test_power_cut_served.py."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from letterlock.host.files import make_directory, write_new


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    make_directory(folder, mode=0o700)
    make_directory(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    write_new(folder / "key", b"secret")
    assert stat.S_IMODE((folder / "key").stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        write_new(folder / "key", b"other")
    assert (folder / "key").read_bytes() == b"secret"
