"""merge and scd1: new keys in, changed rows written, nothing else touched."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import (
    DuplicateKeys,
    EmptySource,
    NullKeys,
    OutOfScope,
    StatementFailed,
    TooManyDeletes,
)


def test_merge_inserts_updates_and_leaves_the_rest(world: Any, counts: Any) -> None:
    """New keys are inserted, changed rows updated, and unchanged ones never written."""
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", 1), (2, "b", 2), (3, "c", 3))
    assert counts(pipeline.sync()) == {"inserted": 3, "read": 3}
    before = dict(world.run("SELECT id, xmin::text FROM w.t"))
    world.fill((1, "a", 1), (2, "B", 2), (4, "d", 4))
    assert counts(pipeline.sync()) == {"inserted": 1, "updated": 1, "unchanged": 1, "read": 3}
    after = dict(world.run("SELECT id, xmin::text FROM w.t"))
    assert {k for k in before if before[k] == after[k]} == {1, 3}
    assert world.run("SELECT id, a FROM w.t ORDER BY id") == [
        (1, "a"),
        (2, "B"),
        (3, "c"),
        (4, "d"),
    ]


def test_written_rows_carry_the_run_that_wrote_them(world: Any) -> None:
    """`_batch_id` is the run's id on rows that it wrote, and the older run's on the others."""
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", 1), (2, "b", 2))
    first = pipeline.sync()
    world.fill((1, "a", 1), (2, "B", 2))
    second = pipeline.sync()
    assert world.run("SELECT id, _batch_id FROM w.t ORDER BY id") == [
        (1, first.run_id),
        (2, second.run_id),
    ]


@pytest.mark.parametrize("value", ["1.5", "1.50", "1.500", "1.5004"])
def test_equality_is_that_of_the_targets_type(world: Any, counts: Any, value: str) -> None:
    """A number that the target's column holds already is no change, whatever its scale."""
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", "1.5"))
    pipeline.sync()
    world.fill((1, "a", value))
    assert counts(pipeline.sync()) == {"unchanged": 1, "read": 1}


@pytest.mark.parametrize("detection", ["values", "exact", "hash"])
def test_null_is_a_value_and_nan_equals_itself(world: Any, counts: Any, detection: str) -> None:
    """NULL to value and back are changes; NaN is none; by every way of comparing."""
    pipeline = world.pipe(world.table(), mode="merge", change_detection=detection)
    world.fill((1, None, "NaN"), (2, "x", None))
    pipeline.sync()
    assert counts(pipeline.sync()) == {"unchanged": 2, "read": 2}
    world.fill((1, "x", "NaN"), (2, None, None))
    assert counts(pipeline.sync()) == {"updated": 2, "read": 2}
    assert counts(pipeline.sync()) == {"unchanged": 2, "read": 2}


def test_exact_sees_what_equality_does_not(world: Any, counts: Any) -> None:
    """1.0 and 1.00 are equal numbers but different bytes."""
    table = world.table("t", sa.Column("a", sa.Text), sa.Column("b", sa.Numeric))
    values = world.pipe(table, mode="merge", name="values")
    exact = world.pipe(table, mode="merge", name="exact", change_detection="exact")
    world.fill((1, "a", "1.0"))
    values.sync()
    world.fill((1, "a", "1.00"))
    assert counts(values.sync()) == {"unchanged": 1, "read": 1}
    assert counts(exact.sync()) == {"updated": 1, "read": 1}


def test_types_without_equality_compare_by_their_text(world: Any, counts: Any) -> None:
    """json, xml and point have no equality; they are compared all the same."""
    from pgflow.types import Raw

    table = world.table(
        "t",
        sa.Column("j", sa.JSON),
        sa.Column("p", Raw["point"].sqla if hasattr(Raw["point"], "sqla") else sa.Text),
        sa.Column("n", sa.ARRAY(sa.Integer)),
    )
    source = "SELECT 1 AS id, '{\"a\": 1}'::json AS j, point(1, %s) AS p, ARRAY[1, NULL] AS n"
    one = world.pipe(table, source % 2, mode="merge", name="one")
    two = world.pipe(table, source % 3, mode="merge", name="two")
    assert counts(one.sync()) == {"inserted": 1, "read": 1}
    assert counts(one.sync()) == {"unchanged": 1, "read": 1}
    assert counts(two.sync()) == {"updated": 1, "read": 1}


