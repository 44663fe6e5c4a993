"""Parameters, RFC 2231 both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.formats.defect import Defect, Kind
from letterlock.formats.imf.header import read_header
from letterlock.formats.imf.write import write_field
from letterlock.formats.limits import Limits
from letterlock.formats.mime.content_type import parse_content_type, parse_disposition
from letterlock.formats.mime.parameters import read_parameters, write_parameters


@pytest.mark.parametrize(
    ("value", "parameters"),
    [
        ('a; boundary="x y"; charset=utf-8', {"boundary": "x y", "charset": "utf-8"}),
        ("a ; Name = (comment) v ;", {"name": "v"}),
        ('a; name="a\\"b;c"', {"name": 'a"b;c'}),
        # RFC 2231 section 3, 4 and 4.1
        ('a; URL*0="ftp://"; URL*1="cs.utk.edu/pub/moore/bulk-mailer/bulk-mailer.tar"',
         {"url": "ftp://cs.utk.edu/pub/moore/bulk-mailer/bulk-mailer.tar"}),
        ("a; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A", {"title": "This is ***fun***"}),
        ("a; title*0*=us-ascii'en'This%20is%20even%20more%20; title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*2=\"isn't it!\"",
         {"title": "This is even more ***fun*** isn't it!"}),
        # out of order, upper case, split inside a character
        ("a; n*1*=%9F; N*0*=UTF-8''%C3", {"n": "ß"}),
        ("a; n*0=a; n*2=c", {"n": "a"}),
        ("a; n*1=b", {}),
        # the wild
        ('a; name="=?utf-8?Q?Gr=C3=BC=C3=9Fe?="', {"name": "Grüße"}),
        ("a; name==?utf-8?Q?Gr=C3=BC=C3=9Fe?=", {"name": "Grüße"}),
        ("a; name=two words.txt", {"name": "two words.txt"}),
        ("a; name=grün.txt", {"name": "grün.txt"}),
        ("a; name*=''plain", {"name": "plain"}),
        ("a; name*=%C3%BC", {"name": "ü"}),
        ("a; x=1; x=2", {"x": "1"}),
        ("a; name=plain; name*=utf-8''%C3%BC", {"name": "ü"}),
        ('a; name="unclosed', {"name": "unclosed"}),
        ("a; nothing; b=c", {"b": "c"}),
        ("a; name*0*=utf-8''%zz; name*1*=%", {"name": "%zz%"}),
        ("a; *=x; **=y; =z; \"\"=x", {}),
    ],
)  # fmt: skip
def test_reads(value: str, parameters: dict[str, str]) -> None:
    """RFC 2045 section 5.1, RFC 2231, and what is out there."""
    read = read_parameters(value, [])[1]
    assert {name: text for name, text in read.items() if "*" not in name} == parameters


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("a; x=1; x=2", Kind.DUPLICATE_PARAMETER),
        ("a; x*0=1; x*0=2", Kind.DUPLICATE_PARAMETER),
        ("a; x=1; x*=utf-8''2", Kind.DUPLICATE_PARAMETER),
        ("a; x*0=1; x*2=2", Kind.PARAMETER_GAP),
        ("a; x*1=1", Kind.PARAMETER_GAP),
        ('a; x="=?utf-8?Q?a?="', Kind.PARAMETER_ENCODED_WORD),
        ("a; x", Kind.BAD_PARAMETER),
        ("a; x=b c", Kind.BAD_PARAMETER),
        ("a; x*=\"utf-8''b\"", Kind.BAD_PARAMETER),
        ("a; x*=b", Kind.BAD_PARAMETER),
        ("a; x*=nonsense''%FF", Kind.UNKNOWN_CHARSET),
        ('a; x="', Kind.UNCLOSED_QUOTE),
        ("a; boundary=b c", Kind.BOUNDARY_UNQUOTED),
        ("a (b); x=y", Kind.COMMENT_IN_TYPE),
    ],
)
def test_names_what_is_wrong(value: str, kind: Kind) -> None:
    """Each departure is a quirk with a name."""
    defects: list[Defect] = []
    read_parameters(value, defects)
    assert kind in {defect.kind for defect in defects}


def test_a_flood_of_parameters_is_cut() -> None:
    """The limit counts parameters."""
    defects: list[Defect] = []
    read = read_parameters("a" + "; x=1" * 10, defects, limits=Limits(parameters=3))[1]
    assert read == {"x": "1"}
    assert Kind.TOO_MANY_PARAMETERS in {defect.kind for defect in defects}


_value = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=200)


@given(_value)
def test_what_is_written_is_read_back(value: str) -> None:
    """Any text survives as a parameter, in ASCII and in lines that fit."""
    written = write_field("Content-Disposition", "; ".join(["attachment", *write_parameters([("filename", value)])]))
    assert written.isascii()
    assert max(map(len, written.split(b"\r\n"))) <= 78
    disposition = parse_disposition(read_header(written)[0].text)
    assert disposition.filename == value
    assert disposition.defects == ()


@given(st.text(max_size=80))
def test_any_text_is_read(value: str) -> None:
    """Nothing raises."""
    parse_content_type(value)
    parse_disposition(value)
