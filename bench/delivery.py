"""Messages in the mailbox per second, ours authenticated, beside Debian's Postfix: `python -m bench delivery`.

`smtp-source` hands a 10 KB message signed with DKIM (RSA-2048) to both in turn; the clock stops when all are in the mailbox.
Ours judges SPF, DKIM and DMARC (look-ups answered from the cache), notes each verdict in its ledger and delivers before it
says 250. Postfix judges nothing, says 250, and its `virtual` delivers to a maildir. Needs root and Debian's postfix.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench._load import send
from bench._postfix import free_port, postfix, wait_for
from letterlock.trust import dkim
from letterlock.trust.primitives import rsa

CASES = [(10, 1000), (50, 2000)]  # sessions, messages
ROUNDS = 3
_HEADER = (
    b"From: Rose <rose@harbor.test>\r\nTo: Ada <ada@rosewood.test>\r\nSubject: The hedge\r\n"
    b"Date: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: <hedge@harbor.test>\r\nMIME-Version: 1.0\r\n\r\n"
)
_LINE = b"The hedge along the north wall wants cutting before the frost comes in.\r\n"


def write_message(folder: Path) -> tuple[Path, Path]:
    """Write a signed message, with the line ends `smtp-source` reads, and the zone its author's domain publishes."""
    key = dkim.SigningKey("harbor.test", "s", rsa.generate())
    message = _HEADER + _LINE * (10_240 // len(_LINE))
    letter, zone = folder / "letter", folder / "zone"
    letter.write_bytes((dkim.sign(message, (key,), int(time.time())) + message).replace(b"\r\n", b"\n"))
    record = '" "'.join(key.record()[at : at + 200] for at in range(0, len(key.record()), 200))
    zone.write_text(
        f's._domainkey.harbor.test. IN TXT "{record}"\nharbor.test. IN TXT "v=spf1 ip4:127.0.0.1 -all"\n'
        '_dmarc.harbor.test. IN TXT "v=DMARC1; p=reject"\n'
    )
    return letter, zone


@contextlib.contextmanager
def ours(folder: Path, zone: Path, *, worker: bool = False) -> Iterator[int]:
    """Run our server, perhaps with a worker of its own beside the store; yield its port."""
    folder.mkdir()
    port = free_port()
    module = ["bench._workers", "bench._delivery_server"] if worker else ["bench._delivery_server"]
    server = subprocess.Popen([sys.executable, "-m", *module, folder, str(port), zone])
    try:
        wait_for(port)
        yield port
    finally:
        server.terminate()
        server.wait(20)


@contextlib.contextmanager
def theirs(folder: Path) -> Iterator[tuple[int, Path]]:
    """Run Postfix; yield its port and the folder where mail arrives."""
    owner = pwd.getpwnam("postfix")
    mail = folder / "mail"
    mail.mkdir(parents=True)
    os.chown(mail, owner.pw_uid, owner.pw_gid)
    more = (
        f"mydestination =\nvirtual_mailbox_domains = rosewood.test\nvirtual_mailbox_base = {mail}\n"
        f"virtual_mailbox_maps = static:ada/\nvirtual_uid_maps = static:{owner.pw_uid}\n"
        f"virtual_gid_maps = static:{owner.pw_gid}\nvirtual_minimum_uid = 1\n"
    )
    with postfix(folder / "postfix", more) as port:
        yield port, mail / "ada" / "new"


def rate(port: int, letter: Path, sessions: int, count: int, arrived: Callable[[], int] | None = None) -> float:
    """Return the messages a second that are in the mailbox; where `arrived` counts them, until it has counted all."""
    before = arrived() if arrived is not None else 0
    started = time.perf_counter()
    send(port, sessions, count, "-F", letter, "-f", "rose@harbor.test", "-t", "ada@rosewood.test")
    deadline = time.monotonic() + 120
    while arrived is not None and arrived() - before < count:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{arrived() - before} of {count} have arrived")
        time.sleep(0.01)
    return count / (time.perf_counter() - started)


def demand_verdicts(log: Path, count: int) -> None:
    """See that every message was judged, and well: a bench of refusals or of unsigned mail would mean nothing."""
    passed = sum('"dmarc":"pass"' in line and '"accepted"' in line for line in log.read_text().splitlines())
    if passed < count:
        raise RuntimeError(f"{passed} of {count} messages were authenticated")


def main() -> None:
    """Print one row a case."""
    # Not below /tmp, where a memory file system would flatter everybody.
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=Path.cwd()) as name:
        folder = Path(name)
        folder.chmod(0o755)
        letter, zone = write_message(folder)
        taken = 0
        with (
            theirs(folder / "theirs") as (peer, new),
            ours(folder / "alone", zone) as alone,
            ours(folder / "worker", zone, worker=True) as worker,
        ):

            def arrived() -> int:
                return sum(1 for _ in new.iterdir()) if new.exists() else 0

            print(f"{'':>17} | one process: | ratio | worker and store: | ratio | Postfix/s")
            for sessions, count in CASES:
                fewer = count // 5
                for port in (alone, worker):
                    rate(port, letter, sessions, fewer)
                rate(peer, letter, sessions, fewer, arrived)
                rounds = [
                    (
                        rate(alone, letter, sessions, count),
                        rate(worker, letter, sessions, count),
                        rate(peer, letter, sessions, fewer, arrived),
                    )
                    for _ in range(ROUNDS)
                ]
                taken += fewer + ROUNDS * count
                first, second = (statistics.median(one[at] / one[2] for one in rounds) for at in (0, 1))
                one, two, other = (statistics.median(column) for column in zip(*rounds, strict=True))
                row = f"{one:>10.0f}/s | {first:>5.1f} | {two:>15.0f}/s | {second:>5.1f} | {other:>7.0f}/s"
                print(f"{sessions:>9} x 10 KB | {row}", flush=True)
        for name in ("alone", "worker"):
            demand_verdicts(folder / name / "log", taken)
