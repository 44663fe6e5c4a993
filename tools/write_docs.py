"""Write the documentation that follows from the code, or with `--check` say what is out of date.

    docs/settings.md    every setting of letterlock.toml, from admd/settings.py and admd/sections.py
    docs/commands.md    every command and option, from the command line itself
    docs/quirks.md      every departure from a standard that the code bears, from its `QUIRK` comments
    docs/defects.md     every defect a reader of messages names, from formats/defect.py
    docs/standards.md   every standard the code names: its title, the modules that obey it, the tests that cite it
    docs/benchmarks.md, docs/interop.md   the pages of docs/benchmarks.d and docs/interop.d, one after the other
    README.md           the table of standards between its two markers

The titles and groups of the standards stand in tools/rfc-titles.txt.
"""

from __future__ import annotations

import re
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import click
import pydantic

from letterlock.admd.sections import Section
from letterlock.admd.settings import Settings
from letterlock.cli.output import Exit
from letterlock.cli.root import letterlock
from letterlock.formats.defect import Kind

ROOT = Path(__file__).parent.parent
QUIRK = re.compile(r"# QUIRK ([a-z0-9-]+)(?:: (.*))?")
REFERENCE = re.compile(r"RFCs? ((?:\d{3,5}(?:[-,/]| and |, )? ?)+)")
BENCHMARKS = """# Benchmarks

Every figure was measured beside its peer in one run (`make bench`), on two shared cores with real syncs to an ext4 disk.
Machines like that are noisy: read the ratios, which are medians of alternating runs, rather than the rates.
"""
INTEROP = """# What foreign programs made of us

Each row is a test in tests/interop (`make interop`), run against Debian's package unless it says otherwise.
"""
MARKERS = ("<!-- standards: made by tools/write_docs.py -->", "<!-- end of standards -->")


def settings_page() -> str:
    """Return docs/settings.md."""
    parts = [
        "# Settings\n",
        "All settings of `letterlock.toml`, with their defaults. Only `domain` is required. Paths are relative to the file.\n",
        "`letterlock config show --all` prints what is in force, `letterlock config check` finds every mistake at once.\n",
    ]
    parts += _section_table("", Settings)
    return "\n".join(parts)


def _section_table(name: str, model: type[pydantic.BaseModel]) -> Iterator[str]:
    inner: list[tuple[str, type[pydantic.BaseModel]]] = []
    if name:
        heading = name if name.startswith("[") else f"[{name}]"
        yield f"\n## {heading}\n\n{(model.__doc__ or '').strip()}\n"
    yield "| setting | default | what it does |\n|---|---|---|"
    for key, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Section):
            inner.append((f"{name}.{key}" if name else key, annotation))
        elif not field.exclude and key != "folder":
            if not field.description:
                raise SystemExit(f"the setting {name}.{key} has no description")
            default = "*required*" if field.is_required() else f"`{_toml(field.get_default())}`"
            yield f"| `{key}` | {default} | {field.description} |"
            if (section := _section_of_list(annotation)) is not None:
                inner.append((f"[[{name}.{key}]]" if name else f"[[{key}]]", section))
    for inner_name, section in inner:
        yield from _section_table(inner_name, section)


def _section_of_list(annotation: object) -> type[pydantic.BaseModel] | None:
    """Return the section that a list of tables holds."""
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is not list or not isinstance(arguments[0], type):
        return None
    return arguments[0] if issubclass(arguments[0], Section) else None


def _toml(value: object) -> str:
    match value:
        case None:
            return "(none)"
        case bool():
            return str(value).lower()
        case str() | Path():
            return f'"{value}"'
        case list():
            return "[" + ", ".join(_toml(item) for item in value) + "]"
        case dict():
            return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
        case _:
            return str(value)


def commands_page() -> str:
    """Return docs/commands.md."""
    context = click.Context(letterlock, info_name="letterlock")
    parts = ["# Commands\n", "Exit codes:\n", "| code | means |\n|---|---|"]
    parts += [f"| {code.value} | {code.meaning} |" for code in Exit]
    parts += ["\nEvery command that prints a result takes `--json`. `NO_COLOR` is respected.\n"]
    for command in _commands(letterlock, context):
        help_text = click.unstyle(command.get_help()).replace("Usage: ", "", 1)
        parts.append(f"## {command.command_path}\n\n```\n{help_text}\n```\n")
    return "\n".join(parts)


def _commands(group: click.Group, context: click.Context) -> Iterator[click.Context]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None:
            continue
        inner = click.Context(command, info_name=name, parent=context, max_content_width=110, terminal_width=110)
        yield inner
        if isinstance(command, click.Group):
            yield from _commands(command, inner)


