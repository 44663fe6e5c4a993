"""Order proved by trace: before anything is acknowledged, all that was written to the log is synced, names included.

A writer to the store, and a served domain, run under strace; the checker below reads the calls in the order they ended. The
domain is given one message after another, for mailboxes here: nothing else writes to the log meanwhile.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults.journey import octets_for
from tests.faults.load import Conversation, by_chunks, by_data
from tests.faults.served import DOMAIN, Site, kill_group, name_server

_LINE = re.compile(r"^(\d+) +(?:<\.\.\. )?(\w+)(?:\(| resumed>)(.*)$")
_PATH = re.compile(r"<([^>]+)>")
CALLS = "openat,pwritev2,pwritev,pwrite64,write,fdatasync,fsync,ftruncate"


_STEP = re.compile(r'1<.*"\d+\\n"')  # what script_writer.py says
_REPLY = re.compile(r'\d+<(?:TCP|socket):.*"250 2\.0\.0 Accepted')  # what the server says to a message


def unsynced_at_acknowledgements(trace: str, log: str, acknowledgement: re.Pattern[str] = _STEP) -> list[str]:
    """Return what was not synced when something was acknowledged, and the number of acknowledgements last."""
    begun: dict[str, str] = {}
    dirty: set[str] = set()
    problems: list[str] = []
    acknowledged = 0
    for line in trace.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        thread, call, rest = match.groups()
        if "<unfinished ...>" in rest:
            begun[thread] = rest
            if call in ("write", "pwritev2", "pwritev", "pwrite64"):
                rest = rest.replace("<unfinished ...>", "")
            else:
                continue
        elif "resumed>" in line:
            rest = begun.pop(thread, "") + rest
        found = _PATH.search(rest)
        path = found[1] if found else ""
        if call == "openat" and "O_CREAT" in rest and f"{log}/" in rest:
            dirty.add(log)
        elif "RWF_DSYNC" in rest and path.startswith(log):  # durable with its end; what was written before is not
            ended = re.search(r"RWF_DSYNC(?: <unfinished \.\.\.>)?\) += [1-9]", rest) is not None
            (dirty.discard if ended else dirty.add)(f"{path} by {thread}")
        elif call.startswith("pwrite") and path.startswith(log):
            dirty.add(path)
        elif call in ("fdatasync", "fsync") and rest.rstrip().endswith("= 0"):
            dirty.discard(path)
        elif call == "write" and acknowledgement.match(rest):
            acknowledged += 1
            if dirty:
                problems.append(f"acknowledged with {sorted(dirty)} not synced: {rest}")
    return [*problems, str(acknowledged)]


@pytest.mark.interop
def test_every_octet_and_name_is_synced_before_it_is_acknowledged(tmp_path: Path) -> None:
    command = ["strace", "-f", "-y", "-qq", "-s", "64", "-o", str(tmp_path / "trace"), "-e", f"trace={CALLS}"]
    command += [sys.executable, "-m", "fakes.script_writer", str(tmp_path / "store")]
    subprocess.run(command, cwd=Path(__file__).parents[1], check=True, capture_output=True, timeout=60)
    trace = (tmp_path / "trace").read_text()
    assert unsynced_at_acknowledgements(trace, str(tmp_path / "store" / "log")) == ["20"]


@pytest.mark.interop
def test_every_250_comes_after_the_sync(tmp_path: Path) -> None:
    """DATA, BDAT and LMTP, from a new log on."""
    options = (
        "-f",
        "-y",
        "-qq",
        "-s",
        "64",
        "-o",
        str(tmp_path / "trace"),
        "-e",
        f"trace={CALLS},writev,sendto,sendmsg",
    )
    with name_server() as names:
        site = Site(tmp_path / "site", names, services=("smtp", "lmtp"))
        process = site.start("strace", *options)
        try:
            site.up()
            for service, hello, content in (
                ("smtp", b"EHLO", by_data),
                ("smtp", b"EHLO", by_chunks),
                ("lmtp", b"LHLO", by_data),
            ):
                with site.connect(service) as connection:
                    talk = Conversation(connection, hello)
                    for number in range(8):
                        talk.expect(b"250", b"MAIL FROM:<a@harbor.test>\r\n")
                        talk.expect(b"250", f"RCPT TO:<anna@{DOMAIN}>\r\n".encode())
                        octets = octets_for(f"{service}{content.__name__}{number}") * (number + 1)
                        assert content(talk, octets).startswith(b"250")
        finally:
            kill_group(process)
    trace = (tmp_path / "trace").read_text()
    assert unsynced_at_acknowledgements(trace, str(site.store / "log"), _REPLY) == ["24"]


WRITE = "1 pwritev2(5</s/log/1.log>, [], 1, 0, 0) = 9"
MAKE = '1 openat(AT_FDCWD, "/s/log/1.log", O_RDWR|O_CREAT) = 5'
BOTH = "2 pwritev2(5</s/log/1.log>, [], 1, 9, RWF_DSYNC) = 9"
SYNC = "1 fdatasync(5</s/log/1.log>) = 0"


@pytest.mark.parametrize(
    ("calls", "blamed"),
    [
        ([WRITE], True),
        ([WRITE, SYNC], False),
        ([WRITE, SYNC, WRITE], True),
        ([WRITE, "1 fdatasync(5</s/log/1.log>) = -1 EIO (Input/output error)"], True),
        ([WRITE, "2 fdatasync(5</s/log/1.log> <unfinished ...>"], True),
        ([WRITE, "2 fdatasync(5</s/log/1.log> <unfinished ...>", "2 <... fdatasync resumed>) = 0"], False),
        ([BOTH], False),
        ([WRITE, BOTH], True),
        ([BOTH.replace("= 9", "= -1 EIO (Input/output error)")], True),
        ([BOTH.replace(") = 9", " <unfinished ...>")], True),
        ([BOTH.replace(") = 9", " <unfinished ...>"), "2 <... pwritev2 resumed>) = 9"], False),
        ([MAKE], True),
        ([MAKE, "1 fsync(6</s/log>) = 0"], False),
    ],
)
def test_the_checker_sees_what_it_must(calls: list[str], blamed: bool) -> None:
    trace = "\n".join([*calls, '1 write(1</o>, "1\\n", 2) = 2'])
    assert (len(unsynced_at_acknowledgements(trace, "/s/log")) == 2) is blamed
