"""What is due, by the policy for missed firings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

import pgflow
from pgflow.errors import DeclarationError, StatementFailed, TargetsFailed
from pgflow.schedule.due import MISSED_AFTER, Firing, due
from pgflow.schedule.patience import LONGEST, pause

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def hours(*numbers: int) -> tuple[datetime, ...]:
    """Full hours of that day."""
    return tuple(NOON.replace(hour=number) for number in numbers)


@pytest.mark.parametrize(
    "catch_up, since, now, expected",
    [
        ("latest", NOON - timedelta(hours=4), NOON, hours(12)),
        ("all", NOON - timedelta(hours=4), NOON, hours(9, 10, 11, 12)),
        ("none", NOON - timedelta(hours=4), NOON, hours(12)),
        # Half an hour late, the newest firing was missed too.
        ("latest", NOON - timedelta(hours=4), NOON + timedelta(minutes=30), hours(12)),
        ("none", NOON - timedelta(hours=4), NOON + timedelta(minutes=30), ()),
        ("none", NOON - timedelta(hours=4), NOON + MISSED_AFTER, hours(12)),
        # Nothing is due twice.
        ("latest", NOON, NOON + timedelta(minutes=59), ()),
        ("all", NOON, NOON + timedelta(minutes=59), ()),
        # A clock that goes back finds nothing.
        ("latest", NOON, NOON - timedelta(hours=3), ()),
        ("all", NOON, NOON - timedelta(hours=3), ()),
        # Nobody knows since when: the newest one.
        ("latest", None, NOON, hours(12)),
        ("all", None, NOON, hours(12)),
        ("none", None, NOON + timedelta(minutes=30), ()),
    ],
)
def test_catching_up(
    catch_up: str, since: datetime | None, now: datetime, expected: tuple[datetime, ...]
) -> None:
    """`latest` fires the newest missed instant, `all` each, `none` none."""
    schedule = pgflow.Schedule("0 * * * *", catch_up=catch_up)
    assert due(schedule, since, now) == expected


def test_a_firing_is_the_same_in_every_zone() -> None:
    """Two spellings of one instant are one firing."""
    vienna = timezone(timedelta(hours=1))
    one, other = Firing("p", NOON), Firing("p", NOON.astimezone(vienna))
    assert one == other
    assert one.text == other.text == "2026-03-01T12:00:00+00:00"
    assert str(one) == "p of 2026-03-01 12:00 UTC"


FAILED = StatementFailed("x", purpose="", statement="", sqlstate=None, diagnostic="")


def test_waits_double_until_the_retries_are_used_up() -> None:
    """A firing is tried again as often as its schedule says, each time later."""
    schedule = pgflow.Schedule("0 * * * *", retries=3, retry_delay=timedelta(seconds=10))
    assert [pause(schedule, FAILED, tried) for tried in range(5)] == [10, 20, 40, None, None]
    patient = pgflow.Schedule("0 * * * *", retries=5000)
    assert pause(patient, FAILED, 4000) == LONGEST


def test_what_another_attempt_would_meet_again_is_not_tried_again() -> None:
    """A declaration has to be mended first, also if it is one target's of several."""
    schedule = pgflow.Schedule("0 * * * *")
    error = DeclarationError("wrong")
    several = TargetsFailed("wrong", result=None)
    several.__cause__ = error
    assert pause(schedule, error, 0) is None
    assert pause(schedule, several, 0) is None
