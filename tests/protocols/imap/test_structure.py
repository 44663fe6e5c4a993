"""ENVELOPE and BODYSTRUCTURE, as the standard shows them and for messages that are not as they should be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from letterlock.protocols.imap.bodystructure import encode_body, encode_bodystructure
from letterlock.protocols.imap.envelope import encode_envelope

# The message of RFC 9051 section 8, whose ENVELOPE and BODY stand there.
SAMPLE = (
    b"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\n"
    b"From: Terry Gray <gray@cac.washington.edu>\r\n"
    b"Subject: IMAP4rev2 WG mtg summary and minutes\r\n"
    b"To: imap@cac.washington.edu\r\n"
    b"cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n"
    b"Message-Id: <B27397-0100000@cac.washington.edu>\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n"
    b"\r\n" + b"line\r\n" * 3
)


def test_the_envelope_of_the_standard() -> None:
    author = b'(("Terry Gray" NIL "gray" "cac.washington.edu"))'
    assert encode_envelope(SAMPLE) == (
        b'("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev2 WG mtg summary and minutes" '
        + b" ".join([author] * 3)
        + b' ((NIL NIL "imap" "cac.washington.edu"))'
        b' ((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU")) NIL NIL'
        b' "<B27397-0100000@cac.washington.edu>")'
    )


def test_the_body_of_the_standard() -> None:
    assert encode_body(SAMPLE) == b'("text" "plain" ("charset" "US-ASCII") NIL NIL "7BIT" 18 3)'


def test_a_tree_with_a_message_inside() -> None:
    inner = b"Subject: inner\r\n\r\nhello\r\n"
    message = (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\n\r\nplain\r\n"
        b"--b\r\nContent-Type: message/rfc822\r\nContent-Description: a letter\r\n\r\n" + inner + b"\r\n"
        b'--b\r\nContent-Type: image/png; name="x.png"\r\nContent-Transfer-Encoding: base64\r\n'
        b"Content-ID: <i@x>\r\nContent-Disposition: attachment; filename*=utf-8''%C3%A9.png\r\n"
        b"Content-Language: de, en\r\n\r\nAAAA\r\n--b--\r\n"
    )
    assert encode_bodystructure(message) == (
        b'(("text" "plain" ("charset" "us-ascii") NIL NIL "7BIT" 5 0 NIL NIL NIL NIL)'
        b'("message" "rfc822" NIL NIL "a letter" "7BIT" 25 (NIL "inner" NIL NIL NIL NIL NIL NIL NIL NIL)'
        b' ("text" "plain" ("charset" "us-ascii") NIL NIL "7BIT" 7 1 NIL NIL NIL NIL) 3 NIL NIL NIL NIL)'
        b'("image" "png" ("name" "x.png") "<i@x>" NIL "BASE64" 4 NIL'
        b' ("attachment" ("filename*" "utf-8\'\'%C3%A9.png")) ("de" "en") NIL)'
        b' "mixed" ("boundary" "b") NIL NIL NIL)'
    ).replace(b'"7BIT" 5 0', b'"7BIT" 5 %d' % lines_of_plain())


def lines_of_plain() -> int:
    """A last line without its line end is counted as formats.mime counts lines."""
    from letterlock.formats.octets import count_lines

    return count_lines(b"plain", 0, 5)


def test_groups_and_hidden_recipients() -> None:
    envelope = encode_envelope(b"From: a@b\r\nTo: Friends: c@d, E <e@f>;, undisclosed:;\r\n\r\n")
    assert b'((NIL NIL "Friends" NIL)(NIL NIL "c" "d")("E" NIL "e" "f")(NIL NIL NIL NIL)' in envelope
    assert b'(NIL NIL "undisclosed" NIL)(NIL NIL NIL NIL))' in envelope


def test_eight_bit_fields_travel_in_literals() -> None:
    envelope = encode_envelope("Subject: Grüße\r\nFrom: Jörg <j@x.test>\r\n\r\n".encode())
    assert b"{7}\r\nGr\xc3\xbc\xc3\x9fe" in envelope
    assert b"(({5}\r\nJ\xc3\xb6rg NIL" in envelope


def test_a_multipart_without_parts_is_told_as_text() -> None:
    body = encode_body(b"Content-Type: multipart/mixed; boundary=x\r\n\r\nnothing\r\n")
    assert body.startswith(b'("text" "plain" NIL NIL NIL "7BIT" 9 1)')


@given(st.binary(max_size=300), st.sampled_from([b"multipart/mixed; boundary=b", b"message/rfc822", b"text/x"]))
def test_any_octets_have_a_structure_with_balanced_parentheses(octets: bytes, kind: bytes) -> None:
    for told in (
        encode_bodystructure(b"Content-Type: " + kind + b"\r\n\r\n--b\r\n" + octets),
        encode_body(octets),
        encode_envelope(octets),
    ):
        assert told.startswith(b"(")
        assert told.endswith(b")")
        assert b"\0" not in told
