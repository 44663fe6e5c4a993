"""`letterlock`: the root of all commands, which loads a command's module only when that command is named."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import click

import letterlock as package
from letterlock.errors import LetterlockError

# command: (module below letterlock.cli that holds it under its own name, one line of help)
COMMANDS: dict[str, tuple[str, str]] = {
    "account": ("account", "Add, list and remove accounts; change passwords."),
    "arc": ("arc", "Check and extend the chain of handlers of a message."),
    "border": ("border", "See what the server thinks of a client, and open doors that are shut."),
    "ca": ("ca", "Run a certification authority for a domain's own people."),
    "config": ("config", "Show and check the settings."),
    "dane": ("dane", "Check what servers show against their TLSA records."),
    "delivery": ("delivery", "See how mail to an address would go, step by step."),
    "dkim": ("dkim", "Sign messages and verify signatures."),
    "dmarc": ("dmarc", "Check what the domain in From vouches for."),
    "dns": ("dns", "Look up names with proof; the records a domain needs; zones."),
    "explain": ("explain", "Tell who vouches for a message, and why."),
    "init": ("init", "Set up a new installation for a domain."),
    "keys": ("keys", "Keep keys and certificates."),
    "lab": ("lab", "Run a miniature Internet on this machine."),
    "mail": ("mail", "Send and read mail."),
    "message": ("message", "Read a message: what it says, how it is made, what it carries."),
    "queue": ("queue", "Show and steer the mail that waits for other domains."),
    "report": ("report", "Read DMARC and TLS reports, and see who sends as you."),
    "serve": ("serve", "Serve the domain."),
    "smime": ("smime", "Sign, verify, encrypt and decrypt mail and files with S/MIME."),
    "spf": ("spf", "Check which addresses may send mail for a domain."),
    "store": ("store", "Look after the message store."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and help line, and imports one only to run it."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """Import the command's module and return the command."""
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"letterlock.cli.{COMMANDS[name][0]}")
        command: click.Command = getattr(module, name)
        return command

    def invoke(self, context: click.Context) -> object:
        """Run the command; whatever ends it is told in a sentence (in JSON where that was asked for) and an exit code."""
        as_json = "--json" in context.args  # which click empties
        try:
            try:
                return super().invoke(context)
            finally:
                _flush()
        except click.UsageError as error:
            if not as_json:
                raise
            from letterlock.cli.output import Exit, fail  # few commands end so

            fail(error.format_message(), Exit.USAGE, as_json=True)
        except KeyboardInterrupt:
            from letterlock.cli.output import Exit

            raise SystemExit(Exit.INTERRUPTED) from None
        except (LetterlockError, OSError) as error:
            from letterlock.cli.output import end

            end(error, as_json=as_json)

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command table without importing a command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in sorted(COMMANDS.items())])


def _flush() -> None:
    """Write out what was printed while we still can tell that it cannot be; what cannot be is given up."""
    try:
        sys.stdout.flush()
    except OSError:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())  # or the interpreter would try again and complain
        raise


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package.__version__, prog_name="letterlock")
def letterlock() -> None:
    """A complete, trustworthy Internet mail system."""
