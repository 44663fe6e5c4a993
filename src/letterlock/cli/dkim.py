"""`letterlock dkim`: sign, verify, make keys, look at published keys."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from letterlock.cli.look_ups import at_option, moment, read_message, run, zone_option
from letterlock.cli.output import Exit, answer, fail, json_option, safe, sentence_of, table
from letterlock.cli.settings_option import load, settings_option
from letterlock.cli.verdicts import dkim_json, dkim_lines, exit_code
from letterlock.errors import Malformed, Unavailable
from letterlock.host import key_ring, signing_keys
from letterlock.trust import dkim as trust_dkim
from letterlock.trust.dkim import lint as linting


@click.group()
def dkim() -> None:
    """Sign messages and verify signatures (RFC 6376)."""


@dkim.command()
@click.argument("file", default="-")
@click.option("--accept-body-length", is_flag=True, help="Let signatures with l= pass.")
@zone_option
@at_option
@json_option
def verify(
    file: str, accept_body_length: bool, zone: Path | None, server: str | None, at: int | None, as_json: bool
) -> None:
    """Judge every signature of a message (FILE or standard input).

    Exit 0 where one passes, 2 where none does and a key could not be looked up, 1 otherwise.
    """
    octets = read_message(file, as_json=as_json)
    rules = trust_dkim.Rules(accept_body_length=accept_body_length)
    verdict = run(trust_dkim.judge(octets, moment(at), rules), zone, server, as_json=as_json)
    answer(dkim_json(verdict), as_json=as_json, lines=dkim_lines(verdict))
    raise SystemExit(exit_code(verdict.result.value))


@dkim.command()
@click.argument("file", default="-")
@click.option("--domain", required=True, help="The signing domain (d=).")
@click.option("--selector", "selectors", multiple=True, required=True, help="The selector (s=), one for each key.")
@click.option(
    "--key",
    "key_files",
    multiple=True,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A private key in PEM, RSA or Ed25519; give both to sign with both.",
)
@click.option(
    "--canonicalization",
    default="relaxed/relaxed",
    show_default=True,
    type=click.Choice(["relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple"]),
    help="How header and body are canonicalized.",
)
@click.option("--identity", default="", help="The agent or user (i=).")
@click.option("--expire", "lifetime", type=click.IntRange(min=1), help="Seconds until the signature expires (x=).")
@click.option("--fields-only", is_flag=True, help="Print only the fields to prepend.")
@at_option
def sign(
    file: str,
    domain: str,
    selectors: tuple[str, ...],
    key_files: tuple[Path, ...],
    canonicalization: str,
    identity: str,
    lifetime: int | None,
    fields_only: bool,
    at: int | None,
) -> None:
    """Print a message with a DKIM-Signature for each key before it."""
    if len(selectors) != len(key_files):
        fail("give one --selector for each --key, in the same order", Exit.USAGE)
    octets = read_message(file)
    header, _, body = canonicalization.partition("/")
    manner = trust_dkim.Manner(
        trust_dkim.Canonicalization(header), trust_dkim.Canonicalization(body), lifetime, identity
    )
    try:
        keys = tuple(
            signing_keys.read_key(domain, selector, path) for selector, path in zip(selectors, key_files, strict=True)
        )
        fields = trust_dkim.sign(octets, keys, moment(at), manner)
    except Malformed as error:
        fail(str(error), Exit.WRONG)
    sys.stdout.buffer.write(fields if fields_only else fields + octets)


@dkim.command()
@click.option("--domain", required=True, help="The signing domain.")
@click.option("--selector", required=True, help="The selector of the new key.")
@click.option("--type", "kind", type=click.Choice(["rsa", "ed25519"]), default="rsa", show_default=True)
@click.option(
    "--bits", type=click.Choice(["2048", "3072", "4096"]), default="2048", show_default=True, help="RSA only."
)
@click.option("--out", "path", required=True, type=click.Path(path_type=Path), help="The file for the private key.")
@json_option
def keygen(domain: str, selector: str, kind: str, bits: str, path: Path, as_json: bool) -> None:
    """Make a key pair: the private key in a file only its owner reads, the record on standard output."""
    key = signing_keys.generate(domain, selector, kind, int(bits))
    try:
        signing_keys.write_key(path, key)
    except FileExistsError:
        fail(f"{path} exists; a key is never overwritten", Exit.WRONG, as_json=as_json)
    name = f"{selector}._domainkey.{domain}"
    line = f"{name}. IN TXT {signing_keys.quoted_record(key)}"
    answer({"name": name, "record": key.record(), "key": str(path), "zone": line}, as_json=as_json, lines=[line])


@dkim.command()
@click.argument("domain")
@click.argument("selector")
@click.option("--record", help="Look at this text instead of what is published.")
@zone_option
@json_option
def lint(domain: str, selector: str, record: str | None, zone: Path | None, server: str | None, as_json: bool) -> None:
    """Find what is wrong with a published key; exit 1 where something is."""
    if record is not None:
        report = linting.examine(f"{selector}._domainkey.{domain}", record.encode())
    else:
        report = run(linting.lint(domain, selector), zone, server, as_json=as_json)
    value = {
        "name": report.name,
        "record": report.text or None,
        "key_type": report.record.key_type if report.record else None,
        "bits": report.record.bits if report.record else None,
        "errors": list(report.errors),
        "warnings": list(report.warnings),
    }
    lines = [f"{safe(report.name)}: {safe(report.text) or 'no record'}"]
    lines += [f"  error: {safe(one)}" for one in report.errors] + [f"  warning: {safe(one)}" for one in report.warnings]
    answer(value, as_json=as_json, lines=lines)
    raise SystemExit(Exit.UNKNOWN if not report.is_known else Exit.WRONG if report.errors else Exit.OK)


@dkim.command()
@settings_option
@click.option("--rotate", is_flag=True, help="Begin a roll-over now: make followers of the active keys.")
@at_option
@json_option
def keys(settings_file: Path, rotate: bool, at: int | None, as_json: bool) -> None:
    """Show the installation's keys and move those on whose time has come.

    A new key is pending for two days while its record spreads, then signs; its forerunner is retired eight days later
    and its record revoked. Publish the records shown after every change.
    """
    settings = load(settings_file, as_json=as_json)
    now = moment(at)
    schedule = key_ring.Schedule()
    try:
        ring = key_ring.KeyRing.load(settings.path(settings.dkim.folder)).advance(now, schedule)
        if rotate:
            ring = ring.begin(now)
        records = dict(ring.records(settings.domain))
    except (Malformed, OSError, Unavailable) as error:
        fail(sentence_of(error), Exit.WRONG, as_json=as_json)
    value = {
        "domain": settings.domain,
        "due": ring.is_due(now, schedule),
        "keys": [
            {
                "selector": one.selector,
                "kind": one.kind,
                "state": one.state.value,
                "since": one.since,
                "name": f"{one.selector}._domainkey.{settings.domain}",
                "record": records[one.selector],
            }
            for one in ring.entries
        ],
    }
    rows = [(one.selector, one.kind, one.state.value, records[one.selector]) for one in ring.entries]
    lines = table(("selector", "kind", "state", "record"), rows) if rows else ["there are no keys"]
    answer(value, as_json=as_json, lines=[*lines, *(["the keys are a year old: use --rotate"] if value["due"] else [])])
