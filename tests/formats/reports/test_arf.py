"""Feedback reports."""

import email
import email.policy
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.errors import Malformed
from letterlock.formats.imf.addresses import Mailbox
from letterlock.formats.mime.entity import parse
from letterlock.formats.reports.arf import (
    DkimFailure,
    Feedback,
    SpfRecord,
    Typed,
    read_feedback,
    read_feedback_report,
    write_feedback,
)
from letterlock.formats.reports.failure_request import FailureRequest, read_dkim_request, read_spf_request

NOW = datetime(2026, 11, 23, 13, 15, 15, tzinfo=UTC)
FULL = Feedback(
    feedback_type="auth-failure",
    user_agent="Letterlock/1",
    original_mail_from="ada@rosewood.test",
    original_recipients=("bob@fern.test", "eve@fern.test"),
    envelope_id="QQ",
    arrival=NOW,
    reporting_mta=Typed("dns", "mx.fern.test"),
    source_ip="2001:db8::1",
    source_port=4711,
    incidents=7,
    authentication_results=("mx.fern.test; dkim=fail header.d=rosewood.test",),
    reported_domains=("rosewood.test",),
    reported_uris=("http://x.test/",),
    auth_failure="signature",
    delivery_result="reject",
    identity_alignment="none",
    dkim=DkimFailure("rosewood.test", "@rosewood.test", "s1", "v=DKIM1; p=AAAA", b"from:a\r\n" * 50, b"body\r\n"),
    spf_records=(SpfRecord("txt", "rosewood.test", "v=spf1 -all"),),
    extensions=(("X-More", "yes"),),
)
ORIGINAL = b"From: ada@rosewood.test\r\nSubject: hi\r\n\r\nbody\r\n"


@pytest.mark.parametrize(
    "feedback",
    [FULL, Feedback("abuse", "Letterlock/1"), Feedback("abuse", "x", original_mail_from="")],
)
def test_what_is_written_is_read_back(feedback: Feedback) -> None:
    """RFC 5965 section 3, RFC 6591 section 3."""
    octets = write_feedback(
        feedback,
        to="abuse@rosewood.test",
        author=Mailbox("", "postmaster", "fern.test"),
        date=NOW,
        message_id="1@fern.test",
        token="t",
        original=ORIGINAL,
    )
    tree = parse(octets)
    assert tree.all_defects() == []
    assert read_feedback(tree) == feedback
    assert tree.children[2].content_type.full == "text/rfc822-headers"
    assert b"\r\nbody\r\n" not in octets
    message = email.message_from_bytes(octets, policy=email.policy.default)
    assert message.get_content_type() == "multipart/report"
    assert list(message.iter_parts())[1].get_content_type() == "message/feedback-report"


@pytest.mark.parametrize(
    ("octets", "defects"),
    [
        (b"", 4),
        (b"Feedback-Type: abuse\nUser-Agent: x\nVersion: 1\n", 0),
        (b"Feedback-Type: abuse\nUser-Agent: x\nVersion: 1\nVersion: 2\n", 1),
        (b"Feedback-Type: abuse\n\nUser-Agent: x\nVersion: 1\n", 1),
        (b"Feedback-Type: abuse\nUser-Agent: x\nVersion: 1\nArrival-Date: 1 Jan 2026 0:00 +0000\n"
         b"Received-Date: 1 Jan 2026 00:00:00 +0000\n", 2),
    ],
)  # fmt: skip
def test_malformed_reports_are_read_and_named(octets: bytes, defects: int) -> None:
    """RFC 5965 section 4."""
    read = read_feedback_report(octets)
    assert len(read.defects) == defects, read.defects


@given(st.binary(max_size=200))
def test_any_octets_are_read(octets: bytes) -> None:
    """Nothing raises."""
    read_feedback_report(octets)


@pytest.mark.parametrize(
    ("record", "request_"),
    [
        ("ra=dkim-errors; rp=100; rr=v:x", FailureRequest("dkim-errors", frozenset("vx"))),
        ("ra=a=2Bb; rp=10; rs=No=20thanks; x=y", FailureRequest("a+b", frozenset(("all",)), 100_000, "No thanks")),
        ("rp=100", None),
        ("", None),
    ],
)
def test_dkim_publishers_ask(record: str, request_: FailureRequest | None) -> None:
    """RFC 6651 section 3.2."""
    assert read_dkim_request(record) == request_


@pytest.mark.parametrize("record", ["ra", "ra=a; ra=b", "ra=a; rp=101", "ra=a; rp=x", "x" * 5000])
def test_wrong_dkim_records_are_refused(record: str) -> None:
    """RFC 6651 section 3.3 (5): then no report is sent."""
    with pytest.raises(Malformed):
        read_dkim_request(record)


def test_spf_publishers_ask() -> None:
    """RFC 6652 section 3, with a percentage or a fraction."""
    request = read_spf_request([("ra", "postmaster"), ("rp", "10"), ("rr", "e")])
    assert request == FailureRequest("postmaster", frozenset("e"), 100_000)
    assert request.wants("e")
    assert not request.wants("f")
    assert read_spf_request([("ra", "x"), ("rp", "1/1000")]) == FailureRequest("x", frozenset(("all",)), 1000)
    assert read_spf_request([("rp", "1")]) is None
    for wrong in ("x", "1/0", "2/1", "200"):
        with pytest.raises(Malformed):
            read_spf_request([("ra", "x"), ("rp", wrong)])
