"""Several targets of one reading: what fails, what stays, and what is read again then."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import QueuePool

import pgflow
from pgflow.errors import TargetsFailed
from pgflow.plan.statement import Plan
from pgflow.run.events import RunStarted, Silence
from tests.sync.fan_out_world import A_AND_B, COUNTED, SUMS, Between, Fan, count_reads, reads, told
from tests.sync.sync_children import until

ONCE = "read once for 2 targets"
GONE = "what an earlier target read is gone, with its run or its connection"


def history(fan: Fan) -> list[Any]:
    """What the history says of each target, in order."""
    found: list[Any] = fan.world.run("SELECT target, status FROM pgflow.runs ORDER BY started_at")
    return found


def end_others(fan: Fan) -> None:
    """Break every connection but the one that does it."""
    fan.world.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


@pytest.mark.parametrize("going", [False, True], ids=["halt", "continue"])
def test_a_failure_leaves_the_targets_before_it_committed(fan: Fan, going: bool) -> None:
    """The first failure halts the rest, unless continue_on_failure says not to."""
    pipeline = fan(SUMS, *[{"mode": "merge"}] * 3, continue_on_failure=going)
    fan.world.run("ALTER TABLE w.t2 ADD CHECK (id < 2)")
    with pytest.raises(TargetsFailed, match=r"failed on w\.t2") as caught:
        pipeline.sync()
    result: Any = caught.value.result
    assert fan.rows(1) == A_AND_B
    assert fan.rows(2) == []
    assert fan.rows(3) == (A_AND_B if going else [])
    expected = [("w.t1", "success"), ("w.t2", "failed"), ("w.t3", "success")]
    assert history(fan) == expected[: 3 if going else 2], "a target that was not begun has no row"
    if going:
        assert told(result)[2] == "read once for 3 targets"


def test_the_next_target_reads_where_the_first_has_failed(fan: Fan) -> None:
    """What a failed target has read goes with it; the next one reads, and keeps it for the rest."""
    count_reads(fan.world)
    pipeline = fan(COUNTED, *[{"mode": "merge"}] * 3, continue_on_failure=True)
    fan.world.run("ALTER TABLE w.t1 ADD CHECK (id < 2)")
    with pytest.raises(TargetsFailed, match=r"failed on w\.t1") as caught:
        pipeline.sync()
    assert told(caught.value.result)[1:] == [ONCE, ONCE]
    assert reads(fan.world) == 2
    assert fan.rows(2) == fan.rows(3) == A_AND_B


def test_a_source_that_fails_fails_as_ever(fan: Fan) -> None:
    """Its own error is told, by every target that tries it."""
    pipeline = fan("SELECT id, a, max(1 / (b - 2)) AS b FROM w.s GROUP BY id, a")
    alone = fan.world.pipe(fan.world.table("alone"), pipeline.spec.source, mode="merge", name="p")
    with pytest.raises(pgflow.errors.StatementFailed, match="division by zero") as single:
        alone.sync()
    with pytest.raises(TargetsFailed, match="division by zero") as caught:
        pipeline.sync()
    assert str(caught.value.__cause__) == str(single.value).replace("w.alone", "w.t1")


def test_what_cannot_be_kept_is_read_again(fan: Fan) -> None:
    """A column that no table can have stops nobody: then each target reads for itself."""
    count_reads(fan.world)
    source = f"SELECT *, 1 AS ctid FROM ({COUNTED}) AS q"
    pipeline = fan(source, *[{"mode": "merge", "schema_mode": "ignore_extra"}] * 2)
    done = pipeline.sync()
    assert "its rows could not be kept: " in told(done)[0]
    assert "ctid" in told(done)[0]
    assert fan.rows(1) == fan.rows(2) == A_AND_B


def test_a_lost_connection_is_made_up_for(fan: Fan) -> None:
    """What was kept is lost with it, so the target after that reads the source itself."""
    count_reads(fan.world)
    pipeline = fan(COUNTED)
    done = pipeline.sync(observer=Between(lambda: end_others(fan)))
    assert told(done) == [ONCE, f"read again: {GONE}"]
    assert reads(fan.world) == 2
    assert fan.rows(1) == fan.rows(2) == A_AND_B
    assert history(fan) == [("w.t1", "success"), ("w.t2", "success")]


def test_another_attempt_keeps_the_rows_again(fan: Fan) -> None:
    """What an attempt has kept is rolled back with it; the next one keeps them for the rest."""
    count_reads(fan.world)
    pipeline = fan(COUNTED, *[{"mode": "merge"}] * 3)
    fan.world.run("CREATE SEQUENCE w.tries")
    fan.world.run(
        "CREATE FUNCTION w.conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF nextval('w.tries') = 1 THEN RAISE 'conflict' USING ERRCODE = '40001'; END IF;"
        " RETURN NULL; END $$"
    )
    for number in (1, 2):
        fan.world.run(
            f"CREATE TRIGGER conflict AFTER INSERT ON w.t{number}"
            " FOR EACH STATEMENT EXECUTE FUNCTION w.conflict()"
        )
    assert told(pipeline.sync()) == ["read once for 3 targets"] * 3
    assert reads(fan.world) == 2, "once for each attempt of the first target"
    fan.world.run("TRUNCATE w.t2; ALTER SEQUENCE w.tries RESTART")
    fan.world.run("DROP TRIGGER conflict ON w.t1")
    assert told(pipeline.sync()) == ["read once for 3 targets"] * 3
    assert reads(fan.world) == 3, "a later target's other attempt takes what is there"
    assert fan.rows(1) == fan.rows(2) == fan.rows(3) == A_AND_B


def test_a_target_that_loses_every_connection_holds_nobody_up(fan: Fan) -> None:
    """Its run fails for good, and the target after it goes on, on another connection."""

    class Ending(Silence):
        def planned(self, run: RunStarted, plan: Plan) -> None:
            if run.target == "w.t2":
                end_others(fan)

    pipeline = fan(SUMS, *[{"mode": "merge"}] * 3, continue_on_failure=True)
    with pytest.raises(TargetsFailed, match=r"failed on w\.t2") as caught:
        pipeline.sync(observer=Ending())
    result: Any = caught.value.result
    assert told(result)[0] == "read once for 3 targets"
    assert told(result)[2] == f"read again: {GONE}"
    assert fan.rows(1) == fan.rows(3) == A_AND_B
    assert [status for _, status in history(fan)] == ["success", "failed", "success"]


def test_rows_of_an_older_reading_never_undo_newer_ones(fan: Fan) -> None:
    """Where another run came in between, the second target reads anew, under its lock."""
    pipeline = fan(SUMS, {"mode": "merge"}, {"mode": "scd2", "handle_deletes": "soft"})

    def overtake() -> None:
        fan.world.fill((1, "newer", 5), (3, "new", 3))
        pipeline.sync()

    done = pipeline.sync(observer=Between(overtake))
    overtaken = "another run has written the target since an earlier target read the source"
    assert told(done) == [ONCE, f"read again: {overtaken}"]
    assert done.targets[1].counts["unchanged"] == 2
    versions = fan.world.run("SELECT id, a, is_current FROM w.t2 ORDER BY id")
    assert versions == [(1, "newer", True), (3, "new", True)]


@pytest.mark.parametrize("commits", [True, False])
def test_a_joined_run_shares_too(fan: Fan, commits: bool) -> None:
    """In the caller's transaction the source is read once, and nothing but the data stays."""
    count_reads(fan.world)
    pipeline = fan(COUNTED)
    with fan.world.engine.connect() as live, live.begin() as transaction:
        assert told(pipeline.sync(connection=live)) == [ONCE, ONCE]
        kept = "SELECT count(*) FROM pg_class WHERE relname LIKE 'pgflow~_%' ESCAPE '~'"
        assert live.execute(sa.text(kept)).scalar() == 0
        if not commits:
            transaction.rollback()
    assert reads(fan.world) == 1
    assert fan.rows(1) == fan.rows(2) == (A_AND_B if commits else [])


