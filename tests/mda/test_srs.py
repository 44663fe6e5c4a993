"""mda/srs.py: forwarded mail's reverse path, and the way back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.formats.address import Address
from letterlock.mda.srs import SenderRewriting, is_rewritten

NOW = 1_800_000_000.0
DAY = 86_400
OURS = SenderRewriting(b"k" * 32, "rosewood.test")
THEIRS = SenderRewriting(b"t" * 32, "harbor.test")
THIRD = SenderRewriting(b"3" * 32, "third.test")
CLEO = Address.parse("Cleo.M@example.test")


def test_a_bounce_finds_its_way_back() -> None:
    rewritten = OURS.outward(CLEO, NOW)
    assert is_rewritten(rewritten)
    assert rewritten.domain == "rosewood.test"
    assert OURS.back(rewritten, NOW) == CLEO


def test_three_forwarders_need_two_stations() -> None:
    once = THEIRS.outward(CLEO, NOW)
    twice = OURS.outward(once, NOW)
    thrice = THIRD.outward(twice, NOW)
    assert thrice.local_part.startswith("SRS1=")
    back = THIRD.back(thrice, NOW)
    assert back == once
    assert THEIRS.back(once, NOW) == CLEO


def test_it_works_when_case_is_lost() -> None:
    rewritten = OURS.outward(CLEO, NOW)
    assert OURS.back(Address(rewritten.local_part.lower(), rewritten.domain), NOW) == Address("cleo.m", "example.test")


@pytest.mark.parametrize(("days", "lives"), [(0, True), (20, True), (21, True), (23, False), (400, False), (-2, False)])
def test_an_address_dies(days: int, lives: bool) -> None:
    rewritten = OURS.outward(CLEO, NOW)
    assert (OURS.back(rewritten, NOW + days * DAY) is not None) is lives


def test_nobody_else_can_make_one() -> None:
    """Otherwise anybody could send anywhere through us."""
    rewritten = OURS.outward(CLEO, NOW)
    assert THEIRS.back(rewritten, NOW) is None
    forged = rewritten.local_part.replace("example.test", "victim.test")
    assert OURS.back(Address(forged, "rosewood.test"), NOW) is None
    assert OURS.back(Address("SRS0=AAAAAA=AA=victim.test=user", "rosewood.test"), NOW) is None
    assert OURS.back(Address("SRS1=AAAAAA=victim.test==x", "rosewood.test"), NOW) is None


def test_what_would_be_too_long_is_left_alone() -> None:
    long = Address("x" * 60, "example.test")
    assert OURS.outward(long, NOW) == long


@given(st.text(max_size=80))
def test_any_local_part_is_answered(local: str) -> None:
    assert OURS.back(Address(local, "rosewood.test"), NOW) is None or is_rewritten(Address(local, "rosewood.test"))
