"""Functions of the site's own: found, loaded, and named where that is not possible; the example of the manual works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from letterlock.admd.filters import filters_of
from letterlock.admd.settings import parse
from letterlock.errors import SettingsFault
from letterlock.formats.authentication_results import AuthenticationResults, MethodResult
from letterlock.mta.filters import Milter, Own
from letterlock.mta.own_filter import Junk, Mail, Refuse, Take

PAGE = Path(__file__).parents[2] / "docs" / "filters.md"


def mail(content: bytes, **more: object) -> Mail:
    """A message."""
    common = Mail("1", 0.0, "192.0.2.1", "x", "", "", "a@b.test", ("c@d.test",), content)
    return Mail(**{**vars(common), **more})  # type: ignore[arg-type]


def test_the_example_of_the_manual(tmp_path: Path) -> None:
    """As it is printed: loaded from a file, and judging as the manual says."""
    toml, code = re.findall(r"```(?:toml|python)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "filters.py").write_text(code)
    assert 'python = ["filters.py:no_programs"]' in toml
    table = {
        "domain": "rosewood.test",
        "filters": {"python": ["filters.py:no_programs"], "addresses": ["inet:127.0.0.1:1"]},
    }
    filters = filters_of(parse(table, tmp_path / "letterlock.toml"))
    milter, own = filters.inbound.filters
    assert isinstance(milter, Milter)
    assert isinstance(own, Own)
    assert filters.submission.filters == (own,)
    assert isinstance(own.function(mail(b'Subject: x\r\n\r\nname="virus.exe"\r\n')), Refuse)
    assert isinstance(own.function(mail(b"Subject: x\r\n\r\nhi\r\n", points=4)), Junk)
    passed = AuthenticationResults("mx.d.test", (MethodResult("dmarc", "pass"),))
    assert own.function(mail(b"Subject: x\r\n\r\nhi\r\n", points=4, authentication=passed)) == Take(
        (("X-Seen-By", "no_programs"),)
    )


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("filters.py", "write FILE.py:NAME"),
        ("gone.py:f", "cannot be loaded: FileNotFoundError"),
        ("broken.py:f", "cannot be loaded: ZeroDivisionError"),
        ("filters.py:missing", "has no function missing"),
        ("filters.py:text", "has no function text"),
        ("no.such.module:f", "cannot be loaded: ModuleNotFoundError"),
    ],
)
def test_what_cannot_be_loaded_keeps_the_server_from_starting(tmp_path: Path, name: str, problem: str) -> None:
    """A filter that is silently left out would let everything in."""
    (tmp_path / "filters.py").write_text("text = 'no function'\n")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    settings = parse({"domain": "rosewood.test", "filters": {"python": [name]}}, tmp_path / "letterlock.toml")
    with pytest.raises(SettingsFault, match=re.escape(problem)):
        filters_of(settings)
