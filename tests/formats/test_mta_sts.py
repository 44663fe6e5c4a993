"""MTA-STS records and policies."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.errors import Malformed
from letterlock.formats.mta_sts import Mode, Policy, read_policy, read_record, write_policy

POLICY = b"version: STSv1\nmode: enforce\nmx: mail.example.com\r\nmx: *.example.net\r\nunknown: x\nmax_age: 604800\n"


def test_a_policy() -> None:
    """RFC 8461 section 3.2: both line ends, unknown fields passed over; a star stands for one label (section 4.1)."""
    policy = read_policy(POLICY)
    assert policy == Policy(Mode.ENFORCE, ("mail.example.com", "*.example.net"), 604800)
    allowed = {host: policy.allows(host) for host in
               ("mail.example.com", "a.example.net", "a.b.example.net", "example.net", "mail.example.org")}  # fmt: skip
    assert allowed == {
        "mail.example.com": True, "a.example.net": True, "a.b.example.net": False, "example.net": False,
        "mail.example.org": False,
    }  # fmt: skip
    assert read_policy(write_policy(policy)) == policy


@pytest.mark.parametrize(
    "octets",
    [b"", b"version: STSv2\nmode: none\nmax_age: 1\n", b"version: STSv1\nmode: strict\nmx: a.b\nmax_age: 1",
     b"version: STSv1\nmode: enforce\nmax_age: 1\n", b"version: STSv1\nmode: enforce\nmx: a.b\nmax_age: x\n",
     b"version: STSv1\nmode: enforce\nmx: a b\nmax_age: 1\n", b"\xff", b"x" * 70_000],
)  # fmt: skip
def test_what_is_no_policy(octets: bytes) -> None:
    """It is Malformed."""
    with pytest.raises(Malformed):
        read_policy(octets)


def test_records() -> None:
    """RFC 8461 section 3.1: exactly one, beginning with the version."""
    assert read_record([b"v=STSv1; id=20160831085700Z;", b"other"]) == "20160831085700Z"
    assert read_record([b"v=STSv1;id=1"]) == "1"
    assert read_record([b"v=STSv1; id=1", b"v=STSv1; id=2"]) is None
    assert read_record([b"v=STSv1; id=" + b"x" * 33]) is None
    assert read_record([b" v=STSv1; id=1"]) is None


@given(st.binary(max_size=200))
def test_random_octets(octets: bytes) -> None:
    """A policy or Malformed."""
    with contextlib.suppress(Malformed):
        read_policy(octets)
    read_record([octets])
