"""What became of one recipient: the value every delivery and every transfer gives back.

Standards: RFC 3463 (enhanced status codes), RFC 3464 section 2.3.3 (actions), RFC 5321 section 4.2.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from letterlock.errors import OurFault
from letterlock.formats.address import Address

_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")


class Result(enum.Enum):
    """The five ends an attempt can have (RFC 3464 section 2.3.3 calls them actions)."""

    DELIVERED = "delivered"  # it lies in a mailbox here
    RELAYED = "relayed"  # the next host has taken responsibility
    EXPANDED = "expanded"  # replaced by other recipients
    DEFERRED = "deferred"  # not now: try again
    FAILED = "failed"  # never

    @property
    def final(self) -> bool:
        """Whether nothing more is owed to this recipient."""
        return self is not Result.DEFERRED


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to `recipient` in one attempt, and on whose word.

    `status` is an enhanced status code ("4.4.1"); `reply` is the reply as the other side gave it ("450 4.2.0 Later"),
    one line each, or our own sentence where no peer spoke; `host` is the name of the peer ("" for ourselves),
    `address` its IP address, `security` how the session was protected ("TLSv1.3 dane", "none"). `supports_dsn` tells
    that a RELAYED recipient's host promised to report itself (RFC 3461 section 5.2), `supports_deliver_by` that it keeps the
    hour the sender set (RFC 2852). `about_host` says that nothing was said of this recipient: the hosts could not be reached
    or took no mail, whoever it is for.
    """

    recipient: Address
    result: Result
    status: str
    reply: str = ""
    host: str = ""
    address: str = ""
    security: str = ""
    supports_dsn: bool = False
    supports_deliver_by: bool = False
    about_host: bool = False

    def __post_init__(self) -> None:
        if not _STATUS.fullmatch(self.status):
            raise OurFault(f"{self.status!r} is no enhanced status code")