def _cited(folder: str) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        shown = str(path.relative_to(ROOT / folder)).removeprefix("letterlock/")
        for match in REFERENCE.finditer(path.read_text(encoding="utf-8")):
            for number in re.findall(r"\d{3,5}", match[1]):
                found.setdefault(int(number), set()).add(shown)
    return found


def _titles() -> dict[str, dict[int, str]]:
    groups: dict[str, dict[int, str]] = {}
    group = ""
    for line in (ROOT / "tools" / "rfc-titles.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            group = line[2:]
        elif line:
            number, _, title = line.partition(" ")
            groups.setdefault(group, {})[int(number)] = title
    return groups


def standards_page() -> str:
    """Return docs/standards.md."""
    code, tests = _cited("src"), _cited("tests")
    parts = [
        "# Standards\n",
        "Which module obeys which standard, as the code itself says, and which tests cite it. A standard that no module names "
        "is not in this table.\n",
    ]
    for group, titles in _titles().items():
        rows = [
            f"| RFC {number} | {title} | {_some(code[number])} | {_some(tests.get(number, set()))} |"
            for number, title in titles.items()
            if number in code
        ]
        if rows:
            parts += [f"\n## {group}\n\n| standard | title | code | tests |\n|---|---|---|---|", *rows]
    return "\n".join(parts) + "\n"


def quirks_page() -> str:
    """Return docs/quirks.md."""
    found: dict[str, tuple[str, str]] = {}
    for path in sorted((ROOT / "src").rglob("*.py")):
        for match in QUIRK.finditer(path.read_text(encoding="utf-8")):
            explained = found.get(match[1], ("", ""))[1] or match[2] or ""
            found[match[1]] = (str(path.relative_to(ROOT / "src" / "letterlock")), explained)
    rows = [f"| {name} | `{path}` | {explained} |" for name, (path, explained) in sorted(found.items())]
    head = "# Quirks\n\nDepartures from a standard that peers and senders make and we bear, by name.\n"
    return "\n".join([head, "| quirk | where | what |\n|---|---|---|", *rows])


def defects_page() -> str:
    """Return docs/defects.md."""
    head = (
        "# Defects of messages\n\nWhat a reader of messages names instead of failing. On an *ambiguous* one two "
        "correct-looking programs see different messages; a trust decision refuses content that has it.\n"
    )
    rows = [f"| {kind.label} | {kind.sentence} | {'ambiguous' if kind.ambiguous else ''} |" for kind in Kind]
    return "\n".join([head, "| defect | what stands there | |\n|---|---|---|", *rows])


def _some(paths: set[str], most: int = 4) -> str:
    shown = sorted(paths)[:most]
    return ", ".join(f"`{path}`" for path in shown) + (f" and {len(paths) - most} more" if len(paths) > most else "")


def joined(folder: str, heading: str) -> str:
    """Return the pages of a folder below docs as one, each under its file's name."""
    parts = [heading]
    for path in sorted((ROOT / "docs" / folder).glob("*.md")):
        text = path.read_text(encoding="utf-8").strip()
        # A page's own title becomes a section here.
        lines = ["#" + line if re.match(r"#+ ", line) else line for line in text.splitlines()]
        title = [] if lines and lines[0].startswith("## ") else [f"## {path.stem}\n"]
        parts.append("\n".join([*title, *lines]) + "\n")
    return "\n".join(parts)


def readme_page() -> str:
    """Return README.md with its table of standards made anew."""
    code, tests = _cited("src"), _cited("tests")
    rows = ["| area | in code and tests | in code |", "|---|---|---|"]
    for group, titles in _titles().items():
        both = [str(number) for number in titles if number in code and number in tests]
        alone = [str(number) for number in titles if number in code and number not in tests]
        if both or alone:
            rows.append(f"| {group} | {' '.join(both)} | {' '.join(alone)} |")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(MARKERS[0])
    _, _, after = rest.partition(MARKERS[1])
    return before + MARKERS[0] + "\n" + "\n".join(rows) + "\n" + MARKERS[1] + after if rest else text


def main(*, check: bool) -> int:
    """Write the pages, or with `check` name those that differ; return 1 if there was one."""
    pages = {
        "docs/settings.md": settings_page(),
        "docs/commands.md": commands_page(),
        "docs/quirks.md": quirks_page(),
        "docs/defects.md": defects_page(),
        "docs/standards.md": standards_page(),
        "docs/benchmarks.md": joined("benchmarks.d", BENCHMARKS),
        "docs/interop.md": joined("interop.d", INTEROP),
        "README.md": readme_page(),
    }
    stale = 0
    for name, text in pages.items():
        path = ROOT / name
        text = text.rstrip() + "\n"
        if check:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                print(f"{name} is out of date: run `make docs`")
                stale = 1
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return stale


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv))
