"""`letterlock arc`: verify a chain, add a set to it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from letterlock.cli.look_ups import at_option, moment, read_message, run, zone_option
from letterlock.cli.output import Exit, answer, fail, json_option
from letterlock.cli.verdicts import arc_json, arc_lines, exit_code
from letterlock.errors import Malformed, OurFault
from letterlock.formats import authentication_results
from letterlock.formats.imf.header import read_header
from letterlock.host import signing_keys
from letterlock.trust import arc as trust_arc


@click.group()
def arc() -> None:
    """Check and extend the chain of handlers of a message (RFC 8617)."""


@arc.command()
@click.argument("file", default="-")
@zone_option
@at_option
@json_option
def verify(file: str, zone: Path | None, server: str | None, at: int | None, as_json: bool) -> None:
    """Judge the chain of a message; exit 0 for pass, 2 where a key could not be looked up, 1 otherwise."""
    octets = read_message(file, as_json=as_json)
    verdict = run(trust_arc.judge(octets, moment(at)), zone, server, as_json=as_json)
    answer(arc_json(verdict), as_json=as_json, lines=arc_lines(verdict))
    raise SystemExit(exit_code(verdict.result.value))


@arc.command()
@click.argument("file", default="-")
@click.option("--domain", required=True, help="The sealing domain.")
@click.option("--selector", required=True, help="The selector of its key.")
@click.option("--key", "key_file", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--authserv-id", required=True, help="Take the findings from the Authentication-Results of this name.")
@zone_option
@at_option
def seal(
    file: str,
    domain: str,
    selector: str,
    key_file: Path,
    authserv_id: str,
    zone: Path | None,
    server: str | None,
    at: int | None,
) -> None:
    """Print a message with a new ARC set before it."""
    octets = read_message(file)
    verdict = run(trust_arc.judge(octets, moment(at)), zone, server)
    try:
        results = _results(octets, authserv_id)
        fields = trust_arc.seal(octets, signing_keys.read_key(domain, selector, key_file), moment(at), verdict, results)
    except OurFault as fault:
        fail(str(fault), Exit.UNKNOWN)
    except Malformed as error:
        fail(str(error), Exit.WRONG)
    if not fields:
        fail(f"the chain cannot be extended: {verdict.reason}", Exit.WRONG)
    sys.stdout.buffer.write(fields + octets)


def _results(octets: bytes, authserv_id: str) -> authentication_results.AuthenticationResults:
    """Return what the topmost field of that name says, or no results where there is none."""
    for field in read_header(octets).get_all("Authentication-Results"):
        if authentication_results.authserv_id_of(field.value) == authserv_id.lower():
            return authentication_results.parse(field.value)
    return authentication_results.AuthenticationResults(authserv_id)
