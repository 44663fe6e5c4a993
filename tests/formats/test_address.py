"""Addresses and domains as the transport reads and writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.errors import Malformed
from letterlock.formats import domain
from letterlock.formats.address import Address


@pytest.mark.parametrize(
    ("text", "local_part", "name"),
    [
        ("ada@Rosewood.Test", "ada", "rosewood.test"),
        ('"ada b"@x.test', "ada b", "x.test"),
        ('"a\\"b"@x.test', 'a"b', "x.test"),
        ("ada+tag@x.test", "ada+tag", "x.test"),
        ("grå@bücher.test", "grå", "xn--bcher-kva.test"),
        ("a@[192.0.2.1]", "a", "[192.0.2.1]"),
        ("a@[IPv6:2001:DB8::1]", "a", "[IPv6:2001:db8::1]"),
    ],
)
def test_reads_what_smtp_allows(text: str, local_part: str, name: str) -> None:
    """RFC 5321 section 4.1.2: dot-strings, quoted strings, literals; domains become A-labels."""
    assert Address.parse(text) == Address(local_part, name)


@pytest.mark.parametrize(
    "text",
    ["", "@x.test", "a", "a@", "a..b@x.test", ".a@x.test", "a@-x.test", "a@x..test", "a b@x.test", '"a@x.test',
     "a@[1.2.3]", "a@[192.0.2.1", "a@x.test\r\nRCPT TO:<b@x.test>", "a\x00@x.test", "x" * 65 + "@x.test",
     "a@" + "x" * 64 + ".test", '"a\r\nb"@x.test', "a@[fe80::1]"],
)  # fmt: skip
def test_refuses_what_smtp_does_not(text: str) -> None:
    """Whatever else stands there, line ends above all, is Malformed."""
    with pytest.raises(Malformed):
        Address.parse(text)


@given(st.text(max_size=40))
def test_random_text_raises_only_malformed_and_round_trips(text: str) -> None:
    """What is read is written so that it reads the same."""
    try:
        address = Address.parse(text)
    except Malformed:
        return
    assert Address.parse(str(address)) == address


def test_names_of_services_need_leave() -> None:
    """An underscore is a label's first octet only where the caller says so."""
    assert domain.to_ascii("_25._tcp.MX.test.", underscores=True) == "_25._tcp.mx.test"
    with pytest.raises(Malformed):
        domain.to_ascii("_25._tcp.mx.test")


def test_within_is_by_labels() -> None:
    """`notx.test` is not within `x.test`."""
    assert domain.is_within("a.x.test", "x.test")
    assert not domain.is_within("notx.test", "x.test")
