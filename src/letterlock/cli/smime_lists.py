"""`letterlock smime expand-list`: the mail list agent on a message in a file or from a pipe."""

from __future__ import annotations

from pathlib import Path

import click

from letterlock.cli import smime_files as files
from letterlock.cli.output import Exit, answer, json_option, safe
from letterlock.cli.smime_messages import password_option, smime
from letterlock.cli.smime_recipients import Vetting, vetting_options
from letterlock.errors import OurFault
from letterlock.mla.expand import MailList, Refused, expand
from letterlock.trust.smime.decrypt import KeyRing, Own
from letterlock.trust.smime.encrypt import To
from letterlock.trust.smime.sign import Signer


@smime.command("expand-list")
@click.argument("file", type=files.FILE)
@click.option("--address", required=True, help="The list's address.")
@click.option("--key", "key_file", type=files.FILE, required=True, help="The list's key.")
@click.option("--cert", type=files.FILE, required=True, help="The list's certificate.")
@click.option("--member", "members", type=files.FILE, multiple=True, required=True, help="A member's certificate.")
@files.out_folder_option
@vetting_options
@password_option
@json_option
@files.plain_errors
def expand_list(
    file: Path,
    address: str,
    key_file: Path,
    cert: Path,
    members: tuple[Path, ...],
    out_folder: Path,
    vetting: Vetting,
    password_file: Path | None,
    as_json: bool,
) -> None:
    """Expand a message to a mail list for its members (RFC 2634): exit 1 with the reason if it is not to be."""
    key, certificate = files.key(key_file, files.password_of(password_file)), files.certificates(cert)[0]
    to: dict[str, To] = {}
    for path, member in zip(members, vetting.certificates(members), strict=True):
        if not member.addresses:
            raise OurFault(f"the certificate in {path} names no address")
        to[member.addresses[0]] = To(member)
    mail_list = MailList(address, KeyRing((Own(key, certificate),)), Signer(key, certificate), to)
    expanded = expand(files.read(file), mail_list, files.now(), files.token())
    if isinstance(expanded, Refused):
        value = {"expanded": False, "reason": expanded.reason, "loop": expanded.loop}
        answer(value, as_json=as_json, lines=[safe(expanded.reason)])
        raise SystemExit(Exit.WRONG)
    (name,) = files.put_messages(out_folder, [(expanded.message, expanded.recipients)])
    value = {"expanded": True, "file": name, "recipients": expanded.recipients, "lists": len(expanded.history)}
    answer(value, as_json=as_json, lines=[f"{name} for {len(expanded.recipients)} members"])
