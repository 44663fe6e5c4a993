"""store/accounts.py and store/passwords.py: who has mail here, and how they prove it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from letterlock.errors import Malformed, Unavailable
from letterlock.formats.address import Address
from letterlock.host.clock import SetClock
from letterlock.host.entropy import SeededEntropy
from letterlock.protocols.sasl.scram import ScramClient, ScramServer
from letterlock.protocols.sasl.step import Authenticated, Challenge, KeysWanted, Rejected, Step
from letterlock.store import passwords
from letterlock.store.accounts import Accounts
from letterlock.store.interface import Refusal, Refused

ANNA = "anna@rosewood.test"


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Accounts]:
    opened = Accounts(
        tmp_path / "accounts.sqlite", default_domain="rosewood.test", clock=SetClock(), entropy=SeededEntropy()
    )
    yield opened
    opened.close()


def scram(accounts: Accounts, user: str, password: str) -> Step:
    """Let a client log in by SCRAM-SHA-256 and return the server's last step."""
    client = ScramClient("SCRAM-SHA-256", user=user, password=password, nonce="rOprNGfwEbeRWgbNEkqO")
    server = ScramServer("SCRAM-SHA-256", nonce="server", bindings={}, offers_plus=False)
    wanted = server.begin(client.first())
    assert isinstance(wanted, KeysWanted)
    challenge = server.supply(accounts.keys(wanted.user, wanted.digest))
    assert isinstance(challenge, Challenge)
    answer = server.respond(client.respond(challenge.octets))
    return server.respond(b"") if isinstance(answer, Challenge) else answer


async def test_a_password_is_checked_by_name_address_and_local_part(accounts: Accounts) -> None:
    added = accounts.add("Anna@Rosewood.test", "pencil", addresses=["a.smith@rosewood.test"])
    assert added.name == ANNA
    for user in (ANNA, "ANNA@ROSEWOOD.TEST", "anna", "a.smith@rosewood.test"):
        assert await accounts.verify(user, "pencil") == added
    for user, password in ((ANNA, "pen"), (ANNA, ""), ("ben@rosewood.test", "pencil"), ("", "pencil"), ("@", "\x00")):
        assert await accounts.verify(user, password) is None


async def test_a_changed_password_counts_at_once_even_from_another_process(accounts: Accounts, tmp_path: Path) -> None:
    accounts.add(ANNA, "old")
    assert await accounts.verify(ANNA, "old")
    command = Accounts(tmp_path / "accounts.sqlite")
    command.set_password(ANNA, "new")
    assert await accounts.verify(ANNA, "old") is None
    assert await accounts.verify(ANNA, "new")
    assert isinstance(scram(accounts, ANNA, "new"), Authenticated)
    command.enable(ANNA, False)
    assert await accounts.verify(ANNA, "new") is None
    assert isinstance(scram(accounts, ANNA, "new"), Rejected)
    command.remove(ANNA)
    assert accounts.accounts() == ()
    command.close()


async def test_a_right_password_is_remembered_for_a_short_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SetClock()
    accounts = Accounts(tmp_path / "a.sqlite", clock=clock, entropy=SeededEntropy())
    accounts.add(ANNA, "pencil")
    checked: list[str] = []
    fits = passwords._fits
    monkeypatch.setattr(passwords, "_fits", lambda stored, password: checked.append(password) or fits(stored, password))
    for _ in range(3):
        assert await accounts.verify(ANNA, "pencil")
        assert not await accounts.verify(ANNA, "wrong")
    clock.move(301)
    assert await accounts.verify(ANNA, "pencil")
    assert checked.count("pencil") == 2
    assert checked.count("wrong") == 3
    accounts.close()


