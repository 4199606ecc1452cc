"""`pgflow run-due` and `pgflow export`: schedules without workers."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pgflow.project import Project
from pgflow.schedule.turn import turn_of

if TYPE_CHECKING:
    from conftest import Invoke, Place

#: `p` notes the instants of its firings, and fails at those that stand in `warehouse.bad`.
PIPELINES = """
from datetime import datetime, timedelta

from sqlalchemy import TIMESTAMP, Column, MetaData
import pgflow

metadata = MetaData()


def noted(name, cron="0 * * * *", **schedule):
    columns = [Column("at", TIMESTAMP(timezone=True))]
    table = pgflow.SimpleTable(name, "warehouse", metadata, columns)

    def note(*, scheduled_at: datetime):
        return pgflow.Query("SELECT warehouse.checked(CAST(:at AS timestamptz)) AS at",
                            {"at": scheduled_at})

    return pgflow.Pipeline(name, target=table, mode="append", body=note,
                           schedule=pgflow.Schedule(cron, **schedule))

"""

CHECKED = """
CREATE TABLE warehouse.bad (at timestamptz);
CREATE FUNCTION warehouse.checked(at timestamptz) RETURNS timestamptz LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM warehouse.bad AS b WHERE b.at = checked.at) THEN
        RAISE 'a bad instant';
    END IF;
    RETURN at;
END $$
"""

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def prepare(place: Place, text: str) -> None:
    """Write pipelines, and create what they need."""
    place.write(text, PIPELINES)
    place.create()
    place.execute(CHECKED)


def fired(place: Place, name: str = "p") -> list[datetime]:
    """The instants that were noted."""
    return [row[0] for row in place.execute(f"SELECT at FROM warehouse.{name} ORDER BY at")]


def turn(now: datetime, since: datetime | None = None, name: str = "p") -> Any:
    """What `run-due` would find due."""
    pipeline = Project.load().pipelines[name]
    schedule = pipeline.spec.timing
    assert schedule is not None
    return turn_of(pipeline, schedule, since=since, now=now)


def instants(found: Any) -> list[datetime]:
    """The instants of a turn."""
    return [firing.instant for firing in found.firings]


def untimed(text: str) -> list[str]:
    """What lines say, each of which bears the time with its distance from UTC."""
    begins = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d (?=\S)")
    lines = text.splitlines()
    assert [line for line in lines if not begins.match(line)] == []
    return [begins.sub("", line) for line in lines]


def test_what_is_due_runs_once(place: Place, invoke: Invoke) -> None:
    """The newest firing is run, and not again until the next one is due."""
    prepare(place, "p = noted('p', '0 0 1 1 *')")
    first = invoke("run-due")
    assert first.code == 0, first.err
    year = datetime.now(UTC).year
    assert untimed(first.out) == [f"p of {year}-01-01 00:00 UTC: done"]
    begins, ran = untimed(first.err)
    assert begins == f"p of {year}-01-01 00:00 UTC: begins"
    assert ran.startswith("p -> warehouse.p: inserted 1")
    second = invoke("run-due")
    assert (second.code, second.out) == (0, "")
    assert untimed(second.err) == ["p: nothing is due"]
    assert fired(place) == [datetime(year, 1, 1, tzinfo=UTC)]


def test_a_dry_run_says_what_is_due_and_runs_nothing(place: Place, invoke: Invoke) -> None:
    """`--dry-run` leaves no trace."""
    text = "q = noted('q')\nobject.__setattr__(q.spec, 'timing', None)"
    prepare(place, f"p = noted('p', '0 0 1 1 *', catch_up='all')\n{text}")
    year = datetime.now(UTC).year
    told = invoke("run-due", "p", "q", "--since", f"{year - 2}-06-01T00:00:00Z", "--dry-run")
    assert told.out.splitlines() == [
        f"p of {year - 1}-01-01 00:00 UTC: due",
        f"p of {year}-01-01 00:00 UTC: due",
    ]
    assert untimed(told.err) == ["q: it has no schedule"]
    assert place.execute("SELECT count(*) FROM pgflow.runs") == [(0,)]


def test_a_circle_without_schedules_stops_no_schedule(place: Place, invoke: Invoke) -> None:
    """Pipelines that read what the other one writes keep nothing else from running in time."""
    circle = """
one, two = (pgflow.SimpleTable(n, "warehouse", metadata, [Column("at", TIMESTAMP(timezone=True))])
            for n in ("one", "two"))
