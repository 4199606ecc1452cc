"""Dates and times into ISO 8601, and never by guessing a time zone."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta, tzinfo

_DATE = r"\d{4,}-\d{2}-\d{2}"
_CLOCK = r"\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?"
_OFFSET = r"(?:\s?[Zz]|\s?[+-]\d{2}(?::?\d{2}(?::\d{2})?)?)"
_ERA = r"(?:\s(?:BC|AD))?"

#: A date; midnight may stand behind it, as databases without a type for dates write it.
_DAY = re.compile(rf"(?:{_DATE}|\d{{8}})(?:[T ]00:00(?::00(?:\.0+)?)?)?{_ERA}\Z")
_LOCAL = re.compile(rf"{_DATE}(?:[T ]{_CLOCK})?{_ERA}\Z")
_ZONED = re.compile(rf"{_DATE}[T ]{_CLOCK}{_OFFSET}{_ERA}\Z")
_ZONED_TIME = re.compile(rf"{_CLOCK}{_OFFSET}\Z")
_LOCAL_TIME = re.compile(rf"{_CLOCK}\Z")

_PLAIN_DAY = r"\d{4}-\d\d-\d\d"
_PLAIN_CLOCK = r"\d\d:\d\d(?::\d\d(?:\.\d+)?)?"
_PLAIN_OFFSET = r"(?:Z|[+-]\d\d(?::?\d\d)?)"

#: What most values look like, by family: the server reads such text the same in every session.
SURE = {
    "date": _PLAIN_DAY,
    "timestamp": f"{_PLAIN_DAY}[T ]{_PLAIN_CLOCK}",
    "instant": f"{_PLAIN_DAY}[T ]{_PLAIN_CLOCK}{_PLAIN_OFFSET}",
    "time": _PLAIN_CLOCK,
    "zoned time": f"{_PLAIN_CLOCK}{_PLAIN_OFFSET}",
}

_ENDLESS = frozenset({"infinity", "-infinity"})

_ADVICE = (
    "; give an offset, or say what such times mean by time_zone= of the source, as in "
    "Query(..., time_zone=), SourceTable(..., time_zone=), CSV(..., time_zone=) or "
    "Rows(..., time_zone=)"
)


def day(value: date) -> str:
    """Write a date."""
    return value.isoformat()


def day_of_midnight(value: datetime) -> str:
    """Write the day of a datetime that is no more than a day, as Oracle's DATE comes."""
    if value.tzinfo is not None or value.time() != time.min:
        raise ValueError("has a time of day, and the column is a date")
    return value.date().isoformat()


def day_text(value: str) -> str:
    """Check a date that is written."""
    if _DAY.match(value) or value in _ENDLESS:
        return value
    raise ValueError("is no ISO 8601 date (YYYY-MM-DD)")


def local(value: datetime, zone: tzinfo | None) -> str:
    """Write a time without a zone."""
    if value.tzinfo is not None:
        if zone is None:
            raise ValueError("has a time zone, and the column has none; say time_zone=")
        value = value.astimezone(zone).replace(tzinfo=None)
    return value.isoformat(" ")


def local_text(value: str, zone: tzinfo | None) -> str:
    """Check a written time without a zone: the server would drop one without a word."""
    if _LOCAL.match(value) or value in _ENDLESS:
        return value
    if _ZONED.match(value):
        return local(_read(value), zone)
    raise ValueError("is no ISO 8601 date and time (YYYY-MM-DD HH:MM:SS)")


def instant(value: datetime, zone: tzinfo | None) -> str:
    """Write an instant."""
    if value.tzinfo is None:
        if zone is None:
            raise ValueError(f"has no time zone, and the column holds instants{_ADVICE}")
        value = value.replace(tzinfo=zone)
    if value.utcoffset() is None:
        raise ValueError("has a time zone that tells no offset")
    return value.isoformat(" ")


def instant_of_day(value: date, zone: tzinfo | None) -> str:
    """Write the instant at which a day begins."""
    return instant(datetime(value.year, value.month, value.day), zone)  # noqa: DTZ001, RUF100


def instant_text(value: str, zone: tzinfo | None) -> str:
    """Check a written instant: without an offset the session's time zone would decide."""
    if _ZONED.match(value) or value in _ENDLESS:
        return value
    if not _LOCAL.match(value):
        raise ValueError(
            "is no ISO 8601 date and time with an offset (YYYY-MM-DD HH:MM:SS+00, or Z for +00)"
        )
    if zone is None:
        raise ValueError(f"has no time zone, and the column holds instants{_ADVICE}")
    return instant(_read(value), zone)


def clock(value: time) -> str:
    """Write a time of day."""
    if value.tzinfo is not None:
        raise ValueError("has a time zone, and the column has none")
    return value.isoformat()


def clock_of_duration(value: timedelta) -> str:
    """Write a time of day that comes as the time since midnight, as MySQL's TIME does."""
    if not timedelta(0) <= value < timedelta(days=1):
        raise ValueError("is no time of day: it is outside of 00:00 to 24:00")
    return (datetime.min + value).time().isoformat()


def clock_text(value: str) -> str:
    """Check a written time of day: the server would drop an offset without a word."""
    if _LOCAL_TIME.match(value):
        return value
    raise ValueError("is no ISO 8601 time (HH:MM:SS) without an offset")


def zoned_clock(value: time) -> str:
    """Write a time of day with its offset."""
    if value.utcoffset() is None:
        raise ValueError("has no offset, and the column needs one")
    return value.isoformat()


def zoned_clock_text(value: str) -> str:
    """Check a written time of day with its offset."""
    if _ZONED_TIME.match(value):
        return value
    raise ValueError("is no ISO 8601 time with an offset (HH:MM:SS+00)")


def duration(value: timedelta) -> str:
    """Write a duration: days apart, as PostgreSQL counts them."""
    return f"{value.days} days +{value.seconds}.{value.microseconds:06} seconds"


def _read(value: str) -> datetime:
    try:
        return datetime.fromisoformat(value.replace(" +", "+").replace(" -", "-"))
    except ValueError as error:
        raise ValueError(f"cannot be brought to time_zone=: {error}") from None
