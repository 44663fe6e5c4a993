"""A message made fit for a host that takes seven bits only.

Parts that hold more are encoded, each by itself; a message that says nothing of MIME is labelled as of an unknown charset.
What its author signed is never changed: a message that would need that cannot be made fit, nor can one whose header holds
more than ASCII. A DKIM signature does not survive, and then counts as none.

Standards: RFC 6152 section 3, RFC 3030 section 3 (conversion), RFC 1428 (unknown-8bit), RFC 6376 section 5.3.
"""

from __future__ import annotations

from letterlock.errors import Malformed
from letterlock.formats.imf.header import read_header
from letterlock.formats.mime.canonical import seven_bit

_UNLABELLED = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n"


def downgraded(content: bytes) -> bytes | None:
    """Return the message in seven bits, lines of at most 998 octets, or None where it cannot be made so."""
    header = read_header(content)
    if "mime-version" not in header:
        content = (b"MIME-Version: 1.0\r\n" if "content-type" in header else _UNLABELLED) + content
    try:
        converted = seven_bit(content, for_signing=False)
    except Malformed:
        return None
    return converted if converted.isascii() and b"\0" not in converted else None
