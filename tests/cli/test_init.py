"""`letterlock init`, as a newcomer types it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from letterlock.admd import create
from letterlock.cli.root import letterlock
from letterlock.errors import Unavailable


def _init(folder: Path, *more: str) -> Result:
    return CliRunner().invoke(letterlock, ["init", "rosewood.test", "--dir", str(folder), *more])


def test_it_says_what_to_do_next(tmp_path: Path) -> None:
    """The last lines are commands to type, for this folder."""
    told = _init(tmp_path / "a b", "--high-ports")
    assert told.exit_code == 0
    assert f"letterlock serve --config '{tmp_path / 'a b'}'" in told.output
    assert "port 25" in told.output.splitlines()[-1]
    listed = CliRunner().invoke(letterlock, ["account", "list", "--config", str(tmp_path / "a b"), "--json"])
    assert [one["account"] for one in json.loads(listed.output)] == ["postmaster@rosewood.test"]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (("--account", "a b"), "a b is no local part"),
        (("--address", "192.0.2"), "192.0.2 is no IP address"),
        (("--address", "192.0.2.1", "--account", ""), "no local part"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(tmp_path: Path, wrong: tuple[str, ...], named: str) -> None:
    """A wrong option is a wrong command line, and the folder is not made."""
    told = _init(tmp_path / "a", *wrong)
    assert told.exit_code == 64
    assert named in told.output
    assert not (tmp_path / "a").exists()


def test_a_key_that_is_there_is_named_and_kept(tmp_path: Path) -> None:
    """Somebody's TLS key in the folder is not overwritten; nothing is added beside it."""
    key = tmp_path / "a" / "tls" / "key.pem"
    key.parent.mkdir(parents=True)
    key.write_text("mine")
    told = _init(tmp_path / "a")
    assert told.exit_code == 78
    assert told.output == f"{key}: exists already; remove it, or choose another folder\n"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [key]
    assert key.read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """No traceback: the path and the system's word for it."""
    (tmp_path / "file").touch()
    told = _init(tmp_path / "file" / "below", "--json")
    assert told.exit_code == 69
    assert json.loads(told.output) == {"error": f"{tmp_path / 'file' / 'below'}: Not a directory"}


def test_what_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the accounts cannot be written, a second try finds a clean folder."""

    def full(*_: object) -> None:
        raise Unavailable("no room")

    monkeypatch.setattr(create, "_add_accounts", full)
    assert _init(tmp_path / "a" / "b").exit_code == 69
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert _init(tmp_path / "a" / "b").exit_code == 0
