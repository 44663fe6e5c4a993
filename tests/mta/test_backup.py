"""Backup exchangers: whom mail is taken for while the better exchangers answer, and while they do not."""

from __future__ import annotations

import pytest
from tests.mta.test_outbound import Host, network

from letterlock.formats.address import Address
from letterlock.formats.envelope import Recipient
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.clock import SetClock
from letterlock.mda.deliver import Destination
from letterlock.mta.backup import Backup

ADA = Recipient(Address("ada", "harbor.test"))


class Nobody:
    """Nobody is here."""

    def is_ours(self, domain: str) -> bool:
        return domain == "rosewood.test"

    async def accept(self, _reverse_path: Address | None, recipient: Recipient) -> Outcome:
        return Outcome(recipient.forward_path, Result.FAILED, "5.1.1", "nobody here")


@pytest.mark.parametrize(
    ("rcpt", "expected"),
    [
        ("250 2.1.5 ok", "taken"),
        ("550 5.1.1 no such user", "5.1.1"),
        ("450 4.2.1 later", "taken"),
        ("drop", "taken"),
        ("hang", "taken"),
    ],
)
async def test_what_the_better_exchanger_refuses_is_refused_here(rcpt: str, expected: str) -> None:
    """Asked with the null sender and RSET, once for several messages; not asked about our own people."""
    host = Host(RCPT=rcpt)
    async with network(host) as (outbound, _):
        backup = Backup(Nobody(), ["harbor.test"], outbound.ask, SetClock())
        assert backup.is_ours("harbor.test")
        assert backup.is_ours("rosewood.test")
        assert not backup.is_ours("other.test")
        for _ in range(3):
            answer = await backup.accept(None, ADA)
            said = "taken" if answer == Destination(relays=(ADA,)) else getattr(answer, "status", "?")
            assert said == expected
        own = await backup.accept(None, Recipient(Address("x", "rosewood.test")))
        assert isinstance(own, Outcome)
    assert "DATA" not in host.seen
    asked = sum(line == "MAIL FROM:<>" for line in host.seen)
    assert asked == (3 if rcpt in ("450 4.2.1 later", "drop", "hang") else 1)


async def test_without_an_exchanger_that_answers_everybody_is_taken_and_later_asked() -> None:
    host = Host(GREETING="421 4.3.2 down")
    clock = SetClock()
    async with network(host) as (outbound, _):
        backup = Backup(Nobody(), ["harbor.test"], outbound.ask, clock)
        assert await backup.accept(None, ADA) == Destination(relays=(ADA,))
        host.replies |= {"GREETING": "220 up", "RCPT": "550 5.1.1 no"}
        outbound.forget_failures()
        answer = await backup.accept(None, ADA)
        assert isinstance(answer, Outcome)
        host.replies["RCPT"] = "250 ok"
        assert await backup.accept(None, ADA) == answer
        clock.move(301)
        assert await backup.accept(None, ADA) == Destination(relays=(ADA,))