def test_a_value_that_is_too_long_fails_and_is_not_cut(world: Any) -> None:
    """varchar(3) refuses four characters, on the first load and on an update alike."""
    pipeline = world.pipe(
        world.table("t", sa.Column("a", sa.String(3))), "SELECT id, a FROM w.s", mode="merge"
    )
    world.fill((1, "abcd", None))
    with pytest.raises(StatementFailed, match="value too long for type character varying"):
        pipeline.sync()
    world.fill((1, "abc", None))
    pipeline.sync()
    world.fill((1, "abcd", None))
    with pytest.raises(StatementFailed, match="value too long"):
        pipeline.sync()
    assert world.run("SELECT a FROM w.t") == [("abc",)]


def test_update_columns_limit_what_is_compared_and_written(world: Any, counts: Any) -> None:
    """A column outside update_columns is filled on insert and never again."""
    pipeline = world.pipe(world.table(), mode="merge", update_columns=("a",))
    world.fill((1, "a", 1))
    pipeline.sync()
    world.fill((1, "a", 2))
    assert counts(pipeline.sync()) == {"unchanged": 1, "read": 1}
    world.fill((1, "A", 3))
    assert counts(pipeline.sync()) == {"updated": 1, "read": 1}
    assert world.run("SELECT a, b FROM w.t") == [("A", 1)]


def test_columns_that_the_source_does_not_deliver_stay(world: Any, counts: Any) -> None:
    """A note that somebody made in the target survives."""
    pipeline = world.pipe(world.table(), "SELECT id, a FROM w.s", mode="merge")
    world.fill((1, "a", None))
    pipeline.sync()
    world.run("UPDATE w.t SET b = 7")
    world.fill((1, "A", None))
    assert counts(pipeline.sync()) == {"updated": 1, "read": 1}
    assert world.run("SELECT a, b FROM w.t") == [("A", 7)]


def test_identical_rows_collapse(world: Any, counts: Any) -> None:
    """A row that comes twice counts once, on the first load, as new key and as change."""
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", 1), (1, "a", 1))
    assert counts(pipeline.sync()) == {"inserted": 1, "read": 2}
    world.fill((1, "A", 1), (1, "A", 1), (2, "b", 2), (2, "b", 2), (2, "b", 2))
    assert counts(pipeline.sync()) == {"inserted": 1, "updated": 1, "read": 5}
    assert world.run("SELECT id, a FROM w.t ORDER BY id") == [(1, "A"), (2, "b")]


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("mode", ["merge", "scd1", "scd2", "append"])
def test_different_rows_with_one_key_are_named(world: Any, mode: str, loaded: bool) -> None:
    """Two rows that disagree about a key stop the run, also if one equals the target's."""
    pipeline = world.pipe(world.table(), mode=mode)
    if loaded:
        world.fill((1, "a", 1))
        pipeline.sync()
    world.fill((1, "a", 1), (1, "x", 1), (2, "b", 2))
    before = world.run("SELECT * FROM w.t")
    with pytest.raises(DuplicateKeys, match=r"p -> w\.t: different rows share a merge key: id=1\."):
        pipeline.sync()
    assert world.run("SELECT * FROM w.t") == before


@pytest.mark.parametrize(("choice", "kept"), [("last", "new"), ("first", "old")])
def test_on_duplicate_takes_one_by_order(world: Any, counts: Any, choice: str, kept: str) -> None:
    """`on_duplicate=` takes the first or last row of a key by `order_by=`."""
    pipeline = world.pipe(
        world.table(),
        "SELECT id, a, b, u FROM w.s",
        mode="merge",
        on_duplicate=choice,
        order_by="u",
    )
    world.run(
        "INSERT INTO w.s VALUES (1, 'old', 1, '2024-01-01'), (1, 'new', 2, '2024-01-02'),"
        " (2, 'b', 1, '2024-01-01')"
    )
    assert counts(pipeline.sync()) == {"inserted": 2, "read": 3}
    assert world.run("SELECT a FROM w.t WHERE id = 1") == [(kept,)]


def test_a_tie_in_order_is_an_error(world: Any) -> None:
    """Different rows that tie in `order_by` cannot be told apart."""
    pipeline = world.pipe(
        world.table(),
        "SELECT id, a, b, u FROM w.s",
        mode="merge",
        on_duplicate="last",
        order_by="u",
    )
    world.run("INSERT INTO w.s VALUES (1, 'x', 1, '2024-01-01'), (1, 'y', 2, '2024-01-01')")
    with pytest.raises(DuplicateKeys, match="tie in order_by='u'"):
        pipeline.sync()


