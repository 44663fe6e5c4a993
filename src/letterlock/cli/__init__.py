"""The command line: `letterlock COMMAND`, each command imported only when it is called."""

from __future__ import annotations


def main() -> None:
    """Run the command named on the command line."""
    from letterlock.cli.root import letterlock

    letterlock()
