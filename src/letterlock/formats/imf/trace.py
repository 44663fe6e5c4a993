"""Trace and resent fields: the way a message took, read from the fields that agents prepended.

Standards: RFC 5321 section 4.4 (Received, Return-Path), RFC 5322 section 3.6.6 (resent blocks), section 3.6.7 (trace),
RFC 3848 and RFC 6531 section 4.3 (protocol names), RFC 8601 is trust's business.
Limits: linear in the value.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from letterlock.formats.defect import Defect
from letterlock.formats.grammar import Sort, Token, tokens
from letterlock.formats.imf.addresses import Mailbox, parse_mailbox
from letterlock.formats.imf.dates import parse_date
from letterlock.formats.imf.header import Field, Header

_CLAUSES = ("from", "by", "via", "with", "id", "for")


@dataclass(frozen=True, slots=True)
class Received:
    """One Received field. Each clause is its value without comments, or empty; `from_info` and `by_info` are the
    comments after those clauses, where agents put what they saw of the connection.
    """

    from_name: str = ""
    from_info: str = ""
    by_name: str = ""
    by_info: str = ""
    via: str = ""
    protocol: str = ""
    identifier: str = ""
    recipient: str = ""
    date: datetime | None = None
    defects: tuple[Defect, ...] = ()


@dataclass(frozen=True, slots=True)
class ResentBlock:
    """The resent fields one person prepended together (RFC 5322 section 3.6.6)."""

    fields: tuple[Field, ...]

    def text(self, name: str) -> str:
        """Return the text of `Resent-<name>`, or an empty string."""
        wanted = f"resent-{name}".lower()
        return next((field.text for field in self.fields if field.name.lower() == wanted), "")


def parse_received(value: str) -> Received:
    """Read an unfolded Received field. Never raises; clauses in any order, the first of a kind counts."""
    clauses, _, date_text = _split_at_date(value)
    defects: list[Defect] = []
    values: dict[str, str] = {}
    comments: dict[str, str] = {}
    current = ""
    words: list[Token] = []
    for token in tokens(clauses, defects):
        word = token.text.lower()
        if token.sort is Sort.ATOM and word in _CLAUSES and word not in values and (token.spaced or not words):
            _keep(values, current, words)
            current, words = word, []
            values.setdefault(word, "")
        elif token.sort is Sort.COMMENT:
            comments.setdefault(current, token.text)
        else:
            words.append(token)
    _keep(values, current, words)
    return Received(
        from_name=values.get("from", ""),
        from_info=comments.get("from", ""),
        by_name=values.get("by", ""),
        by_info=comments.get("by", ""),
        via=values.get("via", ""),
        protocol=values.get("with", ""),
        identifier=values.get("id", ""),
        recipient=values.get("for", "").strip("<>"),
        date=parse_date(date_text, defects) if date_text else None,
        defects=tuple(defects),
    )


def _split_at_date(value: str) -> tuple[str, str, str]:
    """Part the clauses from the date at the last semicolon; one in the date's comment is not worth more."""
    clauses, semicolon, date = value.rpartition(";")
    return (clauses, semicolon, date.strip()) if semicolon else (value, "", "")


def _keep(values: dict[str, str], clause: str, words: list[Token]) -> None:
    if clause and not values[clause]:
        values[clause] = "".join(
            token.text if not at or not token.spaced else f" {token.text}" for at, token in enumerate(words)
        )


def received(header: Header) -> list[Received]:
    """Return the way of a message, the last station first."""
    return [parse_received(field.text) for field in header.get_all("received")]


def return_path(header: Header) -> Mailbox | None:
    """Return the envelope sender that final delivery noted; None without the field or for the null sender."""
    return parse_mailbox(header.text("return-path")) if "return-path" in header else None


def resent_blocks(header: Header) -> list[ResentBlock]:
    """Return the resent blocks, the latest first. A name that comes again, or a field of another sort, begins a new one."""
    blocks: list[ResentBlock] = []
    current: list[Field] = []
    seen: set[str] = set()
    for field in header:
        name = field.name.lower()
        if current and (not name.startswith("resent-") or name in seen):
            blocks.append(ResentBlock(tuple(current)))
            current, seen = [], set()
        if name.startswith("resent-"):
            current.append(field)
            seen.add(name)
    return [*blocks, ResentBlock(tuple(current))] if current else blocks
