"""`letterlock mail send|list`: a small user agent over submission and IMAP.

Where to find the servers comes from options, from the environment (LETTERLOCK_USER, LETTERLOCK_PASSWORD, LETTERLOCK_IMAP,
LETTERLOCK_SUBMISSION, LETTERLOCK_CA, LETTERLOCK_SERVER_NAME), or from the section [user-agent] of a profile (`--profile`,
LETTERLOCK_PROFILE). With a resolver among them (--resolver) the servers' TLSA records count: mua/server_proof.py.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from letterlock.cli import smime_mail, smime_sealing
from letterlock.cli.mail_agent import Agent, agent_of, hand_over, run, server_options
from letterlock.cli.online import Online, online_options
from letterlock.cli.output import Exit, answer, fail, json_option, safe, table
from letterlock.cli.resolver_options import opened_by
from letterlock.cli.smime_mail import keys_options
from letterlock.cli.smime_sealing import About, Sealed, Sealing
from letterlock.errors import LetterlockError, Malformed
from letterlock.formats.cms.attributes import Attribute
from letterlock.formats.x509.certificate import Certificate
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.mua.compose import Attachment, Composed, Draft, compose, compose_raw
from letterlock.mua.protect import Ciphers
from letterlock.mua.read import Summary
from letterlock.trust.smime.choose_cipher import Unknown
from letterlock.trust.smime.look_up import Found
from letterlock.trust.smime.proof import Trust


@click.group()
def mail() -> None:
    """Send and read mail."""


_TO_AUTHOR = "the author"  # no address


@mail.command("send")
@click.argument("recipients", nargs=-1)
@click.option("--from", "author", default="", help="The author; the account without this.")
@click.option("--cc", multiple=True, help="Also to, visibly.")
@click.option("--bcc", multiple=True, help="Also to, unseen by the others.")
@click.option("--subject", default="", help="The subject.")
@click.option("--text", help="The text; standard input without this.")
@click.option("--attach", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A file.")
@click.option(
    "--copy/--no-copy", default=True, help="Keep a copy in the mailbox for sent mail, if an IMAP server is set."
)
@click.option("--raw", type=click.File("rb"), help="A whole message, sent as it stands but for its line ends.")
@click.option("--sign", is_flag=True, help="Sign it with S/MIME, with the author's key in the key store.")
@click.option(
    "--encrypt",
    is_flag=True,
    help="Encrypt it with S/MIME: to certificates in the key store or (--resolver) the DNS.",
)
@click.option(
    "--for-unknown",
    type=click.Choice([each.value for each in Unknown]),
    envvar="LETTERLOCK_FOR_UNKNOWN",
    help="With --encrypt: the cipher where nothing says what a recipient can read. GCM shows every change and many cannot "
    "read it; CBC all can read; by-key, the default, is GCM for elliptic keys alone.",
)
@click.option(
    "--accept-weaker",
    is_flag=True,
    help="With --encrypt: where recipients have no cipher in common, some get a copy of their own in a weaker one.",
)
@click.option("--legacy", is_flag=True, help="With --encrypt: Triple-DES and RC2, for who can read nothing else.")
@click.option(
    "--require-revocation", is_flag=True, help="With --encrypt: refuse certificates that may have been revoked."
)
@click.option(
    "--request-receipt",
    is_flag=False,
    flag_value=_TO_AUTHOR,
    metavar="[ADDRESS]",
    help="With --sign: ask those who get it for signed receipts, to the author or ADDRESS.",
)
@click.option("--label", default="", help="With --sign: a security label, POLICY[:CLASSIFICATION[:MARK]] (RFC 2634).")
@click.option(
    "--labels",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="LETTERLOCK_LABELS",
    help="A policy file: its policies' names, and who may read what; nothing goes to who may not.",
)
@online_options
@keys_options
@server_options
@json_option
def send(
    recipients: tuple[str, ...],
    author: str,
    cc: tuple[str, ...],
    bcc: tuple[str, ...],
    subject: str,
    text: str | None,
    attach: tuple[Path, ...],
    copy: bool,
    raw: Any,
    sign: bool,
    encrypt: bool,
    accept_weaker: bool,
    legacy: bool,
    require_revocation: bool,
    request_receipt: str | None,
    label: str,
    online: Online,
    as_json: bool,
    **options: Any,
) -> None:
    """Send a message to RECIPIENTS: text with attachments, or a whole message with --raw."""
    if encrypt and bcc:
        fail("who gets a blind copy can be read off an encrypted message: send it apart", Exit.USAGE, as_json=as_json)
    if (request_receipt is not None or label) and not sign:
        fail("--request-receipt and --label are part of a signature: --sign it, too", Exit.USAGE, as_json=as_json)
    agent = agent_of(options, as_json=as_json)
    author = author or agent.settings.user
    told: dict[str, object] = {}
    try:
        if raw is not None:
            content = raw.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            composed = compose_raw(content, author=author, recipients=recipients)
        else:
            files = tuple(Attachment(path.name, path.read_bytes()) for path in attach)
            body = sys.stdin.read() if text is None else text
            draft = Draft(author, recipients, subject, body, cc, bcc, files)
            composed = compose(draft, clock=SystemClock(), entropy=SystemEntropy())
        messages: tuple[Composed, ...] = (composed,)
        if sign:
            wanted = _attributes(composed, agent, label, author if request_receipt == _TO_AUTHOR else request_receipt)
            messages = (smime_mail.signed(smime_mail.store_of(agent.settings), composed, author, wanted),)
        if encrypt:
            ciphers = Ciphers(agent.settings.for_unknown, legacy, accept_weaker)
            online = agent.asking(online)
            sealing = sealing_of(
                agent, online, ciphers, require_revocation=agent.requires_revocation(require_revocation)
            )
            sealed = smime_sealing.sealed(smime_mail.store_of(agent.settings), messages[0], author, sealing)
            messages, told = sealed.messages, _tell_of(sealed, agent, online)
    except Malformed as fault:
        fail(fault.problem, Exit.USAGE, as_json=as_json)
    except LetterlockError as fault:
        fail(safe(str(fault)), Exit.WRONG, as_json=as_json)
    hand_over(messages, agent, copy=copy and agent.settings.imap is not None, as_json=as_json, more=told)


def _attributes(composed: Composed, agent: Agent, label: str, receipts_to: str | None) -> tuple[Attribute, ...]:
    """Return what goes into the signature. Raises Malformed, OurFault, SettingsFault."""
    wanted = smime_mail.labelled(label, agent.settings.labels, composed) if label else ()
    if receipts_to is not None:
        wanted = (*wanted, smime_mail.receipt_request(composed, receipts_to))
    return wanted


def sealing_of(agent: Agent, online: Online, ciphers: Ciphers, *, require_revocation: bool = False) -> Sealing:
    """Return how an agent encrypts: whom it asks about certificates and, if a resolver was chosen, for missing ones."""
    settings = agent.settings

    def ask(certificates: Sequence[Certificate], trust: Trust) -> About:
        return online.about(certificates, trust, settings.resolver, smime_mail.kept_answers(settings))

    def look_up(addresses: list[str]) -> dict[str, Found]:
        async def asked() -> dict[str, Found]:
            assert settings.resolver is not None  # else it is not called
            async with opened_by(settings.resolver, as_json=agent.as_json) as resolver:
                return await smime_sealing.look_up(smime_mail.store_of(settings), addresses, resolver)

        found = run(asked(), as_json=agent.as_json)
        for address, one in found.items():
            if one.certificates:
                agent.tell(f"{address}: its domain publishes {one.certificates[0].serial:x} (SMIMEA, DNSSEC secure)")
        return found

    return Sealing(ciphers, require_revocation, ask, None if settings.resolver is None else look_up)


def _tell_of(sealed: Sealed, agent: Agent, online: Online) -> dict[str, object]:
    """Say how a message was encrypted to whom wants to know, and what everybody should know; return it for programs."""
    for sentence in sealed.sentences:
        agent.tell(sentence)
    if not agent.as_json:
        asks = "" if online.is_on else " (--online asks)"
        for note in sealed.notes:
            click.echo(f"note: {safe(note)}{asks if note in sealed.unknown else ''}", err=True)
    return {"encryption": sealed.value, "notes": sealed.notes}


@mail.command("list")
@click.argument("mailbox", default="INBOX")
@click.option("--newest", default=20, show_default=True, type=click.IntRange(0), help="So many; 0 is all.")
@click.option("--mailboxes", is_flag=True, help="List the mailboxes instead of messages.")
@server_options
@json_option
def list_messages(mailbox: str, newest: int, mailboxes: bool, as_json: bool, **options: Any) -> None:
    """List the newest messages of MAILBOX."""
    agent = agent_of(options, as_json=as_json)

    async def names() -> tuple[dict[str, Any], ...]:
        async with agent.reader() as reader:
            return tuple({"name": one.name, "attributes": one.attributes} for one in await reader.mailboxes())

    async def summaries() -> tuple[Summary, ...]:
        async with agent.reader() as reader:
            return await reader.summaries(mailbox, newest=newest)

    if mailboxes:
        listed = run(names(), as_json=as_json)
        rows = [(safe(one["name"]), " ".join(one["attributes"])) for one in listed]
        answer(listed, as_json=as_json, lines=table(("mailbox", "attributes"), rows))
        return
    found = run(summaries(), as_json=as_json)
    headings = ("uid", "date", "from", "subject", "octets", "flags")
    answer(found, as_json=as_json, lines=table(headings, [_row(one) for one in found]))


def _row(one: Summary) -> tuple[str, ...]:
    date = one.date.strftime("%Y-%m-%d %H:%M") if one.date else ""
    return str(one.uid), date, safe(one.sender)[:40], safe(one.subject)[:60], str(one.size_octets), " ".join(one.flags)
