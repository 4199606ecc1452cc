"""Several connections that read one source table: the same rows, of one instant, or none."""

from __future__ import annotations

import time
from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import InvalidOption, SourceFailed, StatementFailed
from pgflow.run.events import RunStarted, Silence, Transferred

ROWS = 6000
FILL = "INSERT INTO w.s SELECT g, repeat('x', g %% 300), g FROM generate_series(1, 6000) AS g"
#: Whatever does not depend on the order of rows.
SUM = "SELECT count(*), sum(id), sum(b), sum(length(a)), count(DISTINCT id) FROM w.{}"


@pytest.fixture(autouse=True)
def every_table_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small tables be worth several connections."""
    monkeypatch.setattr("pgflow.run.remote.workers.WORTHWHILE", 2)
    monkeypatch.setattr("pgflow.run.remote.copying._INTERVAL", 0.0)


def shared(world: Any, far: Any, source: Any = None, **options: Any) -> Any:
    """A pipeline whose source three connections are to read."""
    given: dict[str, Any] = {"mode": "merge", "transfer_workers": 3, **options}
    table = world.table(mode=given["mode"])
    given.setdefault("source_connection", far.engine)
    return world.pipe(table, source or pgflow.SourceTable("w.s"), **given)


def transfer(result: Any) -> dict[str, Any]:
    """What the run's details say of the transfer."""
    (found,) = result.targets[0].details["transfer"]
    return dict(found)


def staged(pipeline: Any) -> str:
    """What the preview says of the stage."""
    (target,) = pipeline.preview().targets
    return str(dict(target.decisions)["stage"].reason)


def alone(far: Any) -> bool:
    """Whether nobody else is connected to the source's database any more."""
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    for _ in range(100):
        if far.run(others) == [(0,)]:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("mode", ["append", "truncate", "merge", "scd2"])
def test_several_connections_bring_what_one_brings(world: Any, far: Any, mode: str) -> None:
    """Each row comes once, whichever connection has read it; the pool's size does not matter."""
    far.run(FILL)
    far.run("DELETE FROM w.s WHERE id %% 7 = 0")
    engine = sa.create_engine(far.engine.url, pool_size=1, max_overflow=0, pool_timeout=2)
    pipeline = shared(world, far, mode=mode, source_connection=engine)
    for _ in range(2):
        result = pipeline.sync()
        done = transfer(result)
        assert (done["workers"], done["rows"]) == (3, result.read)
        assert world.run(SUM.format("t")) == far.run(SUM.format("s"))
    assert engine.pool.checkedout() == 0
    engine.dispose()
    assert alone(far)


def test_partitions_are_read_one_by_one(world: Any, far: Any) -> None:
    """Columns stand where they may in a partition, and a partition may have its own."""
    far.run("DROP TABLE w.s")
    far.run("CREATE TABLE w.s (id bigint, a text, b numeric) PARTITION BY RANGE (id)")
    far.run('CREATE TABLE w."The 1st" (gone int, b numeric, a text, id bigint)')
    far.run('ALTER TABLE w."The 1st" DROP gone')
    far.run('ALTER TABLE w.s ATTACH PARTITION w."The 1st" FOR VALUES FROM (0) TO (3000)')
    far.run("CREATE TABLE w.p PARTITION OF w.s DEFAULT PARTITION BY HASH (id)")
    far.run("CREATE TABLE w.p0 PARTITION OF w.p FOR VALUES WITH (MODULUS 2, REMAINDER 0)")
    far.run("CREATE TABLE w.p1 PARTITION OF w.p FOR VALUES WITH (MODULUS 2, REMAINDER 1)")
    far.run(FILL)
    pipeline = shared(world, far)
    assert "read by 3 connections" in staged(pipeline)
    assert '"The 1st"' in str(pipeline.preview())
    assert transfer(pipeline.sync())["workers"] == 3
    assert world.run(SUM.format("t")) == far.run(SUM.format("s"))


