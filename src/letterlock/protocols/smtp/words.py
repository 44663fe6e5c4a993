"""The states of a server's conversation, and what it says in fixed words.

Standards: RFC 5321 section 4.1.4 (order of commands), section 4.2 (replies), RFC 3463 (enhanced codes).
"""

from __future__ import annotations

import enum

from letterlock.protocols.smtp.offer import Dialect
from letterlock.protocols.smtp.reply import Reply, reply


class State(enum.Enum):
    """Where the conversation stands."""

    CONNECTED = "before EHLO"
    GREETED = "between transactions"
    SENDER = "after MAIL"
    RECIPIENTS = "after RCPT"
    CONTENT = "within DATA"
    CHUNK = "within a BDAT chunk"
    CHUNKS = "between BDAT chunks"
    AUTHENTICATING = "within AUTH"
    ENDED = "over"

    __hash__ = object.__hash__  # an Enum's own is a Python call, and states are looked up with each command


GREETINGS = {Dialect.SMTP: "ESMTP", Dialect.LMTP: "LMTP"}
OK = reply(250, "2.0.0", "OK")
SENDER_OK = reply(250, "2.1.0", "Sender OK")
RECIPIENT_OK = reply(250, "2.1.5", "Recipient OK")
CONTENT_OK = reply(250, "2.6.0", "Message accepted")
GO_ON = reply(354, "", "Send the message; end it with a dot on a line of its own")
AUTHENTICATED = reply(235, "2.7.0", "Authenticated")
TOO_MANY_FAULTS = reply(421, "4.7.0", "Too many wrong commands. Closing")
TOO_MANY_REFUSED = reply(421, "4.7.0", "Too many recipients that are not taken. Closing")
TOO_MANY_WITHOUT_MAIL = reply(421, "4.7.0", "Too many commands without mail. Closing")


def out_of_order(state: State, verb: str, dialect: Dialect, refused_recipients: int) -> Reply:
    """Return what is said to a command that is not allowed in this state: what to send instead."""
    if state is State.CONNECTED:
        return reply(503, "5.5.1", f"Send {'LHLO' if dialect is Dialect.LMTP else 'EHLO'} first")
    if state is State.CHUNKS:
        return reply(503, "5.5.1", "Chunks have begun: only BDAT, RSET, NOOP and QUIT are allowed now")
    if state is State.GREETED and verb in ("RCPT", "DATA"):
        return reply(503, "5.5.1", "Send MAIL first")
    if verb == "DATA" and refused_recipients:
        return reply(554, "5.5.1", "No valid recipients")
    if verb == "DATA":
        return reply(503, "5.5.1", "Send RCPT first")
    return reply(503, "5.5.1", f"{verb} is not allowed within a mail transaction: send RSET first")
