"""Disposition notifications."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.formats.imf.addresses import Mailbox
from letterlock.formats.mime.entity import parse
from letterlock.formats.reports.mdn import (
    Disposition,
    Notification,
    Typed,
    read_disposition,
    read_mdn,
    read_mdn_request,
    write_mdn,
)

NOW = datetime(2026, 11, 23, 13, 15, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    "notification",
    [
        Notification(Typed("rfc822", "bob@fern.test"), Disposition.DISPLAYED, original_message_id="1@x.test"),
        Notification(
            Typed("rfc822", "bob@fern.test"),
            Disposition.DELETED,
            automatic_action=True,
            sent_automatically=True,
            modifiers=("error",),
            original_recipient=Typed("rfc822", "b@fern.test"),
            reporting_ua="mail.fern.test; Letterlock",
            gateway=Typed("dns", "gw.test"),
            errors=("could not", "really"),
            extensions=(("X-More", "yes"),),
        ),
        Notification(Typed("utf-8", "grå@fern.test"), Disposition.PROCESSED),
    ],
)
def test_what_is_written_is_read_back(notification: Notification) -> None:
    """RFC 8098 section 3, and RFC 6533 where an address is not ASCII."""
    octets = write_mdn(
        notification,
        to=[Mailbox("", "ada", "rosewood.test")],
        author=Mailbox("Bob", "bob", "fern.test"),
        date=NOW,
        message_id="2@fern.test",
        token="t",
        original=b"Subject: x\r\n\r\nsecret body",
    )
    tree = parse(octets)
    assert tree.all_defects() == []
    assert read_mdn(tree) == notification
    assert b"secret body" not in octets
    assert "disposition-notification-to" not in tree.header


@pytest.mark.parametrize(
    ("header", "to", "reasons", "forbidden"),
    [
        ("Return-Path: <a@b.test>\nDisposition-Notification-To: A <a@B.test>\n", 1, 0, False),
        ("Return-Path: <A@b.test>\nDisposition-Notification-To: a@b.test\n", 1, 1, False),
        ("Disposition-Notification-To: a@b.test\n", 1, 1, False),
        ("Return-Path: <a@b.test>\nDisposition-Notification-To: a@b.test, c@d.test\n", 2, 2, False),
        ("Return-Path: <>\nDisposition-Notification-To: a@b.test\n", 1, 0, True),
        ("Return-Path: <a@b.test>\nDisposition-Notification-To: nobody:;\n", 0, 1, True),
        ("Return-Path: <a@b.test>\nDisposition-Notification-To: a@b.test\n"
         "Disposition-Notification-Options: signed=required,yes\n", 1, 0, True),
        ("Return-Path: <a@b.test>\nDisposition-Notification-To: a@b.test\n"
         "Content-Type: multipart/report; report-type=disposition-notification\n", 1, 0, True),
    ],
)  # fmt: skip
def test_when_one_may_be_sent(header: str, to: int, reasons: int, forbidden: bool) -> None:
    """RFC 8098 section 2.1: the address alone counts, the local part exactly."""
    request = read_mdn_request(parse(f"{header}\n\nbody".encode()))
    assert request is not None
    assert (len(request.to), len(request.reasons_to_ask), bool(request.forbidden)) == (to, reasons, forbidden)


def test_most_messages_ask_for_none() -> None:
    """Without the field there is no request."""
    assert read_mdn_request(parse(b"From: a@b.test\n\n")) is None


@given(st.binary(max_size=200))
def test_any_octets_are_read(octets: bytes) -> None:
    """Nothing raises."""
    read_disposition(octets)
    read_disposition(b"Final-Recipient: rfc822; a@b\nDisposition: " + octets)