def test_older_rows_are_not_applied(world: Any, counts: Any) -> None:
    """With `order_by` in the target a row older than the target's is skipped, an equal one not."""
    table = world.table("t", sa.Column("a", sa.Text), sa.Column("u", sa.DateTime(timezone=True)))
    pipeline = world.pipe(table, "SELECT id, a, u FROM w.s", mode="merge", order_by="u")
    world.run("INSERT INTO w.s VALUES (1, 'new', 1, '2024-01-02'), (2, 'n', 1, '2024-01-02')")
    pipeline.sync()
    world.run("UPDATE w.s SET a = 'old', u = '2024-01-01' WHERE id = 1")
    world.run("UPDATE w.s SET a = 'same instant' WHERE id = 2")
    assert counts(pipeline.sync()) == {"updated": 1, "skipped": 1, "read": 2}
    assert world.run("SELECT id, a FROM w.t ORDER BY id") == [(1, "new"), (2, "same instant")]


@pytest.mark.parametrize("loaded", [False, True])
def test_null_keys_are_counted_and_refused(world: Any, loaded: bool) -> None:
    """A row without a key stops the run, with how many there are."""
    pipeline = world.pipe(world.table(), mode="merge")
    if loaded:
        world.fill((1, "a", 1))
        pipeline.sync()
    world.fill((None, "x", 1), (None, "y", 1), (3, "c", 3))
    with pytest.raises(NullKeys, match=r"2 of 3 source rows have NULL in the merge key \(id\)"):
        pipeline.sync()
    assert len(world.run("SELECT 1 FROM w.t")) == int(loaded)


@pytest.mark.parametrize("mode", ["merge", "scd2"])
def test_null_can_be_a_key_of_its_own(world: Any, counts: Any, mode: str) -> None:
    """on_null_key='match' treats NULLs in a natural key as equal."""
    table = pgflow.SimpleTable(
        "t",
        "w",
        world.metadata,
        [sa.Column("k", sa.BigInteger), sa.Column("a", sa.Text), pgflow.Unique("k")],
    )
    pipeline = world.pipe(
        table,
        "SELECT id AS k, a FROM w.s",
        mode=mode,
        keys=("k",),
        on_null_key="match",
        handle_deletes="soft",
    )
    world.fill((1, "one", None), (None, "none", None))
    assert counts(pipeline.sync()) == {"inserted": 2, "read": 2}
    assert counts(pipeline.sync()) == {"unchanged": 2, "read": 2}
    world.fill((1, "one", None), (None, "changed", None))
    changed = counts(pipeline.sync())
    assert changed == (
        {"updated": 1, "unchanged": 1, "read": 2}
        if mode == "merge"
        else {"inserted": 1, "closed": 1, "unchanged": 1, "read": 2}
    )
    world.fill((1, "one", None))
    assert counts(pipeline.sync())["deleted"] == 1


def test_hard_deletes_follow_the_source(world: Any, counts: Any) -> None:
    """Keys that are gone from the source are deleted; NULLs in the source disable nothing."""
    pipeline = world.pipe(world.table(), mode="merge", handle_deletes="hard")
    world.fill((1, "a", 1), (2, None, None), (3, "c", 3))
    pipeline.sync()
    world.fill((2, None, None), (4, "d", 4))
    assert counts(pipeline.sync()) == {"inserted": 1, "deleted": 2, "unchanged": 1, "read": 2}
    assert world.run("SELECT id FROM w.t ORDER BY id") == [(2,), (4,)]


@pytest.mark.parametrize("mode", ["merge", "scd1"])
def test_soft_deletes_are_marked_and_undone(world: Any, counts: Any, mode: str) -> None:
    """A key that vanishes is stamped once, and alive again when it comes back unchanged."""
    pipeline = world.pipe(world.table(), mode=mode, handle_deletes="soft")
    world.fill((1, "a", 1), (2, "b", 2))
    pipeline.sync()
    world.fill((1, "a", 1))
    assert counts(pipeline.sync()) == {"deleted": 1, "unchanged": 1, "read": 1}
    assert counts(pipeline.sync()) == {"unchanged": 1, "read": 1}
    assert world.run("SELECT id, _deleted_at IS NOT NULL FROM w.t ORDER BY id") == [
        (1, False),
        (2, True),
    ]
    world.fill((1, "a", 1), (2, "b", 2))
    assert counts(pipeline.sync()) == {"updated": 1, "unchanged": 1, "read": 2}
    assert world.run("SELECT count(*) FROM w.t WHERE _deleted_at IS NULL") == [(2,)]


