"""Connect to a server only to see the certificates it shows, by TLS from the start or after STARTTLS.

Standards: RFC 3207 section 4 (SMTP), RFC 2595 sections 3 and 4 (IMAP, POP3).
Limits: 64 KiB and the given seconds for what comes before TLS.
"""

from __future__ import annotations

import enum
import re
import ssl

from letterlock.errors import PeerFault
from letterlock.host import tls
from letterlock.host.connect import connect
from letterlock.host.stream import Endpoint, Stream
from letterlock.host.tls import TlsState

_MAX_PREAMBLE = 65536


class StartTls(enum.Enum):
    """The protocol that is spoken before TLS."""

    SMTP = "smtp"
    IMAP = "imap"
    POP3 = "pop3"


_TALK: dict[StartTls, tuple[tuple[bytes, bytes], ...]] = {
    # What is sent, and the pattern of the last line that must come back for it.
    StartTls.SMTP: ((b"", rb"220 "), (b"EHLO probe.invalid\r\n", rb"250 "), (b"STARTTLS\r\n", rb"220 ")),
    StartTls.IMAP: ((b"", rb"\* OK"), (b"a STARTTLS\r\n", rb"a OK")),
    StartTls.POP3: ((b"", rb"\+OK"), (b"STLS\r\n", rb"\+OK")),
}


async def probe_tls(
    endpoint: Endpoint,
    server_name: str,
    *,
    starttls: StartTls | None = None,
    within_seconds: float = 15.0,
    context: ssl.SSLContext | None = None,
) -> TlsState:
    """Return what the handshake showed, the chain unjudged unless `context` judges it; raises PeerFault."""
    stream = await connect(endpoint, within_seconds=within_seconds)
    stream.expect_within(within_seconds)
    try:
        for sent, wanted in _TALK[starttls] if starttls else ():
            stream.write(sent)
            await _expect(stream, wanted)
        return await stream.start_tls(context or tls.opportunistic_client(), server_side=False, server_name=server_name)
    finally:
        stream.abort()


async def _expect(stream: Stream, wanted: bytes) -> None:
    gathered = b""
    last = re.compile(rb"(?:^|\n)" + wanted + rb"[^\n]*\n$")
    refused = re.compile(rb"(?:^|\n)(?:[45]\d\d |-ERR|a (?:NO|BAD))[^\n]*\n$")
    while not last.search(gathered):
        octets = await stream.read()
        gathered += octets
        if not octets or refused.search(gathered) or len(gathered) > _MAX_PREAMBLE:
            said = gathered[-200:].decode("ascii", "replace").strip()
            raise PeerFault(f"the server did not begin TLS; it said {said!r}")
