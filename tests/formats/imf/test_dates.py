"""Dates, read leniently and written exactly."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.errors import Malformed
from letterlock.formats.defect import Defect, Kind
from letterlock.formats.imf.dates import UNKNOWN_ZONE, parse_date, read_date, write_date

WEST = timezone(timedelta(hours=-6))


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("Fri, 21 Nov 1997 09:55:06 -0600", datetime(1997, 11, 21, 9, 55, 6, tzinfo=WEST)),
        ("Tue, 1 Jul 2003 10:52:37 +0200", datetime(2003, 7, 1, 8, 52, 37, tzinfo=UTC)),
        ("Thu, 13 Feb 1969 23:32:54 -0330", datetime(1969, 2, 14, 3, 2, 54, tzinfo=UTC)),
        # RFC 5322 appendix A.5 and A.6.2
        ("Thu,         13           Feb             1969         23:32                  -0330 (Newfoundland Time)",
         datetime(1969, 2, 14, 3, 2, tzinfo=UTC)),
        ("21 Nov 97 09:55:06 GMT", datetime(1997, 11, 21, 9, 55, 6, tzinfo=UTC)),
        ("Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", datetime(1997, 11, 21, 9, 55, 6, tzinfo=WEST)),
        # the wild
        ("Mon Nov 23 13:15:15 2026", datetime(2026, 11, 23, 13, 15, 15, tzinfo=UTC)),
        ("23-Nov-2026 13:15:15 +0000", datetime(2026, 11, 23, 13, 15, 15, tzinfo=UTC)),
        ("Mon, 23 Nov 2026 13:15:60 +0000", datetime(2026, 11, 23, 13, 15, 59, tzinfo=UTC)),
        ("Mon, 23 Nov 126 13:15 EST", datetime(2026, 11, 23, 18, 15, tzinfo=UTC)),
        ("01 Jan 2001 00:01+0000", datetime(2001, 1, 1, 0, 1, tzinfo=UTC)),
        ("1 Jan 49 00:00:00 Z", datetime(2049, 1, 1, tzinfo=UTC)),
    ],
)  # fmt: skip
def test_reads(value: str, moment: datetime) -> None:
    """RFC 5322 sections 3.3 and 4.3."""
    assert parse_date(value) == moment


@pytest.mark.parametrize("value", ["", "x", "32 Nov 2026 00:00:00 +0000", "1 Foo 2026 00:00 +0000", "1 Jan 2026 24:00 Z",
                                   "1 Jan 2026", "1 Jan 2026 0 +0000", "1-2-3", "٣ Jan 2026 00:00:00 +0000"])  # fmt: skip
def test_refuses_what_is_no_date(value: str) -> None:
    """The lenient reader says None and why, the strict one raises."""
    defects: list[Defect] = []
    assert parse_date(value, defects) is None
    assert Kind.BAD_DATE in {defect.kind for defect in defects}
    with pytest.raises(Malformed):
        read_date(value)


def test_an_unknown_zone_stays_unknown() -> None:
    """RFC 5322 section 3.3: -0000 says nothing about the local zone."""
    moment = read_date("Mon, 23 Nov 2026 13:15:15 -0000")
    assert moment.tzinfo is UNKNOWN_ZONE
    assert write_date(moment) == "Mon, 23 Nov 2026 13:15:15 -0000"
    assert read_date("23 Nov 2026 13:15:15 A").tzinfo is UNKNOWN_ZONE


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2999, 12, 31)),
    st.integers(-12 * 60, 14 * 60),
)
def test_what_is_written_is_read_back(moment: datetime, minutes: int) -> None:
    """To the second, in its zone."""
    aware = moment.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
    read = read_date(write_date(aware))
    assert (read, read.utcoffset()) == (aware, aware.utcoffset())


@given(st.text(max_size=60))
def test_any_text_is_read(value: str) -> None:
    """Nothing raises."""
    parse_date(value)
