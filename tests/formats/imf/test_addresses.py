"""Address lists, in modern and obsolete syntax."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.errors import Malformed
from letterlock.formats.defect import Kind
from letterlock.formats.imf.addresses import Group, Mailbox, parse_addresses, write_addresses
from letterlock.formats.limits import Limits


@pytest.mark.parametrize(
    ("value", "items"),
    [
        # RFC 5322 appendix A.1.2
        ('"Joe Q. Public" <john.q.public@example.com>', (Mailbox("Joe Q. Public", "john.q.public", "example.com"),)),
        (
            "Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
            (
                Mailbox("Mary Smith", "mary", "x.test"),
                Mailbox("", "jdoe", "example.org"),
                Mailbox("Who?", "one", "y.test"),
            ),
        ),
        (
            '<boss@nil.test>, "Giant; \\"Big\\" Box" <sysservices@example.net>',
            (Mailbox("", "boss", "nil.test"), Mailbox('Giant; "Big" Box', "sysservices", "example.net")),
        ),
        # RFC 5322 appendix A.1.3
        (
            "A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
            (
                Group(
                    "A Group",
                    (
                        Mailbox("Ed Jones", "c", "a.test"),
                        Mailbox("", "joe", "where.test"),
                        Mailbox("John", "jdoe", "one.test"),
                    ),
                ),
            ),
        ),
        ("Undisclosed recipients:;", (Group("Undisclosed recipients"),)),
        # RFC 5322 appendix A.5
        ("Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", (Mailbox("Pete", "pete", "silly.test"),)),
        (
            "A Group(Some people)     :Chris Jones <c@(Chris's host.)public.example>,      joe@example.org,"
            "  John <jdoe@one.test> (my dear friend); (the end of the group)",
            (
                Group(
                    "A Group",
                    (
                        Mailbox("Chris Jones", "c", "public.example"),
                        Mailbox("", "joe", "example.org"),
                        Mailbox("John", "jdoe", "one.test"),
                    ),
                ),
            ),
        ),
        ("(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;", (Group("Hidden recipients"),)),
        # RFC 5322 appendix A.6.1
        ("Joe Q. Public <john.q.public@example.com>", (Mailbox("Joe Q. Public", "john.q.public", "example.com"),)),
        (
            "Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
            (Mailbox("Mary Smith", "mary", "example.net", "@node.test"), Mailbox("", "jdoe", "test.example")),
        ),
        # What the wild writes
        ("jdoe@x.test (John Doe)", (Mailbox("John Doe", "jdoe", "x.test"),)),
        ("[list] Joe <a@b.test>", (Mailbox("[list] Joe", "a", "b.test"),)),
        ("=?utf-8?Q?Doe,_Joe?= <a@b.test>", (Mailbox("=?utf-8?Q?Doe,_Joe?=", "a", "b.test"),)),
        ("grå <grå@bücher.test>", (Mailbox("grå", "grå", "bücher.test"),)),
        ('"a b"@x.test, a@[192.0.2.1]', (Mailbox("", "a b", "x.test"), Mailbox("", "a", "[192.0.2.1]"))),
        ("root", (Mailbox("", "root", ""),)),
        ("a+b=c/d@x.test", (Mailbox("", "a+b=c/d", "x.test"),)),
        ("<a@b.test", (Mailbox("", "a", "b.test"),)),
        ("", ()),
        (",,", ()),
    ],
)
def test_reads_lists_as_the_standard_and_the_wild_write_them(value: str, items: tuple[Mailbox | Group, ...]) -> None:
    """RFC 5322 sections 3.4 and 4.4."""
    assert parse_addresses(value).items == items


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("Mary <@node.test:mary@example.net>", Kind.OBSOLETE_ROUTE),
        ("a@b.test,,c@d.test", Kind.EMPTY_ELEMENT),
        ('"unclosed <a@b.test>', Kind.UNCLOSED_QUOTE),
        ("a@b.test (unclosed", Kind.UNCLOSED_COMMENT),
        ("a@(hidden)b.test", Kind.COMMENT_IN_ADDRESS),
        ("<a@b.test", Kind.UNCLOSED_ANGLE),
        ("a@b.test>", Kind.UNCLOSED_ANGLE),
        ("friends: a@b.test", Kind.UNCLOSED_GROUP),
        ("root", Kind.NO_DOMAIN),
        ("a@b@c.test", Kind.BAD_ADDRESS),
        ("ceo@bank.test <a@evil.test>", Kind.BAD_ADDRESS),
        ("Mary\\Smith <a@b.test>", Kind.BAD_ADDRESS),
        ("<a@b.test> <c@d.test>", Kind.BAD_ADDRESS),
    ],
)
def test_names_what_is_wrong(value: str, kind: Kind) -> None:
    """A lenient reading says what it bore."""
    assert kind in {defect.kind for defect in parse_addresses(value).defects}


def test_a_list_beyond_the_limit_is_cut_and_says_so() -> None:
    """The limit counts mailboxes."""
    read = parse_addresses(", ".join(f"(c) a{n}@b.test" for n in range(10)), limits=Limits(addresses=3))
    assert len(read.mailboxes) == 3
    assert Kind.TOO_LARGE in {defect.kind for defect in read.defects}


@given(st.text(max_size=80))
def test_any_text_is_read(value: str) -> None:
    """Nothing raises, and offsets of defects lie within the value."""
    for defect in parse_addresses(value).defects:
        assert 0 <= defect.offset <= len(value)


_PIECES = [
    "a@b.test",
    "<a@b>",
    "Name",
    '"Quoted, N"',
    " (c) ",
    "(c)",
    ", ",
    ",",
    " ",
    "a..b@c",
    ".",
    "@",
    "=?utf-8?q?x?=",
    '""',
    "J.",
]


@given(st.lists(st.sampled_from(_PIECES), max_size=8).map("".join))
def test_the_shortcut_reads_as_the_full_reader(value: str) -> None:
    """Inside a group every list takes the long way."""
    short = parse_addresses(value)
    full = parse_addresses(f"g:{value};").items[:1]
    assert [Group("g", short.mailboxes)] == list(full)
    kinds = {one.kind for one in parse_addresses(f"g:{value};").defects}
    assert {one.kind for one in short.defects} - {Kind.EMPTY_ELEMENT} == kinds - {Kind.EMPTY_ELEMENT}


_local = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
_name = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=40).map(
    lambda text: " ".join(text.split())
)


@given(st.lists(st.tuples(_name, _local), min_size=1, max_size=4))
def test_what_is_written_is_read_back(people: list[tuple[str, str]]) -> None:
    """Whatever the name and local part, quoting and encoding bring them back."""
    written = write_addresses([Mailbox(name, local, "x.test") for name, local in people])
    read = parse_addresses(written)
    assert [(one.display_name, one.local_part) for one in read.mailboxes] == people
    assert not read.defects


def test_the_transport_form_is_checked() -> None:
    """A mailbox without a domain cannot be an envelope's."""
    assert str(parse_addresses("A <a@Bücher.test>").mailboxes[0].to_address()) == "a@xn--bcher-kva.test"
    with pytest.raises(Malformed):
        parse_addresses("root").mailboxes[0].to_address()
