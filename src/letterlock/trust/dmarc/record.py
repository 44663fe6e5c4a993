"""A DMARC policy record as a value.

A record counts once it begins with `v=DMARC1`; what is wrong in the rest is named in `problems` and falls back to its
default, as the standard asks. `pct`, `ri` and `rf` of RFC 7489 are withdrawn: they are kept as text and change nothing.

Standards: RFC 9989 section 4.7 (tags), section 4.8 (grammar), section 4.10.1 (records without a valid policy), RFC 7489
section 6.3 (withdrawn tags).
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from letterlock.errors import Malformed
from letterlock.formats import domain as domains
from letterlock.formats.address import Address
from letterlock.formats.dns.rdata import Rdata, Txt

_VERSION = re.compile(rb"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")
_TAG = re.compile(r"([A-Za-z]+)[ \t]*=[ \t]*([ -:<-~]+)")
_REPORT_SIZE = re.compile(r"!\d+[kmgtKMGT]?\Z")
_FO = re.compile(r"[01ds](?::[01ds])*")
KNOWN_TAGS = frozenset(("v", "p", "sp", "np", "adkim", "aspf", "fo", "rua", "ruf", "psd", "t"))
WITHDRAWN_TAGS = frozenset(("pct", "ri", "rf"))


class Policy(enum.Enum):
    """What a domain owner asks to be done with mail that fails."""

    NONE = "none"
    QUARANTINE = "quarantine"
    REJECT = "reject"

    @property
    def strictness(self) -> int:
        """0, 1 or 2, to compare policies."""
        return ("none", "quarantine", "reject").index(self.value)

    @property
    def one_lower(self) -> Policy:
        """The policy that `t=y` asks for instead (RFC 9989 section 4.7)."""
        return Policy.QUARANTINE if self is Policy.REJECT else Policy.NONE


class Mode(enum.Enum):
    """How close an identifier must be to the author's domain."""

    RELAXED = "r"
    STRICT = "s"


@dataclass(frozen=True, slots=True)
class ReportUri:
    """Where reports go: `scheme` (mailto, https), `host` as A-labels, and the whole `uri` without a size limit."""

    uri: str
    scheme: str
    host: str

    @property
    def address(self) -> str:
        """The mail address of a mailto URI, or empty."""
        return unquote(urlsplit(self.uri).path) if self.scheme == "mailto" else ""


@dataclass(frozen=True, slots=True)
class Record:
    """What a record says, defaults filled in.

    `p` is None where it is missing or no policy; `has_valid_policies` is false where p, sp or np are wrong. `psd` is "y",
    "n" or "u". `withdrawn` lists tags of RFC 7489 that stand in the record, `problems` what was ignored.
    """

    text: str
    p: Policy | None
    sp: Policy | None = None
    np: Policy | None = None
    adkim: Mode = Mode.RELAXED
    aspf: Mode = Mode.RELAXED
    fo: str = "0"
    rua: tuple[ReportUri, ...] = ()
    ruf: tuple[ReportUri, ...] = ()
    psd: str = "u"
    is_testing: bool = False
    has_valid_policies: bool = True
    withdrawn: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def is_usable(self) -> bool:
        """Whether DMARC applies by this record (RFC 9989 section 4.10.1): valid policies, or somewhere to report to."""
        return self.has_valid_policies or bool(self.rua)

    def policy_for(self, *, is_subdomain: bool, exists: bool) -> tuple[Policy, str]:
        """Return the policy for a name and the tag it comes from; exact for the record's own domain."""
        if not self.has_valid_policies:
            return Policy.NONE, "p"
        p = self.p or Policy.NONE
        if not is_subdomain:
            return p, "p"
        if not exists and self.np is not None:
            return self.np, "np"
        return (self.sp, "sp") if self.sp is not None else (p, "p")


def is_dmarc(octets: bytes) -> bool:
    """Tell whether a text begins as a DMARC record must (RFC 9989 section 4.7)."""
    return _VERSION.match(octets) is not None


