"""The tree of a message over its untouched octets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.formats.defect import Kind
from letterlock.formats.limits import Limits
from letterlock.formats.mime.entity import Entity, parse

MIXED = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n"
NESTED = (
    b"Subject: outer\r\nContent-Type: multipart/mixed; boundary=xx\r\n\r\npreamble\r\n"
    b"--xx\r\n\r\nhello\r\n"
    b"--xx\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n"
    b"Content-Type: multipart/alternative; boundary=yy\r\n\r\n"
    b"--yy\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>\xc3\xa9\r\nx\r\n--yy--\r\ninner epilogue\r\n"
    b"--xx\r\nContent-Type: message/rfc822\r\n\r\nSubject: plain\r\n\r\ntext\r\n\r\n"
    b"--xx \t\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n"
    b"Content-Disposition: attachment; filename=a.png\r\n\r\nAAEC\r\n--xx--\r\nepilogue\r\n"
)


def _shape(entity: Entity) -> list[tuple[str, str, bytes]]:
    return [(number, one.content_type.full, b"" if one.children else one.body) for number, one in entity.walk()]


def test_the_structure_of_a_nested_message() -> None:
    """Parts, numbers as IMAP counts, bodies without the delimiters' line ends (RFC 2046 section 5.1.1)."""
    tree = parse(NESTED)
    assert _shape(tree) == [
        ("", "multipart/mixed", b""),
        ("1", "text/plain", b"hello"),
        ("2", "message/rfc822", b""),
        ("2", "multipart/alternative", b""),
        ("2.1", "text/html", b"<p>\xc3\xa9\r\nx"),
        ("3", "message/rfc822", b""),
        ("3.1", "text/plain", b"text\r\n"),
        ("4", "image/png", b"AAEC"),
    ]
    assert tree.all_defects() == []
    parts = dict(tree.walk())
    assert (parts["2.1"].lines, parts["2.1"].size, parts["2.1"].text()) == (2, 8, "<p>é\r\nx")
    assert parts["4"].content() == b"\x00\x01\x02"
    disposition = parts["4"].disposition
    assert disposition is not None
    assert (disposition.value, disposition.filename) == ("attachment", "a.png")
    assert NESTED[tree.epilogue_start :] == b"epilogue\r\n"


@pytest.mark.parametrize(
    ("octets", "kind", "shape"),
    [
        (
            b"Content-Type: multipart/mixed\r\n\r\n--x\r\n",
            Kind.BOUNDARY_MISSING,
            [("1", "multipart/mixed", b"--x\r\n")],
        ),
        (MIXED + b"text", Kind.BOUNDARY_ABSENT, [("1", "multipart/mixed", b"text")]),
        (
            MIXED + b"--x\r\n\r\na\r\n--xyz\r\nb",
            Kind.CLOSE_DELIMITER_MISSING,
            [("", "multipart/mixed", b""), ("1", "text/plain", b"a\r\n--xyz\r\nb")],
        ),
        (
            MIXED + b"--x\r\n\r\na\r\n--xyz\r\n--x--",
            Kind.BOUNDARY_LOOKALIKE,
            [("", "multipart/mixed", b""), ("1", "text/plain", b"a\r\n--xyz")],
        ),
        (
            MIXED + b"--x\r\n" + MIXED + b"--x--",
            Kind.BOUNDARY_REUSED,
            [("", "multipart/mixed", b""), ("1", "multipart/mixed", b"")],
        ),
        (MIXED + b"--x--\r\n", Kind.NO_PARTS, [("1", "multipart/mixed", b"--x--\r\n")]),
        (
            MIXED + b"--x\r\n--x\r\n\r\na\r\n--x--",
            Kind.EMPTY_PART,
            [("", "multipart/mixed", b""), ("1", "text/plain", b""), ("2", "text/plain", b"a")],
        ),
        (b"Content-Type: nonsense\r\n\r\na", Kind.BAD_CONTENT_TYPE, [("1", "text/plain", b"a")]),
        (
            b"Content-Type: text/html\r\nContent-Type: text/plain\r\n\r\na",
            Kind.DUPLICATE_CONTENT_TYPE,
            [("1", "text/html", b"a")],
        ),
        (
            b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nQQ==",
            Kind.ENCODED_COMPOSITE,
            [("1", "message/rfc822", b"QQ==")],
        ),
        (
            b"Content-Type: multipart/mixed; boundary=%b\r\n\r\n--%b\r\n\r\na\r\n--%b--" % ((b"x" * 71,) * 3),
            Kind.BOUNDARY_ODD,
            [("", "multipart/mixed", b""), ("1", "text/plain", b"a")],
        ),
    ],
)
def test_broken_structure_is_read_and_named(octets: bytes, kind: Kind, shape: list[tuple[str, str, bytes]]) -> None:
    """Each departure yields a tree all the same."""
    tree = parse(octets)
    assert kind in {defect.kind for defect in tree.all_defects()}
    assert _shape(tree) == shape