there = pgflow.Pipeline("there", target=two, mode="append", source_table="warehouse.one")
back = pgflow.Pipeline("back", target=one, mode="append", source_table="warehouse.two")
"""
    prepare(place, "p = noted('p', '0 0 1 1 *')\n" + circle)
    told = invoke("run-due", "--dry-run")
    assert (told.code, told.out) == (0, f"p of {datetime.now(UTC).year}-01-01 00:00 UTC: due\n")
    assert invoke("export", "systemd", "-o", "units").code == 0


def test_missed_firings_by_each_policy(place: Place) -> None:
    """After a gap `all` has each firing, `latest` the newest, `none` none that is late."""
    prepare(
        place, "\n".join(f"{c} = noted('{c}', catch_up='{c}')" for c in ("all", "latest", "none"))
    )
    for pipeline in Project.load().pipelines.values():
        pipeline.sync(firing=NOON - timedelta(hours=3))
    late = NOON + timedelta(minutes=30)
    assert instants(turn(late, name="all")) == [NOON - timedelta(hours=h) for h in (2, 1, 0)]
    assert instants(turn(late, name="latest")) == [NOON]
    assert instants(turn(late, name="none")) == []
    assert instants(turn(NOON + timedelta(minutes=1), name="none")) == [NOON]


def test_a_clock_that_was_set_back_stops_nothing(place: Place) -> None:
    """What ran while the clock was ahead does not hide what is due now, and is not run again."""
    prepare(place, "p = noted('p', catch_up='all')")
    (pipeline,) = Project.load().pipelines.values()
    for hours in (3, 0):
        pipeline.sync(firing=NOON - timedelta(hours=hours))
    late = timedelta(minutes=5)
    assert instants(turn(NOON - timedelta(hours=2) + late)) == [NOON - timedelta(hours=2)]
    assert instants(turn(NOON + late)) == []


def test_a_failed_firing_is_due_until_its_retries_are_used_up(place: Place) -> None:
    """What failed is tried again by the next calls, so often as the schedule says."""
    prepare(place, "p = noted('p', retries=1)")
    place.execute(f"INSERT INTO warehouse.bad VALUES ('{NOON}')")
    pipeline = Project.load().pipelines["p"]
    for _ in range(2):
        assert instants(turn(NOON)) == [NOON]
        with pytest.raises(Exception, match="a bad instant"):
            pipeline.sync(firing=NOON)
    over = turn(NOON)
    assert (instants(over), over.why) == ([], "its firing of 2026-03-01 12:00 UTC failed 2 times")
    assert instants(turn(NOON + timedelta(hours=1))) == [NOON + timedelta(hours=1)]


def test_a_failed_firing_in_between_is_made_up_for(place: Place) -> None:
    """With catch_up='all' a gap that a failure has left is due again, before what is new."""
    prepare(place, "p = noted('p', catch_up='all')")
    pipeline = Project.load().pipelines["p"]
    hole = NOON - timedelta(hours=1)
    place.execute(f"INSERT INTO warehouse.bad VALUES ('{hole}')")
    pipeline.sync(firing=NOON - timedelta(hours=2))
    with pytest.raises(Exception, match="a bad instant"):
        pipeline.sync(firing=hole)
    pipeline.sync(firing=NOON)
    assert instants(turn(NOON)) == [hole]
    assert instants(turn(NOON + timedelta(hours=1))) == [hole, NOON + timedelta(hours=1)]
    assert instants(turn(NOON, since=hole)) == []


def test_a_run_that_goes_on_is_left_alone(place: Place) -> None:
    """While a firing is being run, the pipeline is not due."""
    prepare(place, "p = noted('p')")
    pipeline = Project.load().pipelines["p"]
    with pipeline.transaction() as live:
        pipeline.sync(firing=NOON, connection=live)
        live.exec_driver_sql("SELECT 1")
        # Its line in the history is not committed, so nobody sees that it runs.
        assert instants(turn(NOON)) == [NOON]
    assert instants(turn(NOON)) == []
    place.execute("UPDATE pgflow.runs SET status = 'running', started_at = clock_timestamp()")
    assert turn(NOON + timedelta(hours=1)).why == "a run of it is going on"


def test_two_calls_at_once_run_a_firing_once(place: Place) -> None:
    """Whoever comes second waits for the first, and finds the firing settled."""
    prepare(place, "p = noted('p')")
    pipeline = Project.load().pipelines["p"]
    results: list[Any] = []
    together = threading.Barrier(4)

    def call() -> None:
        together.wait()
        results.append(pipeline.sync(firing=NOON))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(r.inserted for r in results) == [0, 0, 0, 1]
    assert fired(place) == [NOON]
    statuses = place.execute("SELECT status FROM pgflow.runs ORDER BY 1")
    assert [row[0] for row in statuses] == ["abandoned"] * 3 + ["success"]


def test_a_failure_keeps_no_other_pipeline_from_running(place: Place, invoke: Invoke) -> None:
    """A pipeline that fails is told, the others run, and the exit code is 1."""
    prepare(place, "p = noted('p', '0 0 1 1 *')\nq = noted('q', '0 0 1 2 *')")
    year = datetime.now(UTC).year
    place.execute(f"INSERT INTO warehouse.bad VALUES ('{year}-01-01T00:00:00Z')")
    done = invoke("run-due")
    assert done.code == 1
    assert "a bad instant" in done.err
    assert fired(place, "p") == []
    assert len(fired(place, "q")) == 1


def test_retry_waits_and_tries_again(place: Place, invoke: Invoke) -> None:
    """`--retry` makes the attempts that a schedule allows within one call."""
    prepare(place, "p = noted('p', '0 0 1 1 *', retries=2, retry_delay=timedelta(0))")
    year = datetime.now(UTC).year
    place.execute(f"INSERT INTO warehouse.bad VALUES ('{year}-01-01T00:00:00Z')")
    done = invoke("run-due", "--retry")
    assert done.code == 1
    p = f"p of {year}-01-01 00:00 UTC: "
    said = [line.removeprefix(p) for line in untimed(done.err) if line.startswith(p)]
    failed = next(line for line in said if re.match("failed: .*a bad instant", line))
    assert said == [
        "begins", failed, "again in 0 s", "begins, attempt 2", failed, "again in 0 s",
        "begins, attempt 3", failed, "given up after 3 attempts",
    ]  # fmt: skip
    assert place.execute("SELECT count(*) FROM pgflow.runs WHERE status = 'failed'") == [(3,)]


def test_a_firing_of_another_scheduler_is_run_once(place: Place, invoke: Invoke) -> None:
    """`--firing` is what exported definitions call: each instant runs once, others are refused."""
    prepare(place, "p = noted('p', timezone='Europe/Vienna')")
    refused = invoke("run-due", "--firing", "2026-03-01T13:07:00+01:00", "p")
    assert (refused.code, refused.out) == (2, "")
    assert "does not fire at 2026-03-01T13:07:00+01:00: the firing before that" in refused.err
    for hour in (13, 14):
        assert f" of 2026-03-01T{hour}:00:00+01:00, " in refused.err
    for words, minute in ((["--off-schedule"], "07:30"), ([], "00")):
        for expected in ("done", "had been run before"):
            instant = f"2026-03-01T13:{minute}+01:00"
            done = invoke("run-due", "--firing", instant, *words, "--", "p")
            assert untimed(done.out) == [f"p of 2026-03-01 12:{minute} UTC: {expected}"]
    assert fired(place) == [NOON, datetime(2026, 3, 1, 12, 7, 30, tzinfo=UTC)]


def test_export_writes_files_that_it_does_not_write_over(place: Place, invoke: Invoke) -> None:
    """Files are written where `-o` says, and kept unless `--force` is given."""
    prepare(place, "p = noted('p')")
    directory = place.directory / "units"
    done = invoke("export", "systemd", "-o", str(directory))
    names = ["pgflow-p.service", "pgflow-p.timer"]
    assert sorted(path.name for path in directory.iterdir()) == names
    assert sorted(done.out.splitlines()) == [str(directory / name) for name in names]
    service = (directory / "pgflow-p.service").read_text()
    assert f"WorkingDirectory={place.directory}" in service
    (directory / "pgflow-p.timer").write_text("mine")
    refused = invoke("export", "systemd", "-o", str(directory))
    assert refused.code != 0
    assert "pgflow-p.timer, pgflow-p.service" in refused.err
    assert (directory / "pgflow-p.timer").read_text() == "mine"
    assert invoke("export", "systemd", "-o", str(directory), "--force").code == 0
    assert (directory / "pgflow-p.timer").read_text() != "mine"


def test_airflow_goes_on_where_it_was_when_its_file_is_written_again(
    place: Place, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--since` is written into the file, and stays; nothing in it is of this machine."""
    prepare(place, "p = noted('p', catch_up='all')")
    directory = place.directory / "dags"
    words = ("export", "airflow", "-o", str(directory), "--force")
    assert invoke(*words, "--since", "2026-03-01T00:00:00+01:00").code == 0
    assert invoke(*words).code == 0
    text = (directory / "pgflow_dags.py").read_text()
    assert 'BEGIN = datetime.fromisoformat("2026-03-01T00:00:00+01:00")' in text
    assert "parents[1]" in text
    assert str(place.directory) not in text
    monkeypatch.chdir(directory)
    again = invoke("export", "airflow", "--force", "--module", "../pipelines.py")
    assert again.code == 0, again.err
    assert "run-due --module=pipelines.py --firing=" in (directory / "pgflow_dags.py").read_text()
    refused = invoke("export", "systemd", "--since", "2026-03-01T00:00:00Z")
    assert (refused.code, list(place.directory.glob("*.timer"))) == (2, [])


@pytest.mark.parametrize("command", [["run-due"], ["worker", "--once"], ["export", "airflow"]])
def test_a_project_without_schedules_is_told(
    place: Place, invoke: Invoke, command: list[str]
) -> None:
    """Where nothing has a schedule, the message says how to give one."""
    place.write("p = noted('p')\nobject.__setattr__(p.spec, 'timing', None)", PIPELINES)
    done = invoke(*command)
    assert done.code == 2
    assert "pipeline 'p' has no schedule. Give it one" in done.err
