"""Big tables are changed while they are in use."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tests.migrations.world_loop import Loop, titles

SCHEMA = "CREATE SCHEMA app"
PLAIN = [
    SCHEMA,
    "CREATE TABLE app.o (id integer PRIMARY KEY)",
    "CREATE TABLE app.t (a integer, b integer)",
]
BUSY = [
    SCHEMA,
    "CREATE TABLE app.o (id integer PRIMARY KEY)",
    "CREATE TABLE app.t (a integer NOT NULL, b integer, CONSTRAINT t_pkey PRIMARY KEY (a), "
    "CONSTRAINT positive CHECK (a > 0), "
    "CONSTRAINT known FOREIGN KEY (a) REFERENCES app.o)",
    "CREATE INDEX ix ON app.t ((b + 1))",
]


@pytest.fixture
def loop(engine: Engine) -> Loop:
    """A filled table that counts as big."""
    loop = Loop(engine, big_bytes=1)
    loop.up(PLAIN)
    loop.sql("INSERT INTO app.o VALUES (1)", "INSERT INTO app.t VALUES (1)")
    return loop


def test_indexes_and_constraints_of_a_big_table_come_last_and_without_a_long_lock(
    loop: Loop,
) -> None:
    """CONCURRENTLY, NOT VALID and VALIDATE, USING INDEX; and the way back is as gentle."""
    planned = loop.close(PLAIN, BUSY)
    texts = [statement.sql for step in planned.upgrade for statement in step.statements]
    joined = "\n".join(texts)
    assert "CREATE INDEX CONCURRENTLY IF NOT EXISTS ix" in joined
    assert "USING INDEX t_pkey" in joined
    assert "CHECK ((a > 0)) NOT VALID" in joined
    assert joined.index("ADD CONSTRAINT known") < joined.index("VALIDATE CONSTRAINT known")
    steps = [any(s.autocommit for s in step.statements) for step in planned.upgrade]
    assert steps == sorted(steps), titles(planned.upgrade)
    assert "Validate constraint positive on app.t" in titles(planned.upgrade)
    back = "\n".join(s.sql for step in planned.downgrade for s in step.statements)
    assert "DROP INDEX CONCURRENTLY IF EXISTS app.ix" in back


def test_a_new_or_small_table_needs_none_of_it(engine: Engine) -> None:
    """Everything shares one transaction."""
    planned = Loop(engine, big_bytes=1).close([SCHEMA], BUSY)
    assert not any(s.autocommit for step in planned.upgrade for s in step.statements)
    planned = Loop(engine).plan(BUSY)
    assert not any(s.autocommit for step in planned.upgrade for s in step.statements)


def test_an_invalid_leftover_is_made_again(loop: Loop) -> None:
    """A build that failed half-way leaves an index that is dropped before the next try."""
    declared = [*PLAIN, "CREATE UNIQUE INDEX once ON app.t (a)"]
    planned = loop.plan(declared)
    loop.sql("INSERT INTO app.t VALUES (1)")
    with pytest.raises(Exception, match="could not create unique index"):
        loop.run(planned.upgrade)
    assert loop.value(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = 'app.once'::regclass"
    ) is (False)
    loop.sql("TRUNCATE app.t")
    loop.up(declared)
    assert loop.value("SELECT indisvalid FROM pg_index WHERE indexrelid = 'app.once'::regclass")


def test_new_values_of_an_enum_come_before_all_else(engine: Engine) -> None:
    """They cannot be used in the transaction that adds them."""
    loop = Loop(engine)
    enum = "CREATE TYPE app.mood AS ENUM ('a'{})"
    table = "CREATE TABLE app.t (m app.mood DEFAULT '{}')"
    loop.up([SCHEMA, enum.format(""), table.format("a")])
    planned = loop.up([SCHEMA, enum.format(", 'b'"), table.format("b")])
    assert titles(planned.upgrade) == ["Change type app.mood", "Change the default of app.t.m"]
    assert planned.upgrade[0].statements[0].autocommit
