"""Scopes and positions at the edges: nothing outside the scope, and no row lost by rounding."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import InvalidOption, OutOfScope, SourceMismatch
from pgflow.types import Raw


def test_a_scope_holds_across_partitions(world: Any, counts: Any) -> None:
    """Rows of other partitions stay untouched, even at the same place of their partition."""
    columns = [sa.Column("tenant", sa.Integer), sa.Column("k", sa.Integer), sa.Column("a", sa.Text)]
    table = pgflow.SimpleTable("t", "w", world.metadata, columns)
    source = "SELECT 1 AS id, 7 AS tenant, 1 AS k, 'new' AS a"
    pipeline = world.pipe(table, source, mode="merge", keys=("k",), scope="tenant = 7")
    world.run("ALTER TABLE w.t RENAME TO model")
    world.run("CREATE TABLE w.t (LIKE w.model INCLUDING DEFAULTS) PARTITION BY LIST (tenant)")
    for tenant in (7, 8):
        world.run(f"CREATE TABLE w.t{tenant} PARTITION OF w.t FOR VALUES IN ({tenant})")
        world.run("INSERT INTO w.t (id, tenant, k, a) VALUES (1, %s, 1, 'old')", tenant)
    assert counts(pipeline.sync()) == {"updated": 1, "read": 1}
    assert world.run("SELECT tenant, a FROM w.t ORDER BY 1") == [(7, "new"), (8, "old")]


@pytest.mark.parametrize("mode", ["merge", "scd1", "scd2"])
def test_a_changed_row_must_not_leave_the_scope(world: Any, mode: str) -> None:
    """A row whose new values lie outside the scope stops the run, and stays as it was."""
    table = world.table("t", sa.Column("tenant", sa.Integer))
    source = "SELECT id, b::int AS tenant FROM w.s"
    pipeline = world.pipe(table, source, mode=mode, scope="tenant = 7")
    world.fill((1, None, 7))
    pipeline.sync()
    world.fill((1, None, 8))
    with pytest.raises(OutOfScope, match="outside scope 'tenant = 7': id=1"):
        pipeline.sync()
    assert world.run("SELECT tenant FROM w.t") == [(7,)]


def test_append_without_a_key_keeps_to_the_scope(world: Any) -> None:
    """Rows outside the scope stop an append, too, and nothing of it stays."""
    table = pgflow.SimpleTable("t", "w", world.metadata, [sa.Column("tenant", sa.Integer)])
    pipeline = world.pipe(table, "SELECT 8 AS tenant", mode="append", scope="tenant = 7")
    with pytest.raises(OutOfScope, match="1 rows outside scope 'tenant = 7'"):
        pipeline.sync()
    assert world.run("SELECT * FROM w.t") == []


@pytest.mark.parametrize("mode", ["append", "truncate"])
def test_a_scope_without_keys_needs_the_run_of_each_row(world: Any, mode: str) -> None:
    """Without `_batch_id` nothing tells which rows a run wrote outside: refused, with advice."""
    table = pgflow.SimpleTable(
        "t",
        "w",
        world.metadata,
        [sa.Column("tenant", sa.Integer)],
        system_columns={"_batch_id": None},
    )
    pipeline = world.pipe(table, "SELECT 7 AS tenant", mode=mode, scope="tenant = 7")
    with pytest.raises(InvalidOption, match="needs the system column _batch_id"):
        pipeline.sync()


@pytest.mark.parametrize("mode", ["append", "merge", "scd2"])
def test_a_scope_is_about_delivered_columns(world: Any, mode: str) -> None:
    """A scope by a column that the source leaves out is refused before anything is read."""
    tenant = sa.Column("tenant", sa.Integer, server_default=sa.text("7"))
    table = world.table("t", sa.Column("a", sa.Text), tenant)
    pipeline = world.pipe(table, "SELECT id, a FROM w.s", mode=mode, scope="tenant = 7")
    with pytest.raises(SourceMismatch, match="uses 'tenant', which the source does not deliver"):
        pipeline.sync()


def test_rounding_loses_no_row_of_an_incremental_run(world: Any) -> None:
    """The position is the source's own value, where the target keeps whole seconds only."""
    table = world.table("t", sa.Column("u", Raw["timestamptz(0)"]))
    pipeline = world.pipe(table, "SELECT id, u FROM w.s", mode="append", incremental_column="u")
    for number, second in enumerate(("00.6", "00.8", "01.7", "01.8"), start=1):
        world.run(f"INSERT INTO w.s (id, u) VALUES (%s, '2020-01-01 00:00:{second}+00')", number)
        pipeline.sync()
    assert world.run("SELECT id FROM w.t ORDER BY id") == [(1,), (2,), (3,), (4,)]


@pytest.mark.parametrize(
    ("column", "back"), [("u::date AS u", 1), ("id AS u", timedelta(days=1)), ("a AS u", 1)]
)
def test_a_lookback_has_to_fit_its_column(world: Any, column: str, back: Any) -> None:
    """Days from a number, or a number from a date: refused with the two ways that work."""
    pipeline = world.pipe(
        world.table("t", sa.Column("a", sa.Text)),
        f"SELECT id, a, {column} FROM w.s",
        mode="merge",
        incremental_column="u",
        lookback=back,
    )
    with pytest.raises(SourceMismatch, match="Give a timedelta for dates and times"):
        pipeline.sync()


def test_watermarks_live_in_the_configured_schema(world: Any) -> None:
    """With `utility_schema=` the position is read and written in that schema."""
    pgflow.Config(utility_schema="other").attach(world.metadata)
    table = world.table("t", sa.Column("u", sa.DateTime(timezone=True)))
    pipeline = world.pipe(table, "SELECT id, u FROM w.s", mode="merge", incremental_column="u")
    world.run("INSERT INTO w.s (id, u) VALUES (1, '2020-01-01')")
    pipeline.sync()
    assert world.run("SELECT pipeline FROM other.watermarks") == [("p",)]
    assert "other.watermarks" in str(pipeline.plan())


def test_a_column_that_only_the_database_has_is_not_asked_of_a_source_table(world: Any) -> None:
    """source_table= delivers what was declared; a nullable column beside it stays as it is."""
    table = world.table("t", sa.Column("a", sa.Text))
    pipeline = pgflow.Pipeline(
        "p", target=table, source_table="w.x", connection=world.engine, mode="merge"
    )
    pgflow.create_all(world.metadata, connection=world.engine)
    world.run("CREATE TABLE w.x AS SELECT 1::bigint AS id, 'a'::text AS a")
    world.run("ALTER TABLE w.t ADD COLUMN more text")
    pipeline.sync()
    assert world.run("SELECT id, a, more FROM w.t") == [(1, "a", None)]
