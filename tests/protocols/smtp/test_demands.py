"""BY, RRVS and SOLICIT on the wire: what a server reads, what a client says and to whom it says nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.protocols.smtp.test_client import ADA, BOB, ENVELOPE, offering, run
from tests.protocols.smtp.test_server import codes, talk

from letterlock.formats.address import Address
from letterlock.formats.envelope import DeliverBy, Envelope, Late, Notify, Recipient, ValidSince
from letterlock.protocols.smtp import event as events
from letterlock.protocols.smtp.command import By
from letterlock.protocols.smtp.offer import ServerSettings
from letterlock.protocols.smtp.server import ServerConversation

NOW = 1_700_000_000.0
ANSWERS = [b"250 a\r\n250 b\r\n250 c\r\n354 d\r\n", b"250 e\r\n"]


def sent_by(envelope: Envelope, *keywords: str) -> list[bytes]:
    """What a client says to a server that offers PIPELINING and `keywords`."""
    answers = [b"250 a\r\n" + b"250 b\r\n" * len(envelope.recipients) + b"354 c\r\n", b"250 d\r\n"]
    return run(offering("PIPELINING", *keywords).transfer(envelope, b"", now=NOW), answers)[1]


def statuses(envelope: Envelope, *keywords: str) -> list[str]:
    """What recipients hear when nothing is sent."""
    replies, sent = run(offering("PIPELINING", *keywords).transfer(envelope, b"", now=NOW), [])
    assert not sent
    return [answer.status for answer in replies]


@pytest.mark.parametrize(
    ("text", "by"),
    [
        ("120;R", By(120, Late.RETURN)),
        ("+120;rT", By(120, Late.RETURN, trace=True)),
        ("-999999999;N", By(-999_999_999, Late.NOTIFY)),
        ("0;nt", By(0, Late.NOTIFY, trace=True)),
        ("0;R", None), ("-1;R", None), ("1234567890;R", None), ("120", None), ("120;X", None), ("1.5;R", None),
        ("120;RTT", None), ("+-1;N", None), ("١٢;N", None), ("", None),
    ],
)  # fmt: skip
def test_by_is_read(text: str, by: By | None) -> None:
    """RFC 2852 section 4: nine digits, N or R, and R only for times to come."""
    out, seen, _ = talk([f"EHLO x\r\nMAIL FROM:<a@b.test> SMTPUTF8 BY={text}\r\n".encode()])
    assert b"DELIVERBY\r\n" in out
    assert codes(out)[-1] == ("250" if by else "501")
    assert [event.sender.by for event in seen if isinstance(event, events.SenderGiven)] == ([by] if by else [])


@pytest.mark.parametrize(
    ("text", "demand"),
    [
        ("2014-04-03T23:01:00Z", ValidSince(1_396_566_060)),
        ("2014-04-03t23:01:00z;C", ValidSince(1_396_566_060, is_optional=True)),
        ("2014-04-04T00:31:00+01:30;R", ValidSince(1_396_566_060)),
        ("0001-01-01T00:00:00+23:59", ValidSince(0)), ("9999-12-31T23:59:59-12:00", ValidSince(253_402_300_799)),
        ("2014-04-03T23:01:00.5Z", None), ("2014-04-03T23:01:00", None), ("2014-13-03T23:01:00Z", None),
        ("2014-04-03T23:01:00Z;X", None), ("2014-04-03", None), ("1396566060", None), ("", None),
    ],
)  # fmt: skip
def test_rrvs_is_read(text: str, demand: ValidSince | None) -> None:
    """RFC 7293 section 3.1: a date-time without fractions, and the action where the next host does not know it."""
    out, seen, _ = talk([f"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test> RRVS={text}\r\n".encode()])
    assert b"RRVS\r\n" in out
    assert codes(out)[-1] == ("250" if demand else "501")
    given = [event.recipient.valid_since for event in seen if isinstance(event, events.RecipientGiven)]
    assert given == ([demand] if demand else [])


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("net.example:ADV", ("net.example:ADV",)),
        ("net.example:ADV,org.example:ADV:ADLT", ("net.example:ADV", "org.example:ADV:ADLT")),
        ("1a", None), (",a", None), ("a,", None), ("a b", None), ("a" * 1001, None), ("é", None), ("", None),
    ],
)  # fmt: skip
def test_solicit_is_read(text: str, classes: tuple[str, ...] | None) -> None:
    """RFC 3865 section 2.2: words that begin with a letter, 1000 characters in all."""
    out, seen, _ = talk([f"EHLO x\r\nMAIL FROM:<a@b.test> SOLICIT={text}\r\n".encode()])
    assert codes(out)[-1][0] == ("2" if classes else "5")
    assert [event.sender.solicitation for event in seen if isinstance(event, events.SenderGiven)] == (
        [classes] if classes else []
    )


def test_classes_that_are_not_wanted_are_named() -> None:
    """RFC 3865 section 2.1; without any the keyword stands alone."""
    offers = [ServerSettings("x.test", no_soliciting=classes) for classes in ((), ("a:B", "c:D"))]
    outs = [talk([b"EHLO x\r\n"], ServerConversation(offer))[0] for offer in offers]
    assert b"NO-SOLICITING\r\n" in outs[0]
    assert b"NO-SOLICITING a:B,c:D\r\n" in outs[1]


def test_the_time_that_is_left_goes_on() -> None:
    """RFC 2852 section 4.1.4: what is left of it now, and a negative number once it is over."""
    envelope = replace(ENVELOPE, deliver_by=DeliverBy(NOW + 98, Late.RETURN, trace=True))
    assert sent_by(envelope, "DELIVERBY 30")[0].startswith(b"MAIL FROM:<x@harbor.test> BY=98;RT\r\n")
    late = replace(ENVELOPE, deliver_by=DeliverBy(NOW - 60, Late.NOTIFY))
    assert sent_by(late, "DELIVERBY")[0].startswith(b"MAIL FROM:<x@harbor.test> BY=-60;N\r\n")


def test_what_must_be_in_time_does_not_go_where_nobody_keeps_time() -> None:
    """RFC 2852 section 4.1.4.1: not to hosts without DELIVERBY, nor to those that need longer, nor too late."""
    envelope = replace(ENVELOPE, deliver_by=DeliverBy(NOW + 98, Late.RETURN))
    assert statuses(envelope) == ["5.3.3", "5.3.3"]
    assert statuses(envelope, "DELIVERBY 240") == ["5.3.3", "5.3.3"]
    over = replace(ENVELOPE, deliver_by=DeliverBy(NOW, Late.RETURN))
    assert statuses(over, "DELIVERBY") == ["5.4.7", "5.4.7"]


def test_who_only_wants_to_be_told_is_told_of_delays_by_others() -> None:
    """RFC 2852 section 4.1.4.2: DELAY is added for a host without DELIVERBY, never to NEVER."""
    recipients = (replace(ADA, notify=Notify.SUCCESS), replace(BOB, notify=Notify.NEVER))
    envelope = Envelope(ENVELOPE.reverse_path, recipients, deliver_by=DeliverBy(NOW + 98, Late.NOTIFY))
    sent = sent_by(envelope, "DSN")[0]
    assert b"BY=" not in sent
    assert b"<ada@rosewood.test> NOTIFY=SUCCESS,DELAY\r\nRCPT TO:<bob@rosewood.test> NOTIFY=NEVER\r\n" in sent
    assert b"<ada@rosewood.test> NOTIFY=SUCCESS\r\n" in sent_by(envelope, "DSN", "DELIVERBY")[0]


def test_who_must_be_the_owner_still_is_asked_of_hosts_that_know() -> None:
    """RFC 7293 section 5.1.1: the parameter goes on; a host without RRVS gets only those who allow it."""
    strict, lenient = ValidSince(1_396_566_060), ValidSince(1_396_566_060, is_optional=True)
    recipients = (replace(ADA, valid_since=strict), replace(BOB, valid_since=lenient))
    envelope = Envelope(ENVELOPE.reverse_path, recipients)
    sent = sent_by(envelope, "RRVS")[0]
    assert b"<ada@rosewood.test> RRVS=2014-04-03T23:01:00Z\r\n" in sent
    assert b"<bob@rosewood.test> RRVS=2014-04-03T23:01:00Z;C\r\n" in sent
    replies, out = run(offering("PIPELINING").transfer(envelope, b"", now=NOW),
                       [b"250 a\r\n250 b\r\n354 c\r\n", b"250 d\r\n"])  # fmt: skip
    assert [(answer.code, answer.status) for answer in replies] == [(550, "5.7.19"), (250, "")]
    assert out[0] == b"MAIL FROM:<x@harbor.test>\r\nRCPT TO:<bob@rosewood.test>\r\nDATA\r\n"
    alone = Envelope(ENVELOPE.reverse_path, (recipients[0],))
    assert statuses(alone) == ["5.7.19"]


def test_classes_go_on_and_are_not_sent_to_who_refuses_them() -> None:
    """RFC 3865 section 2.7."""
    envelope = replace(ENVELOPE, solicitation=("net.example:ADV", "org.example:X"))
    sent = sent_by(envelope, "NO-SOLICITING com.example:OTHER")[0]
    assert sent.startswith(b"MAIL FROM:<x@harbor.test> SOLICIT=net.example:ADV,org.example:X\r\n")
    assert b"SOLICIT" not in sent_by(envelope)[0]
    assert statuses(envelope, "NO-SOLICITING org.example:X,a:B") == ["5.7.1", "5.7.1"]


@pytest.mark.parametrize(
    ("limits", "recipients", "messages"),
    [("LIMITS RCPTMAX=7 MAILMAX=3", 7, 3), ("LIMITS", 100, 0), ("LIMITS mailmax=0 RCPTMAX=x", 100, 1), ("SIZE 1", 100, 0),
     ("LIMITS RCPTMAX=99999999999999", 100, 0)],
)  # fmt: skip
def test_limits_are_heard(limits: str, recipients: int, messages: int) -> None:
    """RFC 9422; what is no number says nothing."""
    offer = offering(limits).offer
    assert (offer.recipient_limit, offer.message_limit) == (recipients, messages)


def test_an_address_with_brackets_and_a_demand() -> None:
    """Parameters stand behind the path, whatever the path holds."""
    recipient = Recipient(Address("a> RRVS=2014-04-03T23:01:00Z", "d.test"), valid_since=ValidSince(0))
    sent = sent_by(Envelope(None, (recipient,)), "RRVS")[0]
    assert b'RCPT TO:<"a> RRVS=2014-04-03T23:01:00Z"@d.test> RRVS=1970-01-01T00:00:00Z\r\n' in sent
    given = [e.recipient for e in talk([b"EHLO x\r\n" + sent])[1] if isinstance(e, events.RecipientGiven)]
    assert given == [recipient]
