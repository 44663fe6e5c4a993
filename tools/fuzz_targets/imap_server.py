"""What IMAP clients send: the same events however the octets are split, answers of one line, names and sets that survive."""

from letterlock.protocols.imap.server import Limits, LiteralAwaited, Received, Refused, ServerConversation

SEEDS = (
    b"a FETCH 1:*,3 (FLAGS BODY.PEEK[1.2.HEADER.FIELDS (From To)]<0.100> BINARY.SIZE[1])\r\n",
    b'a APPEND "x &AOk-" (\\Seen $x) " 1-Feb-1994 21:52:25 -0800" {5+}\r\nhello\r\nb NOOP\r\n',
    b"a UID SEARCH RETURN (MIN SAVE) CHARSET utf-8 (OR $ 1:3) NOT TEXT {2}\r\nab SINCE 1-Feb-1994 MODSEQ 3\r\n",
    b'a LIST (SUBSCRIBED) "" ("*" %) RETURN (STATUS (MESSAGES))\r\nb STORE 1 (UNCHANGEDSINCE 3) +FLAGS.SILENT \\Seen\r\n',
    b'a SELECT x (QRESYNC (1 2 3:4 (1,2 3,4)) CONDSTORE)\r\nb ID ("a" NIL)\r\nc AUTHENTICATE PLAIN AA==\r\n',
    b"a APPEND x {99999+}\r\nmuch {3+}\r\nabc\r\nb NOOP\r\n",
)


def fuzz(octets: bytes) -> None:
    """Hear all at once, and cut in two."""
    for utf8 in (False, True):
        whole = _hear([octets], utf8)
        assert _hear([octets[: len(octets) // 3], octets[len(octets) // 3 :]], utf8) == whole


def _hear(pieces: list[bytes], utf8: bool) -> list[object]:
    conversation = ServerConversation(Limits(line_octets=2000, message_octets=4000, faults=5))
    conversation.utf8 = utf8
    conversation.authenticated()
    conversation.selected()
    events: list[object] = []
    for piece in pieces:
        conversation.receive(piece)
        while (event := conversation.next_event()) is not None:
            events.append(event)
            match event:
                case Refused(answer) | LiteralAwaited(answer):
                    assert answer.endswith(b"\r\n")
                    assert answer.count(b"\n") == 1
                case Received(tag, _):
                    assert tag
    return events
