"""Sources in other databases, with SQLite: names, values, positions, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import (
    BadRow,
    InvalidSource,
    MissingFile,
    MissingTable,
    SourceFailed,
    SourceMismatch,
)


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[sa.Engine]:
    """A SQLite database with `s (ID, A, b, u)`."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/x.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE s (ID integer, A text, b numeric, u datetime)")
        connection.exec_driver_sql(
            "INSERT INTO s VALUES (1, 'x', 1.5, '2024-01-01 10:00:00'), (2, NULL, NULL, NULL)"
        )
    yield engine
    engine.dispose()


def _add(lite: sa.Engine, *rows: tuple[Any, ...]) -> None:
    with lite.begin() as connection:
        for row in rows:
            connection.exec_driver_sql("INSERT INTO s VALUES (?, ?, ?, ?)", row)


def test_text_queries_are_read_in_their_own_dialect(world: Any, lite: sa.Engine) -> None:
    """Parameters are bound outside of quotes and comments; the end may be `;` and a comment."""
    text = "SELECT id, 'it''s :m' AS a, `b` FROM s WHERE id >= :m -- not :m;\n; -- end"
    query = pgflow.Query(text, {"m": 2})
    table = world.table()
    world.pipe(table, query, source_connection=lite, mode="merge").sync()
    assert world.run("SELECT id, a, b FROM w.t") == [(2, "it's :m", None)]
    with pytest.raises(InvalidSource, match="no placeholder :n"):
        world.pipe(
            table,
            pgflow.Query("SELECT 1 AS id -- :n", {"n": 1}),
            source_connection=lite,
            mode="merge",
        ).sync()


def test_selects_tables_and_bodies(world: Any, lite: sa.Engine) -> None:
    """A select(), a source table, and SQL from a function with that connection deliver the same."""
    table = world.table()
    s = sa.table("s", sa.column("ID"), sa.column("A"), sa.column("b", sa.Numeric(10, 2)))

    def body(conn: Any, *, least: int = 0) -> str:
        conn.exec_driver_sql("CREATE TEMP TABLE IF NOT EXISTS mine AS SELECT * FROM s")
        return "SELECT id, a, b FROM mine WHERE id > :least"

    first = world.pipe(table, sa.select(s), source_connection=lite, mode="merge").sync()
    assert (first.inserted, first.read) == (2, 2)
    from_table = pgflow.SourceTable("main.s")
    assert world.pipe(table, from_table, source_connection=lite, mode="merge").sync().unchanged == 2
    called = pgflow.Pipeline(
        "b", target=table, body=body, source_connection=lite, connection=world.engine, mode="merge"
    )
    assert called.sync().unchanged == 2
    assert called.sync(least=1).unchanged == 1
    assert world.run("SELECT id, a, b FROM w.t ORDER BY id") == [
        (1, "x", Decimal("1.50")),
        (2, None, None),
    ]


@pytest.mark.parametrize("by_table", [True, False])
def test_only_newer_rows_are_read(world: Any, lite: sa.Engine, by_table: bool) -> None:
    """The position is bound in the source's SQL, and exact in the stage; NULLs are read again."""
    table = world.table("t", sa.Column("a", sa.Text), sa.Column("u", sa.DateTime(timezone=True)))
    source = (
        pgflow.SourceTable("main.s", time_zone="UTC")
        if by_table
        else pgflow.Query("SELECT id, a, u FROM s", time_zone="UTC")
    )
    pipeline = world.pipe(
        table, source, source_connection=lite, mode="merge", incremental_column="u"
    )
    _add(lite, (9, "old", None, "2023-06-01 00:00:00"), (8, "o", None, "2024-01-01 09:59:59"))
    assert pipeline.sync().read == 4
    seen: list[tuple[str, Any]] = []
    sa.event.listen(
        lite, "before_cursor_execute", lambda c, k, s, p, x, m: seen.append((s, p)), named=False
    )
    _add(lite, (3, "new", None, "2024-01-01T10:00:00.5"), (4, "late", None, "2023-07-01 00:00:00"))
    result = pipeline.sync()
    assert (result.read, result.inserted) == (3, 1)
    assert any("2023-12-31" in str(p) for _, p in seen), "the condition has not reached SQLite"
    assert world.run("SELECT id FROM w.t ORDER BY id") == [(1,), (2,), (3,), (8,), (9,)]