def test_what_cannot_be_shared_out_is_read_by_one(world: Any, far: Any) -> None:
    """The preview says why, and all rows come."""
    far.run(FILL)
    for name, prepare, reason in (
        ("few", "CREATE TABLE w.few AS TABLE w.s LIMIT 1", "the table is small"),
        ("seen", "CREATE VIEW w.seen AS TABLE w.s", "the source is no plain table"),
        ("kept", "CREATE MATERIALIZED VIEW w.kept AS TABLE w.s", "the source is no plain table"),
        ("own", "CREATE TABLE w.own AS TABLE w.s", "the table has policies"),
        ("s", "CREATE TABLE w.child () INHERITS (w.s)", "other tables inherit from the table"),
        ("query", "SELECT 1", "the source is a query"),
    ):
        far.run(prepare)
        if name == "own":
            far.run("ALTER TABLE w.own ENABLE ROW LEVEL SECURITY")
        source = "SELECT id, a, b FROM w.s" if name == "query" else pgflow.SourceTable(f"w.{name}")
        pipeline = world.pipe(
            world.table(f"t_{name}"), source, mode="merge", name=name, transfer_workers=3,
            source_connection=far.engine,
        )  # fmt: skip
        assert f"read by one connection: {reason}" in staged(pipeline)
        result = pipeline.sync()
        assert "workers" not in transfer(result)
        relation = "s" if name == "query" else name
        assert world.run(SUM.format(f"t_{name}")) == far.run(SUM.format(relation))


def test_a_role_without_the_partitions_reads_the_table(world: Any, far: Any) -> None:
    """What may be read through the table alone is read through it."""
    role = "pgflow_workers_reader"
    if not far.run(f"SELECT 1 FROM pg_roles WHERE rolname = '{role}'"):
        far.run(f"CREATE ROLE {role} LOGIN")
    far.run("ALTER TABLE w.s RENAME TO leaf")
    far.run("CREATE TABLE w.s (id bigint, a text, b numeric, u timestamptz) PARTITION BY LIST (id)")
    far.run("ALTER TABLE w.s ATTACH PARTITION w.leaf DEFAULT")
    far.run(FILL)
    far.run(f"GRANT USAGE ON SCHEMA w TO {role}")
    far.run(f"GRANT SELECT ON w.s TO {role}")
    there = sa.create_engine(far.engine.url.set(username=role), poolclass=sa.NullPool)
    pipeline = shared(world, far, source_connection=there)
    assert "the role may not read all of the table" in staged(pipeline)
    assert pipeline.sync().inserted == ROWS
    far.run(f"DROP OWNED BY {role}")


def test_only_the_first_of_incremental_runs_is_shared(world: Any, far: Any, counts: Any) -> None:
    """A part of a table is found by an index, not page by page."""
    far.run(FILL)
    far.run("UPDATE w.s SET u = '2024-01-01'")
    pipeline = shared(world, far, incremental_column="u")
    assert transfer(pipeline.sync())["workers"] == 3
    assert "only a part of the table is read" in staged(pipeline)
    far.run("INSERT INTO w.s VALUES (9999, 'n', 1, '2024-01-02')")
    far.run("UPDATE w.s SET u = '2023-01-01' WHERE id > 10 AND id < 9999")
    assert counts(pipeline.sync()) == {"inserted": 1, "unchanged": 10, "read": 11}


def test_all_connections_see_one_instant(world: Any, far: Any) -> None:
    """Rows that are moved, deleted and inserted meanwhile arrive as they were at the beginning."""
    far.run(FILL)
    before = far.run(SUM.format("s"))
    changes = [
        "UPDATE w.s SET b = b + 1000000, a = repeat('y', 400)",
        "DELETE FROM w.s WHERE id %% 2 = 0",
        "INSERT INTO w.s SELECT g, 'new', g FROM generate_series(10001, 14000) AS g",
    ]

    class Writer(Silence):
        def transferring(self, run: RunStarted, progress: Transferred) -> None:
            """Change the source in the middle."""
            if changes:
                far.run(changes.pop(0))

    def body(conn: Any) -> pgflow.SourceTable:
        conn.exec_driver_sql("SELECT 1")  # the first connection's instant; the others come later
        far.run(changes.pop(0))
        return pgflow.SourceTable("w.s")

    pipeline = world.pipe(
        world.table(), None, body=body, mode="merge", source_connection=far.engine,
        transfer_workers=3,
    )  # fmt: skip
    done = transfer(pipeline.sync(observer=Writer()))
    assert (changes, done["workers"]) == ([], 3)
    assert world.run(SUM.format("t")) == before


