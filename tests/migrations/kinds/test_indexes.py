"""Indexes of every kind: read, made, altered where the server can, made while others write."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import psycopg
import pytest
from sqlalchemy import Connection, NullPool, create_engine

from pgflow.alembic.kinds.indexes import INDEX, create_concurrently, drop_concurrently
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Hazard, Statement
from tests.migrations.kinds.table_worlds import (
    built,
    declared,
    facts,
    only,
    run,
    setup,
    way,
    world,
)

_TABLE = "CREATE TABLE app.t (a int, b text, c int[], d jsonb, ts timestamptz);"

#: What follows CREATE; without an INDEX it is a whole text.
SHAPES = {
    "plain": "INDEX i ON app.t (a)",
    "unique": "UNIQUE INDEX i ON app.t (a, b) NULLS NOT DISTINCT",
    "everything": 'INDEX i ON app.t (lower(b) COLLATE "C" text_pattern_ops DESC NULLS LAST, a '
    "NULLS FIRST) INCLUDE (ts, d) WITH (fillfactor = 80, deduplicate_items = off) "
    "WHERE a > 0 AND b <> ' WITH (fillfactor=''1'') WHERE '",
    "hash": "INDEX i ON app.t USING hash (b)",
    "gin": "INDEX i ON app.t USING gin (c, d jsonb_path_ops) WITH (fastupdate = off)",
    "brin": "INDEX i ON app.t USING brin (ts timestamptz_minmax_multi_ops "
    "(values_per_range = 16)) WITH (pages_per_range = 8)",
    "expressions": "INDEX i ON app.t ((a + 1), (b || 'x'), (d ->> 'k'))",
    "odd names": 'INDEX "I ON ""app""" ON app.t (a)',
    "condition alone": "INDEX i ON app.t (a) WHERE (a > 0)",
}


@pytest.mark.parametrize("sql", SHAPES.values(), ids=SHAPES.keys())
def test_what_is_read_of_an_index_makes_the_same_index(conn: Connection, sql: str) -> None:
    """An index made from what was read of another one reads the same."""
    setup(conn, f"{_TABLE} CREATE {sql}")
    first = world(conn)
    run(conn, "DROP SCHEMA app CASCADE")
    setup(conn, *(statement.sql for statement in built(first)))
    assert facts(world(conn)) == facts(first)


def test_an_index_is_written_as_a_person_would(conn: Connection) -> None:
    """What is the default is not said."""
    setup(
        conn,
        f"{_TABLE} CREATE UNIQUE INDEX i ON app.t (a DESC) INCLUDE (b) WITH (fillfactor = 70) "
        "WHERE a > 0",
    )
    found = world(conn)
    (made,) = INDEX.create(only(found, "index", "i"), found)
    assert made == Statement(
        "CREATE UNIQUE INDEX i ON app.t (a DESC) INCLUDE (b) WITH (fillfactor='70') WHERE (a > 0)",
        hazards=(Hazard.SCANS, Hazard.STOPS_WRITERS),
    )


CHANGES = {
    "columns": ("INDEX i ON app.t (a)", "INDEX i ON app.t (a, b)"),
    "condition": ("INDEX i ON app.t (a) WHERE a > 0", "INDEX i ON app.t (a) WHERE a > 1"),
    "no condition": ("INDEX i ON app.t (a) WHERE a > 0", "INDEX i ON app.t (a)"),
    "unique": ("INDEX i ON app.t (a)", "UNIQUE INDEX i ON app.t (a)"),
    "method": ("INDEX i ON app.t (b)", "INDEX i ON app.t USING hash (b)"),
    "options": (
        "INDEX i ON app.t (a) WITH (fillfactor = 70)",
        "INDEX i ON app.t (a) WITH (fillfactor = 80, deduplicate_items = off)",
    ),
    "statistics": (
        "INDEX i ON app.t ((a + 1), (a + 2))",
        "INDEX i ON app.t ((a + 1), (a + 2)); ALTER INDEX app.i ALTER COLUMN 2 SET STATISTICS 77",
    ),
}
CHANGES = {
    name: (f"{_TABLE} CREATE {before}", f"{_TABLE} CREATE {after}")
    for name, (before, after) in CHANGES.items()
}
CHANGES["options of a partitioned index"] = (
    "CREATE TABLE app.t (a int) PARTITION BY RANGE (a); CREATE INDEX i ON app.t (a)",
    "CREATE TABLE app.t (a int) PARTITION BY RANGE (a); "
    "CREATE INDEX i ON app.t (a) WITH (fillfactor = 70)",
)
CHANGES["an index of a materialized view"] = (
    "CREATE MATERIALIZED VIEW app.m AS SELECT 1 AS a, 2 AS b; CREATE INDEX i ON app.m (a)",
    "CREATE MATERIALIZED VIEW app.m AS SELECT 1 AS a, 2 AS b; CREATE UNIQUE INDEX i ON app.m (b)",
)


