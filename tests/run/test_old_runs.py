"""Retention: old runs go, those that somebody needs stay, and syncs go on meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import MetaData

import pgflow
from pgflow.bookkeeping import register
from pgflow.errors import InvalidOption, MissingTable
from pgflow.run.erasing.old_runs import prune_history
from pgflow.run.events import RunStarted, Silence

MONTH = timedelta(days=30)


@pytest.fixture
def kept(world: Any) -> Any:
    """The small world with pgflow's own tables."""
    register(world.metadata)
    pgflow.create_all(world.metadata, connection=world.engine)
    return world


def record(world: Any, name: str, days: float, pipeline: str = "p", **more: object) -> None:
    """Write a run that began so many days ago and took a minute; its name is its error text."""
    values: dict[str, object] = {
        "pipeline": pipeline, "target": "w.t", "scope": None, "status": "success",
        "details": None, **more,
    }  # fmt: skip
    world.run(
        "INSERT INTO pgflow.runs (run_id, pipeline, target, scope, mode, status, started_at,"
        " finished_at, error, details) VALUES (gen_random_uuid(), %s, %s, %s, 'merge', %s,"
        " now() - make_interval(secs => %s), CASE WHEN %s = 'running' THEN NULL ELSE"
        " now() - make_interval(secs => %s) END, %s, %s::jsonb)",
        values["pipeline"], values["target"], values["scope"], values["status"],
        days * 86400, values["status"], days * 86400 - 60, name, values["details"],
    )  # fmt: skip


def names(world: Any) -> set[str]:
    """The names of the runs that are left."""
    return {row[0] for row in world.run("SELECT error FROM pgflow.runs")}


def prune(world: Any, **options: Any) -> Any:
    """Delete what is older than a month."""
    return prune_history(world.engine, **{"older_than": MONTH, **options})


def test_old_runs_go_and_young_ones_stay(kept: Any) -> None:
    """What ended before the given age is deleted, whatever it was; counts say of whom."""
    for status in ("success", "failed", "abandoned"):
        record(kept, f"old {status}", 40, status=status)
    record(kept, "young", 20)
    record(kept, "youngest", 0, status="failed")
    record(kept, "other's old", 50, "other")
    record(kept, "other's", 10, "other")
    done = prune(kept)
    assert (dict(done.deleted), done.count, done.kept) == ({"other": 1, "p": 3}, 4, 0)
    assert names(kept) == {"young", "youngest", "other's"}
    assert prune(kept).count == 0


def test_what_tells_how_a_pipeline_stands_stays(kept: Any) -> None:
    """The latest run and the latest success stay, of each pipeline, target and scope."""
    record(kept, "older success", 90)
    record(kept, "success", 80)
    record(kept, "failure", 70, status="failed")
    record(kept, "latest", 60, status="failed")
    record(kept, "elsewhere", 95, target="w.u")
    record(kept, "scoped", 96, scope="tenant 1")
    record(kept, "other scope", 97, scope="tenant 2")
    assert prune(kept).deleted == {"p": 2}
    assert names(kept) == {"success", "latest", "elsewhere", "scoped", "other scope"}


def test_runs_that_go_on_stay(kept: Any) -> None:
    """A run that has not ended is left alone, as is one that has just ended."""
    record(kept, "long", 100, status="running")
    record(kept, "latest", 1)
    record(kept, "ended lately", 99)
    kept.run("UPDATE pgflow.runs SET finished_at = now() WHERE error = 'ended lately'")
    assert prune(kept).count == 0
    assert names(kept) == {"long", "latest", "ended lately"}


