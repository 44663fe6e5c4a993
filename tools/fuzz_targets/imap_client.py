"""What IMAP servers send: values, or the peer's fault; and the structures we tell of any message, read back by our client."""

from letterlock.errors import PeerFault
from letterlock.protocols.imap.bodystructure import encode_body, encode_bodystructure
from letterlock.protocols.imap.client import ClientConversation, Untagged, fetched
from letterlock.protocols.imap.envelope import encode_envelope

SEEDS = (
    b"* 12 FETCH (UID 7 BODY[HEADER.FIELDS (Date)] {3}\r\nabc FLAGS (\\Seen) X NIL)\r\nc1 OK [A b] done\r\n",
    b"From: A <a@b>, G: c@d;\r\nSubject: \xc3\xa9\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
    b"Content-Type: message/rfc822\r\n\r\nContent-Type: text/x; a*=utf-8''%C3%A9\r\nContent-Language: de, en\r\n\r\n",
)


def fuzz(octets: bytes) -> None:
    """Read as a server's words, and as a message that is told and understood."""
    conversation = ClientConversation()
    try:
        conversation.receive(octets)
        while (event := conversation.next_event()) is not None:
            if isinstance(event, Untagged) and event.name == b"FETCH":
                fetched(event.values)
    except PeerFault:
        pass
    told = (b"ENVELOPE", encode_envelope(octets)), (b"BODY", encode_body(octets)), (b"X", encode_bodystructure(octets))
    conversation = ClientConversation()
    conversation.receive(b"* 1 FETCH (" + b" ".join(b"%b %b" % item for item in told) + b")\r\n")
    understood = conversation.next_event()
    assert isinstance(understood, Untagged)
    assert set(fetched(understood.values)) == {b"ENVELOPE", b"BODY", b"X"}
