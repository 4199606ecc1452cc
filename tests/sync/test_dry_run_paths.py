"""Dry runs of sources of every kind: the next run's counts, and no trace at either end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow import checks
from pgflow.errors import StatementFailed, TargetsFailed
from tests.sync.test_watermark_snapshot import tracked

#: What a run can leave in any database: relations, what the planner knows of them, locks, slots.
TRACES = (
    "SELECT oid, relname, relfilenode, reltuples, relpages, relpersistence FROM pg_class"
    " WHERE relnamespace::regnamespace::text !~ '^pg_|information_schema' OR relpersistence = 't'"
    " ORDER BY oid",
    "SELECT count(*) FROM pg_stats WHERE schemaname IN ('w', 'pgflow')",
    "SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database"
    " WHERE d.datname = current_database() AND l.locktype = 'advisory'",
    "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()",
)
#: Rows with their place and writer.
ROWS = "SELECT ctid::text, xmin::text, x::text FROM {} AS x ORDER BY ctid"


def traces(*worlds: Any) -> list[Any]:
    """What is in databases."""
    found = []
    for world in worlds:
        found += [world.run(query) for query in TRACES]
        tables = world.run(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r'"
            " AND relnamespace::regnamespace::text IN ('w', 'pgflow') ORDER BY 1"
        )
        found += [world.run(ROWS.format(table)) for (table,) in tables]
    return found


def rehearse(pipeline: Any, counts: Callable[..., Any], *worlds: Any) -> Any:
    """Dry-run and run; the counts are the same, and the dry run left nothing."""
    before = traces(*worlds)
    rehearsal = pipeline.dry_run()
    assert traces(*worlds) == before
    result = pipeline.sync()
    assert counts(rehearsal) == counts(result)
    return result


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("merge", {"handle_deletes": "hard"}),
        ("merge", {"incremental_column": "u"}),
        ("scd2", {"handle_deletes": "soft"}),
    ],
)
def test_a_source_in_another_database(
    world: Any, far: Any, counts: Any, mode: str, options: dict[str, Any]
) -> None:
    """Neither database keeps anything: no stage, no position, no lock."""
    query = "SELECT id, a, b, u FROM w.s" if "incremental_column" in options else None
    more = {"source": query} if query else {}
    pipeline = world.pipe(world.table(), mode=mode, source_connection=far.engine, **more, **options)
    far.run("INSERT INTO w.s SELECT i, 'x', i, '2024-01-01' FROM generate_series(1, 3) AS i")
    assert rehearse(pipeline, counts, world, far).inserted == 3
    far.run("UPDATE w.s SET a = 'y', u = '2024-02-01' WHERE id = 1")
    far.run("DELETE FROM w.s WHERE id = 3")
    rehearse(pipeline, counts, world, far)


def test_rows_and_files(world: Any, counts: Any, tmp_path: Path) -> None:
    """What Python or a file delivers is read for the dry run, and again for the run."""
    path = tmp_path / "rows.csv"
    path.write_text("id,a,b\n1,x,1\n2,y,2\n")
    files = world.pipe(world.table(), pgflow.CSV(path), name="files", mode="merge")
    assert rehearse(files, counts, world).inserted == 2
    rows = world.pipe(
        world.table("u"), lambda: ({"id": i, "a": "x", "b": 1} for i in range(3)), name="rows",
        mode="merge",
    )  # fmt: skip
    assert rehearse(rows, counts, world).inserted == 3


def test_event_time(world: Any, counts: Any) -> None:
    """Late rows are spliced in the dry run as in the run."""
    columns = (sa.Column("a", sa.Text), sa.Column("u", sa.DateTime(timezone=True)))
    pipeline = world.pipe(
        world.table("t", *columns), "SELECT id, a, u FROM w.s", mode="scd2",
        event_timestamp_column="u",
    )  # fmt: skip
    for rows in (
        "(1, 'x', 1, '2024-03-01'), (2, 'x', 1, '2024-03-01')",
        "(1, 'w', 1, '2024-01-01')",
    ):
        world.run(f"TRUNCATE w.s; INSERT INTO w.s VALUES {rows}")
        rehearse(pipeline, counts, world)
    assert world.run("SELECT count(*) FROM w.t") == [(3,)]


@pytest.mark.parametrize("kind", ["snapshot", "horizon"])
def test_positions_among_transactions(world: Any, counts: Any, kind: str) -> None:
    """A dry run takes no rows away from the next run, although its transaction ends before."""
    tracked(world)
    column = {"snapshot": "xid", "horizon": "xmin"}[kind]
    pipeline = world.pipe(
        world.table("t", sa.Column("a", sa.Text)), f"SELECT id, a, {column} FROM w.tracked",
        mode="merge", incremental_column=column, watermark=kind,
    )  # fmt: skip
    for key in (1, 2):
        world.run("INSERT INTO w.tracked VALUES (%s, 'x')", key)
        assert rehearse(pipeline, counts, world).inserted == 1
    assert rehearse(pipeline, counts, world).inserted == 0


def test_rejected_rows(world: Any, counts: Any) -> None:
    """Rows that checks keep out are counted, and are in no quarantine."""
    world.fill((1, "x", 1), (2, "x", -1))
    positive = checks.SQLCheck("positive", "b > 0", quarantine=True)
    pipeline = world.pipe(world.table(), mode="merge", checks=[positive])
    result = rehearse(pipeline, counts, world)
    assert (result.inserted, result.rejected) == (1, 1)


def test_a_function_that_works_itself(world: Any, counts: Any) -> None:
    """What it does through its connection is rolled back, and the counts are what it returned."""

    def body(conn: Any) -> Any:
        done = conn.exec_driver_sql("INSERT INTO w.t (id) VALUES (1)")
        return {"inserted": done.rowcount}

    pipeline = world.pipe(world.table(), None, body=body, mode="append")
    assert rehearse(pipeline, counts, world).inserted == 1
    assert world.run("SELECT count(*) FROM w.t") == [(1,)]


def test_several_targets_in_several_databases(world: Any, far: Any, counts: Any) -> None:
    """Each target is rolled back where it is; one that fails keeps no other from being tried."""
    there = far.table("t")
    strict = world.table("strict", sa.Column("a", sa.Text), sa.Column("b", sa.Numeric(2, 1)))
    targets = [
        pgflow.target(strict, mode="append"),
        pgflow.target(there, mode="merge", target_connection=far.engine),
        pgflow.target(world.table(), mode="scd2"),
    ]
    pipeline = world.pipe(None, targets=targets)
    pgflow.create_all(far.metadata, connection=far.engine)
    world.fill((1, "a", 100))
    before = traces(world, far)
    with pytest.raises(TargetsFailed) as caught:
        pipeline.dry_run()
    assert traces(world, far) == before
    result: Any = caught.value.result
    assert [(t.status, t.inserted) for t in result.targets] == [
        ("failed", 0), ("success", 1), ("success", 1),
    ]  # fmt: skip
    assert isinstance(result.targets[0].error, StatementFailed)
    world.run("ALTER TABLE w.strict ALTER b TYPE numeric")
    assert rehearse(pipeline, counts, world, far).inserted == 3
