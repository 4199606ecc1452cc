"""Sequences: how they count, to which column they belong, and that none counts again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Connection, text

from pgflow.alembic.kinds import numbering
from pgflow.alembic.kinds.columns import COLUMN
from pgflow.alembic.kinds.numbering import Numbering
from pgflow.alembic.kinds.sequences import SEQUENCE
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

SHAPES = {
    "plain": "app.s",
    "smallint": "app.s AS smallint",
    "everything": "app.s AS integer INCREMENT BY 3 MINVALUE -5 MAXVALUE 500 START 7 CACHE 4 CYCLE",
    "down": "app.s INCREMENT BY -1",
    "down from": "app.s AS smallint INCREMENT BY -2 MINVALUE -100 MAXVALUE 100 START 50",
    "odd names": '"app"."S ""\'s"',
}


@pytest.mark.parametrize("sql", SHAPES.values(), ids=SHAPES.keys())
def test_what_is_read_of_a_sequence_makes_the_same_sequence(conn: Connection, sql: str) -> None:
    """A sequence made from what was read of another one reads the same, and counts the same."""
    setup(conn, f"CREATE SEQUENCE {sql}")
    first = world(conn)
    columns = "SELECT * FROM pg_sequences WHERE schemaname = 'app'"
    before = conn.execute(text(columns)).all()
    run(conn, "DROP SCHEMA app CASCADE")
    setup(conn, *(statement.sql for statement in built(first)))
    assert facts(world(conn)) == facts(first)
    assert conn.execute(text(columns)).all() == before


def test_only_what_is_not_the_default_is_said(conn: Connection) -> None:
    """A plain sequence is written plainly."""
    setup(conn, "CREATE SEQUENCE app.s; CREATE SEQUENCE app.r AS integer START 5")
    found = world(conn)
    written = [SEQUENCE.create(each, found)[0].sql for each in found.of_kind("sequence")]
    assert written == ["CREATE SEQUENCE app.r AS integer START WITH 5", "CREATE SEQUENCE app.s"]


_OWNER = "CREATE TABLE app.t (a int, b int);"
CHANGES = {
    "increment": ("CREATE SEQUENCE app.s", "CREATE SEQUENCE app.s INCREMENT BY 5 CACHE 9"),
    "bounds": (
        "CREATE SEQUENCE app.s AS integer MAXVALUE 1000",
        "CREATE SEQUENCE app.s AS bigint MINVALUE -7 CYCLE",
    ),
    "direction": (
        "CREATE SEQUENCE app.s AS integer",
        "CREATE SEQUENCE app.s AS integer INCREMENT BY -1 MAXVALUE 1000 MINVALUE -1000 START 1",
    ),
    "direction within one bound": (
        "CREATE SEQUENCE app.s MINVALUE -10 START -5",
        "CREATE SEQUENCE app.s INCREMENT BY -1 MINVALUE -10 START -5",
    ),
    "a smaller type": ("CREATE SEQUENCE app.s", "CREATE SEQUENCE app.s AS smallint"),
    "owner": (
        f"{_OWNER} CREATE SEQUENCE app.s OWNED BY app.t.a",
        f"{_OWNER} CREATE SEQUENCE app.s OWNED BY app.t.b",
    ),
    "no owner": (
        f"{_OWNER} CREATE SEQUENCE app.s OWNED BY app.t.a",
        f"{_OWNER} CREATE SEQUENCE app.s",
    ),
}


@pytest.mark.parametrize("before, after", CHANGES.values(), ids=CHANGES.keys())
def test_a_sequence_becomes_another_and_itself_again(
    conn: Connection, before: str, after: str
) -> None:
    """What leads from one sequence to another leads there, and back."""
    setup(conn, before)
    live, wanted = world(conn), declared(conn, after)
    assert facts(live) != facts(wanted)
    run(conn, *way(live, wanted))
    assert facts(world(conn)) == facts(wanted)
    run(conn, *way(world(conn), live))
    assert facts(world(conn)) == facts(live)


def test_an_unlogged_sequence_becomes_logged(conn: Connection) -> None:
    """How a sequence survives a crash is part of what it is."""
    setup(conn, "CREATE UNLOGGED SEQUENCE app.s")
    live, wanted = world(conn), declared(conn, "CREATE SEQUENCE app.s")
    run(conn, *way(live, wanted))
    assert facts(world(conn)) == facts(wanted)


def test_how_far_it_has_counted_is_never_compared_nor_changed(conn: Connection) -> None:
    """An altered sequence goes on where it was."""
    setup(conn, "CREATE SEQUENCE app.s; SELECT setval('app.s', 41)")
    wanted = declared(conn, "CREATE SEQUENCE app.s CACHE 5")
    run(conn, *way(world(conn), wanted))
    assert conn.execute(text("SELECT nextval('app.s')")).scalar() == 42


def test_sequences_of_identities_are_not_read(conn: Connection) -> None:
    """They are facts of their columns."""
    setup(conn, "CREATE TABLE app.t (a int GENERATED ALWAYS AS IDENTITY, b serial)")
    (sequence,) = world(conn).of_kind("sequence")
    assert sequence.id.name == "t_b_seq"
    assert sequence.facts["owned_by"] == "app.t.b"


def test_dropping_a_sequence_that_went_with_its_column_is_no_error(conn: Connection) -> None:
    """A column takes its sequence along."""
    setup(conn, "CREATE TABLE app.t (a serial); CREATE SEQUENCE app.s")
    found = world(conn)
    run(conn, "DROP TABLE app.t", *SEQUENCE.drop(only(found, "sequence", "t_a_seq"), found))
    run(conn, *SEQUENCE.drop(only(found, "sequence", "s"), found))
    assert facts(world(conn)) == {}


def test_a_sequence_follows_the_owner_of_its_table(conn: Connection) -> None:
    """A column that is added to another role's table gets its numbers from a sequence of that."""
    setup(conn, "CREATE ROLE keeper", "CREATE TABLE app.t ()", "ALTER TABLE app.t OWNER TO keeper")
    found = declared(
        conn, "CREATE TABLE app.t (a int DEFAULT 5, b serial)", "ALTER TABLE app.t OWNER TO keeper"
    )
    wanted = replace(found, user="postgres")
    run(conn, *SEQUENCE.create(only(wanted, "sequence", "t_b_seq"), wanted))
    for name in ("a", "b"):
        run(conn, *COLUMN.create(only(wanted, "column", name), wanted))
    assert facts(world(conn)) == facts(found)
    assert only(world(conn), "sequence", "t_b_seq").owner == "keeper"


def test_a_sequence_is_renamed_and_moved(conn: Connection) -> None:
    """A new name and a new schema keep its place."""
    setup(conn, "CREATE SCHEMA other; CREATE SEQUENCE app.s; SELECT setval('app.s', 41)")
    old = only(world(conn), "sequence", "s").id
    run(conn, *(SEQUENCE.rename(old, replace(old, schema="other", name="S 2")) or ()))
    assert conn.execute(text("SELECT nextval('other.\"S 2\"')")).scalar() == 42


@pytest.mark.parametrize("type_, largest", [("smallint", 32767), ("bigint", 2**63 - 1)])
def test_the_bounds_of_a_type_are_defaults(type_: str, largest: int) -> None:
    """They follow the type, so that a column that becomes bigint needs no other change."""
    assert Numbering(type_, 1, 1, 1, largest, 1, False).clauses == ()
    down = Numbering(type_, -1, -1, -largest - 1, -1, 1, False)
    assert down.clauses == ("INCREMENT BY -1",)
    assert numbering.first(down.clauses) == -1
