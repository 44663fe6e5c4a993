"""What commands print."""

import pytest

from letterlock.cli import output


def test_tables_align_and_end_without_spaces() -> None:
    """Columns are as wide as their widest cell."""
    assert output.table(("a", "bc"), (("long", "x"), ("s", ""))) == ["\x1b[1ma     bc\x1b[0m", "long  x", "s"]


def test_wide_characters_take_two_columns() -> None:
    """A name in Chinese characters does not push the next column away."""
    assert output.table(("name", "x"), (("山田", "1"), ("Å\u030a", "2")))[1:] == ["山田  1", "Å\u030a     2"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("grüße", "grüße"),
        ("a\x1b[31mb\r\n", "a\\u{1b}[31mb\\u{d}\\u{a}"),
        ("\u202etxt", "\\u{202e}txt"),
    ],
)
def test_no_control_character_reaches_a_terminal(text: str, shown: str) -> None:
    """Escape sequences, line ends and direction marks of a message are made visible."""
    assert output.safe(text) == shown


def test_json_and_text_say_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """One value, two faces."""
    output.answer({"result": "pass"}, as_json=True, lines=["pass"])
    output.answer({"result": "pass"}, as_json=False, lines=["pass"])
    assert capsys.readouterr().out == '{\n  "result": "pass"\n}\npass\n'


def test_failing_says_why_and_exits(capsys: pytest.CaptureFixture[str]) -> None:
    """The sentence goes to standard error, the code is documented."""
    with pytest.raises(SystemExit) as caught:
        output.fail("no such account", output.Exit.WRONG)
    assert caught.value.code == 1
    assert capsys.readouterr().err == "no such account\n"
