"""`letterlock dns zone`: sign zone text, show a zone, serve zones."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import click

from letterlock.cli.output import Exit, answer, fail, json_option
from letterlock.errors import Malformed
from letterlock.formats.dns import name as names
from letterlock.formats.dns import rdata_text, types
from letterlock.formats.dns.nsec3 import Hashing
from letterlock.formats.dns.zone import DS, Zone
from letterlock.hostmaster.name_server import NameServer
from letterlock.trust.dnssec.sign import Denial, SigningKey, sign_zone
from letterlock.trust.primitives import zone_keys

_ALGORITHMS = {name: number for number, name in zone_keys.NAMES.items()}
_PATH = click.Path(path_type=Path)


@click.group()
def zone() -> None:
    """Sign, show and serve zones."""


def _read(file: Path, origin: str) -> Zone:
    try:
        return Zone.parse(file.read_text(encoding="utf-8"), origin.removesuffix("."))
    except (Malformed, OSError, UnicodeDecodeError) as error:
        fail(f"{file}: {error}", Exit.USAGE)


@zone.command()
@click.argument("file", type=_PATH)
@click.argument("origin")
@json_option
def show(file: Path, origin: str, as_json: bool) -> None:
    """Print the zone ORIGIN of FILE in canonical order, one record a line."""
    read = _read(file, origin)
    value = [
        {
            "name": names.to_text(record.owner),
            "type": types.mnemonic(record.type),
            "ttl_seconds": record.ttl,
            "data": rdata_text.write_octets(record.type, record.rdata),
        }
        for record in read.records()
    ]
    answer(value, as_json=as_json, lines=read.text().splitlines())


@zone.command()
@click.argument("file", type=_PATH)
@click.argument("origin")
@click.option("--keys", "folder", type=_PATH, required=True, help="Folder of the keys; made when it has none.")
@click.option("--algorithm", type=click.Choice(list(_ALGORITHMS)), default="ECDSAP256SHA256", show_default=True)
@click.option("--nsec3", is_flag=True, help="Deny by NSEC3 without salt and extra iterations (RFC 9276).")
@click.option("--opt-out", is_flag=True, help="Leave unsigned delegations out of NSEC3.")
@click.option("--days", default=14, show_default=True, help="How long the signatures hold.")
@click.option("--out", type=_PATH, help="Where the signed zone is written; standard output if left out.")
def sign(
    file: Path, origin: str, folder: Path, algorithm: str, nsec3: bool, opt_out: bool, days: int, out: Path | None
) -> None:
    """Sign the zone ORIGIN of FILE; print the DS record the parent must publish on standard error."""
    origin = origin.removesuffix(".")
    now = int(time.time())
    denial = Denial(Hashing() if nsec3 or opt_out else None, opt_out)
    keys = _keys(folder, origin, _ALGORITHMS[algorithm])
    signed = sign_zone(_read(file, origin), keys, now - 3600, now + days * 86400, denial)
    if out is None:
        click.echo(signed.text(), nl=False)
    else:
        out.write_text(signed.text(), encoding="utf-8")
    for key in keys:
        if key.is_entry:
            click.echo(f"{origin}. 3600 IN DS {rdata_text.write_octets(DS, key.ds(origin))}", err=True)


def _keys(folder: Path, origin: str, algorithm: int) -> tuple[SigningKey, ...]:
    """Read a zone's KSK and ZSK, or make them: files named as the zone, its key's role and algorithm say."""
    keys = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for role in ("ksk", "zsk"):
            path = folder / f"{origin or 'root'}.{role}.{algorithm}.pem"
            if path.exists():
                private = zone_keys.from_pem(path.read_bytes())
            else:
                private = zone_keys.generate(algorithm)
                path.touch(mode=0o600)
                path.write_bytes(zone_keys.to_pem(private))
            keys.append(SigningKey(algorithm, private, is_entry=role == "ksk"))
    except (Malformed, OSError) as error:
        fail(f"{folder}: {error}", Exit.USAGE)
    return tuple(keys)


@zone.command()
@click.argument("zones", nargs=-1, required=True, metavar="ORIGIN=FILE...")
@click.option("--listen", "endpoint", default="127.0.0.1:5353", show_default=True, metavar="ADDRESS:PORT")
def serve(zones: tuple[str, ...], endpoint: str) -> None:
    """Serve zones over UDP and TCP until interrupted."""
    loaded = []
    for pair in zones:
        origin, equals, file = pair.partition("=")
        if not equals:
            fail(f"{pair}: write ORIGIN=FILE", Exit.USAGE)
        loaded.append(_read(Path(file), origin))
    address, _, port = endpoint.rpartition(":")
    if not port.isdigit():
        fail(f"{endpoint}: write ADDRESS:PORT", Exit.USAGE)

    async def run() -> None:
        server = NameServer(loaded)
        try:
            chosen = await server.listen(address.strip("[]"), int(port))
        except OSError as error:
            fail(f"{endpoint}: {error.strerror}", Exit.UNAVAILABLE)
        click.echo(f"serving {len(loaded)} zone(s) at {address}:{chosen}")
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await stop.wait()
        await server.aclose()

    asyncio.run(run())
