"""`letterlock message fetch FILE`: get what a message/external-body points to, after saying what that is.

See also: mua/fetch_external for what may be fetched.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import click

from letterlock.cli.output import Exit, answer, fail, json_option, safe
from letterlock.errors import Malformed, PeerFault, SettingsFault
from letterlock.formats.mime.entity import parse
from letterlock.formats.mime.external import ExternalBody, read_external_body
from letterlock.formats.mime.filenames import distinct_names, safe_name
from letterlock.host.https import Fetch
from letterlock.host.resolver.interface import Resolver
from letterlock.host.resolver.system import ResolverSettings, open_resolver
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.host.tls import authenticated_client
from letterlock.mua.fetch_external import fetch_external, location


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, exists=True, path_type=Path))
@click.option("--part", default="", help="The part number; needed where several parts lie elsewhere.")
@click.option("--to", "folder", type=click.Path(file_okay=False, path_type=Path), default=Path(), show_default="here",
              help="The folder to write to.")  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask before fetching.")
@click.option("--most-octets", default=50_000_000, show_default=True, help="Give up beyond this.")
@click.option("--trusted", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Roots to trust, PEM.")
@click.option("--zone", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Look names up in this zone text, and allow private addresses (for laboratories).")  # fmt: skip
@json_option
def fetch(
    file: Path,
    part: str,
    folder: Path,
    yes: bool,
    most_octets: int,
    trusted: Path | None,
    zone: Path | None,
    as_json: bool,
) -> None:
    """Fetch content that lies elsewhere (message/external-body), over https only, and only after asking."""
    number, external = _choose(file, part, as_json=as_json)
    try:
        where = location(external)
    except Malformed as problem:
        fail(safe(problem.problem), Exit.WRONG, as_json=as_json)
    if not yes:
        click.confirm(f"{safe(external.describe())}\nAsk {where.host} for it?", abort=True, err=True)
    context = authenticated_client(trusted)

    async def run() -> bytes:
        if zone is not None:
            return await ask(ZoneTable.load(zone))
        system = await open_resolver(ResolverSettings())
        try:
            return await ask(system.resolver)
        finally:
            await system.aclose()

    async def ask(resolver: Resolver) -> bytes:
        return await fetch_external(external, Fetch(resolver, context, most_octets, allow_private=zone is not None))

    try:
        content = asyncio.run(run())
    except (PeerFault, OSError, Malformed, SettingsFault) as problem:
        fail(f"{where.host}: {safe(str(problem))}", Exit.UNKNOWN, as_json=as_json)
    written = _write(folder, external, number, content, as_json=as_json)
    answer(
        written,
        as_json=as_json,
        lines=[f"{safe(written['file'])}  {len(content)} octets{_size_note(external, content)}"],
    )


def _choose(file: Path, part: str, *, as_json: bool) -> tuple[str, ExternalBody]:
    found = [
        (number, external)
        for number, entity in parse(file.read_bytes()).walk()
        if (external := read_external_body(entity)) is not None and part in ("", number)
    ]
    if not found:
        fail(
            "There is no message/external-body" + (f" with number {part}." if part else "."),
            Exit.WRONG,
            as_json=as_json,
        )
    if len(found) > 1:
        fail(f"Choose one with --part: {', '.join(number for number, _ in found)}.", Exit.USAGE, as_json=as_json)
    return found[0]


def _size_note(external: ExternalBody, content: bytes) -> str:
    return f" (the message says {external.size})" if external.size not in (None, len(content)) else ""


def _write(folder: Path, external: ExternalBody, number: str, content: bytes, *, as_json: bool) -> dict[str, Any]:
    given = external.parameters.get("name", "") or external.url.partition("?")[0].rpartition("/")[2]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = [entry.name for entry in folder.iterdir()]
        name = distinct_names([*taken, safe_name(given, external.content_type, number)])[-1]
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(content)
    except OSError as error:
        fail(f"Cannot write to {folder}: {error.strerror}.", Exit.WRONG, as_json=as_json)
    return {"part": number, "file": str(folder / name), "octets": len(content), "type": external.content_type.full}
