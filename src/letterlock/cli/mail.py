"""`letterlock mail send|list|show`: a small user agent over submission and IMAP.

Where to find the servers comes from options, from the environment (LETTERLOCK_USER, LETTERLOCK_PASSWORD, LETTERLOCK_IMAP,
LETTERLOCK_SUBMISSION, LETTERLOCK_CA, LETTERLOCK_SERVER_NAME), or from the section [user-agent] of a profile (`--profile`,
LETTERLOCK_PROFILE). With a resolver among them (--resolver) the servers' TLSA records count: mua/server_proof.py.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from letterlock.cli import smime_files, smime_mail
from letterlock.cli.message import shown
from letterlock.cli.output import Exit, answer, fail, json_option, safe, table
from letterlock.cli.resolver_options import opened_by
from letterlock.cli.smime_mail import keys_options
from letterlock.cli.smime_messages import proof_lines, proof_value
from letterlock.errors import LetterlockError, Malformed, PeerFault, SettingsFault
from letterlock.formats.mime.entity import parse
from letterlock.host.clock import SystemClock
from letterlock.host.connect import ConnectionFailed
from letterlock.host.entropy import SystemEntropy
from letterlock.host.stream import DeadlinePassed
from letterlock.mua.compose import Attachment, Composed, Draft, compose, compose_raw
from letterlock.mua.profile import load_profile
from letterlock.mua.protect import Opened, open_message
from letterlock.mua.read import MailReader, Summary
from letterlock.mua.server_proof import Proving
from letterlock.mua.settings import UserAgentSettings
from letterlock.mua.submit import Submitted, submit
from letterlock.registrar.key_store import KeyStore
from letterlock.trust.smime.decrypt import KeyRing
from letterlock.trust.smime.look_up import Found
from letterlock.trust.smime.proof import Trust

P = ParamSpec("P")
R = TypeVar("R")


def _server_options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command the options of a profile; `_agent` reads them."""
    options = (
        click.option("--profile", type=click.Path(path_type=Path), envvar="LETTERLOCK_PROFILE", help="A profile."),
        click.option("--user", envvar="LETTERLOCK_USER", help="The account, such as anna@rosewood.test."),
        click.option("--password", envvar="LETTERLOCK_PASSWORD", help="Its password; better in the environment."),
        click.option("--password-file", help="A file that holds the password."),
        click.option("--imap", envvar="LETTERLOCK_IMAP", help="imaps://HOST[:PORT], or imap:// for STARTTLS."),
        click.option("--submission", envvar="LETTERLOCK_SUBMISSION", help="submissions://HOST[:PORT]."),
        click.option("--ca", envvar="LETTERLOCK_CA", help="A PEM file of authorities to trust."),
        click.option("--server-name", envvar="LETTERLOCK_SERVER_NAME", help="The name the certificate must show."),
        click.option(
            "--resolver",
            metavar="validate|trust-ad|iterate",
            envvar="LETTERLOCK_RESOLVER",
            help="Look up the servers' TLSA records (DANE) so; without it they do not count.",
        ),
        click.option("--dns-servers", metavar="ADDRESSES", help="Ask these resolvers, not the system's."),
        click.option("--anchors", metavar="FILE", help="DS or DNSKEY records to trust, not the root's."),
        click.option("--root-servers", metavar="ADDRESSES", help="Where --resolver iterate begins."),
        click.option("--dns-port", metavar="PORT", help="Port of all authoritative servers, for --resolver iterate."),
        click.option("--verbose", is_flag=True, help="Say on standard error how the servers proved themselves by DNS."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class _Agent:
    """A user agent: its settings, and how to talk with its servers."""

    settings: UserAgentSettings
    is_verbose: bool
    as_json: bool

    @asynccontextmanager
    async def proving(self) -> AsyncIterator[Proving | None]:
        """Open what tells how servers must prove themselves, if a resolver was chosen."""
        if self.settings.resolver is None:
            yield None
            return
        async with opened_by(self.settings.resolver, as_json=self.as_json) as resolver:
            yield Proving(resolver, SystemClock(), self.tell)

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[MailReader]:
        """Log in to the IMAP server."""
        async with self.proving() as proving, MailReader(self.settings, SystemEntropy(), proving) as reader:
            yield reader

    async def submit(self, composed: Composed) -> tuple[Submitted, ...]:
        """Hand a message over to the submission server."""
        async with self.proving() as proving:
            return await submit(composed, self.settings, SystemEntropy(), proving)

    def tell(self, sentence: str) -> None:
        if self.is_verbose:
            click.echo(safe(sentence), err=True)


def _agent(options: dict[str, Any], *, as_json: bool) -> _Agent:
    profile, is_verbose = options.pop("profile"), options.pop("verbose")
    try:
        settings = load_profile(profile, {name.replace("_", "-"): value for name, value in options.items()})
        return _Agent(settings, is_verbose, as_json)
    except SettingsFault as fault:
        fail("\n".join(fault.problems), Exit.SETTINGS, as_json=as_json)


def _run(work: Awaitable[R], *, as_json: bool) -> R:
    """Carry out work, or say what went wrong and exit."""

    async def whole() -> R:
        return await work

    try:
        return asyncio.run(whole())
    except (ConnectionFailed, DeadlinePassed) as failed:
        fail(failed.problem, Exit.UNAVAILABLE, as_json=as_json)
    except PeerFault as fault:
        fail(safe(fault.problem), Exit.WRONG, as_json=as_json)
    except LetterlockError as fault:
        fail(str(fault), Exit.WRONG, as_json=as_json)


@click.group()
def mail() -> None:
    """Send and read mail."""


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
@keys_options
@_server_options
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
    keys_file: Path | None,
    keys_password_file: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Send a message to RECIPIENTS: text with attachments, or a whole message with --raw."""
    if encrypt and bcc:
        fail("who gets a blind copy can be read off an encrypted message: send it apart", Exit.USAGE, as_json=as_json)
    agent = _agent(options, as_json=as_json)
    account = agent.settings.user
    try:
        if raw is not None:
            content = raw.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            composed = compose_raw(content, author=author or account, recipients=recipients)
        else:
            files = tuple(Attachment(path.name, path.read_bytes()) for path in attach)
            body = sys.stdin.read() if text is None else text
            draft = Draft(author or account, recipients, subject, body, cc, bcc, files)
            composed = compose(draft, clock=SystemClock(), entropy=SystemEntropy())
        if sign or encrypt:
            store = smime_mail.open_store(keys_file, keys_password_file)
            found = _looked_up(store, composed, agent) if encrypt else {}
            composed = smime_mail.protected(
                store, composed, author or account, sign=sign, encrypt=encrypt, looked_up=found
            )
    except Malformed as fault:
        fail(fault.problem, Exit.USAGE, as_json=as_json)
    except LetterlockError as fault:
        fail(safe(str(fault)), Exit.WRONG, as_json=as_json)
    _send(composed, agent, copy=copy and agent.settings.imap is not None, as_json=as_json)


def _looked_up(store: KeyStore, composed: Composed, agent: _Agent) -> dict[str, Found]:
    """Return what the DNS says of recipients for whom the store has no certificate, if a resolver was chosen."""
    missing = smime_mail.without_certificate(store, composed)
    if not missing or agent.settings.resolver is None:
        return {}

    async def look_up() -> dict[str, Found]:
        assert agent.settings.resolver is not None
        async with opened_by(agent.settings.resolver, as_json=agent.as_json) as resolver:
            return await smime_mail.look_up(store, missing, resolver)

    found = _run(look_up(), as_json=agent.as_json)
    for address, one in found.items():
        if one.certificates:
            agent.tell(f"{address}: its domain publishes {one.certificates[0].serial:x} (SMIMEA, DNSSEC secure)")
    return found


def _send(composed: Composed, agent: _Agent, *, copy: bool, as_json: bool) -> None:
    outcomes = _run(agent.submit(composed), as_json=as_json)
    accepted = all(outcome.accepted for outcome in outcomes)
    kept = None
    if copy and any(outcome.accepted for outcome in outcomes):
        try:
            kept = asyncio.run(_keep(composed.content, agent))
        except PeerFault as fault:  # the message is on its way: that its copy is not kept does not undo it
            click.echo(f"no copy was kept: {safe(fault.problem)}", err=True)
    value = {
        "message_id": composed.message_id,
        "kept_in": kept,
        "recipients": [
            {"address": str(one.recipient), "accepted": one.accepted, "reply": one.reply} for one in outcomes
        ],
    }
    lines = [f"{one.recipient}: {'sent' if one.accepted else 'refused'} ({safe(one.reply)})" for one in outcomes]
    answer(value, as_json=as_json, lines=lines)
    if not accepted:
        raise SystemExit(Exit.WRONG)


async def _keep(content: bytes, agent: _Agent) -> str | None:
    async with agent.reader() as reader:
        return await reader.keep_sent(content)


@mail.command("list")
@click.argument("mailbox", default="INBOX")
@click.option("--newest", default=20, show_default=True, type=click.IntRange(0), help="So many; 0 is all.")
@click.option("--mailboxes", is_flag=True, help="List the mailboxes instead of messages.")
@_server_options
@json_option
def list_messages(mailbox: str, newest: int, mailboxes: bool, as_json: bool, **options: Any) -> None:
    """List the newest messages of MAILBOX."""
    agent = _agent(options, as_json=as_json)

    async def names() -> tuple[dict[str, Any], ...]:
        async with agent.reader() as reader:
            return tuple({"name": one.name, "attributes": one.attributes} for one in await reader.mailboxes())

    async def summaries() -> tuple[Summary, ...]:
        async with agent.reader() as reader:
            return await reader.summaries(mailbox, newest=newest)

    if mailboxes:
        listed = _run(names(), as_json=as_json)
        rows = [(safe(one["name"]), " ".join(one["attributes"])) for one in listed]
        answer(listed, as_json=as_json, lines=table(("mailbox", "attributes"), rows))
        return
    found = _run(summaries(), as_json=as_json)
    headings = ("uid", "date", "from", "subject", "octets", "flags")
    answer(found, as_json=as_json, lines=table(headings, [_row(one) for one in found]))


def _row(one: Summary) -> tuple[str, ...]:
    date = one.date.strftime("%Y-%m-%d %H:%M") if one.date else ""
    return str(one.uid), date, safe(one.sender)[:40], safe(one.subject)[:60], str(one.size_octets), " ".join(one.flags)


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
@keys_options
@_server_options
@json_option
def show(
    uid: int,
    mailbox: str,
    raw: bool,
    html: bool,
    seen: bool,
    labels: Path | None,
    keys_file: Path | None,
    keys_password_file: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Show the message with this UID as it may safely be seen; the fragments of a split one are put together."""
    agent = _agent(options, as_json=as_json)

    async def read() -> bytes:
        async with agent.reader() as reader:
            octets = await reader.message(mailbox, uid, mark_seen=seen)
            return octets if raw else await reader.joined(mailbox, octets)

    octets = _run(read(), as_json=as_json)
    found = _opened(octets, keys_file, keys_password_file, labels, agent.settings.user, as_json=as_json)
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


def _opened(
    octets: bytes,
    keys_file: Path | None,
    password_file: Path | None,
    labels: Path | None,
    reader: str,
    *,
    as_json: bool,
) -> Opened | None:
    """Return what S/MIME proves and hides, where a key store or a label policy is at hand; else nothing."""
    if keys_file is None and labels is None:
        return None
    try:
        rules = smime_mail.label_rules(labels)
        if keys_file is None:
            return open_message(octets, KeyRing(), Trust(smime_files.now()), reader, rules)
        return smime_mail.opened(smime_mail.open_store(keys_file, password_file), octets, reader, rules)
    except LetterlockError as fault:
        fail(safe(str(fault)), Exit.WRONG, as_json=as_json)
