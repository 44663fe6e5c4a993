"""`letterlock mail show`: one message as it may safely be seen, with what its signatures prove."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from letterlock.cli.mail_agent import agent_of, run, server_options
from letterlock.cli.mail_opening import Opening
from letterlock.cli.mail_receipt import told_of_receipts
from letterlock.cli.mail_send import mail
from letterlock.cli.message import shown
from letterlock.cli.online import Online, online_options
from letterlock.cli.output import Exit, answer, fail, json_option, safe
from letterlock.cli.smime_mail import keys_options
from letterlock.cli.smime_messages import proof_lines, proof_value
from letterlock.formats.mime.entity import parse


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
    require_revocation: bool,
    online: Online,
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
    opening = Opening(agent, agent.asking(online), agent.requires_revocation(require_revocation))
    found = opening.opened(octets)
    if raw:
        if agent.settings.labels is not None and found is not None and found.withheld:
            fail(safe(found.fault), Exit.WRONG, as_json=as_json)
        sys.stdout.buffer.write(octets)
        return
    document, lines = shown(parse(found.content if found else octets), prefer="html" if html else "plain")
    if found is not None and found.protected:
        document = {**document, "smime": proof_value(found.proof), "withheld": found.withheld}
        of_receipts, sentences = told_of_receipts(found, opening, uid, mailbox)
        document |= of_receipts
        lines = [*sentences, *proof_lines(found.proof), "", *lines]
    answer(document, as_json=as_json, lines=lines)
