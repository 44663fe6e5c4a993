"""`letterlock config`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from letterlock.cli.root import letterlock


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "letterlock.toml"
    path.write_text('domain = "rosewood.test"\n[limits]\nrecipients = 200\n', encoding="utf-8")
    return path


def test_show_prints_what_the_file_sets(file: Path) -> None:
    """Without --all only what was written; TOML that reads back."""
    result = CliRunner().invoke(letterlock, ["config", "show", "--config", str(file)])
    assert result.output == 'domain = "rosewood.test"\n\n[limits]\nrecipients = 200\n'


def test_show_all_adds_the_defaults(file: Path) -> None:
    """With --all everything, here as JSON."""
    result = CliRunner().invoke(letterlock, ["config", "show", "--all", "--json", "--config", str(file)])
    shown = json.loads(result.output)
    assert shown["host_name"] == "mail.rosewood.test"
    assert shown["limits"]["message_octets"] == 50_000_000


def test_check_exits_78_and_names_everything(file: Path) -> None:
    """A wrong file has its own exit code."""
    file.write_text('domain = "rosewood.test"\nports = 3\ntsl = 4\n', encoding="utf-8")
    result = CliRunner().invoke(letterlock, ["config", "check", "--config", str(file)])
    assert result.exit_code == 78
    assert "ports: there is no such setting" in result.output
    assert "did you mean tls?" in result.output


def test_check_is_content_with_a_right_file(file: Path) -> None:
    """Exit 0, one sentence."""
    result = CliRunner().invoke(letterlock, ["config", "check", "--config", str(file)])
    assert (result.exit_code, result.output) == (0, "The settings are right.\n")