@pytest.mark.parametrize("bad", [1, 3000, 6000])
def test_one_reader_that_fails_ends_them_all(world: Any, far: Any, bad: int) -> None:
    """The error is the source's; nothing is written, and nobody goes on reading."""
    far.run(FILL)
    far.run(f"UPDATE w.s SET b = 'NaN' WHERE id = {bad}")
    target = world.table("t", sa.Column("a", sa.Text), sa.Column("b", sa.Integer))
    pipeline = world.pipe(
        target, pgflow.SourceTable("w.s"), mode="merge", source_connection=far.engine,
        transfer_workers=3,
    )  # fmt: skip
    far.run("ALTER TABLE w.s ALTER b TYPE text")
    for _ in range(2):
        with pytest.raises(SourceFailed, match="invalid input syntax for type integer"):
            pipeline.sync()
        assert world.run("SELECT count(*) FROM w.t") == [(0,)]
        assert alone(far)
    far.run(f"UPDATE w.s SET b = 7 WHERE id = {bad}")
    assert pipeline.sync().inserted == ROWS


def test_a_target_that_fails_ends_the_readers(world: Any, far: Any) -> None:
    """The error is the target's."""
    far.run(FILL)

    class Terminator(Silence):
        def transferring(self, run: RunStarted, progress: Transferred) -> None:
            """End the target's process in the middle."""
            world.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    pipeline = shared(world, far)
    with pytest.raises(StatementFailed) as caught:
        pipeline.sync(observer=Terminator())
    assert not isinstance(caught.value, SourceFailed)
    assert alone(far)


def test_a_lost_reader_is_tried_again(world: Any, far: Any) -> None:
    """One connection that breaks has all of them begin anew."""
    far.run(FILL.replace("6000", "40000"))  # more than readers can prefetch
    tried: list[Exception] = []

    class Terminator(Silence):
        def transferring(self, run: RunStarted, progress: Transferred) -> None:
            """End one of the source's processes, once."""
            if not tried:
                far.run(
                    "SELECT pg_terminate_backend(max(pid)) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )

        def retrying(self, run: RunStarted, error: Exception, attempt: int, delay: float) -> None:
            """Remember why."""
            tried.append(error)

    result = shared(world, far).sync(observer=Terminator())
    assert result.inserted == 40000
    assert [type(error) for error in tried] == [SourceFailed]
    assert alone(far)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, None])
def test_an_interrupt_ends_them_all(
    world: Any, far: Any, interrupt: type[BaseException] | None
) -> None:
    """Ctrl-C, a signal's SystemExit and cancel_runs() leave no connection and no row."""
    far.run(FILL)

    class Interrupter(Silence):
        def transferring(self, run: RunStarted, progress: Transferred) -> None:
            """Break in."""
            self.at = time.perf_counter()
            if interrupt is not None:
                raise interrupt
            pgflow.cancel_runs()
            time.sleep(0.2)

    pipeline, watcher = shared(world, far), Interrupter()
    with pytest.raises(interrupt or pgflow.errors.RunCancelled):
        pipeline.sync(observer=watcher)
    assert time.perf_counter() - watcher.at < 10
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]
    assert alone(far)
    assert pipeline.sync().inserted == ROWS


def test_other_sources_are_read_by_one(world: Any, counts: Any) -> None:
    """Rows of a function are nobody's table; in the target's own database nothing is copied."""
    rows = world.pipe(
        world.table(), None, body=lambda: [{"id": 1, "a": "a", "b": 1}], mode="merge",
        transfer_workers=4,
    )  # fmt: skip
    assert "only tables of other PostgreSQL databases" in staged(rows)
    assert counts(rows.sync()) == {"inserted": 1, "read": 1}
    here = world.pipe(
        world.table("u"), pgflow.SourceTable("w.s"), mode="merge", name="q", transfer_workers=4
    )
    world.fill((1, "a", 1))
    assert counts(here.sync()) == {"inserted": 1, "read": 1}


@pytest.mark.parametrize("given", [0, -1, 33, 2.0, True, "2"])
def test_no_number_of_connections_is_refused(given: Any) -> None:
    """The bounds are named."""
    with pytest.raises(InvalidOption, match="from 1 to 32"):
        pgflow.target(object, transfer_workers=given)
