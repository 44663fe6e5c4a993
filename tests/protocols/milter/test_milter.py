"""The milter protocol: what a filter sees, what it may want, and what it may not do."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.errors import PeerFault
from letterlock.protocols.milter.client import (
    Change,
    Judgement,
    Packet,
    PacketReader,
    Subject,
    Wish,
    apply_changes,
    consult,
)

CONTENT = b"From: a@b.test\r\nSubject: x\r\n y\r\nX-Old: 1\r\nX-Old: 2\r\n\r\n" + b"body\r\n" * 20_000
SUBJECT = Subject("client.test", "192.0.2.1", 4711, "a@b.test", ("c@d.test", "e@d.test"), CONTENT, {"M": {"i": "42"}})


def agree(actions: int = 0x11, protocol: int = 0) -> Packet:
    """A filter's side of the negotiation."""
    return Packet("O", struct.pack("!III", 6, actions, protocol))


def run(answers: dict[str, list[Packet]], subject: Subject = SUBJECT) -> tuple[Judgement, list[Packet]]:
    """Consult a filter that answers each letter in turn from a list, and goes on where there is none."""
    consultation = consult(subject)
    seen: list[Packet] = []
    last = ""
    octets, awaited = next(consultation)
    try:
        while True:
            if octets:
                reader = PacketReader()
                reader.receive(octets)
                packet = reader.next_packet()
                assert packet is not None
                seen.append(packet)
                last = packet.letter
            if not awaited:
                octets, awaited = next(consultation)
                continue
            waiting = answers.get(last, [])
            octets, awaited = consultation.send(waiting.pop(0) if waiting else Packet("c"))
    except StopIteration as stop:
        judgement: Judgement = stop.value
        return judgement, seen


def test_a_filter_sees_the_whole_session() -> None:
    """Connection, name, sender, recipients, fields, body in pieces, in their order; macros go before their stage."""
    judgement, seen = run({"O": [agree()]})
    assert judgement == Judgement(Wish.ACCEPT)
    assert [packet.letter for packet in seen] == [*"OCHDMRRTLLLLNBBE"]
    by_letter = {packet.letter: packet.data for packet in seen}
    assert by_letter["C"] == b"[192.0.2.1]\x004" + struct.pack("!H", 4711) + b"192.0.2.1\0"
    assert by_letter["D"] == b"Mi\x0042\0"
    assert by_letter["M"] == b"<a@b.test>\0"
    assert [packet.data for packet in seen if packet.letter == "L"][1] == b"Subject\0x\n y\0"
    assert b"".join(packet.data for packet in seen if packet.letter == "B") == b"body\r\n" * 20_000


def test_stages_a_filter_does_not_want_are_left_out() -> None:
    """And no answer is awaited where it gives none."""
    _, seen = run({"O": [agree(protocol=0x01 | 0x02 | 0x10 | 0x80)], "L": [Packet("r")]})
    assert [packet.letter for packet in seen] == [*"ODMRRTLLLLNE"]


def test_a_filter_that_has_seen_enough() -> None:
    """SKIP ends the body, not the consultation."""
    _, seen = run({"O": [agree()], "B": [Packet("s")]})
    assert [packet.letter for packet in seen][-2:] == ["B", "E"]


@pytest.mark.parametrize(
    ("answer", "judgement"),
    [
        (Packet("r"), Judgement(Wish.REJECT)),
        (Packet("t"), Judgement(Wish.TEMPORARY_FAILURE)),
        (Packet("d"), Judgement(Wish.DISCARD)),
        (Packet("a"), Judgement(Wish.ACCEPT)),
        (Packet("y", b"550 5.7.1 Spam\0"), Judgement(Wish.REJECT, "550 5.7.1 Spam")),
        (Packet("y", b"451 Later\0"), Judgement(Wish.TEMPORARY_FAILURE, "451 Later")),
    ],
)
@pytest.mark.parametrize("stage", ["C", "M", "R", "L", "B", "E"])
def test_wishes_at_any_stage(stage: str, answer: Packet, judgement: Judgement) -> None:
    """What ends the consultation ends it there."""
    found, seen = run({"O": [agree()], stage: [answer]})
    assert found == judgement
    assert seen[-1].letter == stage


