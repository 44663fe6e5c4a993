"""letterlock.toml: defaults, and every problem at once."""

from pathlib import Path

import pytest

from letterlock.admd import settings, values
from letterlock.errors import SettingsFault


def _write(folder: Path, text: str) -> Path:
    file = folder / "letterlock.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_domain_is_all_it_takes(tmp_path: Path) -> None:
    """Everything but the domain has a default; paths are relative to the file."""
    loaded = settings.load(_write(tmp_path, 'domain = "Rosewood.TEST"'))
    assert loaded.local_domains == ("rosewood.test",)
    assert loaded.host_name == "mail.rosewood.test"
    assert loaded.path(loaded.data) == tmp_path / "data"


def test_a_folder_stands_for_its_file(tmp_path: Path) -> None:
    """`--config FOLDER` is as good as `--config FOLDER/letterlock.toml`."""
    _write(tmp_path, 'domain = "rosewood.test"')
    assert settings.load(tmp_path).domain == "rosewood.test"


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    """Each names file, key, value and the fix."""
    file = _write(tmp_path, 'domain = "-x"\nhostname = "a"\n[listen]\nsmtp = ["25"]\n[limits]\nrecipients = 3\n')
    with pytest.raises(SettingsFault) as caught:
        settings.load(file)
    problems = caught.value.problems
    assert len(problems) == 4
    assert all(str(file) in problem for problem in problems)
    told = "\n".join(problems)
    assert "domain = '-x'" in told
    assert "hostname: there is no such setting; did you mean host_name?" in told
    assert "listen.smtp.0 = '25': write ADDRESS:PORT" in told
    assert "limits.recipients = 3: write 100 or more" in told


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ('workers = "two"', "workers = 'two': write a whole number; see"),
        ("workers = -1", "workers = -1: write 0 or more; see"),
        ("data = 1", "data = 1: write a path in quotes; see"),
        ('more_domains = "b.test"', "more_domains = 'b.test': write a list in brackets, such as"),
        ("listen = 1", "listen = 1: write a table; see"),
        ('dns.mode = "ask"', "dns.mode = 'ask': write 'validate', 'trust-ad' or 'iterate'; see"),
        ("[[tls.more]]", "tls.more.0.key: is missing; see docs/settings.md"),
    ],
)
def test_a_wrong_kind_of_value_is_told_with_the_right_one(tmp_path: Path, setting: str, told: str) -> None:
    """In the words of the file, not of a library."""
    with pytest.raises(SettingsFault) as caught:
        settings.load(_write(tmp_path, f'domain = "a.test"\n{setting}\n'))
    assert told in "\n".join(caught.value.problems)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", 'domain: is missing; write domain = "example.org"'),
        ("domain = ", "not TOML"),
        ('domain = "a.test"\n[tls]\nkei = 1', "did you mean key?"),
    ],
)
def test_what_is_no_file_of_ours_is_named(tmp_path: Path, text: str, told: str) -> None:
    """Missing, unreadable and misspelt each have their sentence."""
    with pytest.raises(SettingsFault, match=None) as caught:
        settings.load(_write(tmp_path, text))
    assert told in str(caught.value)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    """The way out is in the message."""
    with pytest.raises(SettingsFault, match="letterlock init DOMAIN"):
        settings.load(tmp_path / "letterlock.toml")


def test_endpoints_are_split() -> None:
    """Brackets belong to the writing, not to the address."""
    assert values.split_endpoint("[::1]:25") == ("::1", 25)
    assert values.split_endpoint("127.0.0.1:0") == ("127.0.0.1", 0)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("relay.example.org", ("relay.example.org", 0)),
        ("relay.example.org:587", ("relay.example.org", 587)),
        ("192.0.2.1:2525", ("192.0.2.1", 2525)),
        ("[2001:db8::1]", ("2001:db8::1", 0)),
        ("[2001:db8::1]:25", ("2001:db8::1", 25)),
    ],
)
def test_hosts_are_split(text: str, meant: tuple[str, int]) -> None:
    """With and without a port, names and addresses of both kinds."""
    assert values.split_host(text) == meant
    assert settings.parse({"domain": "rosewood.test", "transfer": {"relay": text}}, Path("x")).transfer.relay == text


@pytest.mark.parametrize("text", ["2001:db8::1", "host:smtp", "host:0", "host:70000", ":25", "[]:25", "[host]:25"])
def test_a_relay_that_is_none_is_named(text: str) -> None:
    """The fault is found when the file is read, not when mail is to leave."""
    with pytest.raises(SettingsFault, match="write HOST or HOST:PORT"):
        settings.parse({"domain": "rosewood.test", "transfer": {"relay": text}}, Path("x"))
