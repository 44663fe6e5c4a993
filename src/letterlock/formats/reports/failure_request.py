"""Who asked for reports of authentication failures: the tags DKIM and SPF publishers write in the DNS.

Standards: RFC 6651 section 3.2 and section 5.1 (`_report._domainkey` records), RFC 6652 section 3 and section 4.1 (SPF
modifiers). A percentage is taken by the caller, who has the random number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from letterlock.errors import Malformed

_DKIM_REASONS = frozenset(("all", "d", "o", "p", "s", "u", "v", "x"))
_SPF_REASONS = frozenset(("all", "e", "f", "s", "n"))
_ENCODED = re.compile(rb"=([0-9A-F]{2})")
_MOST_CHARACTERS = 4096


@dataclass(frozen=True, slots=True)
class FailureRequest:
    """A wish for reports: to `local_part` at the domain that publishes it, for these reasons, this share of incidents.

    `per_million` is the share; `smtp_text` is what the publisher wants said in a rejection (DKIM only).
    """

    local_part: str
    reasons: frozenset[str]
    per_million: int = 1_000_000
    smtp_text: str = ""

    def wants(self, reason: str) -> bool:
        """Tell whether reports for this reason (a letter of the tables) are wanted."""
        return "all" in self.reasons or reason in self.reasons


def read_dkim_request(record: str) -> FailureRequest | None:
    """Read the text of a `_report._domainkey` record; None where it asks for no reports (no `ra=`). Raises Malformed."""
    if len(record) > _MOST_CHARACTERS:
        raise Malformed("a record that is too long", clause="RFC 6651 section 3.2")
    tags: dict[str, str] = {}
    for piece in record.split(";"):
        if not piece.strip():
            continue
        name, equals, value = piece.partition("=")
        name = name.strip()
        if not equals or not name or name in tags:
            raise Malformed(f"no tag, or a tag twice: {piece.strip()[:40]!r}", clause="RFC 6651 section 3.2")
        tags[name] = "".join(value.split())
    percentage = tags.get("rp", "100")
    if not (percentage.isascii() and percentage.isdigit() and len(percentage) <= 3 and int(percentage) <= 100):
        raise Malformed(f"rp={percentage[:20]!r}", clause="RFC 6651 section 3.2")
    if not tags.get("ra"):
        return None
    return FailureRequest(
        local_part=_decoded(tags["ra"]),
        reasons=frozenset(tags.get("rr", "all").split(":")) & _DKIM_REASONS,  # others are ignored
        per_million=int(percentage) * 10_000,
        smtp_text=_decoded(tags.get("rs", "")),
    )


def read_spf_request(modifiers: Iterable[tuple[str, str]]) -> FailureRequest | None:
    """Read an SPF record's modifiers (name, value); None where they ask for no reports. Raises Malformed.

    Those of a record reached by `include` are not to be passed (RFC 6652 section 3).
    """
    tags = {name.lower(): value for name, value in modifiers if name.lower() in {"ra", "rp", "rr"}}
    if not tags.get("ra"):
        return None
    share = tags.get("rp", "100")
    numerator, slash, denominator = share.partition("/")  # the grammar has a fraction, the text a percentage
    if not all(part.isascii() and part.isdigit() and len(part) <= 12 for part in (numerator, denominator or "100")):
        raise Malformed(f"rp={share[:30]!r}", clause="RFC 6652 section 3")
    whole = int(denominator) if slash else 100
    if not whole or int(numerator) > whole:
        raise Malformed(f"rp={share[:30]!r}", clause="RFC 6652 section 3")
    return FailureRequest(
        local_part=_decoded(tags["ra"]),
        reasons=frozenset(tags.get("rr", "all").lower().split(":")) & _SPF_REASONS,
        per_million=int(numerator) * 1_000_000 // whole,
    )


def _decoded(text: str) -> str:
    """Return a dkim-quoted-printable value decoded (RFC 6376 section 2.11), without control characters."""
    octets = _ENCODED.sub(lambda found: bytes((int(found[1], 16),)), text.encode())
    decoded = octets.decode("utf-8", "replace")
    return "".join(character for character in decoded if character.isprintable())
