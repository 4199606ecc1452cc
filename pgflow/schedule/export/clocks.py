"""Days on which clocks change, of which other schedulers have ideas of their own."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from croniter import croniter

from pgflow.declare.schedule import Schedule
from pgflow.schedule.calendar import Calendar

#: The years to come for which the changes of clocks are looked at.
_YEARS = 10


def irregular(schedule: Schedule) -> tuple[datetime, ...]:
    """Return what fires in the years to come although the wall clock alone would not say so.

    Args:
        schedule: The schedule.

    Returns:
        Instants in its own zone; `fold` is 1 for the second of two repeated times.
    """
    begin = datetime(datetime.now(UTC).year, 1, 1, tzinfo=UTC)
    end = begin.replace(year=begin.year + _YEARS)
    return tuple(
        each.astimezone(schedule.zone) for each in Calendar(schedule).irregular(begin, end)
    )


def steady(schedule: Schedule) -> Schedule:
    """Say a schedule of every hour in UTC, where clocks change by whole hours.

    Args:
        schedule: The schedule.

    Returns:
        One that fires at the same instants.
    """
    changes = [each for each in irregular(schedule) if each.fold]
    fields = croniter.expand(schedule.cron)[0]
    around = (each + timedelta(days=days) for each in changes for days in (-1, 1))
    whole = all((each.utcoffset() or timedelta()).seconds % 3600 == 0 for each in around)
    if not changes or not whole or any(field != ["*"] for field in fields[1:]):
        return schedule
    return replace(schedule, timezone="UTC")
