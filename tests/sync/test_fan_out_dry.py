"""Dry runs of several targets: they share one reading as the next run will, and leave nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pgflow
from pgflow.errors import TargetsFailed
from pgflow.run.events import RunStarted, Silence
from tests.sync.fan_out_world import COUNTED, SUMS, Between, Fan, count_reads, reads, told

ONCE = "read once for 2 targets"
GONE = "what an earlier target read is gone, with its run or its connection"
ROWS = [{"id": 1, "a": "a", "b": 1}, {"id": 2, "a": "b", "b": 2}]


@pytest.fixture
def fan(world: Any) -> Iterator[Fan]:
    """A source of two rows, and whatever is made of it; nothing stays of a dry run."""
    world.fill((1, "a", 1), (2, "b", 2))
    made = Fan(world)
    yield made
    assert made.left_behind() == []
    assert world.run("SELECT FROM pg_locks WHERE locktype = 'advisory'") == []


def rehearsed(fan: Fan, pipeline: Any, **given: Any) -> Any:
    """Dry-run a pipeline, and see that no target and no history has heard of it."""
    looks = "SELECT count(*) FROM pgflow.runs", "SELECT * FROM w.t1", "SELECT * FROM w.t2"
    before = [fan.world.run(each) for each in looks]
    try:
        return pipeline.dry_run(**given)
    except TargetsFailed as error:
        return error.result
    finally:
        assert [fan.world.run(each) for each in looks] == before
        assert fan.left_behind() == []


def counted(result: Any) -> list[Any]:
    """The counts of every target, and of all together."""
    return [result.counts, *(each.counts for each in result.targets)]


def terminate(fan: Fan) -> None:
    """Break every connection but the one that does it."""
    fan.world.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


def raising(fan: Fan, table: str, sqlstate: str) -> None:
    """Let the first statement that inserts into a table fail."""
    fan.world.run("CREATE SEQUENCE w.tries")
    fan.world.run(
        "CREATE FUNCTION w.conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF nextval('w.tries') = 1 THEN RAISE 'conflict' USING ERRCODE = '{sqlstate}'; END IF;"
        " RETURN NULL; END $$"
    )
    fan.world.run(
        f"CREATE TRIGGER conflict AFTER INSERT ON w.{table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION w.conflict()"
    )


@pytest.mark.parametrize("joined", [False, True], ids=["own", "joined"])
def test_a_dry_run_reads_once_and_counts_as_the_next_run(fan: Fan, joined: bool) -> None:
    """The source is read once for all targets, also in the caller's transaction; nothing stays."""
    count_reads(fan.world)
    pipeline = fan(COUNTED, {"mode": "merge"}, {"mode": "scd2"}, {"mode": "truncate"})
    once = ["read once for 3 targets"] * 3
    for number in (1, 2):
        if joined:
            with fan.world.engine.begin() as live:
                found = pipeline.dry_run(connection=live)
                kept = r"SELECT FROM pg_class WHERE relname LIKE 'pgflow\_%%'"
                assert live.exec_driver_sql(kept).all() == []
        else:
            found = rehearsed(fan, pipeline)
        assert reads(fan.world) == 2 * number - 1
        done = pipeline.sync()
        assert told(found) == once == told(done)
        assert counted(found) == counted(done)
        fan.world.run("UPDATE w.s SET b = 9 WHERE id = 1; DELETE FROM w.s WHERE id = 2")


def test_an_iterator_is_enough_for_a_dry_run(fan: Fan, far: Any, tmp_path: Path) -> None:
    """What can be read once, from wherever, serves all targets; a function is called once."""
    calls = []

    def body() -> Any:
        calls.append("called")
        return iter(ROWS)

    path = tmp_path / "rows.csv"
    path.write_text("id,a,b\n1,a,1\n2,b,2\n")
    far.fill((1, "a", 1), (2, "b", 2))
    made: list[Callable[[], pgflow.Pipeline]] = [
        lambda: fan(pgflow.Rows(iter(ROWS)), {"mode": "scd2"}, {"mode": "append"}),
        lambda: fan(None, body=body),
        lambda: fan(pgflow.CSV(path)),
        lambda: fan(pgflow.Query("SELECT id, a, b FROM w.s", connection=far.engine)),
    ]
    for make in made:
        found = rehearsed(fan, make())
        fan.world.metadata.clear()
        done = make().sync()
        assert told(found) == [ONCE, ONCE] == told(done)
        assert counted(found) == counted(done)
        assert fan.world.run("SELECT count(*) FROM w.t2") == [(2,)]
        fan.world.metadata.clear()
        fan.world.run("DROP TABLE w.t1, w.t2")
    assert calls == ["called", "called"], "once by the dry run, once by the run"


