"""`pgflow retry`: what failed runs again as it was, and nothing else does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Invoke, Place

DAILY = """
from datetime import date, timedelta

def daily(conn, *, day: date, many: int = 1, window: timedelta = timedelta(days=1)):
    return f"SELECT {day.day} * 100 + i AS id, gate.pass() AS v FROM generate_series(1, {many}) i"

made = pgflow.Pipeline("daily", target=make("daily"), mode="merge", body=daily)
"""

FAN = """
fan = pgflow.Pipeline(
    "fan", targets=[make("one"), make("two"), make("three")], mode="append", keys=None,
    source="SELECT i AS id, gate.pass() AS v FROM generate_series(1, 2) AS i",
)
"""

FUNCTION = "CREATE OR REPLACE FUNCTION gate.pass() RETURNS text LANGUAGE sql AS '{}'"


def shut(place: Place) -> None:
    """Have the server's function fail that pipelines call."""
    place.execute("CREATE SCHEMA IF NOT EXISTS gate")
    place.execute(FUNCTION.format("SELECT (1 / 0)::text"))


def unlock(place: Place) -> None:
    """Have it succeed."""
    place.execute("CREATE SCHEMA IF NOT EXISTS gate")
    place.execute(FUNCTION.format("SELECT ''x''"))


@pytest.fixture
def daily(place: Place) -> Place:
    """A project with a pipeline that has parameters, and fails."""
    place.write(DAILY)
    place.create()
    shut(place)
    return place


def test_without_a_failure_there_is_nothing_to_do(ready: Place, invoke: Invoke) -> None:
    """That is no error, also for whoever has never run anything."""
    assert invoke("sync", "raw").code == 0
    ran = invoke("retry")
    assert (ran.code, ran.out, ran.err) == (0, "", "nothing failed\n")
    assert invoke("retry", "--format", "json").json == []
    shown = invoke("retry", "--dry-run")
    assert (shown.code, shown.out, shown.err) == (0, "", "nothing failed\n")


def test_what_failed_runs_again_with_its_parameters(daily: Place, invoke: Invoke) -> None:
    """Once it has succeeded it has no more to be repeated; what succeeded is left alone."""
    assert invoke("sync", "raw").code == 0
    assert invoke("sync", "daily", "-p", "day=2024-03-02", "-p", "many=3").code == 1
    again = invoke("retry")
    assert again.code == 1
    assert [row[0] for row in again.rows[1:]] == ["daily"]
    unlock(daily)
    ran = invoke("retry", "--format", "json")
    assert [(each["pipeline"], each["inserted"]) for each in ran.json] == [("daily", 3)]
    assert daily.execute("SELECT min(id), max(id) FROM warehouse.daily") == [(201, 203)]
    assert daily.execute(
        "SELECT DISTINCT parameters::text FROM pgflow.runs WHERE pipeline = 'daily'"
    ) == [('{"day": "2024-03-02", "many": 3, "window": "1 day, 0:00:00"}',)]
    assert invoke("retry").err == "nothing failed\n"


def test_what_would_run_can_be_looked_at(daily: Place, invoke: Invoke) -> None:
    """--dry-run shows each target with parameters and error, and runs nothing."""
    invoke("sync", "daily", "-p", "day=2024-03-02", "--effective-at", "2024-03-02T00:00:00Z")
    ran = invoke("retry", "--dry-run")
    assert ran.code == 0
    assert ran.rows[0] == ["pipeline", "target", "parameters", "failed", "status", "error"]
    assert ran.rows[1][:3] == ["daily", "warehouse.daily", "day=2024-03-02"]
    assert "effective at 2024-03-02T00:00:00Z" in ran.out
    assert "division by zero" in ran.out
    (told,) = invoke("retry", "--dry-run", "--format", "json").json
    assert told["targets"] == ["warehouse.daily"]
    assert told["parameters"]["day"] == "2024-03-02"
    assert told["effective_at"] == "2024-03-02T00:00:00+00:00"
    assert [run["status"] for run in told["failed"]] == ["failed"]
    assert daily.execute("SELECT count(*) FROM pgflow.runs") == [(1,)]


