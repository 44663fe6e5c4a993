"""Starting the command costs little, since commands are imported only when they are called."""

import subprocess
import sys

PROGRAM = """
import sys
sys.argv = ["letterlock", "--help"]
from letterlock.cli import main
try:
    main()
finally:
    print(sorted({"cryptography", "dns", "pydantic", "rich", "asyncio", "apsw", "lxml", "uvloop", "ssl"} & set(sys.modules)))
"""


def test_help_imports_nothing_heavy() -> None:
    """`letterlock --help` reads the table of commands, not the commands."""
    told = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    assert "Commands:" in told
    assert told.splitlines()[-1] == "[]"
