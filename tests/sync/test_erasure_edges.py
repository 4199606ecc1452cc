"""Erasure at its edges: types, partitions, foreign keys, texts, and the caller's transaction."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow import checks
from pgflow.errors import CannotForget, UnsuitableTransaction
from pgflow.plugins import ColumnPKPlugin, SplitHistoryPlugin

VALUES = [
    ("char(5)", "'ab'", "'abc'", "ab", 1),
    ("numeric(10,2)", "7.11", "7.10", "7.105", 0),
    ("numeric(10,2)", "7.10", "7.11", "7.1", 1),
    ("timestamp(0)", "'2024-01-01 00:00:01'", "'2024-01-01'", "2024-01-01 00:00:00.6", 0),
    ("bit(3)", "B'101'", "B'100'", "101", 1),
    ("interval", "'1 day'", "'2 days'", "24:00", 1),
    ("text[]", "ARRAY['a','b']", "ARRAY['a']", "{a,b}", 1),
]


def test_only_this_value(world: Any) -> None:
    """No value is rounded or cut to that of somebody else."""
    world.pipe(world.table(), mode="merge")
    for kind, value, other, given, erased in VALUES:
        world.run(f"DROP TABLE IF EXISTS w.k; CREATE TABLE w.k (k {kind}, v int)")
        world.run(f"INSERT INTO w.k VALUES ({value}, 1), ({other}, 2)")
        done = pgflow.forget("w.k", {"k": given}, connection=world.engine)
        assert done.versions == erased, (kind, given)
        assert world.run("SELECT v FROM w.k WHERE v = 2") == [(2,)]


def test_a_split_history_is_erased_whole(world: Any) -> None:
    """Current and closed versions go; its partitions, and views, are refused by name."""
    table = pgflow.SimpleTable(
        "split", "w", world.metadata, [sa.Column("a", sa.Text), sa.Column("b", sa.Numeric)],
        plugins=[ColumnPKPlugin(sa.Column("id", sa.BigInteger)), SplitHistoryPlugin()], mode="scd2",
    )  # fmt: skip
    pipeline = world.pipe(table, mode="scd2")
    for a in "xyz":
        world.fill((1, a, 1), (2, a, 1))
        pipeline.sync()
    with pytest.raises(CannotForget, match=r"is a partition of w\.split, whose other"):
        pgflow.forget("w.split_current", {"id": 1}, connection=world.engine)
    world.run("CREATE VIEW w.seen AS SELECT * FROM w.split")
    with pytest.raises(CannotForget, match=r"w\.seen is no table"):
        pgflow.forget("w.seen", {"id": 1}, connection=world.engine)
    assert pgflow.forget(table, 1, connection=world.engine).versions == 3
    assert world.run("SELECT id, count(*) FROM w.split GROUP BY 1") == [(2, 3)]


def test_a_name_without_its_schema_is_the_same_table(world: Any) -> None:
    """What runs know as `w.t` is found by `t` where the search path leads to it."""
    table = world.table()
    world.fill((1, None, 1), (1, "x", 1))
    world.pipe(table, mode="merge", checks=[checks.NotNull("a", quarantine=True)]).sync()
    with world.engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL search_path = w")
        done = pgflow.forget("t", {"id": 1}, connection=connection)
    assert (done.versions, done.quarantined, done.samples) == (1, 1, 1)


def test_what_is_no_value_of_the_column_is_told(world: Any) -> None:
    """The message names the value, the type and the column."""
    table = world.table()
    world.pipe(table, mode="merge")
    with pytest.raises(CannotForget, match="'abc' is no bigint, which the column 'id' is"):
        pgflow.forget(table, "abc", connection=world.engine)
    with pytest.raises(CannotForget, match="is no bigint"):
        pgflow.forget(table, 10**30, connection=world.engine)


def test_foreign_keys_to_partitions_and_to_itself(world: Any) -> None:
    """Rows that refer to a partition are found; rows of the same key do not stand in the way."""
    world.pipe(world.table(), mode="merge")
    world.run("CREATE TABLE w.p (a int, b int, up int, PRIMARY KEY (a)) PARTITION BY LIST (a)")
    world.run("CREATE TABLE w.p1 PARTITION OF w.p FOR VALUES IN (1)")
    world.run("CREATE TABLE w.p2 PARTITION OF w.p DEFAULT")
    world.run("ALTER TABLE w.p ADD FOREIGN KEY (up) REFERENCES w.p (a)")
    world.run("CREATE TABLE w.child (a int REFERENCES w.p1 (a) ON DELETE CASCADE)")
    world.run("INSERT INTO w.p VALUES (1, 7, NULL), (2, 7, 1), (3, NULL, 2)")
    world.run("INSERT INTO w.child VALUES (1)")
    with pytest.raises(CannotForget) as refused:
        pgflow.forget("w.p", {"b": 7}, connection=world.engine)
    assert refused.value.references == (
        "1 rows of w.child (child_a_fkey)", "1 rows of w.p (p_up_fkey)",
    )  # fmt: skip
    world.run("DELETE FROM w.child")
    world.run("DELETE FROM w.p WHERE a = 3")
    assert pgflow.forget("w.p", {"b": 7}, connection=world.engine).versions == 2


QUOTED = [
    ("text", "a.longer@example.org", "row (x, A.Longer@example.org) is bad", True),
    ("text", "a.longer@example.org", "row (x, a.longer@example.organic) is bad", False),
    ("text", "y" * 300, f"Failing row contains (1, {'y' * 64}..., null).", True),
    ("text", "z" * 300, f"id='{'z' * 200}...'", True),
    ("text", "it's", r"id=\"it's\" (k=\"it's\")", True),
    ("text", "ab", "tab ab, about", False),
    ("text", "ab", 'COPY stage, line 3: "1\tab\tx"', True),
    ("bigint", "7", "1 of 7 rows: id=70, id=-7, id=77, id=7.5, in 7 s", False),
    ("bigint", "7", "Key (id)=(7) already exists", True),
    ("bigint", "123456", "rows 123456 and 2", True),
    ("numeric(8,3)", "7.5", "id=7.500, id=8", True),
    ("numeric(8,3)", "7.5", "id=7.501, id=7.05", False),
    ("numeric(8,3)", "70", "id=7.000, id=700, id=7", False),
    ("numeric(8,3)", "70", "id=70.000", True),
]


def test_texts_of_errors(world: Any) -> None:
    """An error's text goes if it quotes the key, and stays if it quotes another."""
    world.pipe(world.table(), mode="merge")
    for number, (kind, key, text, goes) in enumerate(QUOTED):
        world.run(f"CREATE TABLE w.k{number} (k {kind})")
        world.run(
            "INSERT INTO pgflow.runs (run_id, pipeline, target, mode, status, error)"
            " VALUES (gen_random_uuid(), 'p', %s, 'merge', 'failed', %s)", f"w.k{number}", text,
        )  # fmt: skip
        done = pgflow.forget(f"w.k{number}", {"k": key}, connection=world.engine)
        assert done.samples == int(goes), (kind, key, text)
        left = world.run("SELECT error FROM pgflow.runs WHERE target = %s", f"w.k{number}")
        assert (left == [(text,)]) is not goes


def test_the_callers_transaction(world: Any) -> None:
    """It must be begun and READ COMMITTED, and keeps its own settings."""
    table = world.table()
    world.fill((1, "x", 1))
    world.pipe(table, mode="merge").sync()
    for level, found in (
        ("READ COMMITTED", "no transaction"), ("AUTOCOMMIT", "AUTOCOMMIT"),
        ("REPEATABLE READ", "REPEATABLE READ"),
    ):  # fmt: skip
        with world.engine.connect().execution_options(isolation_level=level) as connection:
            if level == "REPEATABLE READ":
                connection.begin()
            with pytest.raises(UnsuitableTransaction, match=f"connection= is in {found}"):
                pgflow.forget(table, 1, connection=connection)
    with world.engine.begin() as connection:
        assert pgflow.forget(table, 1, connection=connection).versions == 1
        assert connection.exec_driver_sql("SHOW row_security").scalar() == "on"
