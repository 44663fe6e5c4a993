"""What POP3 clients send: the same events however the octets are split, and messages that survive dot-stuffing."""

from letterlock.protocols.pop3.server import Refused, ServerConversation, multiline

SEEDS = (b"USER a\r\nPASS b c\r\nAUTH PLAIN =\r\nCAPA\r\n", b"TOP 1 2\r\nUIDL\r\n", b".\r\n..\r\nx")


def fuzz(octets: bytes) -> None:
    """Hear all at once and cut in two; stuff and unstuff."""
    assert _hear([octets]) == _hear([octets[: len(octets) // 2], octets[len(octets) // 2 :]])
    sent = multiline(octets)
    assert sent.endswith(b".\r\n")
    lines = sent.split(b"\r\n")[:-2]
    unstuffed = b"\r\n".join(line.removeprefix(b".") for line in lines)
    assert unstuffed == octets.removesuffix(b"\r\n")
    assert b"." not in lines


def _hear(pieces: list[bytes]) -> list[object]:
    conversation = ServerConversation()
    events: list[object] = []
    for piece in pieces:
        conversation.receive(piece)
        while (event := conversation.next_event()) is not None:
            events.append(event)
            if isinstance(event, Refused):
                assert event.octets.endswith(b"\r\n")
                assert event.octets.count(b"\n") == 1
    return events
