"""formats/mime/downgrade: the parts that need it are encoded, and read as before."""

from __future__ import annotations

import email
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.formats.mime.downgrade import downgraded
from letterlock.formats.mime.entity import parse

TEXT = "Grüße, 世界.\r\n.\r\nFrom here\r\n".encode()
MULTIPART = (
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    b"preamble\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + TEXT +
    b"--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n\x89PNG\r\n\x1a\n\0\0\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: inner\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + TEXT +
    b"--b\r\n\r\nplain\r\n--b--\r\nepilogue\r\n"
)  # fmt: skip

SIGNED = (
    b"MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n"
    b"--b\r\n\r\n" + TEXT + b"--b\r\n\r\nsignature\r\n--b--\r\n"
)


def contents(octets: bytes) -> list[bytes]:
    """What Python's own parser finds in the leaves."""
    message = email.message_from_bytes(octets, policy=email.policy.SMTP)
    return [bytes(part.get_payload(decode=True) or b"") for part in message.walk() if not part.is_multipart()]


def test_each_part_by_itself() -> None:
    """Everything is ASCII, and each part holds what it held; a composite says nothing of encodings any more."""
    converted = downgraded(MULTIPART)
    assert converted is not None
    assert converted.isascii()
    assert b"\0" not in converted
    assert max(map(len, converted.split(b"\r\n"))) <= 998
    leaves = [entity.content() for entity in parse(converted).entities() if not entity.children]
    assert leaves == [TEXT[:-2], b"\x89PNG\r\n\x1a\n\0\0", TEXT[:-2], b"plain"]
    assert contents(converted) == leaves
    assert b"binary" not in converted
    assert converted.startswith(
        b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\n"
    )
    assert b"\r\n--b\r\n\r\nplain\r\n--b--\r\nepilogue\r\n" in converted


def test_who_says_nothing_of_mime_is_labelled() -> None:
    """RFC 1428: so that the encoding is read at all."""
    converted = downgraded(b"Subject: x\r\n\r\n" + TEXT)
    assert converted is not None
    assert b"charset=unknown-8bit\r\n" in converted
    assert contents(converted) == [TEXT]


@pytest.mark.parametrize(
    "octets",
    [
        b"Subject: gr\xc3\xbc\xc3\x9fe\r\n\r\nx\r\n",
        SIGNED,
        b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\xff\r\n--b\r\n\r\nx\r\n--b--\r\n",
        b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\n\xff\r\n",
    ],
)  # fmt: skip
def test_what_cannot_be_made_fit(octets: bytes) -> None:
    """Headers beyond ASCII, what is signed, text outside parts, octets that are not what their encoding says."""
    assert downgraded(octets) is None


def test_a_long_line_is_broken() -> None:
    """Seven bits, and yet too long (RFC 5321 section 4.5.3.1.6)."""
    converted = downgraded(b"MIME-Version: 1.0\r\n\r\n" + b"x" * 5000 + b"\xe9\r\n")
    assert converted is not None
    assert max(map(len, converted.split(b"\r\n"))) <= 998


@given(st.binary(max_size=400))
def test_whatever_comes(octets: bytes) -> None:
    """Seven bits or nothing."""
    converted = downgraded(b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + octets)
    assert converted is None or converted.isascii()