def test_a_pool_of_one_connection_is_enough(fan: Fan, database: str) -> None:
    """All targets of one database go over one connection, also those that do not share."""
    single = sa.create_engine(
        database, poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=5
    )
    pipeline = fan(
        SUMS,
        {"mode": "merge"},
        {"mode": "append", "incremental_column": "id"},
        {"mode": "truncate"},
        connection=single,
    )
    for _ in range(2):
        assert told(pipeline.sync())[::2] == [ONCE, ONCE]
    with single.connect() as connection:
        kept = "SELECT count(*) FROM pg_class WHERE relname LIKE 'pgflow~_%%' ESCAPE '~'"
        assert connection.exec_driver_sql(kept).scalar() == 0
    single.dispose()


def test_an_interrupt_between_two_targets_leaves_nothing(fan: Fan, database: str) -> None:
    """Ctrl-C after the first target keeps its data; the connection goes back clean."""
    pooled = sa.create_engine(database, poolclass=QueuePool, pool_size=1)

    def interrupt() -> None:
        raise KeyboardInterrupt

    pipeline = fan(SUMS, connection=pooled)
    with pytest.raises(KeyboardInterrupt):
        pipeline.sync(observer=Between(interrupt))
    assert fan.left_behind() == []
    assert fan.rows(1) == A_AND_B
    assert fan.rows(2) == []
    assert told(pipeline.sync()) == [ONCE, ONCE]
    pooled.dispose()


def test_a_process_killed_between_two_targets_has_done_the_first(fan: Fan) -> None:
    """The first target stands, the server drops what was kept, and the next run does the rest."""
    pipeline = fan(SUMS)
    child = os.fork()
    if child == 0:
        try:
            pipeline.sync(observer=Between(lambda: os.kill(os.getpid(), signal.SIGKILL)))
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    until(lambda: not fan.left_behind(), "the server to end the killed session")
    assert fan.rows(1) == A_AND_B
    assert fan.rows(2) == []
    assert history(fan) == [("w.t1", "success")]
    done = pipeline.sync()
    assert [each.inserted for each in done.targets] == [0, 2]
    assert told(done) == [ONCE, ONCE]
