"""Runs whose source is in another database: the modes, the watermark, and what can go wrong."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import EmptySource, SourceFailed, StatementFailed
from pgflow.run.events import RunStarted, Silence, Transferred

SELECT = "SELECT id, a, b FROM w.s"


def rows(world: Any, columns: str = "id, a") -> list[Any]:
    """What the target holds."""
    found: list[Any] = world.run(f"SELECT {columns} FROM w.t ORDER BY id")
    return found


def idle(far: Any) -> bool:
    """Whether nobody else is connected to the source's database."""
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid()"
    )
    for _ in range(50):
        if far.run(others) == [(0,)]:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("mode", ["merge", "scd1", "scd2"])
def test_keyed_modes_do_from_afar_what_they_do_at_home(
    world: Any, far: Any, counts: Any, mode: str
) -> None:
    """New, changed, gone and unchanged rows are told apart in the stage."""
    pipeline = world.pipe(
        world.table(mode=mode), SELECT, source_connection=far.engine, handle_deletes="soft"
    )
    far.fill((1, "a", 1), (2, "b", 2), (3, "c", 3))
    assert counts(pipeline.sync()) == {"inserted": 3, "read": 3}
    far.fill((1, "a", 1), (2, "B", 2), (4, "d", 4))
    expected = {
        "merge": {"inserted": 1, "updated": 1, "deleted": 1, "unchanged": 1, "read": 3},
        "scd1": {"inserted": 1, "updated": 1, "deleted": 1, "unchanged": 1, "read": 3},
        "scd2": {"inserted": 2, "closed": 2, "deleted": 1, "unchanged": 1, "read": 3},
    }[mode]
    assert counts(pipeline.dry_run()) == expected
    assert counts(pipeline.sync()) == expected
    assert counts(pipeline.sync())["unchanged"] == 3
    assert idle(far)


def test_an_empty_source_is_an_error_that_can_be_allowed(world: Any, far: Any) -> None:
    """Nothing is replaced by nothing unless it is said."""
    table = world.table(mode="truncate")
    pipeline = world.pipe(table, SELECT, source_connection=far.engine)
    far.fill((1, "a", 1))
    pipeline.sync()
    far.fill()
    with pytest.raises(EmptySource):
        pipeline.sync()
    assert rows(world) == [(1, "a")]
    allowed = world.pipe(
        table, SELECT, name="q", source_connection=far.engine, on_empty_source="allow"
    )
    assert allowed.sync().deleted == 1


def test_a_scope_and_run_parameters_reach_the_source(world: Any, far: Any, counts: Any) -> None:
    """Only the part in scope is replaced; values are bound on both sides."""
    far.fill((1, "x", 1), (2, "it's", 2), (3, "it's", 3))
    world.run("CREATE TABLE IF NOT EXISTS w.keep (i int)")

    def body(conn: Any, *, tenant: str) -> str:
        return "SELECT id, a, b FROM w.s WHERE a = :tenant"

    pipeline = world.pipe(
        world.table(), None, body=body, mode="merge", source_connection=far.engine,
        scope="a = :tenant", handle_deletes="hard",
    )  # fmt: skip
    assert counts(pipeline.sync(tenant="it's")) == {"inserted": 2, "read": 2}
    assert counts(pipeline.sync(tenant="x")) == {"inserted": 1, "read": 1}
    far.run("DELETE FROM w.s WHERE id = 2")
    assert counts(pipeline.sync(tenant="it's")) == {"deleted": 1, "unchanged": 1, "read": 1}
    assert rows(world) == [(1, "x"), (3, "it's")]


@pytest.mark.parametrize("table", [False, True])
def test_the_watermark_is_read_here_and_applied_there(
    world: Any, far: Any, counts: Any, table: bool
) -> None:
    """Only rows from the last seen value on travel; it moves with the data, or not at all."""
    source = pgflow.SourceTable("w.s") if table else "SELECT id, a, b, u FROM w.s"
    pipeline = world.pipe(
        world.table(), source, mode="merge", source_connection=far.engine, incremental_column="u"
    )
    for i in range(5):
        far.run(f"INSERT INTO w.s VALUES ({i}, 'a', {i}, '2020-01-0{i + 1} 10:00:00.123456+03')")
    assert counts(pipeline.sync()) == {"inserted": 5, "read": 5}
    far.run("INSERT INTO w.s VALUES (7, 'n', 1, NULL), (8, 'z', 1, '2021-01-01')")
    rehearsed = pipeline.dry_run()
    assert counts(rehearsed) == {"inserted": 2, "unchanged": 1, "read": 3}
    result = pipeline.sync()
    assert counts(result) == {"inserted": 2, "unchanged": 1, "read": 3}
    assert result.targets[0].details["transfer"][0]["rows"] == 3
    assert world.run("SELECT value::timestamptz = '2021-01-01' FROM pgflow.watermarks") == [(True,)]
    assert "s.u >= $1::text::timestamp with time zone" in str(pipeline.preview())


