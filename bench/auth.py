"""Message authentication beside dkimpy, libopendkim, pyspf, mailauth and parsedmarc: CPU microseconds, same inputs.

Peers that are not installed are left out and named (tools/install-interop-programs; parsedmarc in .interop/venv).
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from letterlock.formats.dns.question import Answer, Outcome, Question
from letterlock.formats.dns.rdata import Txt
from letterlock.formats.imf.header import read_header
from letterlock.formats.reports import dmarc_aggregate
from letterlock.trust import dkim, spf
from letterlock.trust.ask import decide
from letterlock.trust.authenticate import Authentication, Client
from letterlock.trust.primitives import rsa

PEERS = Path(__file__).parent.parent / "tests" / "interop" / "peers"
INTEROP = Path(os.environ.get("LETTERLOCK_INTEROP", ".interop")).resolve()
KEY = dkim.SigningKey("rosewood.test", "r", rsa.generate())
ZONE = {
    "r._domainkey.rosewood.test": KEY.record(),
    "rosewood.test": "v=spf1 " + " ".join(f"include:i{n}.test" for n in range(8)) + " -all",
    "_dmarc.rosewood.test": "v=DMARC1; p=reject",
    **{f"i{n}.test": f"v=spf1 ip4:198.51.{n}.0/24 ip4:203.0.{n}.0/24 ~all" for n in range(7)},
    "i7.test": "v=spf1 ip4:192.0.2.0/24 ~all",
}
NOW = int(time.time()) - 60
ROUNDS = 5
_ANSWERS: dict[Question, Answer] = {}


def answer(question: Question) -> Answer:
    """Answer from a dictionary, as a cache would."""
    found = _ANSWERS.get(question)
    if found is None:
        text = ZONE.get(question.name) if question.type == "TXT" else None
        records = (Txt((text.encode(),)),) if text else ()
        found = _ANSWERS[question] = Answer(question, Outcome.FOUND if text else Outcome.NO_NAME, records)
    return found


def message(octets: int) -> bytes:
    """Return a signed message of about so many octets of ordinary text."""
    line = b"The hedge needs cutting before the roses bloom, and that is soon, they say.\r\n"
    header = (
        b"Received: from mx.rosewood.test (mx.rosewood.test [192.0.2.1])\r\n\tby mx.garden.test with ESMTPS id 4f1;\r\n"
        b"\tFri, 15 Jan 2027 08:00:01 +0000\r\nFrom: Rose <rose@rosewood.test>\r\nTo: ada@garden.test\r\n"
        b"Subject: The hedge\r\nDate: Fri, 15 Jan 2027 08:00:00 +0000\r\nMessage-ID: <1@rosewood.test>\r\n"
        b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nUser-Agent: Bench\r\n\r\n"
    )
    plain = header + line * ((octets - len(header)) // len(line))
    return dkim.sign(plain, (KEY,), NOW) + plain


def measured(function: Callable[[], object], times: int) -> float:
    """Return the median CPU microseconds of a call."""
    function()
    samples = []
    for _ in range(times):
        begin = time.process_time()
        function()
        samples.append(time.process_time() - begin)
    return statistics.median(samples) * 1e6


class Peer:
    """A peer process that answers JSON lines; `missing` where it cannot run."""

    def __init__(self, *command: str) -> None:
        self.missing = not Path(command[0]).exists()
        if not self.missing:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, **task: Any) -> Any:
        """Return the answer to a task, None from a missing peer."""
        if self.missing:
            return None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(task).encode() + b"\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline() or b"null")

    def time(self, times: int, **task: Any) -> float | None:
        """Return the CPU microseconds of a task, None where the peer cannot do it."""
        found = self.ask(verb="time", times=times, task=task)
        return float(found) if isinstance(found, int | float) else None

    def close(self) -> None:
        """End the peer."""
        if not self.missing:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            self._process.wait(10)
            self._process.stdout.close()


def row(what: str, ours: Callable[[], float], peers: Mapping[str, Callable[[], float | None]]) -> None:
    """Measure ours and every peer in turns, and print the medians and the median of the ratios."""
    rounds = [(ours(), {name: measure() for name, measure in peers.items()}) for _ in range(ROUNDS)]
    median = statistics.median(mine for mine, _ in rounds)
    for name in peers:
        ratios = [theirs[name] / mine for mine, theirs in rounds if theirs[name]]  # type: ignore[operator]
        shown = "   not here"
        if ratios:
            shown = f"{statistics.median(theirs[name] or 0 for _, theirs in rounds):12,.0f}  {statistics.median(ratios):6.1f}"
        print(f"{what:34} {median:12,.0f}  {name:12} {shown}", flush=True)


def opendkim_time(octets: bytes, times: int) -> float | None:
    """Return the CPU microseconds libopendkim takes to verify."""
    import importlib.util

    specification = importlib.util.spec_from_file_location("libopendkim", PEERS / "libopendkim.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    with tempfile.NamedTemporaryFile("w") as records:
        records.write("".join(f"{name} {text}\n" for name, text in ZONE.items() if "_domainkey" in name))
        records.flush()
        try:
            library = module.LibOpenDkim(Path(records.name))
        except OSError:
            return None
        if library.verify(octets) != 0:
            return None
        return measured(lambda: library.verify(octets), times)


def dkim_rows(python: Peer, mailauth: Peer) -> None:
    """Verify one RSA-2048 signature over 5 KB and 1 MB."""
    for name, octets, times in (("5 KB", message(5_000), 200), ("1 MB", message(1_000_000), 8)):
        task = {"verb": "verify", "message": octets.decode("latin-1"), "now": NOW}
        row(
            f"DKIM verify, {name} (us)",
            lambda octets=octets, times=times: measured(lambda: dkim.verify_blocking(answer, octets, NOW), times),
            {
                "dkimpy": lambda times=times, task=task: python.time(times // 4, **task),
                "mailauth": lambda times=times, task=task: mailauth.time(times // 4, **task),
                "libopendkim": lambda octets=octets, times=times: opendkim_time(octets, times),
            },
        )


def spf_rows(python: Peer, mailauth: Peer) -> None:
    """Check a domain with eight includes, the last of which matches."""
    task = {"verb": "spf", "ip": "192.0.2.1", "helo": "mx.rosewood.test", "mail_from": "rose@rosewood.test"}
    row(
        "SPF, 8 includes, cached (us)",
        lambda: measured(
            lambda: spf.check_blocking(answer, "192.0.2.1", "mx.rosewood.test", "rose@rosewood.test"), 200
        ),
        {"pyspf": lambda: python.time(50, **task), "mailauth": lambda: mailauth.time(50, **task)},
    )


def whole_rows(mailauth: Peer) -> None:
    """Judge SPF, DKIM and DMARC of one message."""
    octets = message(5_000)
    client = Client("192.0.2.1", "mx.rosewood.test", "rose@rosewood.test")

    def judge() -> None:
        header = read_header(octets)
        checks = Authentication(header, client)
        checks.feed(octets[header.body_start :])
        findings = decide(checks.judge(NOW), answer)
        assert findings.dmarc.result.value == "pass"

    task = {
        "verb": "authenticate",
        "message": octets.decode("latin-1"),
        "ip": client.address,
        "helo": client.helo,
        "mail_from": client.mail_from,
        "now": NOW,
    }
    row(
        "SPF + DKIM + DMARC, 5 KB (us)",
        lambda: measured(judge, 200),
        {"mailauth": lambda: mailauth.time(50, **task)},
    )


def report_rows() -> None:
    """Read an aggregate report of 5,000 records."""
    record = dmarc_aggregate.Record(
        "192.0.2.1",
        3,
        "none",
        "pass",
        "fail",
        "rosewood.test",
        "bounce.rosewood.test",
        dkim_results=(dmarc_aggregate.DkimResult("rosewood.test", "s", "pass"),),
        spf_results=(dmarc_aggregate.SpfResult("bounce.rosewood.test", "pass", "mfrom"),),
    )
    count = 5000
    octets = dmarc_aggregate.write(
        dmarc_aggregate.AggregateReport(
            "Garden",
            "d@garden.test",
            "1",
            NOW - 86_400,
            NOW,
            dmarc_aggregate.PolicyPublished("rosewood.test", "reject"),
            tuple(record._replace(messages=number + 1) for number in range(count)),
        )
    )
    parsedmarc = Peer(str(INTEROP / "venv" / "bin" / "python"), str(PEERS / "python_peer.py"))
    rounds = []
    for _ in range(ROUNDS):
        gc.collect()
        ours = count * 1e6 / measured(lambda: dmarc_aggregate.parse(octets), 2)
        theirs = parsedmarc.time(1, verb="aggregate", message=octets.decode())
        rounds.append((ours, count * 1e6 / theirs if theirs else 0))
    parsedmarc.close()
    shown = "   not here"
    if all(theirs for _, theirs in rounds):
        ratio = statistics.median(ours / theirs for ours, theirs in rounds)
        shown = f"{statistics.median(theirs for _, theirs in rounds):12,.0f}  {ratio:6.1f}"
    median = statistics.median(ours for ours, _ in rounds)
    print(f"{'Aggregate report (records/s)':34} {median:12,.0f}  {'parsedmarc':12} {shown}")


def main() -> None:
    """Print what | ours | peer | theirs | how many times ours is better."""
    print(f"{'what':34} {'ours':>12}  {'peer':12} {'theirs':>12}  {'ratio':>6}")
    python = Peer("/usr/bin/python3", str(PEERS / "python_peer.py"))
    python.ask(verb="zone", zone=ZONE)
    node = next((path for path in ("/usr/bin/node", "/usr/local/bin/node") if Path(path).exists()), "/usr/bin/node")
    mailauth = Peer(node, str(PEERS / "mailauth_peer.mjs"), str(INTEROP))
    mailauth.missing = mailauth.missing or not (INTEROP / "node_modules" / "mailauth").exists()
    mailauth.ask(verb="zone", zone={name: {"TXT": [[text]]} for name, text in ZONE.items()})
    try:
        dkim_rows(python, mailauth)
        spf_rows(python, mailauth)
        whole_rows(mailauth)
        report_rows()
    finally:
        python.close()
        mailauth.close()
