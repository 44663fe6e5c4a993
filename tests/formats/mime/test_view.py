"""What a person is shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.formats.defect import Kind
from letterlock.formats.limits import Limits
from letterlock.formats.mime.view import view

HEAD = b"From: Ada <a@b.test>\r\nDate: Mon, 23 Nov 2026 13:15:15 +0000\r\nMIME-Version: 1.0\r\n"


def _multipart(subtype: str, *parts: str, parameters: str = "") -> str:
    body = "".join(f"--{subtype}\r\n{part}\r\n" for part in parts)
    return f"Content-Type: multipart/{subtype}; boundary={subtype}{parameters}\r\n\r\n{body}--{subtype}--\r\n"


def _part(kind: str, text: str = "", more: str = "") -> str:
    return f"Content-Type: {kind}\r\n{more}\r\n{text or kind}"


PLAIN, HTML, IMAGE = _part("text/plain"), _part("text/html", "<p>text/html"), _part("image/png")


@pytest.mark.parametrize(
    ("entity", "prefer", "texts", "attachments"),
    [
        (PLAIN, "plain", ["text/plain"], []),
        (HTML, "plain", ["text/html\n"], []),
        (IMAGE, "plain", [], ["image/png"]),
        (_multipart("alternative", PLAIN, HTML), "plain", ["text/plain"], []),
        (_multipart("alternative", PLAIN, HTML), "html", ["text/html\n"], []),
        (_multipart("alternative", PLAIN, _part("text/calendar")), "html", ["text/plain"], []),
        (_multipart("alternative", IMAGE), "html", [], ["image/png"]),
        (_multipart("mixed", PLAIN, IMAGE, _part("text/plain", "footer")), "plain", ["text/plain", "footer"], ["image/png"]),
        (_multipart("mixed", PLAIN, _part("text/plain", "x", "Content-Disposition: attachment\r\n")), "plain",
         ["text/plain"], ["text/plain"]),
        (_multipart("alternative", PLAIN, _multipart("related", HTML, IMAGE)), "html", ["text/html\n"], ["image/png"]),
        (_multipart("related", IMAGE, _part("text/html", "root", "Content-ID: <r>\r\n"), parameters='; start="<r>"'),
         "plain", ["root\n"], ["image/png"]),
        (_multipart("signed", PLAIN, _part("application/pgp-signature")), "plain", ["text/plain"], ["application/pgp-signature"]),
        (_multipart("encrypted", _part("application/pgp-encrypted"), _part("application/octet-stream")), "plain", [],
         ["application/pgp-encrypted", "application/octet-stream"]),
        (_multipart("digest", "\r\nSubject: one\r\n\r\ntext"), "plain", [], ["message/rfc822"]),
        (_multipart("parallel", PLAIN, PLAIN), "plain", ["text/plain", "text/plain"], []),
        (_multipart("unheard-of", PLAIN, IMAGE), "plain", ["text/plain"], ["image/png"]),
        (_part("text/plain; format=flowed; delsp=yes", "a \r\nb"), "plain", ["ab\n"], []),
        (_part("text/plain", "x", "Content-Transfer-Encoding: x-uuencode\r\n"), "plain", [], ["text/plain"]),
        (_part("text/enriched", "<bold>x</bold>"), "plain", ["*x*"], []),
    ],
)  # fmt: skip
def test_which_text_is_shown(entity: str, prefer: str, texts: list[str], attachments: list[str]) -> None:
    """RFC 2046 section 5.1, RFC 2183, RFC 2387, RFC 1847: each multipart by its meaning."""
    seen = view(HEAD + entity.encode(), prefer=prefer)
    assert [one.text for one in seen.texts] == texts
    assert [one.type for one in seen.attachments] == attachments


def test_nothing_shown_acts_on_a_terminal() -> None:
    """Control and direction characters are made visible everywhere."""
    seen = view(
        "From: =?utf-8?q?a=1B[31m?= <a@b.test>\r\nSubject: =?utf-8?q?x=E2=80=AEy=0D=0AZ?=\r\n"
        "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n\x1b]0;t\x07\u202e \r\n--x\r\n"
        "Content-Disposition: attachment; filename*=utf-8''..%2F%1B%E2%80%AEx\r\n\r\n--x--".encode()
    )
    assert seen.authors == ("a\\x1b[31m <a@b.test>",)
    assert seen.subject == "x\\u202ey\\x0d\\x0aZ"
    assert seen.texts[0].text == "\\x1b]0;t\\x07\\u202e "
    assert (seen.attachments[0].name, seen.attachments[0].given_name) == ("x", "../\\x1b\\u202ex")
    assert Kind.UNSAFE_NAME in {defect.kind for defect in seen.defects}


@pytest.mark.parametrize(
    ("octets", "kind"),
    [
        (b"From: c@d.test\r\n", Kind.DUPLICATE_FIELD),
        (b"Content-Type: text/plain\r\nContent-Type: text/html\r\n", Kind.DUPLICATE_CONTENT_TYPE),
        (b"Content-Transfer-Encoding: x\r\n", Kind.UNKNOWN_ENCODING),
        (b"Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64\r\n", Kind.DUPLICATE_ENCODING),
        (b"Content-Type: text/plain; charset=klingon\r\n", Kind.UNKNOWN_CHARSET),
        (b"Content-Type: text/plain; charset=a; charset=b\r\n", Kind.DUPLICATE_PARAMETER),
        (b"Content-Type: multipart/mixed\r\n", Kind.BOUNDARY_MISSING),
        (b"Content-Type: image/png; name=a\r\nContent-Disposition: attachment; filename=b\r\n", Kind.NAME_CONFLICT),
        (b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n", Kind.ENCODED_COMPOSITE),
        (b"junk\r\n", Kind.HEADER_JUNK),
        (b"Subject: a\xffb\r\n", Kind.RAW_8BIT),
        (b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nQU!J", Kind.BAD_BASE64),
        (b"\r\na\0b", Kind.NUL),
        (b"\r\na\rb", Kind.BARE_CR),
    ],
)
def test_every_ambiguity_has_a_name(octets: bytes, kind: Kind) -> None:
    """A trust decision can refuse by it."""
    seen = view(HEAD + octets + b"\r\nbody")
    assert kind in {defect.kind for defect in seen.ambiguities}


def test_a_plain_message_has_no_defect() -> None:
    """Nor an ambiguity."""
    assert view(HEAD + PLAIN.encode()).defects == ()


def test_text_outside_the_parts_is_named() -> None:
    """What readers do not show and others may."""
    seen = view(
        HEAD + b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"hidden " * 50 + b"\r\n--x\r\n\r\na\r\n--x--\r\n"
    )
    assert Kind.HIDDEN_TEXT in {defect.kind for defect in seen.defects}


def test_texts_beyond_the_limit_are_offered_not_shown() -> None:
    """What decoding may yield is bounded."""
    seen = view(HEAD + PLAIN.encode(), limits=Limits(decoded_octets=5))
    assert (len(seen.texts), len(seen.attachments)) == (0, 1)
    assert Kind.TOO_LARGE in {defect.kind for defect in seen.defects}


_PIECES = [b"From: a@b\r\n", b"Content-Type: multipart/alternative; boundary=x\r\n", b"Content-Type: text/html\r\n", b"\r\n",
           b"--x\r\n", b"--x--\r\n", b"Content-Transfer-Encoding: base64\r\n", b"<p>", b"Content-Type: message/rfc822\r\n",
           b"Content-Disposition: attachment; filename=\"a/b\"\r\n", b"\xff\x00", b"Content-Type: message/external-body\r\n",
           b"Content-Type: text/plain; format=flowed\r\n", b"Content-Type: text/enriched; charset=utf-7\r\n"]  # fmt: skip


@given(st.binary(max_size=200) | st.lists(st.sampled_from(_PIECES), max_size=30).map(b"".join))
def test_any_octets_are_shown(octets: bytes) -> None:
    """Nothing raises, and what is shown is printable."""
    seen = view(octets)
    for shown in (*seen.authors, *seen.recipients, seen.subject, *(one.name for one in seen.attachments)):
        assert all(character.isprintable() or character in "\u200c\u200d" for character in shown)
