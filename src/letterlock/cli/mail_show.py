"""`letterlock mail show`: one message as it may safely be seen, with what its signatures prove."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from letterlock.cli import smime_files, smime_mail
from letterlock.cli.mail_agent import Agent, agent_of, run, server_options
from letterlock.cli.mail_send import mail
from letterlock.cli.message import shown
from letterlock.cli.online import Online, online_options
from letterlock.cli.output import Exit, answer, fail, json_option, safe
from letterlock.cli.smime_mail import keys_options
from letterlock.cli.smime_messages import proof_lines, proof_value
from letterlock.errors import LetterlockError
from letterlock.formats.mime.entity import parse
from letterlock.mua.protect import Opened, open_message
from letterlock.trust.smime.decrypt import KeyRing
from letterlock.trust.smime.proof import Trust
from letterlock.trust.smime.unwrap import Unwrapped


@mail.command("show")
@click.argument("uid", type=click.IntRange(1))
@click.option("--mailbox", default="INBOX", show_default=True, help="Where the message lies.")
@click.option("--raw", is_flag=True, help="Write the octets as they are stored.")
@click.option("--html", is_flag=True, help="Prefer HTML to plain text where both are there.")
@click.option("--seen", is_flag=True, help="Mark the message as seen.")
@click.option(
    "--labels",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="LETTERLOCK_LABELS",
    help="A policy file: show nothing that its security label forbids.",
)
@click.option("--require-revocation", is_flag=True, help="What may have been revoked proves nothing.")
@online_options
@keys_options
@server_options
@json_option
def show(
    uid: int,
    mailbox: str,
    raw: bool,
    html: bool,
    seen: bool,
    labels: Path | None,
    require_revocation: bool,
    online: Online,
    keys_file: Path | None,
    keys_password_file: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Show the message with this UID as it may safely be seen; the fragments of a split one are put together."""
    agent = agent_of(options, as_json=as_json)

    async def read() -> bytes:
        async with agent.reader() as reader:
            octets = await reader.message(mailbox, uid, mark_seen=seen)
            return octets if raw else await reader.joined(mailbox, octets)

    octets = run(read(), as_json=as_json)
    opening = Opening(agent, keys_file, keys_password_file, labels, online, require_revocation)
    found = opening.opened(octets)
    if raw:
        if labels is not None and found is not None and found.withheld:
            fail(safe(found.fault), Exit.WRONG, as_json=as_json)
        sys.stdout.buffer.write(octets)
        return
    document, lines = shown(parse(found.content if found else octets), prefer="html" if html else "plain")
    if found is not None and found.protected:
        document = {**document, "smime": proof_value(found.proof), "withheld": found.withheld}
        lines = [*proof_lines(found.proof), "", *lines]
    answer(document, as_json=as_json, lines=lines)


@dataclass(frozen=True, slots=True)
class Opening:
    """How a message is opened: with which keys and labels, and whether anybody is asked about its signers."""

    agent: Agent
    keys_file: Path | None
    password_file: Path | None
    labels: Path | None
    online: Online
    require_revocation: bool

    def opened(self, octets: bytes) -> Opened | None:
        """Return what S/MIME proves and hides, where a key store or a label policy is at hand; else nothing."""
        if self.keys_file is None and self.labels is None:
            return None
        try:
            rules = smime_mail.label_rules(self.labels)
            reader = self.agent.settings.user
            if self.keys_file is None:
                return open_message(octets, KeyRing(), Trust(smime_files.now()), reader, rules)
            store = smime_mail.open_store(self.keys_file, self.password_file)
            return smime_mail.opened(
                store, octets, reader, rules, self._complete, require_revocation=self.require_revocation
            )
        except LetterlockError as fault:
            fail(safe(str(fault)), Exit.WRONG, as_json=self.agent.as_json)

    def _complete(self, unwrapped: Unwrapped, trust: Trust) -> Trust:
        """Ask about the signers; what is told is kept beside the key store."""
        assert self.keys_file is not None  # without a key store nobody is trusted, and nobody asked about
        kept = self.keys_file.with_name(f"{self.keys_file.name}-revocation")
        return self.online.complete(unwrapped, trust, self.agent.settings.resolver, kept)
