"""`letterlock message show|structure|extract|fetch|rebuild FILE`: what a message says, how it is made, what it carries.

FILE is a message as it stands on disk, or `-` for standard input. Nothing in it is trusted: names become safe file
names, no file is ever overwritten, and no control character reaches the terminal.

See also: formats/mime/view for what is shown and why a defect is called ambiguous.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import click

from letterlock.cli.output import Exit, answer, fail, json_option, safe, table
from letterlock.formats.defect import Defect
from letterlock.formats.imf.dates import write_date
from letterlock.formats.limits import DEFAULT, Limits
from letterlock.formats.mime.build import rebuild as rebuild_entity
from letterlock.formats.mime.entity import Entity, parse
from letterlock.formats.mime.filenames import distinct_names
from letterlock.formats.mime.partial import join, read_fragment
from letterlock.formats.mime.view import Attachment, View, view
from letterlock.formats.reports.arf import read_feedback
from letterlock.formats.reports.dsn import read_dsn
from letterlock.formats.reports.mdn import read_mdn, read_mdn_request
from letterlock.formats.reports.status import explain_status


class _Group(click.Group):
    """The commands here, and `fetch`, which alone loads what speaks to the network."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted([*super().list_commands(ctx), "fetch"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, imported if it must be."""
        if cmd_name == "fetch":
            from letterlock.cli.message_fetch import fetch

            return fetch
        return super().get_command(ctx, cmd_name)


@click.group(cls=_Group)
def message() -> None:
    """Read a message: what it says, how it is made, what it carries."""


def _limits(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> Limits:
    """Return the limits with those given by name in place of their defaults."""
    known = {field.name for field in dataclasses.fields(Limits)}
    chosen = {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in known or not value.isdigit():
            raise click.BadParameter(f"{text!r}: write NAME=NUMBER; the names are {', '.join(sorted(known))}")
        chosen[name] = int(value)
    return dataclasses.replace(DEFAULT, **chosen)


_LIMITS = click.option(
    "--limit", "limits", multiple=True, metavar="NAME=NUMBER", callback=_limits,
    help="What reading bears (nesting, parts, header_octets, decoded_octets, ...); beyond it stands a defect.",
)  # fmt: skip
_FILE = click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))


@message.command()
@_FILE
@click.option("--html", is_flag=True, help="Prefer HTML to plain text where both are there.")
@_LIMITS
@json_option
def show(file: Path, html: bool, limits: Limits, as_json: bool) -> None:
    """Show a message as a person may safely see it, with every defect by name."""
    document, lines = shown(
        parse(_read(file, as_json=as_json), limits=limits), prefer="html" if html else "plain", limits=limits
    )
    answer(document, as_json=as_json, lines=lines)


def shown(tree: Entity, *, prefer: str = "plain", limits: Limits = DEFAULT) -> tuple[dict[str, Any], list[str]]:
    """Return a message as a person may safely see it, as a document and as lines for a terminal."""
    seen = view(tree, prefer=prefer, limits=limits)
    report, asked = _report(tree), _notification(tree)
    document = {
        "from": seen.authors,
        "to": seen.recipients,
        "cc": seen.copies,
        "subject": seen.subject,
        "date": seen.date.isoformat() if seen.date else None,
        "texts": [{"part": one.number, "text": one.text, "html": one.html} for one in seen.texts],
        "attachments": [_attachment(one) for one in seen.attachments],
        "report": report,
        "notification": asked,
        "defects": [_defect(one) for one in seen.defects],
        "ambiguous": bool(seen.ambiguities),
    }
    lines = _shown_lines(seen, report)
    if asked is not None:
        lines += ["", safe(f"The sender asks for a notification: {asked['note']}")]
    return document, lines


