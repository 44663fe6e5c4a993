"""What a user agent must be told: who the user is, and where their servers are.

A server is written as a URL: `imaps://mail.example.org`, `imap://mail.example.org:1430`, `submissions://...`,
`submission://...`. The forms with an s begin with TLS, the others begin it with STARTTLS; nothing goes out in plain text.

Standards: RFC 8314 section 3 (implicit TLS preferred), RFC 5092 and RFC 6409 for the names and ports.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from letterlock.errors import Malformed
from letterlock.trust.smime.choose_cipher import Unknown

if TYPE_CHECKING:  # who needs no resolver need not load one
    from letterlock.host.resolver.system import ResolverSettings

# scheme: (port, whether TLS comes first)
SCHEMES = {
    "imaps": (993, True),
    "imap": (143, False),
    "submissions": (465, True),
    "submission": (587, False),
}


class Checking(enum.Enum):
    """How it is told whether certificates were revoked: as the server's setting of that name."""

    AT_HAND = "at-hand"
    ASK = "ask"
    REQUIRE = "require"


@dataclass(frozen=True, slots=True)
class MailServer:
    """One server: `host` is a name or an address to connect to, `name` what its certificate must show."""

    host: str
    port: int
    implicit_tls: bool
    name: str

    @classmethod
    def parse(cls, url: str, kind: str, *, name: str = "") -> MailServer:
        """Return the server of a URL of `kind` ("imap" or "submission"). Raises Malformed."""
        parts = urlsplit(url if "://" in url else f"{kind}s://{url}")
        if parts.scheme.removesuffix("s") != kind or parts.scheme not in SCHEMES:
            raise Malformed(f"{url}: expected a URL such as {kind}s://mail.example.org")
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            raise Malformed(f"{url}: the port is no number") from None
        if not host or parts.path.strip("/") or parts.query or parts.username:
            raise Malformed(f"{url}: expected a URL such as {kind}s://mail.example.org")
        usual_port, implicit_tls = SCHEMES[parts.scheme]
        return cls(host, port or usual_port, implicit_tls, name or host)


@dataclass(frozen=True, slots=True)
class UserAgentSettings:
    """A user with their servers. `roots` are PEM files of authorities to trust in place of the system's.

    `resolver`, if any, says who is asked for the servers' addresses and TLSA records (server_proof.py). `keys` is a key store and
    `keys_password_file` what opens it, `labels` a policy file; `for_unknown` chooses the cipher for those of whose programs
    nothing is known; `revocation` says whether authorities are asked, and whether they must have answered.
    """

    user: str
    password: str
    imap: MailServer | None = None
    submission: MailServer | None = None
    roots: Path | None = None
    resolver: ResolverSettings | None = None
    timeout_seconds: float = 60
    keys: Path | None = None
    keys_password_file: Path | None = None
    labels: Path | None = None
    for_unknown: Unknown = Unknown.BY_KEY
    revocation: Checking = Checking.AT_HAND
