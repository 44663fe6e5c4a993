"""Check that every clause the code and the documents name exists: `RFC 5321 section 4.5.2`, `RFC 9051 appendix B`.

Reads tools/rfc-sections.txt (see list_rfc_sections.py). Prints each reference to a section that is not
there, and exits 1.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
REFERENCE = re.compile(r"RFC (\d{3,4}),?\s+(?:[Ss]ections?|[Aa]ppendix)\s+([0-9]+(?:\.[0-9]+)*|[A-Z](?:\.[0-9]+)*)\b")


def known_sections() -> dict[str, set[str]]:
    """Return the sections of each RFC by its number."""
    lines = (ROOT / "tools" / "rfc-sections.txt").read_text().splitlines()
    return {number: set(rest) for number, *rest in (line.split() for line in lines)}


def main() -> int:
    """Print every reference that leads nowhere; return 1 if there was one."""
    known = known_sections()
    wrong = 0
    for folder in ("src", "tests", "docs", "bench"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix not in {".py", ".md"}:
                continue
            text = path.read_text(encoding="utf-8")
            for match in REFERENCE.finditer(text):
                number, section = match[1], match[2]
                if number in known and section not in known[number]:
                    line = text.count("\n", 0, match.start()) + 1
                    print(f"{path.relative_to(ROOT)}:{line}: RFC {number} has no section {section}")
                    wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