def test_the_instant_of_the_run_is_kept(place: Place, invoke: Invoke) -> None:
    """A failed replay of the past is repeated as a replay of the past."""
    place.write(
        'past = pgflow.Pipeline("past", target=make("past"), mode="scd2",'
        ' source="SELECT 1 AS id, gate.pass() AS v")\n'
    )
    place.create()
    shut(place)
    assert invoke("sync", "past", "--effective-at", "2013-01-02T00:00:00Z").code == 1
    unlock(place)
    assert invoke("retry").code == 0
    assert place.execute("SELECT (valid_from AT TIME ZONE 'UTC')::text FROM warehouse.past") == [
        ("2013-01-02 00:00:00",)
    ]


def test_the_firing_of_a_schedule_is_kept(place: Place, invoke: Invoke) -> None:
    """What a schedule asked for is settled by the repetition: no worker runs it once more."""
    place.write(
        "from datetime import datetime\n"
        "def hourly(*, scheduled_at: datetime):\n"
        '    return f"SELECT {scheduled_at.hour} AS id, gate.pass() AS v"\n'
        'made = pgflow.Pipeline("hourly", target=make("hourly"), mode="append", keys=None,'
        ' body=hourly, schedule="0 * * * *")\n'
    )
    place.create()
    shut(place)
    at = "2024-03-02T07:00:00+00:00"
    assert invoke("run-due", "hourly", "--firing", at).code == 1
    unlock(place)
    ran = invoke("retry")
    assert (ran.code, ran.err.count("inserted 1")) == (0, 1)
    assert invoke("run-due", "hourly", "--firing", at).code == 0
    assert place.execute("SELECT id FROM warehouse.hourly") == [(7,)]


def test_only_targets_that_failed_or_were_not_begun_run_again(place: Place, invoke: Invoke) -> None:
    """Rows that were appended to the other targets are not appended twice."""
    place.write(FAN)
    place.create()
    unlock(place)
    place.execute("ALTER TABLE warehouse.two ADD CONSTRAINT shut CHECK (id > 9)")
    assert invoke("sync", "fan").code == 1
    shown = invoke("retry", "--dry-run").rows[1:]
    assert shown[0][:2] == ["fan", "warehouse.two"]
    assert shown[1][:6] == ["fan", "warehouse.three", "-", "-", "not", "run"]
    place.execute("ALTER TABLE warehouse.two DROP CONSTRAINT shut")
    ran = invoke("retry")
    assert (ran.code, [row[1] for row in ran.rows[1:]]) == (
        0,
        ["warehouse.two", "warehouse.three"],
    )
    for table in ("one", "two", "three"):
        assert place.execute(f"SELECT count(*) FROM warehouse.{table}") == [(2,)]
    assert invoke("retry").err == "nothing failed\n"


def test_targets_that_were_begun_after_the_failure_are_left_alone(
    place: Place, invoke: Invoke
) -> None:
    """With continue_on_failure the later targets have their rows already."""
    place.write(FAN.replace('mode="append"', 'mode="append", continue_on_failure=True'))
    place.create()
    unlock(place)
    place.execute("ALTER TABLE warehouse.one ADD CONSTRAINT shut CHECK (id > 9)")
    assert invoke("sync", "fan").code == 1
    place.execute("ALTER TABLE warehouse.one DROP CONSTRAINT shut")
    ran = invoke("retry")
    assert (ran.code, [row[1] for row in ran.rows[1:]]) == (0, ["warehouse.one"])
    for table in ("one", "two", "three"):
        assert place.execute(f"SELECT count(*) FROM warehouse.{table}") == [(2,)]


