"""RRVS at the mailbox: who had the address when, over real accounts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from letterlock.formats.address import Address
from letterlock.formats.envelope import Recipient, ValidSince
from letterlock.host.clock import SetClock
from letterlock.mda.ownership import changed_owner
from letterlock.mda.resolve import Resolver, ResolveSettings
from letterlock.store.accounts import Accounts

ANNA = "anna@rosewood.test"


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def accounts(tmp_path: Path, clock: SetClock) -> Iterator[Accounts]:
    opened = Accounts(tmp_path / "accounts.sqlite", digests=(), clock=clock)
    opened.add(ANNA, "x", addresses=["a@rosewood.test"])
    yield opened
    opened.close()


def status(accounts: Accounts, address: str, since: float) -> str:
    """The status that a demand for `address` since an instant leads to, empty for none."""
    resolver = Resolver(ResolveSettings(("rosewood.test", "old.test")), accounts)
    found = changed_owner(Recipient(Address.parse(address), valid_since=ValidSince(int(since))), resolver)
    return found.status if found is not None else ""


def test_an_only_owner_passes_whatever_the_instant(accounts: Accounts, clock: SetClock) -> None:
    """RFC 7293 section 9: nothing is learnt of an account's age."""
    assert status(accounts, ANNA, 0) == ""
    assert status(accounts, ANNA, clock.now() + 10) == ""


def test_a_new_owner_does_not_get_the_former_ones_mail(accounts: Accounts, clock: SetClock) -> None:
    """Section 5.1: what was meant for who had the address before is refused; what came after, and sub-addresses, likewise."""
    clock.move(1000)
    accounts.remove(ANNA)
    gone = clock.now()
    clock.move(1000)
    accounts.add(ANNA, "y")
    for address in (ANNA, "Anna+lists@rosewood.test", "anna@old.test"):
        assert status(accounts, address, gone - 1) == "5.7.17"
        assert status(accounts, address, gone) == ""
    accounts.add("ben@rosewood.test", "z", addresses=["a@rosewood.test"])
    assert status(accounts, "a@rosewood.test", gone - 1) == "5.7.17"
    assert status(accounts, "ben@rosewood.test", 0) == ""


def test_an_address_or_alias_that_moves(accounts: Accounts, clock: SetClock) -> None:
    """An address taken from one account, and an alias that leads elsewhere now."""
    before = clock.now()
    accounts.set_alias("sam@rosewood.test", ["sam@harbor.test"])
    accounts.set_alias("@rosewood.test", [ANNA])
    clock.move(10)
    accounts.remove_address("a@rosewood.test")
    accounts.set_alias("sam@rosewood.test", ["sam@harbor.test"])
    assert status(accounts, "a@rosewood.test", before) == "5.7.17"
    assert status(accounts, "sam@rosewood.test", before) == ""
    accounts.set_alias("sam@rosewood.test", ["other@harbor.test"])
    assert status(accounts, "sam@rosewood.test", before) == "5.7.17"
    accounts.set_alias("@rosewood.test", [])
    assert status(accounts, "anybody@rosewood.test", before) == "5.7.17"


def test_offices_have_no_owner(accounts: Accounts, clock: SetClock) -> None:
    """Section 5.1: a role account is not a person."""
    accounts.set_alias("postmaster@rosewood.test", [ANNA])
    clock.move(10)
    accounts.set_alias("postmaster@rosewood.test", ["ben@harbor.test"])
    assert status(accounts, "Postmaster@rosewood.test", 0) == ""


def test_accounts_of_an_older_version_are_taken_up(tmp_path: Path) -> None:
    """A database that remembers no owners yet begins to."""
    path = tmp_path / "accounts.sqlite"
    opened = Accounts(path, digests=())
    opened.add(ANNA, "x")
    opened.close()
    old = apsw.Connection(str(path))
    old.execute("DROP TABLE former_owners; PRAGMA user_version = 1")
    old.close()
    again = Accounts(path, digests=())
    again.remove(ANNA)
    assert again.owner_changed(ANNA) is not None
    again.close()