@pytest.mark.parametrize("kind", ["here", "rows"])
def test_a_target_that_fails_leaves_what_it_has_read(fan: Fan, kind: str) -> None:
    """The others go on with its rows, and are counted as in the next run."""
    count_reads(fan.world)
    source = COUNTED if kind == "here" else pgflow.Rows(lambda: iter(ROWS))
    pipeline = fan(source, *[{"mode": "merge"}] * 3, continue_on_failure=True)
    fan.world.run("ALTER TABLE w.t1 ADD CHECK (id < 2)")
    found = rehearsed(fan, pipeline)
    assert reads(fan.world) == (1 if kind == "here" else 0)
    with pytest.raises(TargetsFailed) as caught:
        pipeline.sync()
    done: Any = caught.value.result
    assert [each.status for each in found.targets] == ["failed", "success", "success"]
    assert counted(found) == counted(done)
    said = [str(each.targets[0].error).partition("DETAIL")[0] for each in (found, done)]
    assert said[0] == said[1] != ""
    assert found.read == 2


@pytest.mark.parametrize("table", ["t1", "t2"])
def test_a_conflict_is_tried_again(fan: Fan, table: str) -> None:
    """The target gets another attempt in the same transaction, and finds what was kept."""
    count_reads(fan.world)
    pipeline = fan(COUNTED)
    raising(fan, table, "40001")
    assert told(rehearsed(fan, pipeline)) == [ONCE, ONCE]
    assert reads(fan.world) == (2 if table == "t1" else 1)


def test_after_a_deadlock_nothing_is_held(fan: Fan) -> None:
    """All is rolled back, so that whoever waits for an earlier target can go on."""
    count_reads(fan.world)
    pipeline = fan(COUNTED)
    raising(fan, "t2", "40P01")

    class Looking(Silence):
        locks: Any = None

        def retrying(self, run: RunStarted, error: Exception, attempt: int, delay: float) -> None:
            self.locks = fan.world.run("SELECT FROM pg_locks WHERE locktype = 'advisory'")

    watcher = Looking()
    found = rehearsed(fan, pipeline, observer=watcher)
    assert watcher.locks == []
    assert told(found) == [ONCE, f"read again: {GONE}"]
    assert counted(found)[1:] == counted(pipeline.sync())[1:]


def test_a_lost_connection_is_made_up_for(fan: Fan) -> None:
    """The target after it reads the source itself."""
    count_reads(fan.world)
    pipeline = fan(COUNTED)
    found = rehearsed(fan, pipeline, observer=Between(lambda: terminate(fan)))
    assert told(found) == [ONCE, f"read again: {GONE}"]
    assert [each.inserted for each in found.targets] == [2, 2]


def test_an_interrupted_dry_run_leaves_nothing(fan: Fan) -> None:
    """Ctrl-C between two targets undoes the first one too."""
    pipeline = fan(SUMS)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rehearsed(fan, pipeline, observer=Between(interrupt))


def test_targets_that_do_not_share_are_tried_beside_those_that_do(fan: Fan) -> None:
    """One goes on from a position of its own, between two that take the same rows."""
    count_reads(fan.world)
    pipeline = fan(
        COUNTED, {"mode": "merge"}, {"mode": "append", "incremental_column": "id"}, {"mode": "scd1"}
    )
    for rows in (2, 1):
        found = rehearsed(fan, pipeline)
        done = pipeline.sync()
        assert told(found)[::2] == [ONCE, ONCE]
        assert [each.read for each in found.targets] == [2, rows, 2]
        assert counted(found) == counted(done)
        fan.world.fill((1, "a", 1), (3, "c", 3))


def test_a_function_that_uses_its_connection_is_undone_for_each_target(fan: Fan) -> None:
    """What it did for one target is not there when the next one calls it."""
    seen = []

    def body(connection: Any) -> str:
        seen.append(connection.exec_driver_sql("SELECT count(*) FROM w.s").scalar())
        connection.exec_driver_sql("INSERT INTO w.s VALUES (3, 'c', 3)")
        return "SELECT id, a, b FROM w.s"

    found = rehearsed(fan, fan(None, body=body))
    assert seen == [2, 2]
    assert [each.inserted for each in found.targets] == [3, 3]
    assert fan.world.run("SELECT count(*) FROM w.s") == [(2,)]