def test_changes_at_the_end() -> None:
    """Fields added, inserted, replaced and taken out; the rest stays octet for octet."""
    changes = [
        Packet("h", b"X-Spam\0no\0"),
        Packet("i", struct.pack("!I", 0) + b"DKIM-Signature\0 v=1;\n\tb=x\0"),
        Packet("m", struct.pack("!I", 2) + b"x-old\0\0"),
        Packet("m", struct.pack("!I", 1) + b"Subject\0z\0"),
        Packet("q", b"odd\0"),
    ]
    judgement, _ = run({"O": [agree(0x31)], "E": [*changes, Packet("c")]})
    assert (judgement.wish, judgement.quarantine, len(judgement.changes)) == (Wish.ACCEPT, "odd", 4)
    assert apply_changes(CONTENT, judgement.changes) == (
        b"DKIM-Signature: v=1;\r\n\tb=x\r\nFrom: a@b.test\r\nSubject: z\r\nX-Old: 1\r\nX-Spam: no\r\n\r\n"
        + b"body\r\n" * 20_000
    )


@pytest.mark.parametrize(
    "change",
    [Change("add", "X: evil\r\nY", "1"), Change("add", "", "1"), Change("add", "X Y", "1")],
)
def test_names_that_are_none(change: Change) -> None:
    """A filter cannot smuggle a field into a name."""
    with pytest.raises(PeerFault):
        apply_changes(CONTENT, (change,))


@given(st.text(max_size=40))
def test_a_value_never_ends_the_header(value: str) -> None:
    """Whatever a filter writes, the body begins where it began and one field was added."""
    changed = apply_changes(CONTENT, (Change("insert", "X-Any", value),))
    assert changed.endswith(CONTENT)
    added = changed[: -len(CONTENT)]
    assert added.startswith(b"X-Any:")
    assert all(line[:1] in (b" ", b"\t") for line in added.split(b"\r\n")[1:-1])
    assert b"\r\n\r\n" not in added
    assert b"\n" not in added.replace(b"\r\n", b"")


def test_a_new_body_and_other_recipients() -> None:
    """Pieces of a body are put together; recipients come and go without their angle brackets."""
    end = [Packet("b", b"new "), Packet("+", b"<x@d.test>\0"), Packet("2", b"<y@d.test>\0NOTIFY=NEVER\0")]
    end += [Packet("b", b"body\n.\rend"), Packet("-", b"<c@d.test>\0"), Packet("c")]
    judgement, _ = run({"O": [agree(0x3F)], "E": end})
    assert (judgement.added_recipients, judgement.removed_recipients) == (("x@d.test", "y@d.test"), ("c@d.test",))
    changed = apply_changes(CONTENT, (Change("add", "X-Seen", "yes"),), judgement.body)
    assert changed == CONTENT[: CONTENT.index(b"\r\n\r\n") + 2] + b"X-Seen: yes\r\n\r\nnew body\r\n.\r\nend\r\n"
    assert apply_changes(CONTENT, (), b"") == CONTENT[: CONTENT.index(b"\r\n\r\n") + 4]


def test_a_body_without_bound() -> None:
    """More than twice the old one and a mebibyte is no new body."""
    piece = Packet("b", b"x" * 1_000_000)
    with pytest.raises(PeerFault, match="body without end"):
        run({"O": [agree(0x3F)], "E": [piece] * 3 + [Packet("c")]})


@pytest.mark.parametrize(
    "answers",
    [
        {"O": [Packet("c")]},
        {"O": [agree(actions=0x40)]},
        {"O": [Packet("O", b"12")]},
        {"O": [agree()], "M": [Packet("h", b"a\0b\0")]},
        {"O": [agree()], "E": [Packet("i", b"1")]},
        {"O": [agree()], "E": [Packet("h", b"only")]},
        {"O": [agree()], "E": [Packet("h", b"a\0b\0")] * 2000},
        {"O": [agree()], "C": [Packet("?")]},
    ],
)
def test_filters_that_break_the_protocol(answers: dict[str, list[Packet]]) -> None:
    """Demands that were not offered, changes before the end, changes without end."""
    with pytest.raises(PeerFault):
        run(answers)


def test_packets_without_bound() -> None:
    """A length of gigabytes is refused before anything is kept."""
    reader = PacketReader()
    reader.receive(struct.pack("!I", 1 << 30) + b"c")
    with pytest.raises(PeerFault):
        reader.next_packet()
