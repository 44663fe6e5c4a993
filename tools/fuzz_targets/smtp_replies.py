"""A server's replies as a client hears them: replies or PeerFault, nothing else, and bounded."""

from __future__ import annotations

from letterlock.errors import PeerFault
from letterlock.protocols.smtp.client import ClientConversation
from letterlock.protocols.smtp.reply import ReplyReader

SEEDS = (
    b"220 mx.test ESMTP\r\n250-mx.test\r\n250-SIZE 100\r\n250-AUTH=LOGIN PLAIN\r\n250 LIMITS RCPTMAX=3\r\n",
    b"220-a\r\n220 b\r\n502 no\r\n250 ok\r\n",
    b"421 4.3.2 later\n",
)


def fuzz(octets: bytes) -> None:
    """Greeting and EHLO answered by these octets."""
    reader = ReplyReader()
    reader.receive(octets)
    client = ClientConversation("client.test")
    try:
        for step in (client.greet(), client.hello()):
            wanted = next(step)
            while True:
                replies = []
                for _ in range(wanted.replies):
                    reply = reader.next_reply()
                    if reply is None:
                        return
                    replies.append(reply)
                try:
                    wanted = step.send(tuple(replies))
                except StopIteration:
                    break
    except PeerFault:
        return
    assert client.offer.recipient_limit >= 1
    assert client.offer.size_limit >= 0
    assert client.offer.mechanisms is not None
