"""The few exception classes of Letterlock.

    LetterlockError
    ├── Malformed          octets that do not follow their grammar
    ├── PeerFault          the other side broke its protocol
    ├── OurFault           we asked for something we must not, or broke a promise to ourselves
    ├── Unavailable        a local resource failed (disk, memory, process): defer, never bounce
    ├── NotAuthentic       a cryptographic check failed; it never just returns False
    └── SettingsFault      the configuration is wrong; holds every problem found, not the first

Verdicts about mail (SPF, DKIM, DMARC, DANE, DNSSEC) are values, not exceptions, and so are delivery outcomes.
"""

from __future__ import annotations


class LetterlockError(Exception):
    """The root of all errors raised on purpose."""


class Malformed(LetterlockError):
    """Octets do not follow their grammar.

    `offset` counts octets from the start of what was parsed, `clause` names the rule ("RFC 5321 section 4.1.2"),
    `problem` says what stands there in a sentence fragment.
    """

    def __init__(self, problem: str, *, offset: int = 0, clause: str = "") -> None:
        self.problem = problem
        self.offset = offset
        self.clause = clause
        super().__init__(f"{problem} at octet {offset}" + (f" ({clause})" if clause else ""))


class PeerFault(LetterlockError):
    """The other side broke its protocol, or closed in the middle of it; `reply` is what it is told, if anything."""

    def __init__(self, problem: str, *, reply: bytes = b"") -> None:
        self.problem = problem
        self.reply = reply
        super().__init__(problem)


class OurFault(LetterlockError):
    """A call that is not allowed in this state, or a promise to ourselves that does not hold."""


class Unavailable(LetterlockError):
    """A local resource failed. What depends on it is deferred (451, 452, NO [UNAVAILABLE]); it is never bounced.

    `full` is true where room is what is missing (452 4.3.1 instead of 451 4.3.0).
    """

    def __init__(self, problem: str, *, full: bool = False) -> None:
        self.problem = problem
        self.full = full
        super().__init__(problem)


class NotAuthentic(LetterlockError):
    """A signature, a MAC, a certification path or a decryption check failed."""


class SettingsFault(LetterlockError):
    """The configuration is wrong. `problems` lists each as a sentence naming file, key, value and the fix."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))
