"""When schedules fire, above all where clocks are put forward and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pgflow
from pgflow.errors import InvalidBody, InvalidOption
from pgflow.schedule.calendar import Calendar

VIENNA, NEW_YORK, LORD_HOWE = "Europe/Vienna", "America/New_York", "Australia/Lord_Howe"


def at(text: str) -> datetime:
    """An instant in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def fires(cron: str, zone: str, begin: str, end: str) -> list[str]:
    """When a schedule fires in an interval, in UTC."""
    found = Calendar(pgflow.Schedule(cron, timezone=zone)).between(at(begin), at(end))
    return [f"{each:%d %H:%M}" for each in found]


CHANGES = [
    # Clocks go forward from 2 to 3: what would have fired in between does so once, at 3.
    ("30 2 * * *", VIENNA, "2026-03-28", "2026-03-31", ["28 01:30", "29 01:00", "30 00:30"]),
    ("0,15 2 * * *", VIENNA, "2026-03-29", "2026-03-29T12:00", ["29 01:00"]),
    ("0 2-4 * * *", VIENNA, "2026-03-29", "2026-03-29T12:00", ["29 01:00", "29 02:00"]),
    ("30 2 * * *", NEW_YORK, "2026-03-07", "2026-03-10", ["07 07:30", "08 07:00", "09 06:30"]),
    ("15 2 * * *", LORD_HOWE, "2026-10-03", "2026-10-05", ["03 15:30", "04 15:15"]),
    # Clocks go back from 3 to 2: what fires in the hour that comes twice does so the first time.
    ("30 2 * * *", VIENNA, "2026-10-24", "2026-10-27", ["24 00:30", "25 00:30", "26 01:30"]),
    ("30 1 * * *", NEW_YORK, "2026-10-31", "2026-11-03", ["31 05:30", "01 05:30", "02 06:30"]),
    ("0 0 * * *", VIENNA, "2026-10-24T12:00", "2026-10-26", ["24 22:00", "25 23:00"]),
    # What fires in every hour means time that passes.
    ("0 * * * *", VIENNA, "2026-03-29", "2026-03-29T03:00", ["29 01:00", "29 02:00", "29 03:00"]),
    (
        "*/30 * * * *",
        VIENNA,
        "2026-10-25",
        "2026-10-25T02:30",
        ["25 00:30", "25 01:00", "25 01:30", "25 02:00", "25 02:30"],
    ),
    ("0 0-23 * * *", NEW_YORK, "2026-11-01T04:30", "2026-11-01T07:00",
     ["01 05:00", "01 06:00", "01 07:00"]),
]  # fmt: skip


@pytest.mark.parametrize("cron, zone, begin, end, expected", CHANGES)
def test_clocks_that_change(
    cron: str, zone: str, begin: str, end: str, expected: list[str]
) -> None:
    """A skipped time fires once when clocks have changed, a repeated one the first time."""
    assert fires(cron, zone, begin, end) == expected


@pytest.mark.parametrize("zone", ["UTC", VIENNA, NEW_YORK, LORD_HOWE, "Pacific/Apia"])
@pytest.mark.parametrize("cron", ["30 2 * * *", "*/20 * * * *", "*/20 1-3 * * 0"])
@given(start=st.integers(0, 366 * 24 * 60))
@settings(max_examples=15, deadline=None)
def test_next_and_newest_agree_with_what_lies_between(zone: str, cron: str, start: int) -> None:
    """What fires next, and what fired last, is what stands in the list of all firings."""
    calendar = Calendar(pgflow.Schedule(cron, timezone=zone))
    moment = at("2026-01-01") + timedelta(minutes=start)
    first, second = islice(calendar.between(moment, moment + timedelta(days=30)), 2)
    assert moment < first < second
    assert calendar.next(moment) == first
    assert calendar.newest(first) == first
    assert calendar.newest(second - timedelta(seconds=1)) == first
    assert calendar.newest(moment) <= moment
    assert calendar.next(calendar.newest(moment)) == first


def test_rare_days_are_found() -> None:
    """The 29th of February is found years away, forward and back."""
    calendar = Calendar(pgflow.Schedule("0 0 29 2 *"))
    assert calendar.next(at("2096-03-01")) == at("2104-02-29")
    assert calendar.newest(at("2104-01-01")) == at("2096-02-29")


def test_each_day_of_either_kind_fires() -> None:
    """With a day of the month and one of the week, either is enough, as in cron."""
    found = fires("0 0 13 * 5", "UTC", "2026-11-01", "2026-11-21")
    assert found == ["06 00:00", "13 00:00", "20 00:00"]


@pytest.mark.parametrize(
    "cron",
    ["hourly", "@daily", "61 * * * *", "* * * * * *", "", "H * * * *", "5,R * * * *", None, 5],
)
def test_what_is_no_cron_expression_is_refused(cron: object) -> None:
    """Five fields, and nothing that is drawn by lot: all workers have to find the same instants."""
    with pytest.raises(InvalidOption, match="is no cron expression. Write five fields"):
        pgflow.Schedule(cron)  # type: ignore[arg-type]


def test_a_schedule_that_never_fires_is_refused() -> None:
    """The 30th of February is no day."""
    with pytest.raises(InvalidOption, match="schedule='0 0 30 2 .' never fires"):
        pgflow.Schedule("0 0 30 2 *")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"timezone": "Mars/Olympus"}, "timezone='Mars/Olympus' is no time zone"),
        ({"timezone": "Europe"}, "timezone='Europe' is no time zone"),
        ({"timezone": "../etc/passwd"}, "is no time zone"),
        ({"timezone": None}, "timezone=None is no time zone"),
        ({"catch_up": "some"}, "catch_up='some' is none of 'latest', 'all', 'none'"),
        ({"retries": -1}, "retries=-1 must be a whole number from 0 on"),
        ({"retries": True}, "retries=True must be"),
        ({"retry_delay": 3}, "retry_delay=3 must be a timedelta"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, object], message: str) -> None:
    """A schedule says at once what is wrong with it."""
    with pytest.raises(InvalidOption, match=message):
        pgflow.Schedule("0 * * * *", **options)  # type: ignore[arg-type]


def test_a_pipeline_names_itself_when_its_schedule_is_refused() -> None:
    """The message says whose schedule it is."""
    table = pgflow.SimpleTable("t", "w", pgflow.metadata.__class__(), [])
    with pytest.raises(InvalidOption, match="pipeline 'p': schedule='x' is no cron"):
        pgflow.Pipeline("p", target=table, source="SELECT 1 AS id", mode="append", schedule="x")


def test_scheduled_at_has_to_be_an_instant() -> None:
    """A function that takes `scheduled_at` gets a datetime, so it has to say so."""

    def body(*, scheduled_at: str) -> str:
        return "SELECT 1 AS id"

    table = pgflow.SimpleTable("t", "w", pgflow.metadata.__class__(), [])
    with pytest.raises(InvalidBody, match="'p': its parameter scheduled_at is given the instant"):
        pgflow.Pipeline("p", target=table, body=body, mode="append", schedule="0 * * * *")