@pytest.mark.parametrize("deletes", ["soft", "hard"])
def test_an_empty_source_does_not_empty_the_target(world: Any, counts: Any, deletes: str) -> None:
    """Nothing delivered is a mistake unless it is allowed."""
    table = world.table()
    careful = world.pipe(table, mode="merge", handle_deletes=deletes)
    bold = world.pipe(
        table, mode="merge", handle_deletes=deletes, on_empty_source="allow", name="bold"
    )
    world.fill((1, "a", 1), (2, "b", 2))
    careful.sync()
    world.fill()
    with pytest.raises(EmptySource, match="no rows, and 2 rows of the target would go"):
        careful.sync()
    assert counts(bold.sync()) == {"deleted": 2}


def test_too_many_deletes_abort(world: Any, counts: Any) -> None:
    """More deletes than the ratio allows are refused; exactly the ratio is fine."""
    pipeline = world.pipe(world.table(), mode="merge", handle_deletes="hard", max_delete_ratio=0.5)
    world.fill((1, "a", 1), (2, "b", 2), (3, "c", 3), (4, "d", 4))
    pipeline.sync()
    world.fill((1, "a", 1))
    with pytest.raises(TooManyDeletes, match="3 of 4 live rows are not in the source"):
        pipeline.sync()
    world.fill((1, "a", 1), (2, "b", 2))
    assert counts(pipeline.sync())["deleted"] == 2


def test_a_scope_limits_everything(world: Any, counts: Any) -> None:
    """Deletes and comparisons see only the part of the target in scope."""
    pipeline = world.pipe(
        world.table(),
        "SELECT id, a, b FROM w.s WHERE a = 'x'",
        mode="merge",
        handle_deletes="hard",
        scope="a = 'x'",
    )
    world.run("INSERT INTO w.t (id, a, b) VALUES (1, 'x', 1), (2, 'x', 2), (3, 'other', 3)")
    world.fill((1, "x", 9))
    assert counts(pipeline.sync()) == {"updated": 1, "deleted": 1, "read": 1}
    assert world.run("SELECT id, b FROM w.t ORDER BY id") == [(1, 9), (3, 3)]


def test_a_scope_takes_run_parameters_and_expressions(world: Any, counts: Any) -> None:
    """A scope is text with run parameters, or an expression over the table's columns."""
    table = world.table()
    world.run("CREATE SCHEMA IF NOT EXISTS w")

    @pgflow.pipeline(
        target=table,
        mode="merge",
        handle_deletes="hard",
        scope="a = :part",
        connection=world.engine,
    )
    def by_text(conn: Any, *, part: str) -> str:
        return "SELECT id, a, b FROM w.s WHERE a = :part"

    by_expression = world.pipe(
        table,
        "SELECT id, a, b FROM w.s WHERE a = 'y'",
        mode="merge",
        handle_deletes="hard",
        scope=table.table.c.a == "y",
        name="by_expression",
    )
    world.run("INSERT INTO w.t (id, a) VALUES (1, 'x'), (2, 'x'), (3, 'y'), (4, 'y'), (5, 'z')")
    world.fill((1, "x", None), (3, "y", None))
    assert counts(by_text.sync(part="x")) == {"deleted": 1, "unchanged": 1, "read": 1}
    assert counts(by_expression.sync()) == {"deleted": 1, "unchanged": 1, "read": 1}
    assert world.run("SELECT id FROM w.t ORDER BY id") == [(1,), (3,), (5,)]


def test_rows_outside_the_scope_are_refused(world: Any) -> None:
    """A source that delivers more than the scope would write it again and again."""
    pipeline = world.pipe(world.table(), mode="merge", scope="a = 'x'")
    world.fill((1, "x", 1), (2, "y", 2))
    with pytest.raises(OutOfScope, match="outside scope .*: id=2"):
        pipeline.sync()


def test_scd1_stamps_what_changed_and_writes_every_value(world: Any, counts: Any) -> None:
    """scd1 compares compare_columns, and writes all delivered values of a changed row."""
    pipeline = world.pipe(world.table(), mode="scd1", compare_columns=("a",))
    world.fill((1, "a", 1), (2, "b", 2))
    pipeline.sync()
    first = dict(world.run("SELECT id, _changed_at FROM w.t"))
    world.fill((1, "a", 9), (2, "B", 9))
    assert counts(pipeline.sync()) == {"updated": 1, "unchanged": 1, "read": 2}
    second = dict(world.run("SELECT id, _changed_at FROM w.t"))
    assert (second[1], second[2] > first[2]) == (first[1], True)
    assert world.run("SELECT b FROM w.t ORDER BY id") == [(1,), (9,)]
