"""Message identifiers: Message-ID, In-Reply-To, References, Content-ID, and the content identifiers in `cid:` links.

Identifiers are kept without angle brackets, and compared octet for octet.

Standards: RFC 5322 section 3.6.4, section 4.5.4 (phrases in old In-Reply-To fields), RFC 2045 section 7.
Limits: linear in the value.
"""

from __future__ import annotations

import re

from letterlock.formats.defect import Defect, Kind
from letterlock.formats.grammar import Sort, tokens

_PLAIN = re.compile(r"<([^<>\s\"()\\]++)>")
_ONLY_PLAIN = re.compile(r"(?>(?:[ \t]*+<[^<>\s\"()\\]++>)*)[ \t]*+")


def parse_message_ids(value: str, defects: list[Defect] | None = None) -> tuple[str, ...]:
    """Return the identifiers in an unfolded value, in order. Never raises; other words are passed over."""
    if _ONLY_PLAIN.fullmatch(value):
        return tuple(_PLAIN.findall(value))
    problems: list[Defect] = [] if defects is None else defects
    found: list[str] = []
    pieces: list[str] | None = None
    for token in tokens(value, problems):
        mark = token.text if token.sort is Sort.SPECIAL else ""
        if token.sort is Sort.COMMENT:
            continue
        if mark == "<":
            pieces = []
        elif pieces is None:
            continue
        elif mark == ">":
            if pieces:
                found.append("".join(pieces))  # QUIRK folded-message-id: white space inside an identifier is dropped
            pieces = None
        else:
            pieces.append(value[token.start : token.end])
    if pieces is not None or not found:
        problems.append(Defect(Kind.BAD_MESSAGE_ID, 0))
    return tuple(found)


def parse_message_id(value: str, defects: list[Defect] | None = None) -> str:
    """Return the one identifier of Message-ID or Content-ID; without brackets (a quirk) the bare word, or ""."""
    found = parse_message_ids(value, defects)
    if found:
        return found[0]
    bare = value.strip(" \t<>")  # QUIRK bare-message-id: an identifier without brackets
    return bare if bare and " " not in bare and "\t" not in bare else ""


def is_message_id(identifier: str) -> bool:
    """Tell whether a new message may carry this identifier: `left@right` of printable ASCII (section 3.6.4)."""
    left, at, right = identifier.rpartition("@")
    return bool(at and left and right) and all("!" <= one <= "~" and one not in '<>()[]\\",:;' for one in left + right)
