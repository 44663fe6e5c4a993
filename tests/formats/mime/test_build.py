"""Messages built from parts."""

import email
import email.policy
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.errors import Malformed
from letterlock.formats.imf.addresses import Mailbox
from letterlock.formats.mime.build import Binary, Embedded, Multipart, Text, build, canonical_text, compose, rebuild
from letterlock.formats.mime.entity import parse
from letterlock.formats.mime.view import view

NOW = datetime(2026, 11, 23, 13, 15, 15, tzinfo=UTC)


def _compose(**options: object) -> bytes:
    return compose(
        author=Mailbox("Ada", "ada", "rosewood.test"), date=NOW, message_id="1@rosewood.test", token="t",
        **options,  # type: ignore[arg-type]
    )  # fmt: skip


def test_an_ordinary_message_is_what_every_reader_expects() -> None:
    """Text, alternative, attachments with names; Python's own reader sees the same."""
    octets = _compose(
        to=[Mailbox("Bücher, Bob", "bob", "fern.test")],
        subject="Grüße aus Köln",
        text="Hallo\nFrom me\n",
        html="<p>Grüße</p>",
        attachments=[
            Binary(b"\0\1\2", "image/png", "Bild 1.png"),
            Text("a;b\n", "csv", filename="größe.csv"),
            Embedded(b"Subject: x\r\n\r\ny\r\n"),
        ],
        in_reply_to=["0@fern.test"],
        references=["0@fern.test"],
    )  # fmt: skip
    message = email.message_from_bytes(octets, policy=email.policy.default)
    assert message["subject"] == "Grüße aus Köln"
    assert message["to"].addresses[0].display_name == "Bücher, Bob"
    assert message.get_body(("plain",)).get_content().splitlines() == ["Hallo", "From me"]
    assert [part.get_filename() for part in message.iter_attachments()] == ["Bild 1.png", "größe.csv", None]
    assert not message.defects
    seen = view(octets)
    assert seen.defects == ()
    assert octets.isascii()
    assert max(map(len, octets.split(b"\r\n"))) <= 78


_text = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r"), max_size=300)


@given(_text, _text.filter(bool), st.binary(max_size=300), st.booleans())
def test_what_is_built_is_read_back(text: str, html: str, content: bytes, eight_bit: bool) -> None:
    """Any text and any octets survive; lines stay below 998 octets; the same input gives the same octets."""
    parts = Multipart("mixed", (Text(text), Multipart("related", (Text(html, "html"), Binary(content)))))
    octets = build(parts, [("From", "a@b.test")], token="=_t", eight_bit=eight_bit)
    assert octets == build(parts, [("From", "a@b.test")], token="=_t", eight_bit=eight_bit)
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    assert octets.count(b"\n") == octets.count(b"\r\n") == octets.count(b"\r")
    tree = parse(octets)
    assert tree.all_defects() == []
    plain, related = tree.children
    assert plain.text() == canonical_text(text)
    assert related.children[0].text() == canonical_text(html)
    assert related.children[1].content() == content


@given(st.binary(max_size=200))
def test_no_content_can_end_a_part(content: bytes) -> None:
    """A boundary that stands in the content is not used."""
    inner = b"--=_t_1\r\n--=_t_1--\r\n" + content.replace(b"\r", b"")
    tree = parse(build(Multipart("mixed", (Embedded(inner, "message/x"), Text("end"))), token="t"))
    assert [child.body for child in tree.children] == [inner, b"end"]


@pytest.mark.parametrize(
    ("parts", "encoding"),
    [
        ((Text("Content-Transfer-Encoding: binary"), Binary(b"\0")), "7bit"),
        ((Text("a"), Embedded("Subject: ü\r\n\r\n".encode())), "8bit"),
        ((Embedded(b"x" * 1000), Embedded("ü".encode())), "binary"),
        ((Multipart("mixed", (Embedded(b"a\nb"),)),), "binary"),
    ],
)
def test_a_multipart_says_the_widest_of_what_it_holds(
    parts: tuple[Text | Binary | Embedded | Multipart, ...], encoding: str
) -> None:
    """RFC 2045 section 6.4."""
    assert parse(build(Multipart("mixed", parts), token="t")).encoding == encoding


def test_what_cannot_be_built_is_refused() -> None:
    """A line end in a field, or a multipart of nothing."""
    for call in (
        lambda: build(Text("x"), [("Subject", "a\r\nBcc: b@c")], token="t"),
        lambda: build(Multipart("mixed", ()), token="t"),
        lambda: build(Binary(b"", description="x\r\n", content_id="a\r\nb"), token="t"),
    ):
        with pytest.raises(Malformed):
            call()


_PIECES = [b"\r\n", b"\n", b"--a", b"--b", b"--", b"x", b"\r", b"Content-Type: multipart/mixed; boundary=a\r\n\r\n",
           b"Content-Type: multipart/digest; boundary=b\n\n", b"Content-Type: message/rfc822\r\n\r\n", b"From x\n"]  # fmt: skip


@given(st.binary(max_size=300) | st.lists(st.sampled_from(_PIECES), max_size=40).map(b"".join))
def test_octets_in_are_octets_out(octets: bytes) -> None:
    """Writing the tree gives the message back, for any input whatever."""
    assert rebuild(parse(octets)) == octets
