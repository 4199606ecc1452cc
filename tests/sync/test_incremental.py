"""Incremental pipelines: read from the last seen value on, lose nothing, take nothing twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import MissingMergeKey, SourceMismatch


def _table(world: Any, *, with_column: bool = True) -> Any:
    columns = [sa.Column("a", sa.Text)]
    if with_column:
        columns.append(sa.Column("u", sa.DateTime(timezone=True)))
    return world.table("t", *columns)


@pytest.mark.parametrize("mode", ["append", "merge", "scd1", "scd2"])
@pytest.mark.parametrize("with_column", [True, False])
def test_only_new_values_are_read(world: Any, counts: Any, mode: str, with_column: bool) -> None:
    """A run reads from the last seen value on; the boundary row is recognised by its key."""
    pipeline = world.pipe(
        _table(world, with_column=with_column),
        "SELECT id, a, u FROM w.s",
        mode=mode,
        incremental_column="u",
    )
    world.run("INSERT INTO w.s VALUES (1, 'a', 1, '2024-01-01'), (2, 'b', 1, '2024-01-02')")
    assert counts(pipeline.sync()) == {"inserted": 2, "read": 2}
    assert counts(pipeline.sync()) == {"unchanged": 1, "read": 1}
    world.run("INSERT INTO w.s VALUES (3, 'tie', 1, '2024-01-02'), (4, 'd', 1, '2024-01-03')")
    assert counts(pipeline.sync()) == {"inserted": 2, "unchanged": 1, "read": 3}
    assert counts(pipeline.sync()) == {"unchanged": 1, "read": 1}
    runs = world.run(
        "SELECT left(watermark_from, 10), left(watermark_to, 10) FROM pgflow.runs"
        " ORDER BY started_at"
    )
    one, two = "2024-01-02", "2024-01-03"
    assert runs == [(None, one), (one, one), (one, two), (two, two)]


def test_the_position_moves_with_the_data_or_not_at_all(world: Any) -> None:
    """A run that fails leaves the watermark where it was."""
    pipeline = world.pipe(
        _table(world), "SELECT id, a, u FROM w.s", mode="merge", incremental_column="u"
    )
    world.run("INSERT INTO w.s VALUES (1, 'a', 1, '2024-01-01')")
    pipeline.sync()
    position = world.run("SELECT value FROM pgflow.watermarks")
    world.run("INSERT INTO w.s VALUES (2, 'x', 1, '2024-01-05'), (2, 'y', 1, '2024-01-05')")
    with pytest.raises(pgflow.PgflowError, match="share a merge key"):
        pipeline.sync()
    assert world.run("SELECT value FROM pgflow.watermarks") == position
    history = world.run("SELECT status, watermark_to FROM pgflow.runs ORDER BY started_at")
    assert [row[0] for row in history] == ["success", "failed"]


def test_nulls_are_read_every_time(world: Any, counts: Any) -> None:
    """A row without a value is not lost after the first run."""
    pipeline = world.pipe(
        _table(world), "SELECT id, a, u FROM w.s", mode="merge", incremental_column="u"
    )
    world.run("INSERT INTO w.s VALUES (1, 'a', 1, '2024-01-01'), (2, 'n', 1, NULL)")
    pipeline.sync()
    world.run("UPDATE w.s SET a = 'N' WHERE id = 2")
    assert counts(pipeline.sync()) == {"updated": 1, "unchanged": 1, "read": 2}


def test_lookback_reads_further_back(world: Any, counts: Any) -> None:
    """A row that came late, behind the watermark, is found within the lookback."""
    pipeline = world.pipe(
        _table(world),
        "SELECT id, a, u FROM w.s",
        mode="merge",
        incremental_column="u",
        lookback=timedelta(days=2),
    )
    world.run("INSERT INTO w.s VALUES (1, 'a', 1, '2024-01-10')")
    pipeline.sync()
    world.run(
        "INSERT INTO w.s VALUES (2, 'late', 1, '2024-01-09'), (3, 'too late', 1, '2024-01-01')"
    )
    assert counts(pipeline.sync()) == {"inserted": 1, "unchanged": 1, "read": 2}


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("bigint", ["9", "10"]),
        ("numeric", ["9.5", "10.25"]),
        ("date", ["2024-01-09", "2024-01-10"]),
        ("timestamp", ["2024-01-01 00:00:00.000001", "2024-01-01 00:00:00.000002"]),
        ("timestamptz", ["2024-03-31 00:59:59+00", "2024-03-31 01:00:00+00"]),
        ("text", ["B", "a"]),
        ("uuid", ["00000000-0000-0000-0000-000000000009", "00000000-0000-0000-0000-00000000000a"]),
    ],
)
def test_a_position_survives_in_every_type(
    world: Any, counts: Any, kind: str, values: list[str]
) -> None:
    """What is stored as text is compared as what it was, in any session's settings."""
    world.run(f"CREATE TABLE w.typed (id bigint, v {kind})")
    pipeline = world.pipe(
        world.table("t", sa.Column("a", sa.Text)),
        "SELECT id, v, 'a' AS a FROM w.typed",
        mode="merge",
        incremental_column="v",
    )
    name = world.run("SELECT current_database()")[0][0]
    world.run("INSERT INTO w.typed VALUES (1, %s)", values[0])
    pipeline.sync()
    world.run(f"ALTER DATABASE {name} SET TimeZone = 'America/New_York'")
    world.run(f"ALTER DATABASE {name} SET DateStyle = 'German'")
    world.engine.dispose()
    world.run("INSERT INTO w.typed VALUES (2, %s)", values[1])
    assert counts(pipeline.sync()) == {"inserted": 1, "unchanged": 1, "read": 2}
    assert counts(pipeline.sync()) == {"unchanged": 1, "read": 1}


def test_another_column_starts_afresh(world: Any, counts: Any) -> None:
    """A position in one column says nothing about another; everything is read once more."""
    table = _table(world)
    first = world.pipe(table, "SELECT id, a, u FROM w.s", mode="merge", incremental_column="u")
    world.run("INSERT INTO w.s VALUES (7, 'a', 1, '2024-01-01'), (8, 'b', 1, '2024-01-02')")
    first.sync()
    second = pgflow.Pipeline(
        "p",
        target=table,
        source="SELECT id, a, u FROM w.s",
        mode="merge",
        incremental_column="id",
        connection=world.engine,
    )
    assert counts(second.sync()) == {"unchanged": 2, "read": 2}
    assert counts(second.sync()) == {"unchanged": 1, "read": 1}


def test_an_incremental_append_needs_a_key(world: Any) -> None:
    """Boundary rows are read again, so an append without key would double them."""
    table = pgflow.SimpleTable(
        "t", "w", world.metadata, [sa.Column("u", sa.DateTime(timezone=True))]
    )
    pipeline = world.pipe(table, "SELECT u FROM w.s", mode="append", incremental_column="u")
    with pytest.raises(MissingMergeKey, match="does not deliver 'id'"):
        pipeline.sync()


def test_the_incremental_column_must_be_delivered(world: Any) -> None:
    """A source without the column is refused by its name."""
    pipeline = world.pipe(
        _table(world), "SELECT id, a FROM w.s", mode="merge", incremental_column="u"
    )
    with pytest.raises(SourceMismatch, match="does not deliver 'u', which incremental_column="):
        pipeline.sync()
