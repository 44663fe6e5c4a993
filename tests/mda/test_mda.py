"""mda: what an address leads to, and what a delivery looks like."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from letterlock.formats.address import Address
from letterlock.formats.envelope import Notify, Recipient
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.clock import SetClock
from letterlock.host.entropy import SeededEntropy
from letterlock.mda.deliver import DeliveryAgent, Destination
from letterlock.mda.resolve import Local, Resolved, Resolver, ResolveSettings
from letterlock.mta.arrival import becomes
from letterlock.store.accounts import Accounts
from letterlock.store.engine import StoreSettings, open_store
from letterlock.store.interface import Delivery, NewMessage, Store

SENDER = Address.parse("cleo@harbor.test")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(StoreSettings(tmp_path / "store", reserve_octets=0))
    yield opened
    await opened.close()


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    clock = SetClock()
    made = Accounts(tmp_path / "accounts.sqlite", digests=(), clock=clock, entropy=SeededEntropy())
    for name in ("anna", "ben"):
        made.add(f"{name}@rosewood.test", "x")
        clock.move(1)
    return made


@pytest.fixture
def resolver(accounts: Accounts) -> Resolver:
    return Resolver(ResolveSettings(("rosewood.test", "rose.test")), accounts, SetClock())


def local(resolver: Resolver, address: str) -> list[tuple[str, str]]:
    """Return (account, detail) of the mailboxes an address leads to."""
    resolved = resolver.resolve(Address.parse(address))
    assert isinstance(resolved, Resolved), resolved
    return [(one.account, one.detail) for one in resolved.local]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("anna@rosewood.test", [("anna@rosewood.test", "")]),
        ("ANNA@rosewood.test", [("anna@rosewood.test", "")]),
        ("anna@rose.test", [("anna@rosewood.test", "")]),
        ("ben+a+b@rosewood.test", [("ben@rosewood.test", "a+b")]),
        ("ben+x@rose.test", [("ben@rosewood.test", "x")]),
        ("postmaster@rosewood.test", [("anna@rosewood.test", "")]),
        ("PostMaster@rose.test", [("anna@rosewood.test", "")]),
    ],
)
def test_addresses_lead_to_mailboxes(resolver: Resolver, address: str, expected: list[tuple[str, str]]) -> None:
    assert local(resolver, address) == expected


@pytest.mark.parametrize("address", ["nobody@rosewood.test", "+anna@rosewood.test", "nobody+anna@rose.test"])
def test_an_unknown_address_fails_by_name(resolver: Resolver, address: str) -> None:
    outcome = resolver.resolve(Address.parse(address))
    assert isinstance(outcome, Outcome)
    assert (outcome.result, outcome.status) == (Result.FAILED, "5.1.1")


def test_another_domain_is_not_ours(resolver: Resolver) -> None:
    assert resolver.resolve(SENDER) == Resolved(remote=(SENDER,))


def test_aliases_expand_through_aliases_once_each(resolver: Resolver, accounts: Accounts) -> None:
    accounts.set_alias("all@rosewood.test", ["team@rosewood.test", "ben@rosewood.test", "cleo@harbor.test"])
    accounts.set_alias("team@rosewood.test", ["anna@rosewood.test", "ben@rosewood.test"])
    resolved = resolver.resolve(Address.parse("All@rosewood.test"))
    assert isinstance(resolved, Resolved)
    assert sorted(one.account for one in resolved.local) == ["anna@rosewood.test", "ben@rosewood.test"]
    assert resolved.remote == (SENDER,)
    assert resolved.aliased


def test_an_alias_with_its_own_name_keeps_a_copy(resolver: Resolver, accounts: Accounts) -> None:
    accounts.set_alias("anna@rosewood.test", ["anna@rosewood.test", "cleo@harbor.test"])
    resolved = resolver.resolve(Address.parse("anna@rosewood.test"))
    assert isinstance(resolved, Resolved)
    assert [one.account for one in resolved.local] == ["anna@rosewood.test"]
    assert resolved.remote == (SENDER,)


def test_aliases_that_lead_in_a_circle_fail(resolver: Resolver, accounts: Accounts) -> None:
    accounts.set_alias("a@rosewood.test", ["b@rosewood.test"])
    accounts.set_alias("b@rosewood.test", ["a@rosewood.test"])
    outcome = resolver.resolve(Address.parse("a@rosewood.test"))
    assert isinstance(outcome, Outcome)
    assert outcome.status == "5.4.6"


def test_an_alias_bomb_is_bounded(resolver: Resolver, accounts: Accounts) -> None:
    """Ten levels of ten aliases each would be 10^10 targets."""
    for level in range(12):
        for number in range(10):
            targets = [f"l{level + 1}-{n}@rosewood.test" for n in range(10)]
            accounts.set_alias(f"l{level}-{number}@rosewood.test", targets)
    outcome = resolver.resolve(Address.parse("l0-0@rosewood.test"))
    assert isinstance(outcome, Outcome)
    assert outcome.status == "5.4.6"


def test_the_catch_all_comes_last(resolver: Resolver, accounts: Accounts) -> None:
    accounts.set_alias("@rosewood.test", ["ben@rosewood.test"])
    assert local(resolver, "anything@rosewood.test") == [("ben@rosewood.test", "")]
    assert local(resolver, "anything@rose.test") == [("ben@rosewood.test", "")]
    assert local(resolver, "anna+x@rosewood.test") == [("anna@rosewood.test", "x")]
    accounts.set_alias("@rosewood.test", ["nobody@rosewood.test"])
    outcome = resolver.resolve(Address.parse("anything@rosewood.test"))
    assert isinstance(outcome, Outcome)


async def test_a_delivery_carries_return_path_and_delivered_to(
    resolver: Resolver, accounts: Accounts, store: Store
) -> None:
    agent = DeliveryAgent(resolver, accounts, store)
    destination = await becomes(agent, SENDER, Recipient(Address.parse("anna@rosewood.test")))
    prefix = b"Return-Path: <cleo@harbor.test>\r\nDelivered-To: anna@rosewood.test\r\n"
    assert destination == Destination(
        (Delivery("anna@rosewood.test", "INBOX", prefix, recipient="anna@rosewood.test"),)
    )
    destination = await becomes(agent, None, Recipient(Address.parse("anna@rosewood.test"), Notify.SUCCESS))
    assert isinstance(destination, Destination)
    assert destination.deliveries[0].prefix.startswith(b"Return-Path: <>\r\n")


async def test_a_sub_address_goes_to_its_mailbox_where_there_is_one(
    resolver: Resolver, accounts: Accounts, store: Store
) -> None:
    await store.create("anna@rosewood.test", "lists")
    agent = DeliveryAgent(resolver, accounts, store)
    for detail, mailbox in (("lists", "lists"), ("other", "INBOX"), ("a//b", "INBOX")):
        destination = await becomes(agent, SENDER, Recipient(Address.parse(f"anna+{detail}@rosewood.test")))
        assert isinstance(destination, Destination)
        assert destination.deliveries[0].mailbox == mailbox


async def test_a_full_mailbox_defers(resolver: Resolver, accounts: Accounts, store: Store) -> None:
    await store.prepare_account("anna@rosewood.test", {})
    inbox = await store.mailbox("anna@rosewood.test", "INBOX")
    assert inbox is not None
    await store.append(inbox.id, [NewMessage((b"x" * 100,))])
    agent = DeliveryAgent(resolver, accounts, store)
    accounts.set_quota("anna@rosewood.test", 100)
    outcome = await becomes(agent, SENDER, Recipient(Address.parse("anna@rosewood.test")))
    assert isinstance(outcome, Outcome)
    assert (outcome.result, outcome.status) == (Result.DEFERRED, "4.2.2")
    accounts.set_quota("anna@rosewood.test", 101)
    assert isinstance(await becomes(agent, SENDER, Recipient(Address.parse("anna@rosewood.test"))), Destination)


async def test_a_wish_to_hear_of_success_goes_through_the_queue(
    resolver: Resolver, accounts: Accounts, store: Store
) -> None:
    agent = DeliveryAgent(resolver, accounts, store)
    recipient = Recipient(Address.parse("anna@rosewood.test"), Notify.SUCCESS | Notify.FAILURE)
    assert await becomes(agent, SENDER, recipient) == Destination(relays=(recipient,))
    destination = await agent.deliver(SENDER, recipient)
    assert isinstance(destination, Destination)
    assert len(destination.deliveries) == 1


async def test_forwarding_keeps_what_the_sender_wants_to_hear(
    resolver: Resolver, accounts: Accounts, store: Store
) -> None:
    accounts.set_alias("cleo@rosewood.test", ["cleo@harbor.test"])
    agent = DeliveryAgent(resolver, accounts, store)
    asked = Recipient(Address.parse("cleo@rosewood.test"), Notify.NEVER, "rfc822;cleo@rosewood.test")
    destination = await becomes(agent, Address.parse("x@example.test"), asked)
    assert destination == Destination(
        relays=(Recipient(SENDER, Notify.NEVER, "rfc822;cleo@rosewood.test"),), aliased=True
    )


def test_a_resolved_mailbox_remembers_the_address_it_was_named_by(resolver: Resolver) -> None:
    address = Address.parse("Anna+x@rosewood.test")
    assert resolver.resolve(address) == Resolved((Local("anna@rosewood.test", address, "x"),))
