"""Dates of messages, read leniently and written exactly.

A zone of `-0000` (and the obsolete military letters) says that the local zone is not known: the moment is in UTC and
its `tzinfo` is `UNKNOWN_ZONE`, which is written as `-0000` again.

Standards: RFC 5322 section 3.3, section 4.3 (two- and three-digit years, named zones).
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from letterlock.errors import Malformed
from letterlock.formats.defect import Defect, Kind
from letterlock.formats.grammar import Sort, tokens

UNKNOWN_ZONE = timezone(timedelta(0), "-0000")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_ZONES = {"ut": 0, "utc": 0, "gmt": 0, "z": 0, "est": -300, "edt": -240, "cst": -360, "cdt": -300,
          "mst": -420, "mdt": -360, "pst": -480, "pdt": -420}  # fmt: skip
_GLUED = re.compile(r"([0-9:.]+)([+-][0-9]{4})")
_MODERN = re.compile(
    r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),[ \t]+)?([0-9]{1,2})[ \t]+([A-Za-z]{3})[ \t]+([0-9]{4})[ \t]+"
    r"([0-9]{2}):([0-9]{2})(?::([0-9]{2}))?[ \t]+([+-])([0-9]{2})([0-9]{2})(?:[ \t]*\([^()\\]*\))?[ \t]*"
)


def parse_date(value: str, defects: list[Defect] | None = None) -> datetime | None:
    """Return the moment an unfolded date names, always with a zone; None (and a defect) where it cannot be read."""
    problems: list[Defect] = [] if defects is None else defects
    modern = _MODERN.fullmatch(value.strip(" \t"))
    if modern:
        day, month, year, hour, minute, second, sign, zone_hour, zone_minute = modern.groups()
        minutes = int(zone_hour) * 60 + int(zone_minute)
        unknown = sign == "-" and not minutes
        moment = _moment(
            int(year), month, int(day), int(hour), int(minute), int(second or 0), -minutes if sign == "-" else minutes,
            unknown=unknown,
        )  # fmt: skip
    else:
        moment = _parse_obsolete(value, problems)
    if moment is None:
        problems.append(Defect(Kind.BAD_DATE))
    return moment


def read_date(value: str) -> datetime:
    """Return the moment a date names. Raises Malformed where `parse_date` returns None."""
    moment = parse_date(value)
    if moment is None:
        raise Malformed("a date that cannot be read", clause="RFC 5322 section 3.3")
    return moment


def write_date(moment: datetime) -> str:
    """Return a moment (with a zone) as a date field's value: `Mon, 23 Nov 2026 13:15:15 +0000`."""
    offset = moment.utcoffset()
    if offset is None:
        raise ValueError("a date without a zone")
    minutes = round(offset.total_seconds() / 60)
    zone = (
        "-0000"
        if moment.tzinfo is UNKNOWN_ZONE
        else f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}{abs(minutes) % 60:02}"
    )
    month = _MONTHS[moment.month - 1].capitalize()
    return (
        f"{_DAYS[moment.weekday()]}, {moment.day:02} {month} {moment.year:04} "
        f"{moment.hour:02}:{moment.minute:02}:{moment.second:02} {zone}"
    )


def _moment(
    year: int, month: str, day: int, hour: int, minute: int, second: int, zone_minutes: int, *, unknown: bool
) -> datetime | None:
    """Return the moment of checked numbers; a leap second is the second before it."""
    name = month[:3].lower()
    if name not in _MONTHS:
        return None
    zone = UNKNOWN_ZONE if unknown else timezone(timedelta(minutes=zone_minutes)) if abs(zone_minutes) < 1440 else None
    try:
        return datetime(year, _MONTHS.index(name) + 1, day, hour, minute, min(second, 59), tzinfo=zone or UNKNOWN_ZONE)
    except ValueError:
        return None


def _parse_obsolete(value: str, defects: list[Defect]) -> datetime | None:
    """Read comments anywhere, missing seconds, short years, named zones, and the order of asctime."""
    if len(value) > 1000:
        return None
    words = [token.text for token in tokens(value, defects) if token.sort is not Sort.COMMENT and token.text != ","]
    text = " ".join(words).replace(" : ", ":").replace(" . ", ".")
    words = text.replace(",", " ").split()
    if words and words[0][:3].title() in _DAYS and words[0].rstrip(".").isalpha():
        words = words[1:]
    # QUIRK asctime-date: month, day, time, year, as in "Nov 23 13:15:15 2026"
    if len(words) >= 4 and words[0][:3].lower() in _MONTHS and ":" in words[2]:
        words = [words[1], words[0], words[3], words[2], *words[4:]]
    if len(words) == 1 and words[0].count("-") == 2:
        return None
    if words and words[0].count("-") == 2:  # QUIRK hyphen-date: hyphens in the date, as in "23-Nov-2026"
        words = [*words[0].split("-"), *words[1:]]
    if len(words) >= 4 and (glued := _GLUED.fullmatch(words[3])):  # QUIRK glued-zone: no space before the zone
        words[3:4] = glued.groups()
    if len(words) < 4:
        return None
    defects.append(Defect(Kind.OBSOLETE_DATE))
    day, month, year, clock, *zone = words
    times = clock.replace(".", ":").split(":")
    numbers = [day, year, *times]
    if not 2 <= len(times) <= 3 or not all(
        number.isascii() and number.isdigit() and len(number) <= 4 for number in numbers
    ):
        return None
    full_year = int(year)
    if len(year) <= 2:  # RFC 5322 section 4.3
        full_year += 2000 if full_year < 50 else 1900
    elif len(year) == 3:
        full_year += 1900
    minutes, unknown = _zone("".join(zone[:1]) if zone and zone[0] not in "+-" else "".join(zone[:2]))
    seconds = int(times[2]) if len(times) == 3 else 0
    if seconds > 60:
        return None
    return _moment(full_year, month, int(day), int(times[0]), int(times[1]), seconds, minutes, unknown=unknown)


def _zone(word: str) -> tuple[int, bool]:
    """Return a zone in minutes, and whether it is unknown."""
    number = word[1:]
    if word[:1] in {"+", "-"} and number.isascii() and number.isdigit() and len(number) == 4:
        minutes = int(number[:2]) * 60 + int(number[2:])
        return (-minutes if word[0] == "-" else minutes), word == "-0000"
    named = _ZONES.get(word.lower())
    return (0, True) if named is None else (named, False)
