"""Reports that came in: kept in SQLite, read again by domain and time.

A report is known by its kind, organization, id and domain; a second copy changes nothing. What could not be read is kept,
too, with the reason, so that nothing disappears in silence.

Standards: RFC 9990 (Handling of Duplicates).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import msgspec

from letterlock.errors import Unavailable
from letterlock.formats.reports.dmarc_aggregate import AggregateReport, DkimResult, Reason, Record, SpfResult
from letterlock.formats.reports.failure import FailureReport
from letterlock.formats.reports.tlsrpt import TlsReport

_SCHEMA = """
CREATE TABLE IF NOT EXISTS reports (
  number INTEGER PRIMARY KEY,
  kind TEXT NOT NULL,
  organization TEXT NOT NULL,
  report_id TEXT NOT NULL,
  domain TEXT NOT NULL,
  starts INTEGER NOT NULL,
  ends INTEGER NOT NULL,
  policy TEXT NOT NULL,
  messages INTEGER NOT NULL,
  passed INTEGER NOT NULL,
  defects BLOB NOT NULL,
  source TEXT NOT NULL,
  came INTEGER NOT NULL,
  content BLOB NOT NULL,
  UNIQUE (kind, organization, report_id, domain)
) STRICT;
CREATE INDEX IF NOT EXISTS reports_by_domain ON reports (domain, starts);
CREATE TABLE IF NOT EXISTS rows (
  report INTEGER NOT NULL REFERENCES reports (number) ON DELETE CASCADE,
  source_ip TEXT NOT NULL,
  messages INTEGER NOT NULL,
  disposition TEXT NOT NULL,
  dkim TEXT NOT NULL,
  spf TEXT NOT NULL,
  header_from TEXT NOT NULL,
  envelope_from TEXT NOT NULL,
  envelope_to TEXT NOT NULL,
  details BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS rows_by_report ON rows (report);
"""
_COLUMNS = (
    "number, kind, organization, report_id, domain, starts, ends, policy, messages, passed, defects, source, came"
)


@dataclass(frozen=True, slots=True)
class StoredReport:
    """A report's outline. `kind` is aggregate, tls, failure or broken; times in seconds since 1970."""

    number: int
    kind: str
    organization: str
    report_id: str
    domain: str
    begin: int
    end: int
    policy: str
    messages: int
    passed: int
    defects: tuple[str, ...]
    source: str
    came: int


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A record of an aggregate report, with who reported it and when."""

    record: Record
    organization: str
    domain: str
    begin: int
    end: int


class ReportStore:
    """One database of reports."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = apsw.Connection(str(path))
            self._connection.set_busy_timeout(10_000)
            self._connection.execute("PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON")
            self._connection.execute(_SCHEMA)
        except (apsw.Error, OSError) as error:
            raise Unavailable(f"the report database {path} cannot be opened: {error}") from None

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """One transaction, or a part of one; what SQLite cannot do is Unavailable."""
        try:
            with self._connection:
                yield
        except apsw.Error as error:
            raise Unavailable(f"the report database: {error}", full=isinstance(error, apsw.FullError)) from None

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def add_aggregate(self, report: AggregateReport, source: str, came: int, content: bytes) -> bool:
        """Keep a report; return whether it is new."""
        policy = report.policy
        passed = sum(record.messages for record in report.records if record.is_pass)
        shown = f"p={policy.p}" + (f" sp={policy.sp}" if policy.sp else "") + (f" np={policy.np}" if policy.np else "")
        outline = ("aggregate", report.org_name, report.report_id, policy.domain, report.begin, report.end, shown)
        with self._changing():
            number = self._add(outline, report.messages, passed, report.defects, source, came, content)
            if number:
                self._connection.executemany(
                    "INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    [_row_values(number, record) for record in report.records],
                )
        return bool(number)

    def add_tls(self, report: TlsReport, source: str, came: int, content: bytes) -> bool:
        """Keep a TLS report; return whether it is new."""
        domain = report.policies[0].domain if report.policies else ""
        policy = ", ".join(dict.fromkeys(one.policy_type for one in report.policies))
        succeeded = sum(one.successful for one in report.policies)
        total = succeeded + sum(one.failed for one in report.policies)
        outline = ("tls", report.organization, report.report_id, domain, report.begin, report.end, policy)
        return bool(self._add(outline, total, succeeded, report.defects, source, came, content))

    def add_failure(self, report: FailureReport, report_id: str, source: str, came: int, content: bytes) -> bool:
        """Keep a failure report; return whether it is new."""
        outline = ("failure", "", report_id, report.reported_domain, came, came, report.auth_failure)
        return bool(self._add(outline, report.incidents, 0, (), source, came, content))

    def add_broken(self, problem: str, report_id: str, source: str, came: int, content: bytes) -> bool:
        """Keep what could not be read (its first part), with the reason; return whether it is new."""
        outline = ("broken", "", report_id, "", came, came, "")
        return bool(self._add(outline, 0, 0, (problem,), source, came, content[:100_000]))

    def _add(
        self,
        outline: tuple[str, str, str, str, int, int, str],
        messages: int,
        passed: int,
        defects: tuple[str, ...],
        source: str,
        came: int,
        content: bytes,
    ) -> int:
        with self._changing():
            return self._insert((*outline, messages, passed, msgspec.json.encode(defects), source, came, content))

    def _insert(self, values: tuple[Any, ...]) -> int:
        rows: list[tuple[Any, ...]] = self._connection.execute(
            "INSERT INTO reports (kind, organization, report_id, domain, starts, ends, policy, messages, passed, "
            "defects, source, came, content) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT DO NOTHING RETURNING number",
            values,
        ).fetchall()
        return int(rows[0][0]) if rows else 0

    def reports(self, *, domain: str = "", kind: str = "", since: int = 0) -> Iterator[StoredReport]:
        """Yield outlines, the newest interval first; empty arguments match all."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM reports WHERE (? = '' OR domain = ?) AND (? = '' OR kind = ?) AND ends >= ? "  # noqa: S608 - constants
            "ORDER BY ends DESC, number DESC",
            (domain, domain, kind, kind, since),
        )
        for row in rows:
            yield _stored(row)

    def report(self, number: int) -> tuple[StoredReport, bytes] | None:
        """Return a report's outline and its document as it came, or None."""
        rows: list[tuple[Any, ...]] = self._connection.execute(
            f"SELECT {_COLUMNS}, content FROM reports WHERE number = ?",  # noqa: S608 - constants
            (number,),
        ).fetchall()
        return (_stored(rows[0][:-1]), rows[0][-1]) if rows else None

    def rows(self, *, domain: str, since: int = 0) -> Iterator[StoredRow]:
        """Yield the records of aggregate reports on a domain and those below it."""
        rows: Iterable[tuple[Any, ...]] = self._connection.execute(
            "SELECT r.source_ip, r.messages, r.disposition, r.dkim, r.spf, r.header_from, r.envelope_from, r.envelope_to, "
            "r.details, p.organization, p.domain, p.starts, p.ends FROM rows r JOIN reports p ON p.number = r.report "
            "WHERE p.kind = 'aggregate' AND (p.domain = ? OR p.domain LIKE '%.' || ?) AND p.ends >= ?",
            (domain, domain, since),
        )
        for row in rows:
            details, organization, policy_domain, begin, end = row[8:]
            reasons, signatures, senders = msgspec.json.decode(details)
            record = Record._make(
                (
                    *row[:8],
                    tuple(Reason(*one) for one in reasons),
                    tuple(DkimResult(*one) for one in signatures),
                    tuple(SpfResult(*one) for one in senders),
                )
            )
            yield StoredRow(record, organization, policy_domain, begin, end)


def _row_values(number: int, record: Record) -> tuple[int | str | bytes, ...]:
    details = msgspec.json.encode((record.reasons, record.dkim_results, record.spf_results))
    return (number, *record[:8], details)


def _stored(row: tuple[Any, ...]) -> StoredReport:
    # Any: the columns of _COLUMNS in their order, whose types the schema (STRICT) keeps
    number, kind, organization, report_id, domain, begin, end, policy, messages, passed, defects, source, came = row
    decoded = tuple(msgspec.json.decode(defects))
    return StoredReport(
        number, kind, organization, report_id, domain, begin, end, policy, messages, passed, decoded, source, came
    )
