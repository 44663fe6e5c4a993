"""Take reports in: from a message, a file or a folder, of any kind and in any container, and keep them.

What cannot be read is kept as broken and named; it never stops the rest.

Standards: RFC 9990 (Email), RFC 8460 section 5, RFC 9991.
Limits: those of formats/reports/containers.py; files of more than `_LARGEST_FILE` octets are left and named.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from letterlock.errors import Malformed
from letterlock.formats.reports import dmarc_aggregate, failure, tlsrpt
from letterlock.formats.reports.containers import Document, unpack
from letterlock.postmaster.report_store import ReportStore

_MBOX_LINE = re.compile(rb"\n\r?\nFrom [^\n]*\n")
_LARGEST_FILE = 100_000_000


@dataclass(frozen=True, slots=True)
class Received:
    """What became of one document. `kind` is aggregate, tls, failure or broken; `is_new` is false for a second copy."""

    source: str
    kind: str
    domain: str
    is_new: bool
    problems: tuple[str, ...] = ()


def receive(
    store: ReportStore, octets: bytes, source: str, now: int, *, keeps_broken: bool = True
) -> Iterator[Received]:
    """Keep every report in an octet string; yield what became of each.

    Without `keeps_broken`, what holds no report at all (ordinary mail) is passed over.
    """
    try:
        report = failure.parse(octets)
    except Malformed:
        for document in unpack(octets, source):
            if keeps_broken or document.octets:
                yield _keep(store, document, source, now)
        return
    is_new = store.add_failure(report, _digest(octets), source, now, octets)
    yield Received(source, "failure", report.reported_domain, is_new)


def receive_path(store: ReportStore, path: Path, now: int) -> Iterator[Received]:
    """Keep every report in a file, or in all files of a folder and those below it (a Maildir, too)."""
    paths = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    for one in paths:
        try:
            if one.stat().st_size > _LARGEST_FILE:
                yield Received(str(one), "broken", "", False, ("the file is too large",))
                continue
            octets = one.read_bytes()
        except OSError as error:
            yield Received(str(one), "broken", "", False, (f"cannot be read: {error.strerror}",))
            continue
        for number, message in enumerate(_messages(octets), 1):
            yield from receive(store, message, f"{one}:{number}" if message is not octets else str(one), now)


def _messages(octets: bytes) -> list[bytes]:
    """Return the messages of a mailbox file (mbox), or the octets as they are."""
    if not octets.startswith(b"From "):
        return [octets]
    parts = _MBOX_LINE.split(b"\n\n" + octets)
    return [part for part in parts if part.strip()]


def _keep(store: ReportStore, document: Document, source: str, now: int) -> Received:
    octets = document.octets
    problem = document.problem
    if not problem:
        try:
            if octets.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{":
                tls = tlsrpt.parse(octets)
                domain = tls.policies[0].domain if tls.policies else ""
                return Received(source, "tls", domain, store.add_tls(tls, source, now, octets), tls.defects)
            report = dmarc_aggregate.parse(octets)
            is_new = store.add_aggregate(report, source, now, octets)
            return Received(source, "aggregate", report.policy.domain, is_new, report.defects)
        except Malformed as error:
            problem = str(error)
    is_new = store.add_broken(problem, _digest(octets + source.encode()), source, now, octets)
    return Received(source, "broken", "", is_new, (problem,))


def _digest(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()[:32]
