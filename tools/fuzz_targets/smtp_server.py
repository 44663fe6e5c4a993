"""The SMTP server's conversation, whole and octet by octet: the same replies, and no error."""

from __future__ import annotations

from letterlock.protocols.smtp import event as events
from letterlock.protocols.smtp.offer import ServerSettings
from letterlock.protocols.smtp.server import ServerConversation

_OPENING = b"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n"
SEEDS = (
    _OPENING + b"DATA\r\n..a\r\n.\r\nQUIT\r\n",
    _OPENING + b"BDAT 3\r\nabcBDAT 0 LAST\r\nRSET\r\n",
    b'EHLO x\r\nMAIL FROM:<"a b"@c.test> SIZE=9 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb MT-PRIORITY=-3 HOLDFOR=5\r\n',
    _OPENING + b"RCPT TO:<e@f.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a@b\r\nDATA\r\na\nb\r\n.\r\n",
    b"EHLO x\r\nAUTH PLAIN AGEAYg==\r\n",
    b"EHLO x\r\nAUTH LOGIN\r\n",
)
_SETTINGS = ServerSettings(
    "mx.test", plain_mechanisms=("PLAIN", "LOGIN"), offers_priority=True, longest_hold=(10, "2030-01-01T00:00:00Z")
)


def fuzz(octets: bytes) -> None:
    """Nothing raises, and where octets are cut means nothing (AUTH aside, where what is pipelined matters)."""
    whole = _talk([octets])
    if b"AUTH" not in octets.upper():
        cut = _talk([octets[at : at + 1] for at in range(len(octets))])
        assert cut == whole, (cut, whole)


def _talk(pieces: list[bytes]) -> tuple[bytes, int]:
    server = ServerConversation(_SETTINGS)
    out, taken = b"", 0
    for piece in pieces:
        server.receive(piece)
        while (event := server.next_event()) is not None:
            match event:
                case events.SenderGiven() | events.RecipientGiven():
                    server.accept()
                case events.ContentEnded():
                    taken += 1
                    server.accept()
                case events.AuthenticationBegun(_, None):
                    server.challenge(b"?")
                case events.AuthenticationBegun() | events.AuthenticationContinued():
                    server.authenticated("a")
        out += server.take_output()
    return out, taken