def test_a_rounding_target_loses_no_row(world: Any, far: Any, counts: Any) -> None:
    """The position is the source's own value, although the target's column rounds it up."""
    target = world.table("t", sa.Column("u", sa.dialects.postgresql.TIMESTAMP(True, 0)))
    pipeline = world.pipe(
        target, "SELECT id, u FROM w.s", mode="merge", source_connection=far.engine,
        incremental_column="u",
    )  # fmt: skip
    far.run("INSERT INTO w.s VALUES (1, 'a', 1, '2020-01-01 10:00:00.6+00')")
    pipeline.sync()
    far.run("INSERT INTO w.s VALUES (2, 'a', 1, '2020-01-01 10:00:00.7+00')")
    assert counts(pipeline.sync()) == {"inserted": 1, "unchanged": 1, "read": 2}


def test_lookback_reaches_behind_the_position(world: Any, far: Any, counts: Any) -> None:
    """The interval is subtracted by the source's server."""
    pipeline = world.pipe(
        world.table(), "SELECT id, a, b, u FROM w.s", mode="merge", source_connection=far.engine,
        incremental_column="u", lookback=timedelta(days=2),
    )  # fmt: skip
    far.run("INSERT INTO w.s VALUES (1, 'a', 1, '2020-01-05')")
    pipeline.sync()
    far.run("INSERT INTO w.s VALUES (2, 'b', 1, '2020-01-04'), (3, 'c', 1, '2020-01-01')")
    assert counts(pipeline.sync()) == {"inserted": 1, "unchanged": 1, "read": 2}


def test_a_joined_run_reads_from_afar(world: Any, far: Any, counts: Any) -> None:
    """The caller's transaction is the target's; the caller's rollback takes the rows away."""
    pipeline = world.pipe(world.table(), SELECT, mode="merge", source_connection=far.engine)
    far.fill((1, "a", 1))
    with world.engine.connect() as live:
        transaction = live.begin()
        zone = live.exec_driver_sql("SHOW TimeZone").scalar()
        assert counts(pipeline.sync(connection=live)) == {"inserted": 1, "read": 1}
        assert live.exec_driver_sql("SHOW TimeZone").scalar() == zone
        assert counts(pipeline.sync(connection=live)) == {"unchanged": 1, "read": 1}
        transaction.rollback()
    assert rows(world) == []
    assert idle(far)


def test_a_failed_source_leaves_a_joined_transaction_usable(world: Any, far: Any) -> None:
    """Only the run's savepoint is rolled back."""
    source = "SELECT id, a, b FROM w.s WHERE 1 / (id - 1) = 0"
    pipeline = world.pipe(world.table(), source, mode="merge", source_connection=far.engine)
    far.fill((1, "a", 1))
    with world.engine.begin() as live:
        with pytest.raises(SourceFailed, match="division by zero"):
            pipeline.sync(connection=live)
        live.exec_driver_sql("INSERT INTO w.t (id) VALUES (9)")
    assert rows(world) == [(9, None)]


def test_keys_that_the_source_proves_unique_are_not_counted_again(world: Any, far: Any) -> None:
    """A unique index there proves as much as one here."""
    far.run("ALTER TABLE w.s ADD PRIMARY KEY (id)")
    pipeline = world.pipe(world.table(), SELECT, mode="merge", source_connection=far.engine)
    (target,) = pipeline.preview().targets
    assert dict(target.decisions)["uniqueness"].value is True


def test_writers_meanwhile_are_not_half_seen(world: Any, far: Any) -> None:
    """Describing and copying see one instant of the source."""
    far.fill((1, "a", 1))

    def body(conn: Any) -> str:
        conn.exec_driver_sql("SELECT 1")
        far.run("ALTER TABLE w.s ADD more int")
        far.run("INSERT INTO w.s VALUES (2, 'b', 2)")
        return SELECT

    pipeline = world.pipe(
        world.table(), None, body=body, mode="merge", source_connection=far.engine
    )
    pipeline.sync()
    assert rows(world) == [(1, "a")]


# -- what a transfer tells ----------------------------------------------------------------


class Watcher(Silence):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[Transferred] = []

    def transferring(self, run: RunStarted, progress: Transferred) -> None:
        """Note it."""
        self.told.append(progress)


