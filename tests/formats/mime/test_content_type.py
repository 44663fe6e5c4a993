"""Content-Type and Content-Disposition as values."""

import pytest

from letterlock.formats.defect import Kind
from letterlock.formats.mime.content_type import parse_content_type, parse_disposition, parse_encoding


@pytest.mark.parametrize(
    ("value", "full", "parameters"),
    [
        ("text/plain", "text/plain", {}),
        ("Text/HTML; CharSet=UTF-8", "text/html", {"charset": "UTF-8"}),
        ('multipart/mixed; boundary="a b"', "multipart/mixed", {"boundary": "a b"}),
        ("text/plain; charset=us-ascii (Plain text)", "text/plain", {"charset": "us-ascii"}),
        ("text / plain", "text/plain", {}),
        ("application/x-stuff;name=a;", "application/x-stuff", {"name": "a"}),
        ("text", "text/plain", {}),
        ("", "text/plain", {}),
        ("a/b/c", "text/plain", {}),
        ('text/"html"', "text/plain", {}),
        ("text/pl@in; charset=utf-8", "text/plain", {"charset": "utf-8"}),
    ],
)
def test_reads_content_types(value: str, full: str, parameters: dict[str, str]) -> None:
    """RFC 2045 section 5; what cannot be read is text/plain (section 5.2)."""
    read = parse_content_type(value)
    assert (read.full, dict(read.parameters)) == (full, parameters)


def test_long_and_short_values_read_alike() -> None:
    """The shortcut for the shapes of nearly all fields says the same as the full reader."""
    for shape in ("{}", "{}; x=y", '{}; x="a b"; z=1', '{};x="" ;  z=1 ;', '{}; x="a=b"', "{}; x=1; x=2"):
        for kind in ("text/plain", "application/" + "x" * 80):
            value = shape.format(kind)
            assert parse_content_type(value).parameters == parse_content_type(value + " (c)").parameters, value


def test_unreadable_types_are_defects() -> None:
    """Readers differ on them."""
    assert [defect.kind for defect in parse_content_type("text").defects] == [Kind.BAD_CONTENT_TYPE]


def test_dispositions() -> None:
    """RFC 2183 section 2.8: what is not inline is an attachment."""
    assert not parse_disposition("INLINE").is_attachment
    assert parse_disposition("form-data; name=x").is_attachment
    assert parse_disposition('; filename="x"').value == "attachment"
    assert parse_disposition('attachment; filename="../x"').filename == "../x"


@pytest.mark.parametrize(("value", "encoding"), [("BASE64", "base64"), ("7bit (plain)", "7bit"), ("x-uuencode", "x-uuencode"),
                                                 ("quoted-printable;", "quoted-printable")])  # fmt: skip
def test_encodings(value: str, encoding: str) -> None:
    """RFC 2045 section 6.1: any case, comments."""
    assert parse_encoding(value) == encoding