def test_times_without_a_zone_are_refused(world: Any, lite: sa.Engine) -> None:
    """SQLite's text times name no instant until time_zone= says so."""
    table = world.table("t", sa.Column("u", sa.DateTime(timezone=True)))
    text = "SELECT id, u FROM s"
    with pytest.raises(BadRow, match="row 1, column 'u'.*has no time zone"):
        world.pipe(table, text, source_connection=lite, mode="merge").sync()
    berlin = pgflow.Query(text, time_zone="Europe/Berlin")
    world.pipe(table, berlin, source_connection=lite, mode="merge").sync()
    assert world.run("SELECT u FROM w.t WHERE id = 1") == [(datetime(2024, 1, 1, 9, tzinfo=UTC),)]


def test_columns_are_checked_for_an_empty_source(world: Any, lite: sa.Engine) -> None:
    """Names, types and tables are checked before the first row."""
    table = world.table("t", sa.Column("b", sa.Date))
    for source, error, said in (
        ("SELECT id, b AS z FROM s WHERE 1 = 0", SourceMismatch, "'z'"),
        (pgflow.SourceTable("main.s"), SourceMismatch, "'b' is numeric, the target has date"),
        (pgflow.SourceTable("main.nope"), MissingTable, "main.nope"),
        (pgflow.SourceTable("main.s", column_map={"b": "zz"}), SourceMismatch, "no such column"),
        ("SELECT nope FROM s", SourceFailed, "no such column: nope"),
    ):
        with pytest.raises(error, match=said):
            world.pipe(table, source, source_connection=lite, mode="merge").sync()


def test_a_source_that_fails_leaves_nothing(world: Any, lite: sa.Engine) -> None:
    """An error of the source in the middle of the rows is the source's, and all is rolled back."""
    _add(lite, *((n, "x", None, None) for n in range(3, 400)), (400, "x", None, None))
    text = "SELECT id, CASE WHEN id = 400 THEN json('{') ELSE a END AS a, b FROM s ORDER BY id"
    with pytest.raises(SourceFailed, match="source sqlite .*malformed JSON"):
        world.pipe(world.table(), text, source_connection=lite, mode="merge").sync()
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]


def test_deletes_dry_runs_and_history(world: Any, lite: sa.Engine) -> None:
    """The stage is the source: deletes, scd2, dry runs and the history work as in one database."""
    table = world.table()
    pipeline = world.pipe(
        table,
        "SELECT id, a, b FROM s",
        source_connection=lite,
        mode="scd2",
        handle_deletes="soft",
    )
    assert pipeline.dry_run().inserted == 2
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]
    pipeline.sync()
    with lite.begin() as connection:
        connection.exec_driver_sql("DELETE FROM s WHERE id = 2")
        connection.exec_driver_sql("UPDATE s SET a = 'y'")
    assert pipeline.sync().closed == 2
    assert world.run("SELECT id, a, is_current FROM w.t ORDER BY id, valid_from") == [
        (1, "x", False),
        (1, "y", True),
        (2, None, False),
    ]
    (details,) = world.run("SELECT details FROM pgflow.runs ORDER BY started_at DESC LIMIT 1")[0]
    assert details["transfer"][0]["rows"] == 1


def test_a_file_that_is_not_there_is_refused_and_not_made(world: Any, tmp_path: Path) -> None:
    """SQLite would make an empty database of a mistyped path."""
    path, table = tmp_path / "nope.db", world.table()
    for name, source in (("q", "SELECT 1 AS id"), ("s", pgflow.SourceTable("main.s"))):
        url = f"sqlite:///{path}"
        pipeline = world.pipe(table, source, name=name, source_connection=url, mode="merge")
        for run in (pipeline.sync, pipeline.dry_run):
            with pytest.raises(MissingFile, match=r"no SQLite file .*nope\.db .looked for in"):
                run()
        assert not path.exists()
