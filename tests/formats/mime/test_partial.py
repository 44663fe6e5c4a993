"""message/partial and message/external-body."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.errors import Malformed
from letterlock.formats.defect import Kind
from letterlock.formats.imf.header import read_header
from letterlock.formats.limits import Limits
from letterlock.formats.mime.entity import parse
from letterlock.formats.mime.external import read_external_body
from letterlock.formats.mime.partial import join, read_fragment, split

MESSAGE = (
    b"From: a@b.test\r\nSubject: large\r\nTo: c@d.test\r\nMessage-ID: <1@b.test>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=us-ascii\r\n\r\n"
    + b"".join(b"line %d of the text\r\n" % n for n in range(2000))
)
IDS = [f"{n}@b.test" for n in range(100)]


def _split(octets: bytes = MESSAGE, most_octets: int = 5000) -> list[bytes]:
    return split(octets, most_octets=most_octets, identifier="set@b.test", message_ids=IDS)


@given(st.randoms(use_true_random=False))
def test_fragments_in_any_order_are_the_message(random: object) -> None:
    """RFC 2046 section 5.2.2.1: the fields of the first fragment and those inside it, and every octet of the body."""
    fragments = [parse(octets) for octets in _split()]
    random.shuffle(fragments)  # type: ignore[attr-defined]
    joined = join([*fragments, fragments[0]])
    assert joined.octets is not None
    assert joined.octets.partition(b"\r\n\r\n")[2] == MESSAGE.partition(b"\r\n\r\n")[2]
    read, original = read_header(joined.octets), read_header(MESSAGE)
    assert sorted(field.raw for field in read) == sorted(field.raw for field in original)


def test_each_fragment_is_a_message_of_its_own() -> None:
    """Fragments keep the visible fields, have their own identifiers, and stay below the size."""
    octets = _split()
    assert len(octets) > 5
    for number, one in enumerate(octets, 1):
        tree = parse(one)
        fragment = read_fragment(tree)
        assert fragment is not None
        assert (fragment.identifier, fragment.number, fragment.total) == ("set@b.test", number, len(octets))
        assert tree.size <= 5000
        assert tree.header.text("from") == "a@b.test"
        assert tree.header.text("message-id") == f"<{IDS[number - 1]}>"


def test_what_is_missing_is_said() -> None:
    """Joining waits for all."""
    fragments = [parse(octets) for octets in _split()]
    joined = join(fragments[1:4] + fragments[5:])
    assert (joined.octets, joined.missing) == (None, (1, 5))


def test_fragments_that_contradict_each_other_join_nothing() -> None:
    """Which of two was meant cannot be known."""
    fragments = _split()
    other = parse(fragments[0].replace(b"line 1 of", b"LINE 1 of"))
    joined = join([other, *map(parse, fragments)])
    assert joined.octets is None
    assert joined.defects


def test_limits() -> None:
    """Too many or too large sets are refused."""
    fragments = [parse(octets) for octets in _split()]
    for limits in (Limits(fragments=3), Limits(decoded_octets=9000)):
        joined = join(fragments, limits=limits)
        assert [defect.kind for defect in joined.defects] == [Kind.TOO_LARGE]
    with pytest.raises(Malformed):
        split("Subject: ü\r\n\r\n".encode(), most_octets=5000, identifier="x", message_ids=IDS)
    with pytest.raises(Malformed):
        split(MESSAGE, most_octets=5000, identifier="x", message_ids=IDS[:2])


@pytest.mark.parametrize("parameters", ["", "id=a", "id=a; number=0", "id=a; number=x", "id=a; number=3; total=2",
                                        "number=1; total=1"])  # fmt: skip
def test_what_is_no_fragment(parameters: str) -> None:
    """RFC 2046 section 5.2.2: id and number must be there, from 1 up."""
    assert read_fragment(parse(f"Content-Type: message/partial; {parameters}\r\n\r\nx".encode())) is None


@pytest.mark.parametrize(
    ("parameters", "missing", "url", "words"),
    [
        ('access-type=ANON-FTP; name="BodyFormats.ps"; site="thumper.test"; directory="pub"; mode="image"', (),
         "ftp://thumper.test/pub/BodyFormats.ps", "image/png lies at ftp://"),
        ("access-type=local-file; name=\"/u/x.ps\"", (), "", "this machine"),
        ("access-type=mail-server; server=list@x.test", (), "", "sending it a message"),
        ('access-type=URL; URL="http://x.test/ a b"; size=100; expiration="23 Nov 2026 00:00:00 +0000"', (),
         "http://x.test/ab", "of 100 octets"),
        ("access-type=ftp; name=a", ("site",), "", "somewhere"),
        ("access-type=content-id", (), "", "another part"),
        ("x=y", (), "", "no access type"),
    ],
)  # fmt: skip
def test_external_bodies_are_described(parameters: str, missing: tuple[str, ...], url: str, words: str) -> None:
    """RFC 2046 section 5.2.3; nothing is fetched."""
    entity = parse(
        f"Content-Type: message/external-body; {parameters}\r\n\r\nContent-Type: image/png\r\n"
        "Content-ID: <id@x>\r\n\r\nget x\r\n".encode()
    )
    external = read_external_body(entity)
    assert external is not None
    assert (external.missing, external.url, external.content_id) == (missing, url, "id@x")
    assert words in external.describe()
    assert external.command == "get x\r\n"


def test_expiration_is_a_date() -> None:
    """As in the example of RFC 2046 section 5.2.3.6."""
    entity = parse(b'Content-Type: message/external-body; expiration="Fri, 14 Jun 1991 19:13:14 -0000"\r\n\r\n')
    external = read_external_body(entity)
    assert external is not None
    assert external.expiration == datetime(1991, 6, 14, 19, 13, 14, tzinfo=UTC)
