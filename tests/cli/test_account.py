"""`letterlock account`, as an administrator types it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from letterlock.cli.root import letterlock


def _run(*arguments: object, code: int = 0, typed: str = "") -> Result:
    result = CliRunner().invoke(letterlock, [str(each) for each in arguments], input=typed, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation for rosewood.test and rose.test."""
    home = tmp_path_factory.mktemp("accounts") / "site"
    _run("init", "rosewood.test", "--dir", home, "--account", "ada")
    file = home / "letterlock.toml"
    first = 'domain = "rosewood.test"\n'
    file.write_text(file.read_text().replace(first, f'{first}more_domains = ["rose.test"]\n'))
    return home


def test_an_address_where_no_mail_comes_is_refused(folder: Path) -> None:
    """Neither an account nor an alias in somebody else's domain, nor what is no address; nothing is added."""
    for words in (("x@elsewhere.test",), ("bob", "--alias", "bob@elsewhere.test")):
        said = _run("account", "add", *words, "--config", folder, code=1).output
        assert said == "elsewhere.test is no domain of this server; write it into more_domains first\n"
    assert _run("account", "add", "a b", "--config", folder, code=1).output == ("a b is no address of a mailbox\n")
    listed = json.loads(_run("account", "list", "--config", folder, "--json").output)
    assert [one["account"] for one in listed] == ["ada@rosewood.test"]


def test_further_domains_are_ones_own(folder: Path) -> None:
    """An account in a domain of more_domains, an alias in the first."""
    added = json.loads(_run("account", "add", "eve@rose.test", "--alias", "eve", "--config", folder, "--json").output)
    assert added["addresses"] == ["eve@rose.test", "eve@rosewood.test"]
    _run("account", "remove", "eve@rose.test", "--config", folder)


def test_a_password_comes_through_a_pipe(folder: Path) -> None:
    """--ask reads one line where nobody can be asked, and prints it nowhere; an empty one is refused."""
    said = _run("account", "passwd", "ada", "--ask", "--config", folder, typed="correct horse\n").output
    assert said == "changed\n"
    assert "empty password" in _run("account", "passwd", "ada", "--ask", "--config", folder, code=1).output