@pytest.mark.parametrize("before, after", CHANGES.values(), ids=CHANGES.keys())
def test_an_index_becomes_another_and_itself_again(
    conn: Connection, before: str, after: str
) -> None:
    """What leads from one index to another leads there, and back."""
    setup(conn, before)
    live, wanted = world(conn), declared(conn, after)
    assert facts(live) != facts(wanted)
    run(conn, *way(live, wanted))
    assert facts(world(conn)) == facts(wanted)
    run(conn, *way(world(conn), live))
    assert facts(world(conn)) == facts(live)


def test_indexes_of_constraints_and_of_partitions_are_not_read(conn: Connection) -> None:
    """They belong to the constraint, or to the parent's index; a partition's own one is read."""
    setup(
        conn,
        "CREATE TABLE app.t (a int PRIMARY KEY, b int UNIQUE, r int4range, "
        "EXCLUDE USING gist (r WITH &&))",
        "CREATE TABLE app.p (a int) PARTITION BY RANGE (a)",
        "CREATE TABLE app.p_1 PARTITION OF app.p DEFAULT",
        "CREATE INDEX of_all ON app.p (a)",
        "CREATE INDEX own ON app.p_1 (a)",
        # An index to which a foreign key points belongs to no constraint.
        "CREATE UNIQUE INDEX pointed_to ON app.t (b, a)",
        "ALTER TABLE app.t ADD FOREIGN KEY (b, a) REFERENCES app.t (b, a)",
    )
    assert {each.id.name for each in world(conn).of_kind("index")} == {
        "of_all",
        "own",
        "pointed_to",
    }


def test_an_index_comes_while_others_write(database: str) -> None:
    """A failed attempt leaves an invalid index, which the next one drops; a valid one stays."""
    with psycopg.connect(database.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA app")
        connection.execute('CREATE TABLE app.t (a int); CREATE UNIQUE INDEX "I\'s" ON app.t (a)')
        found = _read(database)
        index = only(found, "index", "I's")
        _run(connection, drop_concurrently(index))
        assert not list(_read(database).of_kind("index"))
        connection.execute("INSERT INTO app.t VALUES (1), (1)")
        statements = create_concurrently(index, found)
        with pytest.raises(psycopg.errors.UniqueViolation):
            _run(connection, statements)
        leftover = only(_read(database), "index", "I's")
        assert leftover.facts["valid"] is False
        assert INDEX.change(leftover, index, (found, found)) is None
        accepted = INDEX.change(index, leftover, (found, found))
        assert accepted is not None
        assert accepted.statements == ()
        connection.execute("DELETE FROM app.t")
        _run(connection, statements)
        assert facts(_read(database)) == facts(found)
        number = _number(connection)
        _run(connection, statements)
        assert _number(connection) == number
        assert [each.autocommit for each in statements] == [True, True]
        assert Hazard.NO_TRANSACTION in statements[1].hazards


def test_what_cannot_come_concurrently_comes_plainly(conn: Connection) -> None:
    """The server builds the index of a partitioned table only in the plain way."""
    setup(conn, "CREATE TABLE app.t (a int) PARTITION BY RANGE (a); CREATE INDEX i ON app.t (a)")
    found = world(conn)
    index = only(found, "index", "i")
    assert create_concurrently(index, found) == INDEX.create(index, found)
    assert not any(each.autocommit for each in drop_concurrently(index))
    run(conn, *drop_concurrently(index))
    assert not list(world(conn).of_kind("index"))


def test_an_index_is_renamed(conn: Connection) -> None:
    """A renamed index is the same index."""
    setup(conn, f"{_TABLE} CREATE INDEX i ON app.t (a)")
    before = only(world(conn), "index", "i")
    run(conn, *(INDEX.rename(before.id, replace(before.id, name="The I")) or ()))
    after = only(world(conn), "index", "The I")
    assert (after.facts, after.address) == (before.facts, before.address)
    assert INDEX.rename(before.id, before.id) == ()


def test_a_mark_is_told_from_the_comment(conn: Connection) -> None:
    """pgflow's mark stands at the end of an index's comment."""
    setup(conn, f"{_TABLE} CREATE INDEX i ON app.t (a)")
    label = INDEX.label(only(world(conn), "index", "i").id)
    run(conn, f"COMMENT ON {label} IS 'why [pgflow]'")
    index = only(world(conn), "index", "i")
    assert index.comment == "why"
    assert index.mark is not None


def _read(database: str) -> Snapshot:
    engine = create_engine(database, poolclass=NullPool)
    with engine.connect() as conn:
        return world(conn)


def _run(connection: psycopg.Connection, statements: Iterable[Statement]) -> None:
    for statement in statements:
        connection.execute(statement.sql)  # type: ignore[arg-type]


def _number(connection: psycopg.Connection) -> object:
    return connection.execute("SELECT 'app.\"I''s\"'::regclass::oid").fetchone()