def test_an_outer_delimiter_ends_everything_inside() -> None:
    """RFC 2046 section 5.1.2, also where the inner part's header section is not finished."""
    tree = parse(
        b"Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/mixed; boundary=i\n\n--i\n"
        b"Content-Type: text/html\n--o\n\nlast\n--i\n--o--\n"
    )
    assert _shape(tree) == [
        ("", "multipart/mixed", b""),
        ("1", "multipart/mixed", b""),
        ("1.1", "text/html", b""),
        ("2", "text/plain", b"last\n--i"),
    ]


def _deep(levels: int) -> bytes:
    opening = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%04d\r\n\r\n--b%04d\r\n" % (n, n) for n in range(levels)
    )
    return opening + b"\r\ncore" + b"".join(b"\r\n--b%04d--" % n for n in reversed(range(levels)))


@pytest.mark.parametrize("levels", [1, 3, 4, 5, 6, 40, 3000])
def test_nesting_of_any_depth_is_read_without_recursion(levels: int) -> None:
    """Both ways of looking for delimiters give the same tree."""
    tree = parse(_deep(levels), limits=Limits(nesting=5000))
    assert tree.all_defects() == []
    shape = _shape(tree)
    assert len(shape) == levels + 1
    assert shape[-1][2] == b"core"


def test_limits_are_defects() -> None:
    """Beyond the limits parts are opaque, and that is said."""
    deep = parse(_deep(20), limits=Limits(nesting=10))
    assert len(list(deep.walk())) == 11
    assert Kind.NESTING_TOO_DEEP in {defect.kind for defect in deep.all_defects()}
    wide = parse(
        b"Content-Type: multipart/mixed; boundary=x\n\n" + b"--x\n\na\n" * 50 + b"--x--", limits=Limits(parts=10)
    )
    assert len(list(wide.walk())) == 10
    assert Kind.TOO_MANY_PARTS in {defect.kind for defect in wide.all_defects()}


_PIECES = [b"\r\n", b"\n", b"--a", b"--b", b"--ab", b"--", b" ", b"x", b"\r", b"\r\n\r\n",
           b"Content-Type: multipart/mixed; boundary=a\r\n\r\n", b"Content-Type: multipart/digest; boundary=b\n\n",
           b"Content-Type: message/rfc822\r\n\r\n", b"Content-Type: multipart/mixed; boundary=ab\r\n\r\n"]  # fmt: skip


@given(st.binary(max_size=300) | st.lists(st.sampled_from(_PIECES), max_size=40).map(b"".join))
def test_parts_lie_within_and_after_each_other(octets: bytes) -> None:
    """For any octets the spans of the tree nest and never overlap, so that octets in are octets out."""
    tree = parse(octets)
    assert tree.raw == octets
    for _, entity in tree.walk():
        assert entity.header_start <= entity.body_start <= entity.end
        at = entity.body_start
        for child in entity.children:
            assert at <= child.header_start
            at = child.end
        assert at <= entity.end
        entity.text()
