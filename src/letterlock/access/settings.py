"""What the access service must be told: names, limits, patience."""

from __future__ import annotations

from dataclasses import dataclass

from letterlock.errors import SettingsFault


@dataclass(frozen=True, slots=True)
class AccessSettings:
    r"""How IMAP and POP3 are served.

    `host_name` greets. `plain_text_login` allows passwords without TLS and is for tests on loopback only.
    `mailboxes` (name and special use) are made at a login to an account that has none, or none but INBOX.
    `idle_seconds` is how long a client that showed who it is may be silent (RFC 9051 section 5.4: at least 30 minutes),
    `login_seconds` how long it may take to do so.
    """

    host_name: str
    plain_text_login: bool = False
    mailboxes: tuple[tuple[str, str], ...] = (
        ("Archive", "\\Archive"),
        ("Drafts", "\\Drafts"),
        ("Junk", "\\Junk"),
        ("Sent", "\\Sent"),
        ("Trash", "\\Trash"),
    )
    message_octets: int = 50 * 1024 * 1024
    login_seconds: float = 60
    login_attempts: int = 5
    idle_seconds: float = 1800
    pop3_idle_seconds: float = 600
    send_seconds: float = 300

    def __post_init__(self) -> None:
        problems = []
        if self.idle_seconds < 1800:
            problems.append(f"access.idle_seconds = {self.idle_seconds:g}: must be 1800 or more (RFC 9051 section 5.4)")
        if self.pop3_idle_seconds < 600:
            problems.append(f"access.pop3_idle_seconds = {self.pop3_idle_seconds:g}: must be 600 or more")
        if self.message_octets < 65536:
            problems.append(f"access.message_octets = {self.message_octets}: must be 65536 or more")
        if problems:
            raise SettingsFault(tuple(problems))
