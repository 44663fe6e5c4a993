"""`letterlock serve`: run the server until it is told to stop."""

from __future__ import annotations

from pathlib import Path

import click

from letterlock.cli.output import Exit, fail, sentence_of
from letterlock.cli.settings_option import load, settings_option
from letterlock.errors import LetterlockError


@click.command()
@settings_option
@click.option("--until-stdin-closes", is_flag=True, help="Stop, too, when standard input ends: for a parent process.")
def serve(settings_file: Path, until_stdin_closes: bool) -> None:
    """Serve the domain: SMTP, submission, IMAP and POP3, the queue and the store.

    SIGTERM and SIGINT finish what was begun and stop; SIGHUP reads the TLS certificates again.
    """
    settings = load(settings_file)
    from letterlock.admd.serve import serve_until_stopped

    try:
        serve_until_stopped(settings, until_stdin_closes=until_stdin_closes)
    except* (LetterlockError, OSError) as problems:
        fail(sentence_of(problems), Exit.UNAVAILABLE)
