"""The letters of the lab."""

import datetime
import itertools

from letterlock.formats.mime.entity import parse
from letterlock.lab import plan as plans
from letterlock.lab.letters import letters


def test_every_letter_is_whole_and_fit_to_send() -> None:
    """Distinct Message-IDs, CRLF line ends only, lines of at most 998 octets, no defects."""
    plan = plans.draw(lambda _: 9, lambda: "password")
    counter = itertools.count()
    written = letters(plan, datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC), lambda: f"t{next(counter)}")
    assert len({letter.message_id for letter in written}) == len(written) == 8
    for letter in written:
        assert letter.octets.count(b"\n") == letter.octets.count(b"\r\n") == letter.octets.count(b"\r")
        assert max(map(len, letter.octets.split(b"\r\n"))) <= 998
        assert parse(letter.octets).all_defects() == []
    assert max(len(letter.octets) for letter in written) > 2_000_000
    assert any(not letter.octets.isascii() for letter in written)
