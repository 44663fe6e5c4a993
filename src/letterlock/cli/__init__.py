"""The command line: `letterlock COMMAND`, each command imported only when it is called."""

from __future__ import annotations


def main() -> None:
    """Run the command named on the command line."""
    try:
        from letterlock.cli.root import letterlock

        letterlock()
    except KeyboardInterrupt:  # while it was still being imported
        raise SystemExit(130) from None