def select(records: Iterable[Rdata]) -> tuple[bytes, ...]:
    """Return the TXT records that are DMARC records; more than one count as none (RFC 9989 section 4.10)."""
    return tuple(record.joined for record in records if isinstance(record, Txt) and is_dmarc(record.joined))


@functools.lru_cache(maxsize=4096)
def parse(octets: bytes) -> Record:
    """Read a record. Raises Malformed where it is none at all."""
    if not is_dmarc(octets):
        raise Malformed("a DMARC record begins with v=DMARC1", clause="RFC 9989 section 4.7")
    text = octets.decode("ascii", "replace")
    problems: list[str] = []
    tags = _tags(text, problems)
    p, sp, np = (_policy(tags, name, problems) for name in ("p", "sp", "np"))
    valid = p is not None and (sp is not None or "sp" not in tags) and (np is not None or "np" not in tags)
    if "p" not in tags:
        problems.append("p= is missing, so the policy is none")
    psd = _choice(tags, "psd", "ynu", "u", problems)
    return Record(
        text,
        p,
        sp,
        np,
        Mode(_choice(tags, "adkim", "rs", "r", problems)),
        Mode(_choice(tags, "aspf", "rs", "r", problems)),
        _failure_options(tags, problems),
        _uris(tags, "rua", problems),
        _uris(tags, "ruf", problems),
        psd,
        _choice(tags, "t", "yn", "n", problems) == "y",
        valid,
        tuple(name for name in tags if name in WITHDRAWN_TAGS),
        tuple(problems),
    )


def _tags(text: str, problems: list[str]) -> dict[str, str]:
    tags: dict[str, str] = {}
    for part in text.split(";"):
        stripped = part.strip(" \t")
        if not stripped:
            continue
        match = _TAG.fullmatch(stripped)
        if match is None:
            problems.append(f"{stripped[:60]!r} is no tag and is ignored")
        elif match[1] in tags:
            problems.append(f"{match[1]}= stands twice; the first counts")
        else:
            tags[match[1]] = match[2].strip(" \t")
    return tags


def _policy(tags: dict[str, str], name: str, problems: list[str]) -> Policy | None:
    if name not in tags:
        return None
    try:
        return Policy(tags[name].lower())
    except ValueError:
        problems.append(f"{name}={tags[name][:40]} is no policy; none, quarantine and reject are")
        return None


def _choice(tags: dict[str, str], name: str, allowed: str, default: str, problems: list[str]) -> str:
    value = tags.get(name, default).lower()
    if len(value) == 1 and value in allowed:
        return value
    problems.append(f"{name}={value[:40]} is not one of {', '.join(allowed)}; {default} is assumed")
    return default


def _failure_options(tags: dict[str, str], problems: list[str]) -> str:
    value = tags.get("fo", "0").replace(" ", "")
    options = value.split(":")
    if _FO.fullmatch(value) and len(set(options)) == len(options) and not {"0", "1"} <= set(options):
        return value
    problems.append(f"fo={value[:40]} is not understood; 0 is assumed")
    return "0"


def _uris(tags: dict[str, str], name: str, problems: list[str]) -> tuple[ReportUri, ...]:
    found = []
    for text in tags.get(name, "").split(","):
        stripped = text.strip(" \t")
        if stripped:
            try:
                found.append(parse_uri(stripped))
            except Malformed as error:
                problems.append(f"{name}={stripped[:80]} is ignored: {error.problem}")
    return tuple(found)


def parse_uri(text: str) -> ReportUri:
    """Read one reporting URI; an obsolete size limit behind `!` is dropped. Raises Malformed."""
    uri = _REPORT_SIZE.sub("", text)  # QUIRK dmarc-report-size: the size limit of RFC 7489 behind a URI is dropped
    try:
        split = urlsplit(uri)
        host = split.hostname or ""
    except ValueError:
        raise Malformed("no URI", clause="RFC 9989 section 4.6") from None
    scheme = split.scheme.lower()
    if not scheme:
        raise Malformed("no scheme; write mailto: before an address", clause="RFC 9989 section 4.6")
    if scheme == "mailto":
        host = Address.parse(unquote(split.path)).domain
    return ReportUri(uri, scheme, domains.to_ascii(host) if host else "")
