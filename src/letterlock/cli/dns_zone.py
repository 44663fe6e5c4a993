"""`letterlock dns zone`: sign zone text, show a zone, serve zones."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import click

from letterlock.cli.output import Exit, answer, fail, json_option, sentence_of
from letterlock.cli.resolver_options import ResolverOptions, opened, resolver_options
from letterlock.errors import Malformed
from letterlock.formats.dns import name as names
from letterlock.formats.dns import rdata_text, rdata_wire, types
from letterlock.formats.dns.nsec3 import Hashing
from letterlock.formats.dns.question import Answer, Outcome, Question
from letterlock.formats.dns.zone import DS, Zone
from letterlock.host.resolver.exchange import Server
from letterlock.hostmaster.key_folder import KeyFolder
from letterlock.hostmaster.roll_over import ksk_waits, zsk_waits
from letterlock.hostmaster.zone_host import ZoneFile, ZoneHost
from letterlock.hostmaster.zone_keeper import KeySet
from letterlock.protocols.dns.tsig import TsigKey
from letterlock.trust.dnssec.sign import Denial, sign_zone
from letterlock.trust.primitives import zone_keys

_ALGORITHMS = {name: number for number, name in zone_keys.NAMES.items()}
_PATH = click.Path(path_type=Path)
TTL = click.IntRange(0, 2**31 - 1)  # RFC 2181 section 8


@click.group()
def zone() -> None:
    """Sign, show and serve zones."""


def _read(file: Path, origin: str, *, as_json: bool = False) -> Zone:
    try:
        return Zone.parse(file.read_text(encoding="utf-8"), origin.removesuffix("."))
    except Malformed as error:
        fail(f"{file}: {error.problem}", Exit.USAGE, as_json=as_json)
    except (OSError, UnicodeDecodeError) as error:
        fail(sentence_of(error, file), Exit.USAGE, as_json=as_json)


@zone.command()
@click.argument("file", type=_PATH)
@click.argument("origin")
@json_option
def show(file: Path, origin: str, as_json: bool) -> None:
    """Print the zone ORIGIN of FILE in canonical order, one record a line."""
    read = _read(file, origin, as_json=as_json)
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
@click.option(
    "--days", type=click.IntRange(1, 3650), default=14, show_default=True, help="How long the signatures hold."
)
@click.option("--out", type=_PATH, help="Where the signed zone is written; standard output if left out.")
def sign(
    file: Path, origin: str, folder: Path, algorithm: str, nsec3: bool, opt_out: bool, days: int, out: Path | None
) -> None:
    """Sign the zone ORIGIN of FILE; print the DS record the parent must publish on standard error."""
    origin = origin.removesuffix(".")
    now = int(time.time())
    denial = Denial(Hashing() if nsec3 or opt_out else None, opt_out)
    keys = _keys(folder, origin, _ALGORITHMS[algorithm]).advance(now).published()
    signed = sign_zone(_read(file, origin), keys, now - 3600, now + days * 86400, denial)
    if out is None:
        click.echo(signed.text(), nl=False)
    else:
        out.write_text(signed.text(), encoding="utf-8")
    for key in keys:
        if key.is_entry:
            click.echo(f"{origin}. 3600 IN DS {rdata_text.write_octets(DS, key.ds(origin))}", err=True)


def _keys(folder: Path, origin: str, algorithm: int) -> KeySet:
    try:
        return KeyFolder(folder, origin).load_or_generate(algorithm)
    except (Malformed, OSError) as error:
        fail(sentence_of(error, folder), Exit.USAGE)


@zone.command()
@click.argument("origin")
@click.option("--keys", "folder", type=_PATH, required=True, help="Folder of the keys.")
@json_option
def ds(origin: str, folder: Path, as_json: bool) -> None:
    """Print the DS records that the parent of ORIGIN must show for its keys, one for each KSK."""
    origin = origin.removesuffix(".")
    try:
        keys = KeyFolder(folder, origin).load()
    except (Malformed, OSError) as error:
        fail(sentence_of(error, folder), Exit.USAGE, as_json=as_json)
    if keys is None:
        fail(f"{folder}: holds no keys of {origin}", Exit.USAGE, as_json=as_json)
    data = [rdata_text.write_octets(DS, key.ds(origin)) for key in keys.entry.published()]
    answer(data, as_json=as_json, lines=[f"{origin}. 3600 IN DS {text}" for text in data])


@zone.command()
@click.argument("origin")
@click.option("--keys", "folder", type=_PATH, required=True, help="Folder of the keys.")
@click.option("--role", type=click.Choice(["zsk", "ksk"]), required=True)
@click.option("--ttl", type=TTL, default=3600, show_default=True, help="TTL of the zone's keys.")
@click.option(
    "--longest-ttl", type=TTL, default=86400, show_default=True, help="Longest TTL in it; for ksk, of its DS."
)
@json_option
def roll(origin: str, folder: Path, role: str, ttl: int, longest_ttl: int, as_json: bool) -> None:
    """Begin to replace a key of the zone ORIGIN; `serve` does the rest when its time has come.

    For a KSK, give the parent the DS record that is printed; the old key stays until the parent shows it.
    """
    origin = origin.removesuffix(".")
    store = KeyFolder(folder, origin)
    try:
        keys = store.load()
        if keys is None:
            fail(f"{folder}: holds no keys of {origin}", Exit.USAGE, as_json=as_json)
        if (keys.entry if role == "ksk" else keys.zone).rolling is not None:
            fail(f"{origin}: a roll-over of the {role} is under way", Exit.WRONG, as_json=as_json)
        now = int(time.time())
        if role == "ksk":
            keys = keys.roll_entry_key(ksk_waits(ttl, longest_ttl), now)
            record = rdata_text.write_octets(DS, keys.entry.published()[-1].ds(origin))
        else:
            keys = keys.roll_zone_key(zsk_waits(ttl, longest_ttl), now)
            record = None
        store.save(keys)
    except (Malformed, OSError) as error:
        fail(sentence_of(error, folder), Exit.USAGE, as_json=as_json)
    line = f"{origin}. {ttl} IN DS {record}" if record else f"{origin}: the roll-over of the zsk has begun"
    answer({"origin": origin, "role": role, "ds": record}, as_json=as_json, lines=[line])


@zone.command()
@click.argument("origin")
@click.option("--keys", "folder", type=_PATH, required=True, help="Folder of the keys.")
@resolver_options
@json_option
def confirm(origin: str, folder: Path, asking: ResolverOptions, as_json: bool) -> None:
    """Ask whether the parent shows the DS record of the new KSK, and let the roll-over go on if it does.

    Exit code: 0 it does, 1 it does not, 2 could not look up.
    """
    origin = origin.removesuffix(".")
    store = KeyFolder(folder, origin)

    async def ask() -> Answer:
        async with opened(asking, as_json=as_json) as resolver:
            return await resolver.ask(Question(origin, "DS"))

    try:
        keys = store.load()
        if keys is None or keys.entry.rolling is None:
            fail(f"{origin}: no roll-over of the KSK is under way", Exit.USAGE, as_json=as_json)
        found = asyncio.run(ask())
        if found.outcome is Outcome.FAILED:
            fail(found.reason, Exit.UNKNOWN, as_json=as_json)
        confirmed = keys.confirmed({rdata_wire.write(data) for data in found.records}, origin)
        if confirmed is None:
            fail(f"{origin}: its parent does not show the new DS record", Exit.WRONG, as_json=as_json)
        store.save(confirmed)
    except (Malformed, OSError) as error:
        fail(sentence_of(error, folder), Exit.USAGE, as_json=as_json)
    lines = [f"{origin}: the parent shows the new DS record"]
    answer({"origin": origin, "confirmed": True}, as_json=as_json, lines=lines)


@zone.command()
@click.argument("zones", nargs=-1, required=True, metavar="ORIGIN=FILE...")
@click.option("--listen", "endpoint", default="127.0.0.1:5353", show_default=True, metavar="ADDRESS:PORT")
@click.option("--keys", "folder", type=_PATH, help="Keep the zones signed with the keys of this folder.")
@click.option("--nsec3", is_flag=True, help="Deny by NSEC3 (with --keys).")
@click.option("--secondary", "secondaries", multiple=True, metavar="ADDRESS[:PORT]", help="Tell it of new versions.")
@click.option("--transfer-key", type=_PATH, help="File with [ALGORITHM:]NAME:SECRET of those who may transfer.")
def serve(
    zones: tuple[str, ...],
    endpoint: str,
    folder: Path | None,
    nsec3: bool,
    secondaries: tuple[str, ...],
    transfer_key: Path | None,
) -> None:
    """Serve zones over UDP and TCP until interrupted; SIGHUP reads the files again."""
    address, _, port = endpoint.rpartition(":")
    if not port.isdigit():
        fail(f"{endpoint}: write ADDRESS:PORT", Exit.USAGE)
    files = []
    for pair in zones:
        origin, equals, file = pair.partition("=")
        if not equals:
            fail(f"{pair}: write ORIGIN=FILE", Exit.USAGE)
        files.append(ZoneFile(origin.removesuffix("."), Path(file)))
    try:
        key = TsigKey.parse(transfer_key.read_text(encoding="ascii").strip()) if transfer_key else None
        told = tuple(Server.parse(text) for text in secondaries)
        denial = Denial(Hashing() if nsec3 else None)
        host = ZoneHost(files, key_folder=folder, denial=denial, secondaries=told, transfer_key=key)
    except Malformed as error:
        fail(error.problem, Exit.USAGE)
    except (OSError, ValueError) as error:
        fail(sentence_of(error), Exit.USAGE)
    try:
        asyncio.run(_serve(host, address.strip("[]"), int(port)))
    except OSError as error:
        fail(f"{endpoint}: {error.strerror}", Exit.UNAVAILABLE)


async def _serve(host: ZoneHost, address: str, port: int) -> None:
    chosen = await host.listen(address, port)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    looking: set[asyncio.Task[None]] = set()

    def look() -> None:
        task = asyncio.create_task(host.look(click.echo))
        looking.add(task)
        task.add_done_callback(looking.discard)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, look)
    click.echo(f"serving {len(host.server.catalog.zones)} zone(s) at {address}:{chosen}")
    keeping = asyncio.create_task(host.keep(click.echo))
    await stop.wait()
    keeping.cancel()
    await asyncio.gather(keeping, *looking, return_exceptions=True)
    await host.aclose()
