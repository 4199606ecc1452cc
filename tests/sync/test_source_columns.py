"""What a source delivers, against the columns of its target."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from pgflow.errors import SourceMismatch


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("SELECT id, a, b, 1 AS z FROM w.s", "delivers 'z', which the target lacks"),
        ("SELECT id, a, b, a FROM w.s", "delivers 'a' more than once"),
        ("SELECT a, b FROM w.s", r"does not deliver 'id', which the merge key \(pk\(\)|merge key"),
        ("SELECT id, a, now() AS b FROM w.s", "'b' is timestamp with time zone, the target has"),
        ("SELECT id, a, b, now() AS _loaded_at FROM w.s", "which pgflow fills itself"),
    ],
)
def test_a_source_that_does_not_fit_is_refused(world: Any, source: str, sentence: str) -> None:
    """Names and types are checked before a row is read, also for an empty source."""
    pipeline = world.pipe(world.table(), source, mode="merge")
    with pytest.raises(SourceMismatch, match=sentence):
        pipeline.sync()


def test_a_not_null_column_must_be_delivered(world: Any) -> None:
    """A target column that nobody fills is named with what the source has."""
    table = world.table("t", sa.Column("a", sa.Text), sa.Column("must", sa.Text, nullable=False))
    pipeline = world.pipe(table, "SELECT id, a FROM w.s", mode="merge")
    with pytest.raises(SourceMismatch, match="'must' is NOT NULL without a default"):
        pipeline.sync()


def test_extra_columns_can_be_ignored(world: Any, counts: Any) -> None:
    """schema_mode='ignore_extra' drops what the target lacks."""
    pipeline = world.pipe(
        world.table(), "SELECT *, 1 AS z FROM w.s", mode="merge", schema_mode="ignore_extra"
    )
    world.fill((1, "a", 1))
    assert counts(pipeline.sync()) == {"inserted": 1, "read": 1}


def test_text_is_read_as_the_targets_type(world: Any, counts: Any) -> None:
    """Literals of unknown type, NULL among them, become what the target's column is."""
    pipeline = world.pipe(world.table(), "SELECT '7' AS id, 'a' AS a, NULL AS b", mode="merge")
    assert counts(pipeline.sync()) == {"inserted": 1, "read": 1}
    assert counts(pipeline.sync()) == {"unchanged": 1, "read": 1}


def test_source_tables_are_renamed_by_column_map(world: Any, counts: Any) -> None:
    """`source_table` takes the target's columns by name, or as column_map says."""
    world.run("CREATE TABLE w.users (user_id bigint, a text, amount numeric, other text)")
    world.run("INSERT INTO w.users VALUES (1, 'a', 2, 'unused')")
    pipeline = world.pipe(
        world.table(),
        None,
        mode="merge",
        source_table="w.users",
        column_map={"id": "user_id", "b": "amount"},
    )
    assert counts(pipeline.sync()) == {"inserted": 1, "read": 1}
    assert world.run("SELECT id, a, b FROM w.t") == [(1, "a", 2)]


def test_a_missing_source_column_is_named(world: Any) -> None:
    """A column that the source table lacks is named with the nearest, before any row."""
    world.run("CREATE TABLE w.users (id bigint, aa text, b numeric)")
    pipeline = world.pipe(world.table(), None, mode="merge", source_table="w.users")
    with pytest.raises(
        SourceMismatch, match="w.users has no column 'a'.*Did you mean 'aa'|no column 'a'"
    ):
        pipeline.sync()
