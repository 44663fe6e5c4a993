"""The envelope: who a message is from and for, as the transport sees it, apart from what the message says.

Standards: RFC 5321 section 2.3.1, RFC 3461 (NOTIFY, RET, ORCPT, ENVID), RFC 6152 and 3030 (BODY), RFC 6531
(SMTPUTF8), RFC 8689 (REQUIRETLS), RFC 2852 (BY), RFC 7293 (RRVS), RFC 3865 (SOLICIT).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from letterlock.formats.address import Address


class Body(enum.Enum):
    """What octets the content holds, as BODY= declares it."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT = "8BITMIME"
    BINARY = "BINARYMIME"


class Notify(enum.Flag):
    """When a recipient's sender wants a delivery status notification (RFC 3461 section 4.1)."""

    NEVER = 0
    SUCCESS = enum.auto()
    FAILURE = enum.auto()
    DELAY = enum.auto()


class Return(enum.Enum):
    """How much of the message a failure notification returns (RFC 3461 section 4.3)."""

    FULL = "FULL"
    HEADERS = "HDRS"


class Late(enum.Enum):
    """What becomes of a message that is not delivered in time (RFC 2852 section 4)."""

    RETURN = "R"
    NOTIFY = "N"


@dataclass(frozen=True, slots=True)
class DeliverBy:
    """BY: the instant (seconds since 1970) by which to deliver. With `trace` each relay reports itself."""

    instant: float
    late: Late
    trace: bool = False


@dataclass(frozen=True, slots=True)
class ValidSince:
    """RRVS: the mailbox must have had one owner since `instant` (whole seconds since 1970).

    `is_optional` lets the message go on through hosts that cannot look (RFC 7293 section 5.1.1).
    """

    instant: int
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class Recipient:
    """One forward path. `original` is ORCPT as `type;address`, decoded from xtext, or empty."""

    forward_path: Address
    notify: Notify = Notify.FAILURE | Notify.DELAY
    original: str = ""
    valid_since: ValidSince | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """What MAIL and RCPT said. `reverse_path` None is the null sender `<>`; `envelope_id` is ENVID, decoded.

    `solicitation` are the classes of SOLICIT, as written.
    """

    reverse_path: Address | None
    recipients: tuple[Recipient, ...]
    body: Body = Body.SEVEN_BIT
    smtputf8: bool = False
    require_tls: bool = False
    return_content: Return | None = None
    envelope_id: str = ""
    deliver_by: DeliverBy | None = None
    solicitation: tuple[str, ...] = ()
