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


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """An installation as `init` leaves it."""
    folder = tmp_path / "site"
    assert CliRunner().invoke(letterlock, ["init", "rosewood.test", "--dir", str(folder)]).exit_code == 0
    return folder


def test_what_init_wrote_is_right(site: Path) -> None:
    """The first check after the first command."""
    result = CliRunner().invoke(letterlock, ["config", "check", "--config", str(site)])
    assert (result.exit_code, result.output) == (0, "The settings are right.\n")


def test_check_looks_at_the_files_that_are_named(site: Path) -> None:
    """A start would fail on them one after the other; here they are told together, each with setting and reason."""
    file = site / "letterlock.toml"
    file.write_text(file.read_text() + '\n[smime]\npassword_file = "nowhere"\n\n[log]\nfile = "made.jsonl"\n')
    (site / "tls" / "key.pem").unlink()
    result = CliRunner().invoke(letterlock, ["config", "check", "--config", str(site), "--json"])
    assert result.exit_code == 78
    assert json.loads(result.output)["problems"] == [
        f"{file}: smime.password_file = 'nowhere': No such file or directory; put it there, or leave it out",
        f"{site}/tls/certificate.pem with {site}/tls/key.pem: no usable certificate and key "
        "(key.pem: No such file or directory); renew the files",
    ]


def test_a_key_of_another_certificate_is_called_that(site: Path, tmp_path: Path) -> None:
    """What OpenSSL calls KEY_VALUES_MISMATCH."""
    assert CliRunner().invoke(letterlock, ["init", "rosewood.test", "--dir", str(tmp_path / "other")]).exit_code == 0
    (tmp_path / "other" / "tls" / "key.pem").replace(site / "tls" / "key.pem")
    result = CliRunner().invoke(letterlock, ["config", "check", "--config", str(site)])
    assert result.exit_code == 78
    assert "the key is not the certificate's" in result.output


def test_check_exits_78_and_names_everything(file: Path) -> None:
    """A wrong file has its own exit code."""
    file.write_text('domain = "rosewood.test"\nports = 3\ntsl = 4\n', encoding="utf-8")
    result = CliRunner().invoke(letterlock, ["config", "check", "--config", str(file)])
    assert result.exit_code == 78
    assert "ports: there is no such setting" in result.output
    assert "did you mean tls?" in result.output