def test_names_exclusions_and_a_time_narrow_it_down(place: Place, invoke: Invoke) -> None:
    """Only what is asked for is repeated; a word that fits nothing is an error."""
    line = (
        '{0} = pgflow.Pipeline("{0}", target=make("{0}"), mode="merge",'
        ' source="SELECT 1 AS id, gate.pass() AS v", tags=("{1}",))\n'
    )
    place.write(line.format("a", "x") + line.format("b", "x") + line.format("c", "y"))
    place.create()
    shut(place)
    assert invoke("sync", "a", "b", "c", "--continue").code == 1
    place.execute("UPDATE pgflow.runs SET started_at = now() - interval '3 days'"
                  " WHERE pipeline = 'a'")  # fmt: skip

    def shown(*words: str) -> list[str]:
        return [each["pipeline"] for each in invoke("retry", "--dry-run", "--format", "json",
                                                    *words).json]  # fmt: skip

    assert shown() == ["a", "b", "c"]
    assert shown("tag:x") == ["a", "b"]
    assert shown("--exclude", "tag:x") == ["c"]
    assert shown("--since", "1d") == ["b", "c"]
    assert shown("c", "--since", "2100-01-01T00:00:00Z") == []
    assert invoke("retry", "d").code == 2
    assert invoke("retry", "--since", "tomorrow").code == 2
    unlock(place)
    assert invoke("retry", "tag:x", "-j", "1").code == 0
    assert place.execute("SELECT count(*) FROM warehouse.c") == [(0,)]


def test_earlier_failures_with_other_parameters_are_told(daily: Place, invoke: Invoke) -> None:
    """The latest run decides; a day that failed before it is named, and repeated if asked for."""
    assert invoke("sync", "daily", "-p", "day=2024-03-01").code == 1
    assert invoke("sync", "daily", "-p", "day=2024-03-02").code == 1
    unlock(daily)
    assert invoke("sync", "daily", "-p", "day=2024-03-03").code == 0
    ran = invoke("retry")
    assert ran.code == 0
    assert ran.err.splitlines() == [
        "nothing failed",
        "not repeated: 2 earlier runs of daily, which failed with parameters with which none has "
        "succeeded since; --earlier repeats them too.",
    ]
    ran = invoke("retry", "--earlier")
    assert (ran.code, [row[0] for row in ran.rows[1:]]) == (0, ["daily", "daily"])
    assert daily.execute("SELECT id FROM warehouse.daily ORDER BY id") == [(101,), (201,), (301,)]
    assert invoke("retry", "--earlier").err == "nothing failed\n"


@pytest.mark.parametrize(
    ("before", "after", "parameter", "why"),
    [
        ("", "", "", ""),
        ("many: int = 1, ", "", "many", "which the function does not take any more"),
        ("many: int", "other: int, many: int", "other", "which was not there then"),
        ("many: int = 1", "many: list = ()", "many", "which cannot be read from the history"),
    ],
)
def test_what_cannot_be_repeated_as_it_was_is_refused(
    daily: Place, invoke: Invoke, before: str, after: str, parameter: str, why: str
) -> None:
    """A function that has changed, or a value that the history cannot give back, stops it all."""
    assert invoke("sync", "raw", "daily", "-p", "day=2024-03-02", "-p", "many=2").code == 1
    daily.execute("UPDATE pgflow.runs SET status = 'failed' WHERE pipeline = 'raw'")
    unlock(daily)
    daily.write(DAILY.replace(before, after, 1).replace("1, {many}", "1, 2"))
    ran = invoke("retry")
    if not parameter:
        assert ran.code == 0
        return
    assert (ran.code, ran.out) == (1, "")
    assert f"of 'daily' cannot be repeated: it has the parameter {parameter!r}" in ran.err
    assert why in ran.err
    assert "pgflow sync daily --param day=2024-03-02" in ran.err
    assert daily.execute("SELECT count(*) FROM pgflow.runs") == [(2,)]
    assert invoke("retry", "--exclude", "daily").code == 0


def test_a_run_whose_process_died_is_repeated(ready: Place, invoke: Invoke) -> None:
    """It need not be marked as abandoned before; one that may yet go on is named."""
    assert invoke("sync", "raw").code == 0
    ready.execute("UPDATE pgflow.runs SET status = 'running', started_at = now()")
    ran = invoke("retry")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.startswith("nothing failed\nnot repeated: raw, of which a run shows as running.")
    ready.execute(
        "UPDATE pgflow.runs SET status = 'running', started_at = now() - interval '1 minute'"
    )
    ran = invoke("retry")
    assert (ran.code, [row[0] for row in ran.rows[1:]]) == (0, ["raw"])
