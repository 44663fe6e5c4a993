"""Documentation that follows from the code."""

import re
from pathlib import Path

from tests.hostile import sequences

from letterlock.admd.sections import Section
from letterlock.admd.settings import Settings
from letterlock.cli.root import COMMANDS, letterlock


def test_every_setting_is_described() -> None:
    """docs/settings.md has a sentence for each setting."""

    def undescribed(model: type[Section], prefix: str = "") -> list[str]:
        names = []
        for name, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
                names += undescribed(field.annotation, f"{prefix}{name}.")
            elif name != "folder" and not field.description:
                names.append(prefix + name)
        return names

    assert undescribed(Settings) == []


def test_every_command_loads_and_has_help() -> None:
    """The lazy table names modules that exist and commands that explain themselves."""
    import click

    context = click.Context(letterlock)
    for name, (_, help_line) in COMMANDS.items():
        command = letterlock.get_command(context, name)
        assert command is not None
        assert command.help, name
        assert help_line


def test_the_threat_model_names_tests_that_exist() -> None:
    """SECURITY.md: each threat has its test."""
    root = Path(__file__).parent.parent
    named = re.findall(r"`(tests/[a-z0-9_/]+\.py)`", (root / "SECURITY.md").read_text(encoding="utf-8"))
    assert len(named) > 30
    assert [name for name in named if not (root / name).exists()] == []


def test_hostile_input_is_named() -> None:
    """docs/hostile.md has a row for each sequence that tests/hostile tries, and no others."""
    page = (Path(__file__).parent.parent / "docs" / "hostile.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?!name \|)(?!-)(.+?) \|", page, re.MULTILINE)
    tables = (
        sequences.FALSE_ENDS,
        sequences.LOOK_ALIKES,
        sequences.COMMANDS,
        sequences.RECIPIENTS,
        sequences.INJECTED_COMMANDS,
        sequences.INJECTED_ANSWERS,
        sequences.FLOODS,
    )
    assert sorted(rows) == sorted(name for table in tables for name in table)
