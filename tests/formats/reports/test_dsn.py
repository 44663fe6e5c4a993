"""Delivery status notifications, written and read."""

import email
import email.policy
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.formats.address import Address
from letterlock.formats.defect import Kind
from letterlock.formats.envelope import Return
from letterlock.formats.imf.addresses import Mailbox
from letterlock.formats.mime.entity import parse
from letterlock.formats.reports.dsn import (
    Action,
    DeliveryStatus,
    RecipientStatus,
    Typed,
    read_delivery_status,
    read_dsn,
    recipient_type,
    write_delivery_status,
    write_dsn,
)
from letterlock.formats.reports.report import find_report

NOW = datetime(2026, 11, 23, 13, 15, 15, tzinfo=UTC)
ORIGINAL = b"From: ada@rosewood.test\r\nSubject: hi\r\n\r\nbody\r\n"
STATUS = DeliveryStatus(
    reporting_mta=Typed("dns", "mx.rosewood.test"),
    envelope_id="QQ314159",
    arrival=NOW,
    recipients=(
        RecipientStatus(
            final_recipient=Typed("rfc822", "bob@fern.test"),
            action=Action.FAILED,
            status="5.1.1",
            original_recipient=Typed("rfc822", "Bob@fern.test"),
            remote_mta=Typed("dns", "mx.fern.test"),
            diagnostic=Typed("smtp", "550 5.1.1 No such user here (really)"),
            last_attempt=NOW,
            extensions=(("X-Attempts", "3"),),
        ),
        RecipientStatus(Typed("rfc822", "eve@fern.test"), Action.DELAYED, "4.4.1", will_retry_until=NOW),
    ),
)


def _write(status: DeliveryStatus = STATUS, original: bytes = ORIGINAL, **options: object) -> bytes:
    return write_dsn(
        status,
        to=Address("ada", "rosewood.test"),
        author=Mailbox("Mail system", "postmaster", "mx.rosewood.test"),
        date=NOW,
        message_id="1@mx.rosewood.test",
        token="t",
        original=original,
        **options,  # type: ignore[arg-type]
    )


def test_what_is_written_is_read_back() -> None:
    """RFC 3464: every field of every recipient survives."""
    octets = _write()
    tree = parse(octets)
    assert tree.all_defects() == []
    assert read_dsn(tree) == STATUS
    report = find_report(tree)
    assert report is not None
    assert report.report_type == "delivery-status"
    assert "bob@fern.test" in report.explanation
    assert report.returned is not None
    assert report.returned.raw == ORIGINAL
    assert tree.header.text("auto-submitted") == "auto-replied"


def test_an_independent_reader_sees_the_same() -> None:
    """Python's own reader finds three parts and the fields."""
    message = email.message_from_bytes(_write(), policy=email.policy.default)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    _, machine, returned = message.iter_parts()
    groups = [dict(group.items()) for group in machine.get_payload()]
    assert groups[0]["Original-Envelope-Id"] == "QQ314159"
    assert [group["Status"] for group in groups[1:]] == ["5.1.1", "4.4.1"]
    assert returned.get_content_type() == "message/rfc822"


@pytest.mark.parametrize(
    ("action", "return_content", "most_octets", "returned"),
    [
        (Action.FAILED, None, 1000, "message/rfc822"),
        (Action.FAILED, Return.FULL, 1000, "message/rfc822"),
        (Action.FAILED, Return.HEADERS, 1000, "text/rfc822-headers"),
        (Action.FAILED, Return.FULL, 10, "text/rfc822-headers"),
        (Action.DELAYED, Return.FULL, 1000, "text/rfc822-headers"),
        (Action.DELIVERED, Return.FULL, 1000, "text/rfc822-headers"),
    ],
)
def test_how_much_comes_back(action: Action, return_content: Return | None, most_octets: int, returned: str) -> None:
    """RFC 3461 section 6.2: the whole message only for failures that ask for it."""
    status = DeliveryStatus(Typed("dns", "mx.test"), (RecipientStatus(Typed("rfc822", "b@x.test"), action, "4.0.0"),))
    tree = parse(_write(status, return_content=return_content, most_octets=most_octets))
    assert tree.children[2].content_type.full == returned
    report = find_report(tree)
    assert report is not None
    assert report.returned is not None
    assert report.returned.header.text("subject") == "hi"


@pytest.mark.parametrize("smtputf8", [False, True])
def test_international_addresses_survive_both_ways(smtputf8: bool) -> None:
    """RFC 6533: UTF-8 types where they may travel, embedded characters where not."""
    recipient = RecipientStatus(recipient_type(Address("grå", "x.test")), Action.FAILED, "5.6.7")
    octets = _write(
        DeliveryStatus(Typed("dns", "mx.test"), (recipient,)), "Subject: Grüße\r\n\r\nä".encode(), smtputf8=smtputf8
    )
    tree = parse(octets)
    assert tree.children[1].content_type.full == (
        "message/global-delivery-status" if smtputf8 else "message/delivery-status"
    )
    assert tree.children[2].content_type.full == ("message/global" if smtputf8 else "message/rfc822")
    status = read_dsn(tree)
    assert status is not None
    assert status.recipients == (recipient,)
    assert tree.children[1].content().isascii() is not smtputf8


def test_nothing_a_remote_server_says_adds_a_field() -> None:
    """Line ends in a reply become spaces, and a word without end is cut into lines."""
    said = "550 no\r\n\r\nFinal-Recipient: rfc822; x@y.test\x00 " + "x" * 3000
    status = DeliveryStatus(
        Typed("dns", "mx.test"),
        (RecipientStatus(Typed("rfc822", "b@x.test"), Action.FAILED, "5.0.0", diagnostic=Typed("smtp", said)),),
    )
    octets = write_delivery_status(status)
    assert len(read_delivery_status(octets).recipients) == 1
    assert max(map(len, octets.split(b"\r\n"))) <= 998


def test_reports_of_the_wild_are_read() -> None:
    """A report without a per-message group, with comments and lower case, still tells its recipients."""
    status = read_delivery_status(
        b"Final-Recipient: RFC822; bob@fern.test\nAction: Failed (gone)\nStatus: 5.1.1 (no such user)\n\n\n"
        b"Final-Recipient: eve@fern.test\nAction: nonsense\nStatus: 4.2.2\n"
    )
    assert [(one.final_recipient.value, one.action, one.status) for one in status.recipients] == [
        ("bob@fern.test", Action.FAILED, "5.1.1"),
        ("eve@fern.test", Action.DELAYED, "4.2.2"),
    ]
    assert [defect.kind for defect in status.defects] == [Kind.BAD_REPORT, Kind.BAD_REPORT]


@given(st.binary(max_size=200))
def test_any_octets_are_read(octets: bytes) -> None:
    """Nothing raises."""
    read_delivery_status(octets)
    read_dsn(
        parse(
            b"Content-Type: multipart/report; boundary=x\r\n\r\n--x\r\nContent-Type: message/delivery-status\r\n\r\n"
            + octets
        )
    )
