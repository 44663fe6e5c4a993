"""Message identifiers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.formats.imf.message_ids import is_message_id, parse_message_id, parse_message_ids


@pytest.mark.parametrize(
    ("value", "identifiers"),
    [
        ("<1234@local.machine.example>", ("1234@local.machine.example",)),
        ("<a@b> <c@d>\t<e@[192.0.2.1]>", ("a@b", "c@d", "e@[192.0.2.1]")),
        ("<a@b>,<c@d>", ("a@b", "c@d")),
        ("Your message of Friday <a@b> (the <x@y> one)", ("a@b",)),
        ("<a @ b>", ("a@b",)),
        ('<"odd one"@b>', ('"odd one"@b',)),
        ("<a@b> <c@d", ("a@b",)),
        ("nothing", ()),
    ],
)
def test_reads_lists(value: str, identifiers: tuple[str, ...]) -> None:
    """RFC 5322 section 3.6.4 and the phrases of section 4.5.4."""
    assert parse_message_ids(value) == identifiers


def test_one_identifier_may_lack_its_brackets() -> None:
    """A word that stands for one is taken."""
    assert parse_message_id(" <a@b> ") == "a@b"
    assert parse_message_id("a@b") == "a@b"
    assert parse_message_id("two words") == ""


def test_what_a_new_message_may_carry() -> None:
    """Nothing that could end the field or the brackets."""
    assert is_message_id("1.2@x.test")
    assert not any(map(is_message_id, ("", "a", "a@", "@b", "a b@c", "a>@b", "a@b\r\n")))


@given(st.text(max_size=80))
def test_any_text_is_read(value: str) -> None:
    """Nothing raises."""
    parse_message_ids(value)
