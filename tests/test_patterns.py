"""Regular expressions mean the same on every Python we run on."""

from __future__ import annotations

import re
from pathlib import Path

SOURCES = Path(__file__).parent.parent / "src" / "letterlock"


def test_no_group_is_possessive() -> None:
    """CPython before 3.11.5 does not go back when the last turn of one fails half way: `(?>(?:...)*)` is written for it."""
    found = [
        f"{path.relative_to(SOURCES)}: {line.strip()}"
        for path in SOURCES.rglob("*.py")
        for line in path.read_text().splitlines()
        if re.search(r"\)(?:[*+?]|\{[0-9,]+\})\+", line)
    ]
    assert not found
