"""MTA-STS: the record that says that a domain has a policy, and the policy itself.

Standards: RFC 8461 section 3.1 (the record), section 3.2 (the policy), section 4.1 (host names and patterns).
Limits: 64 KB, 256 patterns; fields that are not known are passed over, as the standard says.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass

from letterlock.errors import Malformed
from letterlock.formats import domain as domains

LONGEST_POLICY = 65_536
_CLAUSE = "RFC 8461 section 3.2"
_RECORD = re.compile(rb"v=STSv1[ \t]*;(.*)", re.DOTALL)
_ID = re.compile(rb"id=([A-Za-z0-9]{1,32})")
_MOST_PATTERNS = 256
_LONGEST_AGE = 31_557_600  # RFC 8461 section 3.2: one year


class Mode(enum.Enum):
    """What is to be done where a host does not keep to the policy."""

    ENFORCE = "enforce"  # do not deliver to it
    TESTING = "testing"  # deliver, and report
    NONE = "none"  # as if there were no policy


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy. `patterns` are host names in lower case, some beginning with `*.`."""

    mode: Mode
    patterns: tuple[str, ...]
    max_age_seconds: int

    def allows(self, host: str) -> bool:
        """Tell whether a host (lower-case A-labels) is one the policy names; a star stands for one label."""
        return any(
            host == pattern or (pattern.startswith("*.") and host.partition(".")[2] == pattern[2:])
            for pattern in self.patterns
        )


def read_record(texts: Iterable[bytes]) -> str | None:
    """Return the id that the TXT records at `_mta-sts.` give, or None where there is not exactly one record."""
    records = [match[1] for text in texts if (match := _RECORD.fullmatch(text))]
    if len(records) != 1:
        return None
    for field in records[0].split(b";"):
        if found := _ID.fullmatch(field.strip(b" \t")):
            return found[1].decode()
    return None


def read_policy(octets: bytes) -> Policy:
    """Return the policy in a file. Raises Malformed."""
    if len(octets) > LONGEST_POLICY:
        raise Malformed("a policy of more than 64 KB", clause=_CLAUSE)
    try:
        lines = octets.decode().split("\n")
    except UnicodeDecodeError as error:
        raise Malformed("a policy that is not UTF-8", offset=error.start, clause=_CLAUSE) from None
    single: dict[str, str] = {}
    patterns: list[str] = []
    for line in lines:
        name, colon, value = line.removesuffix("\r").partition(":")
        name, value = name.strip(" \t"), value.strip(" \t")
        if not colon:
            continue
        if name == "mx" and len(patterns) < _MOST_PATTERNS:
            patterns.append(_pattern(value))
        elif name != "mx":
            single.setdefault(name, value)  # the first counts
    if single.get("version") != "STSv1":
        raise Malformed("a policy without version: STSv1", clause=_CLAUSE)
    try:
        mode = Mode(single.get("mode", ""))
    except ValueError:
        raise Malformed("a policy whose mode is not enforce, testing or none", clause=_CLAUSE) from None
    age = single.get("max_age", "")
    if not re.fullmatch(r"[0-9]{1,10}", age):
        raise Malformed("a policy without max_age", clause=_CLAUSE)
    if not patterns and mode is not Mode.NONE:
        raise Malformed("a policy without mx", clause=_CLAUSE)
    return Policy(mode, tuple(patterns), min(int(age), _LONGEST_AGE))


def write_policy(policy: Policy) -> bytes:
    """Return a policy as the file that is published."""
    lines = ["version: STSv1", f"mode: {policy.mode.value}", *(f"mx: {pattern}" for pattern in policy.patterns)]
    return "\r\n".join([*lines, f"max_age: {policy.max_age_seconds}", ""]).encode()


def _pattern(text: str) -> str:
    star = text.startswith("*.")
    name = domains.to_ascii(text[2:] if star else text)
    return f"*.{name}" if star else name
