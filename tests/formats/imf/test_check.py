"""What a header section must hold and may not."""

import pytest

from letterlock.formats.defect import Kind
from letterlock.formats.imf.check import check_identity, check_message_header
from letterlock.formats.imf.header import read_header

GOOD = b"From: a@b.test\r\nDate: Mon, 23 Nov 2026 13:15:15 +0000\r\n"


def test_a_good_header_section_has_no_defects() -> None:
    """RFC 5322 section 3.6."""
    assert check_message_header(read_header(GOOD + b"MIME-Version: 1.0 (fine)\r\n\r\n")) == []


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        (b"From: c@d.test\r\n", Kind.DUPLICATE_FIELD),
        (b"Content-Type: a/b\r\ncontent-type: c/d\r\n", Kind.DUPLICATE_CONTENT_TYPE),
        (b"Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64\r\n", Kind.DUPLICATE_ENCODING),
        (b"Content-Disposition: inline\r\nContent-Disposition: attachment\r\n", Kind.DUPLICATE_DISPOSITION),
        (b"MIME-Version: 2.0\r\n", Kind.MIME_VERSION),
        (b"Subject : x\r\n", Kind.SPACE_BEFORE_COLON),
        (b"Subject: \xff\r\n", Kind.RAW_8BIT),
        (b"Subject: \x00\r\n", Kind.NUL),
        (b"Subject: a\rb\r\n", Kind.BARE_CR),
        (b"Subject: a\n", Kind.BARE_LF),
        (b"To: a@b.test c\r\n", Kind.BAD_ADDRESS),
        (b"Cc: =?utf-8?b?!?= <a@b.test>\r\n", Kind.BAD_ENCODED_WORD),
        (b"Message-ID: two words\r\n", Kind.BAD_MESSAGE_ID),
        (b"Subject: " + b"x" * 1000 + b"\r\n", Kind.LONG_LINE),
    ],
)
def test_names_what_more_fields_make_wrong(more: bytes, kind: Kind) -> None:
    """One defect each."""
    assert [defect.kind for defect in check_message_header(read_header(GOOD + more + b"\r\n"))] == [kind]


@pytest.mark.parametrize(
    ("octets", "kind"),
    [
        (b"Date: Mon, 23 Nov 2026 13:15:15 +0000\r\n\r\n", Kind.MISSING_FIELD),
        (b"From: a@b.test, c@d.test\r\n\r\n", Kind.SEVERAL_AUTHORS),
        (b'From: "ceo@bank.test" <x@evil.test>\r\n\r\n', Kind.NAME_IS_ADDRESS),
        (b"From: =?utf-8?q?a=E2=80=AEb?= <x@evil.test>\r\n\r\n", Kind.CONTROL_CHARACTER),
        (b"From: ceo(@bank.test)@evil.test\r\n\r\n", Kind.COMMENT_IN_ADDRESS),
        (b"From: a@b.test\r\nDate: yesterday\r\n\r\n", Kind.BAD_DATE),
        (b"From: a@b.test\r\nDate: 21 Nov 97 09:55 EST\r\n\r\n", Kind.OBSOLETE_DATE),
        (b'From: "=?utf-8?q?x?=" <a@b.test>\r\n\r\n', Kind.ENCODED_WORD_LOOSE),
    ],
)
def test_names_what_is_wrong_with_the_author_or_date(octets: bytes, kind: Kind) -> None:
    """What deceives the reader about who wrote has a name."""
    assert kind in {defect.kind for defect in check_message_header(read_header(octets))}


@pytest.mark.parametrize(
    ("section", "kinds"),
    [
        (GOOD, []),
        (b"From: Ada <a@b.test>\r\nSender: c@d.test\r\nTo: a b c\r\nSubject : \xff\r\n", []),
        (b"From: Ada <a@b.test>\r\nX: y\rFrom: c@d.test\r\n", [Kind.BARE_CR]),
        (b"From: Ada <a@b.test>\r\nX: y\0\r\n", [Kind.NUL]),
        (b"From : a@b.test\r\n", [Kind.SPACE_BEFORE_COLON]),
        (b'From: a@b.test\r\nSender: "c@d.test" <e@f.test>\r\n', [Kind.NAME_IS_ADDRESS]),
        (b"From: a@b.test, c@d.test\r\n", [Kind.SEVERAL_AUTHORS]),
    ],
)
def test_who_it_is_from(section: bytes, kinds: list[Kind]) -> None:
    """RFC 5322 section 3.6.2: only what touches From, Sender, or where a line ends."""
    assert [each.kind for each in check_identity(read_header(section + b"\r\n"))] == kinds
