"""The message tree: octets in are octets out, spans nest, and everything in the tree can be looked at."""

from letterlock.formats.mime.build import rebuild
from letterlock.formats.mime.entity import parse
from letterlock.formats.mime.view import view

SEEDS = (
    b"From: a@b\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/html\r\n\r\n<p>\r\n--x--\r\n",
    b"Content-Type: message/rfc822\n\nContent-Type: multipart/digest; boundary=y\n\n--y\n\nSubject: a\n\nb\n--y--",
    b"Content-Type: message/partial; id=a; number=1; total=2\r\n\r\nContent-Type: message/external-body; access-type=url\r\n\r\n",
    b"Content-Transfer-Encoding: base64\r\nContent-Type: text/plain; charset=utf-7; format=flowed\r\n\r\nQUJD\r\n",
)


def fuzz(octets: bytes) -> None:
    """Parse, write back, show."""
    tree = parse(octets)
    assert rebuild(tree) == octets
    for entity in tree.entities():
        assert entity.header_start <= entity.body_start <= entity.end <= len(octets)
    view(tree)