def _notification(tree: Entity) -> dict[str, Any] | None:
    """Return who asks to be told what becomes of the message, and what stands against telling (RFC 8098 section 2.1)."""
    asked = read_mdn_request(tree)
    if asked is None:
        return None
    to = [mailbox.address for mailbox in asked.to]
    against = f"none may be sent, {asked.forbidden}" if asked.forbidden else ", ".join(asked.reasons_to_ask)
    return {
        "to": to,
        "forbidden": bool(asked.forbidden),
        "needs_consent": bool(asked.reasons_to_ask),
        "note": f"to {', '.join(to) or 'nobody'}" + (f" ({against})" if against else ""),
    }


def _report(tree: Entity) -> list[str]:
    """Return in sentences what a report says: delivery, disposition, feedback; nothing for other messages."""
    status = read_dsn(tree)
    if status is not None:
        return [
            f"{one.final_recipient.value}: {one.action.value}, {one.status} ({explain_status(one.status)})"
            + (f", {one.remote_mta.value} said: {one.diagnostic.value}" if one.remote_mta and one.diagnostic else "")
            for one in status.recipients
        ]
    notification = read_mdn(tree)
    if notification is not None:
        how = "automatically" if notification.sent_automatically else "by hand"
        return [f"{notification.final_recipient.value}: {notification.disposition.value}, notified {how}"]
    feedback = read_feedback(tree)
    if feedback is None:
        return []
    about = ", ".join(feedback.reported_domains) or feedback.original_mail_from or "a message"
    return [f"{about}: {feedback.feedback_type}" + (f" ({feedback.auth_failure})" if feedback.auth_failure else "")]


def _shown_lines(seen: View, report: list[str]) -> list[str]:
    lines: list[str] = []
    pairs = [("From", one) for one in seen.authors] + [("To", one) for one in seen.recipients]
    pairs += [("Cc", one) for one in seen.copies] + [("Subject", seen.subject)]
    pairs.append(("Date", write_date(seen.date) if seen.date else ""))
    for name, value in pairs:
        if value:
            lines.append(click.style(f"{name}: ", bold=True) + safe(value))
    if report:
        lines += ["", click.style("Report", bold=True), *(f"  {safe(one)}" for one in report)]
    for text in seen.texts:
        lines += ["", *map(safe, text.text.rstrip("\n").split("\n"))]
    if seen.attachments:
        rows = [(one.number, one.type, str(one.entity.size), one.name + _note(one)) for one in seen.attachments]
        lines += ["", *table(("part", "type", "octets", "name"), [tuple(map(safe, row)) for row in rows])]
    if seen.defects:
        lines += ["", click.style("Defects", bold=True)]
        lines += [_defect_line(one) for one in seen.defects]
    return lines


def _note(attachment: Attachment) -> str:
    return f" ({attachment.note})" if attachment.note else ""


def _defect_line(defect: Defect) -> str:
    mark = click.style("ambiguous", fg="red") if defect.kind.ambiguous else "harmless "
    detail = f" ({safe(defect.detail)})" if defect.detail else ""
    return f"  {mark}  {defect.kind.label} at octet {defect.offset}: {defect.kind.sentence}{detail}"


def _defect(defect: Defect) -> dict[str, Any]:
    return {
        "name": defect.kind.label,
        "ambiguous": defect.kind.ambiguous,
        "offset": defect.offset,
        "sentence": defect.kind.sentence,
        "detail": defect.detail,
    }


def _attachment(one: Attachment) -> dict[str, Any]:
    return {
        "part": one.number,
        "type": one.type,
        "name": one.name,
        "given_name": one.given_name,
        "encoded_octets": one.entity.size,
        "note": one.note,
    }


@message.command()
@_FILE
@_LIMITS
@json_option
def structure(file: Path, limits: Limits, as_json: bool) -> None:
    """Show the tree of parts: numbers as IMAP counts them, types, encodings, offsets into the file."""
    tree = parse(_read(file, as_json=as_json), limits=limits)
    document = [_structure_of(number, entity) for number, entity in tree.walk()]
    rows = [
        (
            number or "whole",
            safe(entity.content_type.full),
            safe(entity.encoding),
            f"{entity.header_start}..{entity.body_start}..{entity.end}",
            str(entity.lines),
            safe(", ".join(dict.fromkeys(str(defect.kind) for defect in _own_defects(entity)))),
        )
        for number, entity in tree.walk()
    ]
    answer(document, as_json=as_json, lines=table(("part", "type", "encoding", "octets", "lines", "defects"), rows))