def test_runs_that_others_name_stay(kept: Any) -> None:
    """The run of a watermark, of a rejected row, and the last one of a schedule are needed."""
    record(kept, "watermark", 90)
    record(kept, "quarantine", 80, status="failed")
    record(kept, "firing", 75, status="failed", details='{"firing": "2024-01-02T00:00:00+00:00"}')
    late = '{"firing": "2024-01-01T12:00:00+00:00"}'
    record(kept, "older firing, made up for", 70, status="failed", details=late)
    record(kept, "nobody's", 60)
    record(kept, "latest", 1)
    kept.run(
        "INSERT INTO pgflow.watermarks (pipeline, target, column_name, run_id)"
        " SELECT 'p', 'w.t', 'u', run_id FROM pgflow.runs WHERE error = 'watermark'"
    )
    kept.run(
        "INSERT INTO pgflow.quarantine (run_id, pipeline, target, check_name, row)"
        " SELECT run_id, 'p', 'w.t', 'c', '{}' FROM pgflow.runs WHERE error = 'quarantine'"
    )
    done = prune(kept)
    assert (done.count, done.kept) == (2, 3)
    assert names(kept) == {"watermark", "quarantine", "firing", "latest"}


def test_the_last_ones_stay_if_asked_for(kept: Any) -> None:
    """keep_last= keeps so many runs of each pipeline and target, however old."""
    for days in range(40, 50):
        record(kept, str(days), days)
    assert prune(kept, keep_last=3).count == 7
    assert names(kept) == {"40", "41", "42"}


def test_one_pipeline_alone_can_be_pruned(kept: Any) -> None:
    """Runs of the others are left alone."""
    for pipeline in ("p", "other"):
        record(kept, f"{pipeline} old", 50, pipeline)
        record(kept, f"{pipeline} new", 1, pipeline)
    assert prune(kept, pipeline="p").deleted == {"p": 1}
    assert names(kept) == {"p new", "other old", "other new"}


def test_a_dry_run_counts_and_deletes_nothing(kept: Any) -> None:
    """It says what the next one deletes."""
    for days in (40, 50, 60):
        record(kept, str(days), days)
    counted = prune(kept, dry_run=True)
    assert (counted.count, counted.kept) == (2, 1)
    assert str(counted).startswith("would delete 2 runs from before ")
    assert names(kept) == {"40", "50", "60"}
    done = prune(kept)
    assert (done.deleted, done.kept) == (counted.deleted, counted.kept)


def test_it_goes_in_small_transactions(kept: Any) -> None:
    """However many there are, one transaction deletes a few; runs of one instant are all found."""
    kept.run(
        "INSERT INTO pgflow.runs (run_id, pipeline, target, mode, status, started_at, finished_at)"
        " SELECT gen_random_uuid(), 'p', 'w.t', 'merge', 'success', at, at"
        " FROM generate_series(1, 250) AS i, LATERAL (SELECT '2020-01-01'::timestamptz"
        " + make_interval(days => i / 100) AS at) AS t"
    )
    kept.run("CREATE TABLE w.gone (txid bigint)")
    kept.run(
        "CREATE FUNCTION w.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO w.gone VALUES (txid_current()); RETURN NULL; END $$"
    )
    kept.run(
        "CREATE TRIGGER note AFTER DELETE ON pgflow.runs FOR EACH ROW EXECUTE FUNCTION w.note()"
    )
    assert prune(kept, batch=40).count == 249
    sizes = kept.run("SELECT count(*) FROM w.gone GROUP BY txid ORDER BY 1 DESC")
    assert [size for (size,) in sizes] == [40, 40, 40, 40, 40, 40, 9]


def test_rows_that_somebody_holds_are_not_waited_for(kept: Any) -> None:
    """A locked row is left for the next time, and counted among those that stay."""
    record(kept, "held", 50)
    record(kept, "free", 60)
    record(kept, "latest", 1)
    with kept.engine.begin() as other:
        other.exec_driver_sql("SELECT FROM pgflow.runs WHERE error = 'held' FOR UPDATE")
        done = prune(kept)
    assert (done.count, done.kept) == (1, 1)
    assert names(kept) == {"held", "latest"}
    assert prune(kept).count == 1


