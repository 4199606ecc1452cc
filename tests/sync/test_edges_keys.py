"""Keys at the edges: their names, NULLs in them, proofs of uniqueness, counts."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import DuplicateKeys
from pgflow.types import Raw


@pytest.mark.parametrize("mode", ["append", "merge", "scd1", "scd2"])
@pytest.mark.parametrize("key", ["uuid", "now", "timestamptz", "d", "batch", "delivered"])
def test_a_key_may_be_called_anything(world: Any, counts: Any, key: str, mode: str) -> None:
    """A key named like a function or an alias of pgflow's own statements just works."""
    table = world.table("t", sa.Column("v", sa.Text), key=(sa.Column(key, sa.BigInteger),))
    pipeline = world.pipe(table, f'SELECT id AS "{key}", a AS v FROM w.s', mode=mode)
    world.fill((1, "a", None))
    assert counts(pipeline.sync()) == {"inserted": 1, "read": 1}
    world.fill((1, "a", None), (2, "b", None))
    assert counts(pipeline.sync()) == {"inserted": 1, "unchanged": 1, "read": 2}


@pytest.mark.parametrize("mode", ["merge", "scd2"])
@pytest.mark.parametrize("kind", ["varchar(5)", "w.small", "integer[]", "char(3)"])
def test_null_keys_match_in_every_type(world: Any, counts: Any, kind: str, mode: str) -> None:
    """on_null_key='match' finds NULL keys again, with deletes, in domains, arrays and varchar."""
    world.run("CREATE DOMAIN w.small AS integer")
    one = {"w.small": "1", "integer[]": "{1}"}.get(kind, "a")
    table = pgflow.SimpleTable(
        "t",
        "w",
        world.metadata,
        [sa.Column("k", Raw[kind]), sa.Column("n", sa.Integer), sa.Column("v", sa.Text)],
    )
    world.run("CREATE DOMAIN w.whole AS integer")
    world.run("CREATE TABLE w.x (k text, n w.whole, v text)")
    world.run("INSERT INTO w.x VALUES (%s, 1, 'a'), (%s, NULL, 'b'), (NULL, NULL, 'c')", one, one)
    pipeline = world.pipe(
        table,
        "SELECT k, n, v FROM w.x",
        mode=mode,
        keys=("k", "n"),
        on_null_key="match",
        handle_deletes="soft",
    )
    assert counts(pipeline.sync()) == {"inserted": 3, "read": 3}
    assert counts(pipeline.sync()) == {"unchanged": 3, "read": 3}
    world.run("UPDATE w.x SET v = 'z' WHERE k IS NULL")
    world.run("DELETE FROM w.x WHERE v = 'b'")
    changed = {"inserted": 1, "closed": 2} if mode == "scd2" else {"updated": 1}
    assert counts(pipeline.sync()) == {**changed, "deleted": 1, "unchanged": 1, "read": 2}


def test_an_empty_array_is_no_null(world: Any, counts: Any) -> None:
    """NULL and the empty array are two keys."""
    table = pgflow.SimpleTable(
        "t", "w", world.metadata, [sa.Column("k", Raw["integer[]"]), sa.Column("v", sa.Text)]
    )
    source = "SELECT NULL::int[] AS k, 'a' AS v UNION ALL SELECT '{}', 'b'"
    pipeline = world.pipe(table, source, mode="merge", keys=("k",), on_null_key="match")
    assert counts(pipeline.sync()) == {"inserted": 2, "read": 2}
    assert counts(pipeline.sync()) == {"unchanged": 2, "read": 2}


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_target_rows_without_a_key_are_left_alone(world: Any, counts: Any, kind: str) -> None:
    """A target row whose key is NULL is neither new nor deleted, and no row is made up for it."""
    columns = [sa.Column(c, sa.Integer) for c in ("k", "n", "v")]
    table = pgflow.SimpleTable("t", "w", world.metadata, columns)
    source = "SELECT 1 AS k, 1 AS n, 5 AS v"
    pipeline = world.pipe(table, source, mode="merge", keys=("k", "n"), handle_deletes=kind)
    world.run("INSERT INTO w.t (k, n, v) VALUES (NULL, 5, 1), (1, NULL, 2)")
    assert counts(pipeline.sync()) == {"inserted": 1, "read": 1}
    assert world.run("SELECT k, n, v FROM w.t ORDER BY v") == [
        (None, 5, 1),
        (1, None, 2),
        (1, 1, 5),
    ]


def test_a_function_that_returns_sets_undoes_a_proof(world: Any) -> None:
    """DISTINCT ON with ORDER BY repeats keys for each row of a set: found, and named."""
    source = "SELECT DISTINCT ON (id) id, generate_series(1, 2)::text AS a FROM w.s ORDER BY id"
    pipeline = world.pipe(world.table("t", sa.Column("a", sa.Text)), source, mode="merge")
    world.fill((1, "x", None))
    with pytest.raises(DuplicateKeys, match="id=1"):
        pipeline.sync()


@pytest.mark.parametrize(
    "setup",
    [
        "CREATE UNIQUE INDEX ON w.x (id) WHERE a <> 'b'",
        "ALTER TABLE w.x ADD UNIQUE (id) DEFERRABLE INITIALLY DEFERRED",
        "ALTER TABLE w.x ADD UNIQUE (id); CREATE TABLE w.z () INHERITS (w.x)",
    ],
    ids=["partial index", "deferrable constraint", "inheritance"],
)
def test_what_does_not_prove_uniqueness_is_not_taken_for_a_proof(world: Any, setup: str) -> None:
    """A partial index, a deferrable constraint and a parent's index leave the check in place."""
    world.run("CREATE TABLE w.x (id bigint, a text)")
    world.run(setup)
    pipeline = world.pipe(
        world.table("t", sa.Column("a", sa.Text)), "SELECT id, a FROM w.x", mode="merge"
    )
    plan = pipeline.plan()
    assert plan.decisions["uniqueness"].value is False


@pytest.mark.parametrize("mode", ["append", "merge"])
def test_a_repeated_row_that_is_skipped_counts_once(world: Any, counts: Any, mode: str) -> None:
    """What was read is what was done with it, plus repetitions, also for rows not applied."""
    table = world.table("t", sa.Column("a", sa.Text), sa.Column("u", sa.DateTime(timezone=True)))
    pipeline = world.pipe(table, "SELECT id, a, u FROM w.s", mode=mode, order_by="u")
    world.run("INSERT INTO w.s VALUES (1, 'new', 1, '2020-01-02')")
    pipeline.sync()
    world.run("UPDATE w.s SET a = 'old', u = '2020-01-01'")
    world.run("INSERT INTO w.s TABLE w.s")
    assert counts(pipeline.sync()) == {"skipped": 1, "read": 2}


def test_the_order_column_is_written_with_update_columns(world: Any) -> None:
    """An older row is not applied, even where update_columns= does not name the order column."""
    table = world.table("t", sa.Column("a", sa.Text), sa.Column("u", sa.DateTime(timezone=True)))
    pipeline = world.pipe(
        table, "SELECT id, a, u FROM w.s", mode="merge", order_by="u", update_columns=("a",)
    )
    for day, value in ((1, "first"), (3, "third"), (2, "second")):
        world.run("TRUNCATE w.s")
        world.run("INSERT INTO w.s VALUES (1, %s, 1, make_date(2020, 1, %s))", value, day)
        pipeline.sync()
    assert world.run("SELECT a FROM w.t") == [("third",)]
