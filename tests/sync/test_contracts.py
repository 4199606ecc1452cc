"""What the source delivers against what the target declares, before any row is read."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from pgflow.errors import SchemaEvolved, SourceMismatch


@pytest.mark.parametrize("mode", ["strict", "ignore_extra", "evolve"])
def test_a_type_that_would_lose_is_refused(world: Any, mode: str) -> None:
    """1.7 never becomes 2 without a word, in no schema mode; an explicit cast says that it may."""
    table = world.table("t", sa.Column("n", sa.Integer))
    source = "SELECT 1::bigint AS id, 1.7::numeric(4,1) AS n"
    pipeline = world.pipe(table, source, mode="merge", schema_mode=mode)
    expected = SchemaEvolved if mode == "evolve" else SourceMismatch
    with pytest.raises(expected, match=r"'n' is numeric\(4,1\), the target has integer"):
        pipeline.sync()
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]
    cast = source.replace("1.7::numeric(4,1)", "1.7::int")
    assert world.pipe(table, cast, name="q", mode="merge", schema_mode=mode).sync().inserted == 1


def test_an_extra_column_by_schema_mode(world: Any) -> None:
    """strict refuses it, ignore_extra drops it, evolve asks for the migration and names it."""
    table = world.table()
    source = "SELECT 1::bigint AS id, 'x' AS a, 1.5 AS b, now() AS seen"
    strict = world.pipe(table, source, name="s", mode="merge")
    with pytest.raises(SourceMismatch, match="delivers 'seen', which the target lacks"):
        strict.sync()
    evolve = world.pipe(table, source, name="e", mode="merge", schema_mode="evolve")
    with pytest.raises(SchemaEvolved) as grown:
        evolve.sync()
    assert grown.value.added == {"seen": "timestamp with time zone"}
    # 1.5 has no scale of its own, and the target's numeric(10,2) has one.
    assert grown.value.widened == {"b": "numeric"}
    assert "`pgflow evolve e` writes" in str(grown.value)
    ignoring = world.pipe(table, source, name="i", mode="merge", schema_mode="ignore_extra")
    assert ignoring.sync().inserted == 1
    assert world.run("SELECT status, error_type FROM pgflow.runs ORDER BY started_at") == [
        ("failed", "SourceMismatch"), ("failed", "SchemaEvolved"), ("success", None),
    ]  # fmt: skip


def test_a_source_table_shows_its_new_columns(world: Any) -> None:
    """With evolve a whole source table is looked at, not only the columns that the target has."""
    pipeline = world.pipe(
        world.table(), None, source_table="w.s", mode="merge", schema_mode="evolve"
    )
    with pytest.raises(SchemaEvolved) as grown:
        pipeline.sync()
    assert grown.value.added == {"u": "timestamp with time zone"}


def test_the_order_and_incremental_columns_are_no_growth(world: Any) -> None:
    """Columns that only the run needs are not asked for."""
    world.run("INSERT INTO w.s VALUES (1, 'x', 2, now())")
    pipeline = world.pipe(
        world.table("t", sa.Column("a", sa.Text)),
        "SELECT id, a, u FROM w.s",
        mode="merge",
        schema_mode="evolve",
        incremental_column="u",
    )
    assert pipeline.sync().inserted == 1