def test_two_at_the_same_time_share_the_work(kept: Any) -> None:
    """Neither waits for the other or fails, and each run is deleted and counted once."""
    kept.run(
        "INSERT INTO pgflow.runs (run_id, pipeline, target, mode, status, started_at, finished_at)"
        " SELECT gen_random_uuid(), 'p', 'w.t', 'merge', 'success', at, at FROM generate_series("
        "'2020-01-01'::timestamptz, '2020-01-20', '1 hour') AS at"
    )
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: prune(kept, batch=20), range(2)))
    assert sum(each.count for each in done) == 19 * 24
    assert kept.run("SELECT count(*) FROM pgflow.runs") == [(1,)]


def test_syncs_go_on_meanwhile(kept: Any) -> None:
    """While runs are pruned again and again, every sync commits and every row of it is there."""
    pipelines = [
        kept.pipe(kept.table(f"t{i}"), mode="merge", name=f"p{i}", incremental_column="id",
                  keys=["id"])
        for i in range(2)
    ]  # fmt: skip
    kept.fill((1, "a", 1), (2, "b", 2))

    class Prunes(Silence):
        """Makes all earlier runs old, and prunes, while a run is under way."""

        def executing(self, run: RunStarted, statement: Any) -> None:
            kept.run(
                "UPDATE pgflow.runs SET started_at = started_at - interval '1 year',"
                " finished_at = finished_at - interval '1 year' WHERE status <> 'running'"
            )
            counts.append(prune(kept).count)

    def sync(pipeline: Any) -> list[Any]:
        return [pipeline.sync(observer=Prunes()).run_id for _ in range(4)]

    counts: list[int] = []
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(sync, pipelines))
    assert sum(counts) > 0
    left = {row[0] for row in kept.run("SELECT run_id FROM pgflow.runs")}
    assert {run_ids[-1] for run_ids in done} <= left
    marks = {row[0] for row in kept.run("SELECT run_id FROM pgflow.watermarks")}
    assert len(marks) == 2
    assert marks <= left
    assert kept.run("SELECT count(*) FROM pgflow.runs WHERE status <> 'success'") == [(0,)]


@pytest.mark.parametrize(
    "options, what",
    [
        ({"older_than": timedelta(hours=23)}, "less than a day"),
        ({"older_than": timedelta(days=-1)}, "less than a day"),
        ({"keep_last": 0}, "would delete the run that tells how a pipeline stands"),
        ({"batch": 0}, "batch=0 deletes nothing"),
    ],
)
def test_what_could_hurt_is_refused(kept: Any, options: Any, what: str) -> None:
    """Runs of the last day and the latest run of a pipeline cannot be asked to go."""
    record(kept, "old", 400)
    record(kept, "older", 500)
    with pytest.raises(InvalidOption, match=what):
        prune(kept, **options)
    assert names(kept) == {"old", "older"}


def test_tables_of_the_layout_before_are_pruned_too(kept: Any) -> None:
    """Without the column for details nothing of a schedule is known, and the rest is as ever."""
    record(kept, "old", 50)
    record(kept, "latest", 40)
    kept.run("ALTER TABLE pgflow.runs DROP details")
    assert prune(kept).count == 1
    assert names(kept) == {"latest"}


def test_without_the_tables_the_way_out_is_named(world: Any) -> None:
    """A database that nobody has migrated is told apart from one without old runs."""
    with pytest.raises(MissingTable, match=r"no table other\.runs \(.*\)\. Migrate it"):
        prune(world, schema="other")


def test_another_schema_is_pruned(world: Any) -> None:
    """The bookkeeping may be called otherwise, also with blanks."""
    metadata = MetaData()
    register(metadata, "Own Books")
    pgflow.create_all(metadata, connection=world.engine)
    world.run(
        'INSERT INTO "Own Books".runs (run_id, pipeline, target, mode, status, started_at)'
        " SELECT gen_random_uuid(), 'p', 'w.t', 'merge', 'success',"
        " now() - make_interval(days => 40 + i) FROM generate_series(1, 3) AS i"
    )
    assert prune(world, schema="Own Books").count == 2