async def test_an_unknown_user_costs_the_same_hash(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts.add(ANNA, "pencil")
    stored: list[str] = []
    monkeypatch.setattr(passwords, "_fits", lambda hashed, _: bool(stored.append(hashed)))
    await accounts.verify(ANNA, "x")
    await accounts.verify("nobody@rosewood.test", "x")
    assert len(stored) == 2
    assert all(hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$") for hashed in stored)


async def test_too_many_at_once_are_told_to_come_again(accounts: Accounts) -> None:
    accounts.add(ANNA, "pencil")
    await accounts.verify(ANNA, "pencil")
    assert accounts._verifier is not None
    accounts._verifier._waiting = passwords.MOST_WAITING
    with pytest.raises(Unavailable):
        await accounts.verify(ANNA, "wrong")
    assert await accounts.verify(ANNA, "pencil")  # remembered: free for the honest
    accounts._verifier._waiting = 0


async def test_logins_at_the_same_time_all_get_their_answer(accounts: Accounts) -> None:
    accounts.add(ANNA, "pencil")
    answers = await asyncio.gather(*(accounts.verify(ANNA, word) for word in ("pencil", "a", "b", "pencil")))
    assert [bool(answer) for answer in answers] == [True, False, False, True]


def test_scram_proves_the_password_and_false_keys_prove_nothing(accounts: Accounts) -> None:
    accounts.add(ANNA, "pass\u00e9")
    assert isinstance(scram(accounts, "anna", "pass\u00e9"), Authenticated)
    assert isinstance(scram(accounts, "anna", "passe"), Rejected)
    assert isinstance(scram(accounts, "nobody", "passe"), Rejected)


def test_false_keys_are_the_same_each_time_and_look_like_real_ones(accounts: Accounts) -> None:
    """RFC 5802 section 9: the salt must not tell who exists."""
    accounts.add(ANNA, "pencil")
    real, false = accounts.keys(ANNA, "sha256"), accounts.keys("nobody@rosewood.test", "sha256")
    assert accounts.keys("nobody@rosewood.test", "sha256") == false
    assert accounts.keys("nobody2@rosewood.test", "sha256").salt != false.salt
    assert accounts.keys("NOBODY@rosewood.test", "sha256") == false
    shape = (len(real.salt), real.iterations, len(real.stored_key), len(real.server_key))
    assert shape == (len(false.salt), false.iterations, len(false.stored_key), len(false.server_key))


def test_an_address_belongs_to_one_account(accounts: Accounts) -> None:
    accounts.add(ANNA, "x", addresses=["info@rosewood.test"])
    with pytest.raises(Refused) as caught:
        accounts.add("ben@rosewood.test", "x", addresses=["INFO@rosewood.test"])
    assert caught.value.refusal is Refusal.ALREADYEXISTS
    assert accounts.account("ben@rosewood.test") is None
    assert accounts.account_of(Address.parse("Info@rosewood.test")) == ANNA
    assert accounts.may_send_as(ANNA, Address.parse("info@rosewood.test"))
    accounts.remove_address("info@rosewood.test")
    assert not accounts.may_send_as(ANNA, Address.parse("info@rosewood.test"))
    with pytest.raises(Refused):
        accounts.remove_address(ANNA)


@pytest.mark.parametrize(("name", "password"), [("no-domain", "x"), (ANNA, ""), (ANNA, "a\x07b"), ("a@b@c", "x")])
def test_what_is_no_account_is_refused(accounts: Accounts, name: str, password: str) -> None:
    with pytest.raises(Malformed):
        accounts.add(name, password)
    assert accounts.accounts() == ()


def test_aliases_and_the_catch_all(accounts: Accounts) -> None:
    accounts.set_alias("Sales@rosewood.test", [ANNA, "x@harbor.test"])
    accounts.set_alias("@rosewood.test", [ANNA])
    assert accounts.targets_of(Address.parse("sales@rosewood.test")) == (
        Address.parse(ANNA),
        Address.parse("x@harbor.test"),
    )
    assert accounts.targets_of("@rosewood.test") == (Address.parse(ANNA),)
    accounts.set_alias("sales@rosewood.test", [])
    assert accounts.aliases() == {"@rosewood.test": (ANNA,)}


def test_the_database_is_for_its_owner_only(accounts: Accounts, tmp_path: Path) -> None:
    assert (tmp_path / "accounts.sqlite").stat().st_mode & 0o077 == 0


async def test_accounts_that_cannot_be_read_are_for_now(accounts: Accounts) -> None:
    """Every question says so in the way that is answered with a failure for now, never with "no such user"."""
    accounts._connection.close()
    anna = Address.parse("anna@rosewood.test")
    for question in (
        lambda: accounts.account("anna@rosewood.test"),
        accounts.accounts,
        lambda: accounts.account_of(anna),
        lambda: accounts.targets_of(anna),
        lambda: accounts.owner_changed(anna),
        accounts.aliases,
        lambda: accounts.quota_of("anna@rosewood.test"),
        lambda: accounts.keys("anna@rosewood.test", "sha256"),
        lambda: accounts.authenticated("anna@rosewood.test"),
    ):
        with pytest.raises(Unavailable):
            question()
    with pytest.raises(Unavailable):
        await accounts.verify("anna@rosewood.test", "x")
