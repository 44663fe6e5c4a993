"""File names of attachments made safe."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.formats.mime.content_type import ContentType
from letterlock.formats.mime.filenames import distinct_names, safe_name

PNG = ContentType("image", "png")


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("photo.png", "photo.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\system32\\a.dll", "a.dll"),
        ("/", "part-2.png"),
        ("..", "part-2.png"),
        ("", "part-2.png"),
        (".hidden", "hidden"),
        ("a\x00b\r\nc\x1b[0m.txt", "abc[0m.txt"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("con.txt", "_con.txt"),
        ("NUL", "_NUL"),
        ("a<b>|c?.txt", "a_b__c_.txt"),
        ("  a   b .txt. ", "a b .txt"),
        ("Grüße 日本.txt", "Grüße 日本.txt"),
        ("x" * 300 + ".pdf", "x" * 146 + ".pdf"),
        ("ü" * 300, "ü" * 75),
    ],
)
def test_names_become_safe(given_name: str, name: str) -> None:
    """RFC 2183 section 2.3: a hint, with no path in it."""
    assert safe_name(given_name, PNG, "2") == name


@given(st.text(max_size=300))
def test_any_name_is_one_component(given_name: str) -> None:
    """Nothing left that a file system or a terminal acts upon, and safe names stay."""
    name = safe_name(given_name, PNG, "1")
    assert name
    assert name.isprintable()
    assert not set(name) & set('/\\<>:"|?*')
    assert name.strip(". ") == name
    assert len(name.encode()) <= 160
    assert safe_name(name, PNG, "1") == name


@given(st.lists(st.sampled_from(["a.txt", "A.txt", "a-2.txt", "b", "b-2"])))
def test_names_become_distinct(names: list[str]) -> None:
    """Also where case does not count."""
    distinct = distinct_names(names)
    assert len({name.casefold() for name in distinct}) == len(names)
