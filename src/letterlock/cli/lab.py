"""`letterlock lab`: a whole signed Internet on this machine, for as long as one looks at it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import shutil
import signal
import ssl
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import click

from letterlock.cli.output import Exit, answer, end, fail, json_option, safe, sentence_of, table
from letterlock.errors import LetterlockError, Malformed
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.lab import plan as plans
from letterlock.lab import sheet
from letterlock.lab.exchange import submit
from letterlock.lab.internet import Internet
from letterlock.lab.letters import Letter, letters
from letterlock.lab.verify import verify

_ARRIVAL_SECONDS = 30.0


@click.command()
@click.option("--check", "only_check", is_flag=True, help="Exchange the letters, verify each, print a table, and stop.")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Work in this folder and keep it.")
@click.option(
    "--guest",
    "guests",
    multiple=True,
    metavar="DOMAIN",
    callback=lambda _context, _parameter, names: tuple(dict.fromkeys(map(_guest, names))),
    help="Keep a domain below test and an address for another server.",
)
@json_option
def lab(only_check: bool, folder: Path | None, guests: tuple[str, ...], as_json: bool) -> None:
    """Run a miniature Internet: signed DNS, two mail domains, accounts, and letters that cross between them.

    It needs no network, no root and no settings, and prints how to reach everything with any mail program.
    """
    entropy = SystemEntropy()
    try:
        with contextlib.ExitStack() as stack:
            if folder is None:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="letterlock-lab-")))
            plan = plans.draw(
                lambda below: int.from_bytes(entropy.octets(4)) % below, lambda: entropy.octets(9).hex(), guests
            )
            good = asyncio.run(_run(plan, folder.resolve(), entropy, only_check=only_check, as_json=as_json))
    except* BrokenPipeError as problems:
        end(problems)
    except* (LetterlockError, OSError) as problems:
        fail(sentence_of(problems), Exit.UNAVAILABLE, as_json=as_json)
    if not good:
        raise SystemExit(Exit.WRONG)


async def _run(plan: plans.Plan, folder: Path, entropy: SystemEntropy, *, only_check: bool, as_json: bool) -> bool:
    clock = SystemClock()
    async with Internet.running(plan, folder, clock=clock, entropy=entropy) as internet:
        now = datetime.datetime.fromtimestamp(int(clock.now()), datetime.UTC)
        written = letters(plan, now, lambda: entropy.octets(6).hex())
        trusted = ssl.create_default_context(cafile=str(internet.authority))
        if only_check:
            await asyncio.to_thread(submit, written, trusted)
            return await _check(plan, written, trusted, as_json=as_json)
        if as_json:
            answer(sheet.as_value(plan, folder, internet.authority), as_json=True, lines=())
        else:
            click.echo("\n".join(sheet.as_lines(plan, folder, internet.authority, _program())))
            click.echo("\nReady. Letters are crossing; Ctrl-C stops everything.")
        stopped = _stop_signal()
        await asyncio.to_thread(submit, written, trusted)
        await stopped.wait()
        return True


async def _check(plan: plans.Plan, written: list[Letter], trusted: ssl.SSLContext, *, as_json: bool) -> bool:
    findings = await asyncio.to_thread(lambda: verify(plan, written, trusted, within_seconds=_ARRIVAL_SECONDS))
    good = all(finding.is_good for finding in findings)
    rows = [
        (one.title, one.sender, one.recipient, f"{one.octets}", _word(one.imap), _word(one.pop3)) for one in findings
    ]
    summary = (
        f"All {len(findings)} copies arrived octet for octet."
        if good
        else f"{sum(not finding.is_good for finding in findings)} of {len(findings)} copies are not what was sent."
    )
    value = {
        "good": good,
        "letters": [asdict(one) | {"imap": _word(one.imap), "pop3": _word(one.pop3)} for one in findings],
    }
    lines = [*table(("letter", "from", "to", "octets", "IMAP", "POP3"), rows), "", summary]
    answer(value, as_json=as_json, lines=lines)
    return good


def _guest(name: str) -> str:
    try:
        return plans.guest_domain(name)
    except Malformed as error:
        raise click.BadParameter(f"{safe(name)}: {error.problem}") from None


def _program() -> str:
    """Return what to type for this program here: its name, or the path it was started by."""
    return "letterlock" if shutil.which("letterlock") else os.path.relpath(sys.argv[0])


def _word(problem: str) -> str:
    return problem or "same"


def _stop_signal() -> asyncio.Event:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    return stopped
