"""`letterlock mail receipt` sends the receipt a message asks for; and what `mail show` tells of receipts."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from letterlock.cli import smime_files as files
from letterlock.cli import smime_mail, smime_sealing
from letterlock.cli.mail_agent import Agent, agent_of, hand_over, run, server_options
from letterlock.cli.mail_opening import Opening
from letterlock.cli.mail_send import mail, sealing_of
from letterlock.cli.online import Online, online_options
from letterlock.cli.output import Exit, fail, json_option, safe
from letterlock.cli.smime_mail import keys_options
from letterlock.errors import LetterlockError, OurFault
from letterlock.formats.imf.header import Header, read_header
from letterlock.formats.imf.message_ids import parse_message_ids
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.mua import receipts
from letterlock.mua.compose import Composed, Draft, compose
from letterlock.mua.protect import Ciphers, Opened
from letterlock.mua.receipts import SUBJECT, Arrived, Asking, Matched
from letterlock.registrar.key_store import KeyStore
from letterlock.trust.smime import protect


def told_of_receipts(found: Opened, opening: Opening, uid: int, mailbox: str) -> tuple[dict[str, Any], list[str]]:
    """Return what there is to say of receipts: that one is asked for, or for what this is one."""
    if found.unwrapped is None:
        return {}, []
    header = read_header(found.content)
    got = receipts.arrived(found.unwrapped, header)
    if got is not None:
        matched = _matched(got, found, opening)
        return {"receipt": dataclasses.asdict(matched)}, [f"{safe(matched.sentence)}.", ""]
    asking = receipts.asked(found.unwrapped, found.proof, opening.agent.settings.user)
    if asking is None:
        return {}, []
    wanted = asking.wanted
    value = {"send": wanted.send, "reason": wanted.reason, "to": wanted.addresses}
    where = "" if mailbox == "INBOX" else f" --mailbox {mailbox}"
    line = (
        f"The author asks for a signed receipt to {', '.join(wanted.addresses)}: `mail receipt {uid}{where}` sends it."
    )
    if not wanted.send:
        line = f"A signed receipt was asked for, and none is due: {wanted.reason}."
    return {"receipt_asked": value}, [safe(line), ""]


def _matched(got: Arrived, found: Opened, opening: Opening) -> Matched:
    """Look for the message a receipt is for among those sent from here."""

    async def look() -> bytes | None:
        async with opening.agent.reader() as reader:
            return await reader.sent(got.candidates)

    octets = run(look(), as_json=opening.agent.as_json)
    if octets is None or opening.agent.settings.keys is None:
        return receipts.match(got, found.proof, None, None)
    sent = opening.opened_own(octets)
    return receipts.match(got, found.proof, sent.unwrapped, read_header(sent.content))


@mail.command("receipt")
@click.argument("uid", type=click.IntRange(1))
@click.option("--mailbox", default="INBOX", show_default=True, help="Where the message lies.")
@click.option(
    "--encrypt/--no-encrypt", default=None, help="Encrypt the receipt, or not; without either, as the message was."
)
@click.option("--copy/--no-copy", default=True, help="Keep a copy in the mailbox for sent mail.")
@online_options
@keys_options
@server_options
@json_option
def receipt(
    uid: int,
    mailbox: str,
    encrypt: bool | None,
    copy: bool,
    online: Online,
    as_json: bool,
    **options: Any,
) -> None:
    """Send the signed receipt that the message with this UID asks for: that you received it and verified its signature."""
    agent = agent_of(options, as_json=as_json)

    async def read() -> bytes:
        async with agent.reader() as reader:
            return await reader.message(mailbox, uid)

    octets = run(read(), as_json=as_json)
    online = agent.asking(online)
    opening = Opening(agent, online, agent.requires_revocation(False))
    try:
        store = opening.store()
        found = opening.opened(octets)
        asking = None
        if found is not None and found.unwrapped is not None:
            asking = receipts.asked(found.unwrapped, found.proof, agent.settings.user)
        if asking is None or not asking.wanted.send:
            raise OurFault(
                "no receipt was asked for" if asking is None else f"no receipt is due: {asking.wanted.reason}"
            )
        composed = _receipt(asking, store, agent.settings.user, read_header(octets))
        if encrypt if encrypt is not None else asking.was_encrypted:
            composed = _sealed(composed, store, agent, online)
    except LetterlockError as fault:
        fail(safe(str(fault)), Exit.WRONG, as_json=as_json)
    hand_over((composed,), agent, copy=copy, as_json=as_json)


def _receipt(asking: Asking, store: KeyStore, user: str, header: Header) -> Composed:
    answers = parse_message_ids(header.text("message-id"))[:1]
    draft = Draft(user, asking.wanted.addresses, SUBJECT, "", in_reply_to=answers)
    composed = compose(draft, clock=SystemClock(), entropy=SystemEntropy())
    return receipts.answered(asking, smime_mail.signer_of(store, user), composed, files.now())


def _sealed(composed: Composed, store: KeyStore, agent: Agent, online: Online) -> Composed:
    """Return a receipt encrypted, and signed once more around that (RFC 2634 section 2.4 item 11)."""
    user = agent.settings.user
    try:
        how = sealing_of(
            agent,
            online,
            Ciphers(agent.settings.for_unknown),
            require_revocation=agent.requires_revocation(False),
        )
        (sealed,) = smime_sealing.sealed(store, composed, user, how).messages
    except OurFault as fault:
        raise OurFault(f"{fault}; --no-encrypt sends the receipt in clear") from None
    signer = receipts.hinted(smime_mail.signer_of(store, user))
    content = protect.sign_message(sealed.content, (signer,), files.now(), opaque=True, token=files.token())
    return dataclasses.replace(sealed, content=content)
