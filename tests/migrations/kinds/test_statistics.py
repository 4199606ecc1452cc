"""Extended statistics: read, made, altered, renamed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Connection

from pgflow.alembic.kinds.statistics import STATISTICS
from pgflow.errors import MigrationRefused
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

_TABLE = 'CREATE TABLE app."T FROM" (a int, b text, "C c" date);'

SHAPES = {
    "all kinds": 'app.s ON a, b, "C c" FROM app."T FROM"',
    "some kinds": 'app.s (ndistinct, mcv) ON a, b FROM app."T FROM"',
    "one expression": 'app."S s" ON (lower(b)) FROM app."T FROM"',
    "expressions": "app.s (dependencies) ON (a + 1), (b || ' FROM ') FROM app.\"T FROM\"",
}


@pytest.mark.parametrize("sql", SHAPES.values(), ids=SHAPES.keys())
def test_what_is_read_of_statistics_makes_the_same(conn: Connection, sql: str) -> None:
    """Statistics made from what was read of others read the same."""
    setup(conn, f"{_TABLE} CREATE STATISTICS {sql}")
    first = world(conn)
    run(conn, "DROP SCHEMA app CASCADE")
    setup(conn, *(statement.sql for statement in built(first)))
    assert facts(world(conn)) == facts(first)
    assert list(first.of_kind("statistics"))


CHANGES = {
    "columns": (
        f'{_TABLE} CREATE STATISTICS app.s ON a, b FROM app."T FROM"',
        f'{_TABLE} CREATE STATISTICS app.s ON a, "C c" FROM app."T FROM"',
    ),
    "target": (
        f'{_TABLE} CREATE STATISTICS app.s ON a, b FROM app."T FROM"',
        f'{_TABLE} CREATE STATISTICS app.s ON a, b FROM app."T FROM"; '
        "ALTER STATISTICS app.s SET STATISTICS 50",
    ),
    "new": (_TABLE, f'{_TABLE} CREATE STATISTICS app.s ON a, b FROM app."T FROM"'),
}


@pytest.mark.parametrize("before, after", CHANGES.values(), ids=CHANGES.keys())
def test_statistics_become_others_and_themselves_again(
    conn: Connection, before: str, after: str
) -> None:
    """What leads from one state to another leads there, and back."""
    setup(conn, before)
    live, wanted = world(conn), declared(conn, after)
    assert facts(live) != facts(wanted)
    run(conn, *way(live, wanted))
    assert facts(world(conn)) == facts(wanted)
    run(conn, *way(world(conn), live))
    assert facts(world(conn)) == facts(live)


def test_statistics_are_renamed_and_commented(conn: Connection) -> None:
    """A renamed object keeps its definition and its comment."""
    setup(conn, f'{_TABLE} CREATE STATISTICS app.s ON a, b FROM app."T FROM"')
    old = only(world(conn), "statistics", "s")
    run(conn, f"COMMENT ON {STATISTICS.label(old.id)} IS 'why [pgflow]'")
    run(conn, *(STATISTICS.rename(old.id, replace(old.id, name="R r")) or ()))
    new = only(world(conn), "statistics", "R r")
    assert (new.facts, new.comment) == (old.facts, "why")
    assert new.mark is not None


def test_statistics_in_another_schema_than_their_table_are_refused(conn: Connection) -> None:
    """What they are called follows from their table's schema."""
    setup(
        conn,
        f'{_TABLE} CREATE SCHEMA other; CREATE STATISTICS other.s ON a, b FROM app."T FROM"',
    )
    found = world(conn)
    with pytest.raises(MigrationRefused, match="declared in the schema other, another one"):
        STATISTICS.create(only(found, "statistics", "s"), found)
