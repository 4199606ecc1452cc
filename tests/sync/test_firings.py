"""Runs that a schedule asked for: `sync(firing=...)` runs each firing once to success."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

import pgflow
from pgflow import checks
from pgflow.errors import InvalidInstant, OtherLayout, TargetsFailed

if TYPE_CHECKING:
    from conftest import World

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def history(world: World) -> list[Any]:
    """The history of runs, in order."""
    return world.run("SELECT target, status, details FROM pgflow.runs ORDER BY started_at, target")


def test_a_firing_is_run_once_and_a_run_without_one_every_time(world: World) -> None:
    """The second run of a firing does nothing and says so; ordinary runs are not counted."""
    world.fill((1, "x", 1))
    pipe = world.pipe(world.table(), mode="append")
    first = pipe.sync(firing=NOON)
    world.fill((2, "y", 2))
    second = pipe.sync(firing=NOON.astimezone())
    assert (first.inserted, second.inserted, second.read) == (1, 0, 0)
    assert second.targets[0].details == {"settled_by": str(first.run_id)}
    assert pipe.sync().inserted == 1
    world.fill((3, "z", 3))
    assert pipe.sync(firing=NOON + timedelta(hours=1)).inserted == 1
    told = [(status, (details or {}).get("firing")) for _, status, details in history(world)]
    assert told == [
        ("success", "2026-07-01T12:00:00+00:00"),
        ("abandoned", "2026-07-01T12:00:00+00:00"),
        ("success", None),
        ("success", "2026-07-01T13:00:00+00:00"),
    ]


def test_a_firing_that_failed_is_run_again(world: World) -> None:
    """Only success settles a firing; the failure bears its instant as well."""
    world.fill((1, "x", 1), (1, "y", 1))
    pipe = world.pipe(world.table(), mode="merge")
    with pytest.raises(pgflow.PgflowError):
        pipe.sync(firing=NOON)
    world.fill((1, "x", 1))
    assert pipe.sync(firing=NOON).inserted == 1
    assert [(status, details["firing"][:16]) for _, status, details in history(world)] == [
        ("failed", "2026-07-01T12:00"),
        ("success", "2026-07-01T12:00"),
    ]


def test_targets_that_have_it_are_left_alone(world: World) -> None:
    """Where one of several targets failed, the next attempt runs only that one."""
    world.fill((1, "x", 1))
    one, two = world.table("one"), world.table("two")
    pipe = world.pipe(None, targets=[one, two], mode="append", name="both")
    world.run("ALTER TABLE w.two ADD CHECK (id > 1)")
    with pytest.raises(TargetsFailed):
        pipe.sync(firing=NOON)
    world.run("ALTER TABLE w.two DROP CONSTRAINT two_id_check")
    result = pipe.sync(firing=NOON)
    assert [each.inserted for each in result.targets] == [0, 1]
    assert "settled_by" in result.targets[0].details
    assert world.run("SELECT (SELECT count(*) FROM w.one), (SELECT count(*) FROM w.two)") == [
        (1, 1)
    ]


def test_the_function_is_given_the_instant_by_its_schedules_clocks(world: World) -> None:
    """`scheduled_at` is the firing's instant in the schedule's zone, and stands in the history."""
    seen: list[datetime] = []

    def body(*, scheduled_at: datetime) -> str:
        seen.append(scheduled_at)
        return "SELECT id, a, b FROM w.s"

    schedule = pgflow.Schedule("0 * * * *", timezone="Europe/Vienna")
    pipe = world.pipe(world.table(), None, body=body, mode="append", schedule=schedule)
    pipe.sync(firing=NOON)
    assert seen == [NOON]
    assert (seen[0].hour, str(seen[0].tzinfo)) == (14, "Europe/Vienna")
    parameters = world.run("SELECT parameters FROM pgflow.runs")
    assert parameters == [({"scheduled_at": "2026-07-01 14:00:00+02:00"},)]
    given = datetime(2020, 1, 1, tzinfo=UTC)
    pipe.sync(scheduled_at=given)
    assert seen[-1] == given


@pytest.mark.parametrize(
    "firing, message",
    [
        (datetime(2026, 7, 1), "has no time zone, so it names no instant"),
        (datetime(2999, 1, 1, tzinfo=UTC), "lies more than a day ahead of the server's clock"),
    ],
)
def test_what_is_no_instant_of_a_firing_is_refused(
    world: World, firing: datetime, message: str
) -> None:
    """An instant needs a zone, and its time has to have come."""
    pipe = world.pipe(world.table(), mode="append")
    with pytest.raises(InvalidInstant, match=message):
        pipe.sync(firing=firing)
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]


def test_a_history_that_cannot_hold_firings_is_refused(world: World) -> None:
    """A history of the first layout has no place for a firing, so nothing is run."""
    pipe = world.pipe(world.table(), mode="append")
    world.run("ALTER TABLE pgflow.runs DROP COLUMN details, DROP COLUMN rejected")
    world.run("COMMENT ON TABLE pgflow.runs IS 'pgflow bookkeeping, layout 1: every run'")
    with pytest.raises(OtherLayout, match="firings of schedules need layout 2. Migrate it"):
        pipe.sync(firing=NOON)
    world.fill((1, "x", 1))
    assert pipe.sync().inserted == 1


def test_a_firing_in_the_callers_transaction_is_settled_when_that_commits(world: World) -> None:
    """A rollback by the caller leaves the firing to be run."""
    world.fill((1, "x", 1))
    pipe = world.pipe(world.table(), mode="append")
    with world.engine.connect() as live, live.begin() as transaction:
        assert pipe.sync(firing=NOON, connection=live).inserted == 1
        transaction.rollback()
    assert pipe.sync(firing=NOON).inserted == 1


def test_details_of_a_run_stand_beside_its_firing(world: World) -> None:
    """What a run finds out about its rows does not push the firing out of the history."""
    world.fill((1, "x", 1), (2, None, 2))
    check = checks.NotNull("a", severity="warning")
    world.pipe(world.table(), mode="merge", checks=[check]).sync(firing=NOON)
    details = history(world)[0][2]
    assert details["firing"] == "2026-07-01T12:00:00+00:00"
    assert len(details) == 2
