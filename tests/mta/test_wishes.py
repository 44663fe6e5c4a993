"""Wishes of senders on port 25: kept with the message, refused by name, and read from the header where MAIL has none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.mta.test_inbound import SETTINGS, codes, converse, inbound

from letterlock.formats.address import Address
from letterlock.formats.envelope import DeliverBy, Envelope, Late, Recipient, ValidSince
from letterlock.host.clock import SetClock
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.mta.assess import Assessor, AssessSettings
from letterlock.mta.inbound import InboundSettings
from letterlock.mta.wishes import with_wishes

MESSAGE = b"Subject: hello\r\n\r\nText\r\n.\r\nQUIT\r\n"
CHOOSY = replace(SETTINGS, no_soliciting=("net.example:ADV",))


async def answers(
    parameters: str, octets: bytes = MESSAGE, settings: InboundSettings = CHOOSY
) -> tuple[bytes, list[Envelope]]:
    """What a server says to a message for list@, which goes on to other domains, and the envelopes it queued."""
    async with inbound(settings) as (endpoint, ledger, _):
        commands = f"EHLO c.test\r\nMAIL FROM:<x@harbor.test>{parameters}\r\nRCPT TO:<list@rosewood.test>\r\nDATA\r\n"
        answer = await converse(endpoint, commands.encode() + octets)
    return answer, [entry.envelope for transaction in ledger.transactions for entry in transaction.queued]


async def test_the_hour_is_kept_in_the_queue() -> None:
    """RFC 2852 section 4: seconds become an instant when MAIL comes."""
    _, queued = await answers(" BY=120;RT")
    assert [envelope.deliver_by for envelope in queued] == [
        DeliverBy(SetClock().now() + 120, Late.RETURN, trace=True)
    ] * 2


async def test_classes_are_kept_and_those_not_wanted_refused() -> None:
    """RFC 3865 section 2.3 and 2.4: refused for the recipient, and the class is named."""
    _, queued = await answers(" SOLICIT=org.example:X,com.example:Y")
    assert [envelope.solicitation for envelope in queued] == [("org.example:X", "com.example:Y")] * 2
    answer, queued = await answers(" SOLICIT=org.example:X,NET.example:ADV")
    assert b"550 5.7.1 Such mail is not taken here: SOLICIT=NET.example:ADV\r\n" in answer
    assert queued == []


@pytest.mark.parametrize("fold", [b" ", b"\r\n\t", b""])
async def test_classes_of_the_header_count_too(fold: bytes) -> None:
    """RFC 3865 section 2.3 and 2.7: the field stands in where a client does not know the extension."""
    content = b"From: x@harbor.test\r\nsolicitation:" + fold + b"org.example:X,com.example:Y\r\n" + MESSAGE
    _, queued = await answers("", content)
    assert [envelope.solicitation for envelope in queued] == [("org.example:X", "com.example:Y")] * 2
    answer, queued = await answers("", content.replace(b"org", b"net").replace(b":X", b":ADV"))
    assert codes(answer)[-2:] == ["550", "221"]
    assert queued == []
    answer, queued = await answers(" SOLICIT=a:b", content)
    assert [envelope.solicitation for envelope in queued] == [("a:b",)] * 2


async def test_received_tells_the_classes() -> None:
    """RFC 3865 section 2.6: as a comment behind the protocol."""
    async with inbound() as (endpoint, ledger, _):
        await converse(
            endpoint,
            b"EHLO c.test\r\nMAIL FROM:<> SOLICIT=a:b,c:d\r\nRCPT TO:<ada@rosewood.test>\r\nDATA\r\n" + MESSAGE,
        )
    assert b"with ESMTP (SOLICIT=a:b,c:d)\r\n" in b"".join(ledger.transactions[0].octets)


ADA = Recipient(Address("ada", "rosewood.test"))
ENVELOPE = Envelope(None, (ADA, Recipient(Address("bob", "rosewood.test"), valid_since=ValidSince(7))))


@pytest.mark.parametrize(
    ("field", "demand"),
    [
        (b"Require-Recipient-Valid-Since: ada@rosewood.test; Sat, 1 Jun 2013 09:23:01 -0700", 1_370_103_781),
        (b"require-recipient-valid-since:\r\n ada@rosewood.test;\r\n Sat, 1 Jun 2013 09:23:01 -0700", 1_370_103_781),
        (b"Require-Recipient-Valid-Since: eve@rosewood.test; Sat, 1 Jun 2013 09:23:01 -0700", None),
        (b"Require-Recipient-Valid-Since: bob@rosewood.test; Sat, 1 Jun 2013 09:23:01 -0700", None),
        (b"Require-Recipient-Valid-Since: ada@rosewood.test; yesterday", None),
        (b"Require-Recipient-Valid-Since: \xff;;;", None),
        (b"X-Require-Recipient-Valid-Since: ada@rosewood.test; Sat, 1 Jun 2013 09:23:01 -0700", None),
    ],
)  # fmt: skip
def test_the_header_may_ask_for_the_owner(field: bytes, demand: int | None) -> None:
    """RFC 7293 section 5.2: for recipients that RCPT asked nothing about; fields that are none are left alone."""
    wished = with_wishes(ENVELOPE, None, (b"From: a@b.test\r\n" + field[:20], field[20:] + b"\r\n\r\nBody\r\n"))
    assert wished.recipients[0].valid_since == (ValidSince(demand, is_optional=True) if demand else None)
    assert wished.recipients[1] == ENVELOPE.recipients[1]


def test_the_body_wishes_nothing() -> None:
    """A field behind the header section is text."""
    assert with_wishes(ENVELOPE, None, (b"From: a@b.test\r\n\r\n", b"Solicitation: a:b\r\n")) == ENVELOPE


async def test_what_was_taken_on_demand_says_so() -> None:
    """RFC 7293 section 11: rrvs=pass for the one recipient; nothing without a demand, or where others would read of it."""
    told = Assessor(AssessSettings("mx.rosewood.test"), ZoneTable.parse("rosewood.test. 300 IN A 192.0.2.1\n"))
    asked = b"RCPT TO:<ada@rosewood.test> RRVS=2014-04-03T23:01:00Z\r\n"
    plain = b"RCPT TO:<ada@rosewood.test>\r\n"
    for given, field, expected in (
        (asked, b"", 1),
        (plain, b"Require-Recipient-Valid-Since: ada@rosewood.test; Sat, 1 Jun 2013 09:23:01 -0700\r\n", 1),
        (plain, b"", 0),
        (asked + b"RCPT TO:<bob@rosewood.test>\r\n", b"", 0),
    ):
        async with inbound(assess=told) as (endpoint, ledger, _):
            await converse(
                endpoint, b"EHLO c.test\r\nMAIL FROM:<>\r\n" + given + b"DATA\r\nFrom: x@b.test\r\n" + field + MESSAGE
            )
        octets = b"".join(ledger.transactions[0].octets)
        assert b"Authentication-Results: mx.rosewood.test" in octets
        assert octets.count(b"rrvs=pass smtp.rcptto=ada@rosewood.test") == expected, given
