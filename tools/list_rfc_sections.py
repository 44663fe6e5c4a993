"""Write tools/rfc-sections.txt: the section numbers of every RFC, from a folder of RFC texts.

    python tools/list_rfc_sections.py ../shared/rfcs > tools/rfc-sections.txt

One line an RFC: its number, then its sections and appendices. tools/check_rfc_references.py reads it, so that a clause
named in the code can be checked where the texts are not at hand.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

HEADING = re.compile(
    r"^ {0,6}(?:Appendix\s+|APPENDIX\s+|#+ +)?([1-9]\d?(?:\.\d+)*|[A-Z](?:\.\d+)*)(?:[.:]?\s+|\.$)(?=\S|$)",
    re.MULTILINE,
)


def sections(text: str) -> list[str]:
    """Return the numbers of all headings, generously: a line that looks like one is taken for one."""
    found = {match[1] for match in HEADING.finditer(text)}
    return sorted(found, key=lambda number: [(not part.isdigit(), part.zfill(6)) for part in number.split(".")])


def main(folder: str) -> None:
    """Print the table for every `rfcNNNN*` text in `folder`."""
    table: dict[int, set[str]] = {}
    for path in Path(folder).glob("rfc*"):
        match = re.match(r"rfc(\d+)", path.name)
        if match and path.suffix in {".txt", ".md"}:
            text = path.read_text(encoding="utf-8", errors="replace")
            table.setdefault(int(match[1]), set()).update(sections(text))
    for number in sorted(table):
        print(number, *sorted(table[number]))


if __name__ == "__main__":
    main(sys.argv[1])