def test_rows_bytes_and_rate_are_told_and_kept(
    world: Any, far: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Observers hear of a transfer while it goes on; the history keeps how it ended."""
    monkeypatch.setattr("pgflow.run.remote.copying._INTERVAL", 0.0)
    far.run("INSERT INTO w.s SELECT g, repeat('x', 100), g FROM generate_series(1, 5000) AS g")
    pipeline = world.pipe(world.table(), SELECT, mode="merge", source_connection=far.engine)
    watcher = Watcher()
    result = pipeline.sync(observer=watcher)
    told = watcher.told
    assert len(told) > 3
    assert all(one.rows < two.rows and one.bytes < two.bytes for one, two in zip(told, told[1:]))  # noqa: B905, RUF007  # neighbours
    assert told[-1].rate > 0
    (kept,) = world.run("SELECT details -> 'transfer' -> 0 FROM pgflow.runs")[0]
    assert kept == result.targets[0].details["transfer"][0]
    assert kept["rows"] == 5000
    assert kept["bytes"] > 500_000
    assert kept["path"] == "copy"


# -- what can go wrong --------------------------------------------------------------------


def test_a_source_that_fails_halfway_leaves_nothing(world: Any, far: Any) -> None:
    """The error is the source's, and both connections are sound afterwards."""
    engine = sa.create_engine(far.engine.url, pool_size=1, max_overflow=0)
    far.run("INSERT INTO w.s SELECT g, 'x', g FROM generate_series(1, 20000) AS g")
    source = "SELECT id, a, b / (id - 19999) AS b FROM w.s"
    pipeline = world.pipe(world.table(), source, mode="merge", source_connection=engine)
    for _ in range(2):
        with pytest.raises(SourceFailed, match="division by zero") as caught:
            pipeline.sync()
        assert caught.value.sqlstate == "22012"
        assert rows(world) == []
        assert engine.pool.checkedout() == 0
    engine.dispose()


def test_a_target_that_fails_halfway_stops_the_source(world: Any, far: Any) -> None:
    """The error is the target's, and the source's query is cancelled."""
    source = "SELECT g::bigint AS id, 'x' AS a, 1 AS b FROM generate_series(1, 300000) AS g"
    pipeline = world.pipe(world.table(), source, mode="merge", source_connection=far.engine)

    class Terminator(Silence):
        def transferring(self, run: RunStarted, progress: Transferred) -> None:
            """End the target's process in the middle of the copy."""
            world.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    job = pipeline.job({})
    from dataclasses import replace

    from pgflow.run.runner import run_alone

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pgflow.run.remote.copying._INTERVAL", 0.0)
        with pytest.raises(StatementFailed) as caught:
            run_alone(replace(job, attempts=1), world.engine, observer=Terminator())
    assert not isinstance(caught.value, SourceFailed)
    assert idle(far)
    assert rows(world) == []


def test_a_lost_source_is_tried_again(world: Any, far: Any, counts: Any) -> None:
    """A source whose server ends the session is read once more, from the start."""
    far.run("INSERT INTO w.s SELECT g, 'x', g FROM generate_series(1, 200000) AS g")
    pipeline = world.pipe(world.table(), SELECT, mode="merge", source_connection=far.engine)
    ended: list[Exception] = []

    class Terminator(Silence):
        def transferring(self, run: RunStarted, progress: Transferred) -> None:
            """End the source's process, once."""
            if not ended:
                far.run(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )

        def retrying(self, run: RunStarted, error: Exception, attempt: int, delay: float) -> None:
            """Remember why."""
            ended.append(error)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pgflow.run.remote.copying._INTERVAL", 0.0)
        result = pipeline.sync(observer=Terminator())
    assert counts(result) == {"inserted": 200000, "read": 200000}
    assert len(ended) == 1
    assert isinstance(ended[0], SourceFailed)


def test_cancelling_ends_both_servers_work(world: Any, far: Any) -> None:
    """cancel_runs() reaches a source that has not sent a row yet."""
    source = "SELECT 1::bigint AS id, pg_sleep(60)::text AS a, 1 AS b"
    pipeline = world.pipe(world.table(), source, mode="merge", source_connection=far.engine)
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(60)%%' AND state = 'active' AND pid <> pg_backend_pid()"  # noqa: E501

    def cancel() -> None:
        while far.run(sleeping) == [(0,)]:
            time.sleep(0.01)
        pgflow.cancel_runs()

    helper = threading.Thread(target=cancel)
    helper.start()
    begun = time.perf_counter()
    with pytest.raises(pgflow.errors.RunCancelled):
        pipeline.sync()
    helper.join()
    assert time.perf_counter() - begun < 20
    assert idle(far)
    assert rows(world) == []
