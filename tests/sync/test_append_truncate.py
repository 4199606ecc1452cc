"""append and truncate: rows are added once, or the whole is replaced."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import EmptySource, ModeConflict, OutOfScope


def test_append_with_a_key_takes_each_key_once(world: Any, counts: Any) -> None:
    """Known keys are unchanged, or skipped where their values differ; both are counted."""
    pipeline = world.pipe(world.table(), mode="append")
    world.fill((1, "a", 1), (2, "b", 2))
    assert counts(pipeline.sync()) == {"inserted": 2, "read": 2}
    world.fill((1, "a", 1), (2, "other", 2), (3, "c", 3), (3, "c", 3))
    assert counts(pipeline.sync()) == {"inserted": 1, "unchanged": 1, "skipped": 1, "read": 4}
    assert world.run("SELECT id, a FROM w.t ORDER BY id") == [(1, "a"), (2, "b"), (3, "c")]


def test_append_without_a_key_takes_everything(world: Any, counts: Any) -> None:
    """Where the source does not deliver the key, every row is a new one."""
    table = pgflow.SimpleTable("t", "w", world.metadata, [sa.Column("a", sa.Text)])
    pipeline = world.pipe(table, "SELECT a FROM w.s", mode="append")
    world.fill((1, "a", 1), (2, "a", 2))
    for _ in range(2):
        assert counts(pipeline.sync()) == {"inserted": 2, "read": 2}
    assert world.run("SELECT count(*), count(DISTINCT id) FROM w.t") == [(4, 4)]
    reason = pipeline.plan().decisions["merge key"].reason
    assert reason == "the source does not deliver 'id', so every row is appended"


def test_truncate_replaces_everything(world: Any, counts: Any) -> None:
    """After a full refresh the target is the source; what went is counted."""
    pipeline = world.pipe(world.table(), mode="truncate")
    world.fill((1, "a", 1), (2, "b", 2))
    assert counts(pipeline.sync()) == {"inserted": 2, "read": 2}
    world.fill((3, "c", 3))
    assert counts(pipeline.sync()) == {"inserted": 1, "deleted": 2, "read": 1}
    assert world.run("SELECT id FROM w.t") == [(3,)]


def test_truncate_uses_delete_where_a_foreign_key_points(world: Any, counts: Any) -> None:
    """A referenced table cannot be truncated; it is deleted from, and the plan says why."""
    table = world.table()
    pipeline = world.pipe(table, mode="truncate")
    world.run("CREATE TABLE w.ref (id bigint REFERENCES w.t)")
    world.fill((1, "a", 1))
    pipeline.sync()
    assert counts(pipeline.sync()) == {"inserted": 1, "deleted": 1, "read": 1}
    decision = pipeline.plan().decisions["replace"]
    assert (decision.value, decision.reason) == ("delete", "a foreign key points at the target")


def test_a_source_may_read_the_target_that_is_truncated(world: Any, counts: Any) -> None:
    """A source that reads the target, even through a view, is read before the target is emptied."""
    table = world.table()
    pipeline = world.pipe(table, "SELECT id, upper(a) AS a FROM w.v", mode="truncate")
    world.run("INSERT INTO w.t (id, a) VALUES (1, 'a'), (2, 'b')")
    world.run("CREATE VIEW w.v AS SELECT id, a FROM w.t")
    assert counts(pipeline.sync()) == {"inserted": 2, "deleted": 2, "read": 2}
    assert world.run("SELECT a FROM w.t ORDER BY id") == [("A",), ("B",)]


def test_truncate_refuses_an_empty_source(world: Any, counts: Any) -> None:
    """Nothing delivered would leave nothing; an empty target may stay empty."""
    table = world.table()
    pipeline = world.pipe(table, mode="truncate")
    bold = world.pipe(table, mode="truncate", on_empty_source="allow", name="bold")
    assert counts(pipeline.sync()) == {}
    world.fill((1, "a", 1))
    pipeline.sync()
    world.fill()
    with pytest.raises(EmptySource, match="pass on_empty_source='allow'"):
        pipeline.sync()
    assert world.run("SELECT count(*) FROM w.t") == [(1,)]
    assert counts(bold.sync()) == {"deleted": 1}


def test_truncate_within_a_scope(world: Any, counts: Any) -> None:
    """Only the part in scope is replaced, and rows outside it are refused."""
    pipeline = world.pipe(world.table(), mode="truncate", scope="a = 'x'")
    world.run("INSERT INTO w.t (id, a) VALUES (1, 'x'), (2, 'y')")
    world.fill((3, "x", 1))
    assert counts(pipeline.sync()) == {"inserted": 1, "deleted": 1, "read": 1}
    assert world.run("SELECT id FROM w.t ORDER BY id") == [(2,), (3,)]
    world.fill((3, "x", 1), (4, "z", 1))
    with pytest.raises(OutOfScope, match="1 rows outside scope"):
        pipeline.sync()


def test_replace_delete_lets_older_readers_go_on(world: Any) -> None:
    """With replace='delete' a reader with an older snapshot still sees the old rows."""
    pipeline = world.pipe(world.table(), mode="truncate", replace="delete")
    world.fill((1, "old", 1))
    pipeline.sync()
    with world.engine.connect() as reader:
        reader = reader.execution_options(isolation_level="REPEATABLE READ")
        seen = reader.exec_driver_sql("SELECT a FROM w.t").scalars().all()
        world.fill((1, "new", 1))
        pipeline.sync()
        assert reader.exec_driver_sql("SELECT a FROM w.t").scalars().all() == seen == ["old"]


def test_modes_that_exclude_each_other_are_refused(world: Any) -> None:
    """scd2 and truncate share a target with no other mode; append, merge and scd1 may."""
    table = world.table()
    for mode in ("append", "merge", "scd1"):
        pgflow.Pipeline(mode, target=table, source="SELECT 1 AS id", mode=mode)
    with pytest.raises(ModeConflict, match="pipeline 'history'.*pipeline 'append'"):
        world.pipe(table, mode="scd2", name="history")
    with pytest.raises(ModeConflict, match="truncate"):
        world.pipe(table, mode="truncate", name="refresh")
    assert "valid_from" not in table.table.columns