def _structure_of(number: str, entity: Entity) -> dict[str, Any]:
    disposition = entity.disposition
    return {
        "part": number,
        "type": entity.content_type.full,
        "parameters": dict(entity.content_type.parameters),
        "encoding": entity.encoding,
        "disposition": disposition.value if disposition else None,
        "header_start": entity.header_start,
        "body_start": entity.body_start,
        "end": entity.end,
        "lines": entity.lines,
        "fields": len(entity.header),
        "defects": [_defect(one) for one in _own_defects(entity)],
    }


def _own_defects(entity: Entity) -> list[Defect]:
    return [*entity.header.defects, *entity.content_type.defects, *entity.defects]


@message.command()
@_FILE
@click.option("--to", "folder", type=click.Path(file_okay=False, path_type=Path), default=Path(), show_default="here",
              help="The folder to write to.")  # fmt: skip
@click.option("--part", "wanted", multiple=True, help="Only this part number; may be given several times.")
@_LIMITS
@json_option
def extract(file: Path, folder: Path, wanted: tuple[str, ...], limits: Limits, as_json: bool) -> None:
    """Write attachments, decoded, under safe names; no file is overwritten."""
    seen = view(_read(file, as_json=as_json), limits=limits)
    chosen = [one for one in seen.attachments if not wanted or one.number in wanted]
    unknown = set(wanted) - {one.number for one in seen.attachments}
    if unknown:
        fail(f"No attachment has the part number {', '.join(sorted(unknown))}.", Exit.WRONG, as_json=as_json)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = [entry.name for entry in folder.iterdir()]
        names = distinct_names([*taken, *(one.name for one in chosen)])[len(taken) :]
        written = [_write(folder / name, one) for name, one in zip(names, chosen, strict=True)]
    except OSError as error:
        fail(f"Cannot write to {folder}: {error.strerror}.", Exit.WRONG, as_json=as_json)
    lines = [f"{entry['part']}  {safe(str(entry['file']))}  {entry['octets']} octets" for entry in written]
    answer(written, as_json=as_json, lines=lines or ["The message has no attachments."])


def _write(path: Path, attachment: Attachment) -> dict[str, Any]:
    defects: list[Defect] = []
    content = attachment.entity.content(defects)
    # O_EXCL follows no link and overwrites nothing, whatever appeared since the names were chosen.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)
    return {
        "part": attachment.number,
        "file": str(path),
        "octets": len(content),
        "defects": [_defect(one) for one in defects],
    }


@message.command()
@click.argument("files", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path), nargs=-1, required=True)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the message here, not to standard output."
)
@json_option
def rebuild(files: tuple[Path, ...], output: Path | None, as_json: bool) -> None:
    """Write a message from its parsed tree and say whether every octet is the same; or join message/partial fragments."""
    trees = [parse(_read(file, as_json=as_json)) for file in files]
    if len(trees) > 1 or read_fragment(trees[0]) is not None:
        joined = join(trees)
        if joined.octets is None:
            missing = ", ".join(map(str, joined.missing))
            problem = (
                f"fragments {missing} are missing" if missing else "; ".join(map(str, joined.defects)) or "no total"
            )
            fail(f"The fragments cannot be joined: {problem}.", Exit.WRONG, as_json=as_json)
        octets, same = joined.octets, None
    else:
        octets = rebuild_entity(trees[0])
        same = octets == trees[0].octets
    if output is not None:
        output.write_bytes(octets)
    elif not as_json:
        sys.stdout.buffer.write(octets)
        return
    answer(
        {"octets": len(octets), "identical": same},
        as_json=as_json,
        lines=[f"{len(octets)} octets, {'joined' if same is None else 'identical' if same else 'DIFFERENT'}"],
    )


def _read(file: Path, *, as_json: bool) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        fail(f"Cannot read {file}: {error.strerror}.", Exit.WRONG, as_json=as_json)
