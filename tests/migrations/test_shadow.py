"""Declared objects tried out in another, empty database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import Connection, Engine, MetaData, NullPool, create_engine, text

from pgflow.alembic import worlds
from pgflow.alembic.declared.statements import declare_sql
from pgflow.errors import UnfitShadow
from tests.migrations.declared_objects import make, run, shop

FOREIGN = """
CREATE SCHEMA legacy;
CREATE TYPE legacy.state AS ENUM ('on', 'off');
CREATE DOMAIN legacy.code AS varchar(5);
CREATE TYPE legacy.pair AS (a legacy.code, b legacy.state);
CREATE TABLE legacy.parent (id bigint PRIMARY KEY, state legacy.state, codes legacy.code[],
    pair legacy.pair, name text COLLATE "C");
CREATE TABLE legacy.parts (id bigint, part text) PARTITION BY LIST (part);
CREATE VIEW legacy.shown AS SELECT id, state FROM legacy.parent;
CREATE FUNCTION legacy.is_on(legacy.state) RETURNS boolean LANGUAGE sql IMMUTABLE
    RETURN $1 = 'on'::legacy.state;
CREATE FUNCTION legacy.fired() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE FUNCTION legacy.add(bigint, bigint) RETURNS bigint LANGUAGE sql IMMUTABLE RETURN $1 + $2;
CREATE AGGREGATE legacy.total(bigint) (SFUNC = legacy.add, STYPE = bigint);
CREATE SEQUENCE legacy.numbers;
"""

DECLARED = """
CREATE TABLE app.child (id bigint DEFAULT nextval('legacy.numbers'),
    parent bigint CONSTRAINT child_parent_fkey REFERENCES legacy.parent, state legacy.state,
    CONSTRAINT child_on CHECK (legacy.is_on(state)));
CREATE TABLE app.part_a PARTITION OF legacy.parts FOR VALUES IN ('a');
CREATE VIEW app.seen AS SELECT s.id, p.pair, p.name, legacy.total(s.id) OVER () AS total
    FROM legacy.shown s JOIN legacy.parent p USING (id) WHERE legacy.is_on(s.state);
CREATE TRIGGER audit BEFORE INSERT ON legacy.parent FOR EACH ROW EXECUTE FUNCTION legacy.fired();
CREATE INDEX parent_name_idx ON legacy.parent (name);
CREATE TRIGGER shown_audit INSTEAD OF INSERT ON legacy.shown
    FOR EACH ROW EXECUTE FUNCTION legacy.fired();
"""


def foreign(metadata: MetaData | None = None) -> MetaData:
    """Return declarations that need other people's objects."""
    metadata = metadata or MetaData()
    declare_sql(metadata, DECLARED)
    return metadata


def _plain(world: worlds.Worlds) -> dict[str, object]:
    return {
        str(identifier): replace(entity, address=None, owner=None)
        for identifier, entity in world.declared.entities.items()
        # The server's own schema "public" comes with rights that no declaration speaks of.
        if str(identifier) != "schema public"
    }


def test_same_as_scratch(conn: Connection, make_database: Callable[[], str]) -> None:
    """The shadow database gives what scratch schemas give."""
    metadata = shop()
    make(conn, metadata)
    conn.commit()

    scratch = worlds.compare(conn, metadata)
    shadow = worlds.compare(conn, metadata, shadow=make_database())

    assert _plain(shadow) == _plain(scratch)
    assert shadow.declared.depends == scratch.declared.depends
    assert shadow.declared.mentions == scratch.declared.mentions


def test_foreign_objects(conn: Connection, make_database: Callable[[], str]) -> None:
    """What declared objects need of other people's is copied into the shadow, and not ours."""
    run(conn, FOREIGN)
    conn.commit()
    metadata = foreign()

    scratch = worlds.compare(conn, metadata)
    shadow = worlds.compare(conn, metadata, shadow=make_database())

    assert _plain(shadow) == _plain(scratch)
    kinds = sorted(str(identifier) for identifier in shadow.declared.entities)
    assert kinds == [
        "column app.child.id",
        "column app.child.parent",
        "column app.child.state",
        "constraint app.child.child_on",
        "constraint app.child.child_parent_fkey",
        "default app.child.id",
        "index legacy.parent.parent_name_idx",
        "schema app",
        "table app.child",
        "table app.part_a",
        "trigger legacy.parent.audit",
        "trigger legacy.shown.shown_audit",
        "view app.seen",
    ]


def test_real_foreign_objects(conn: Connection) -> None:
    """Objects attached to other people's tables read as if they had been made there."""
    run(conn, FOREIGN)
    metadata = foreign()
    make(conn, metadata)

    live, declared = worlds.compare(conn, metadata)

    for identifier, entity in declared.entities.items():
        assert entity.facts == live[identifier].facts, identifier
        assert entity.privileges == live[identifier].privileges
        assert declared.depends.get(identifier) == live.depends.get(identifier), identifier


def test_nothing_stays(conn: Connection, make_database: Callable[[], str]) -> None:
    """A shadow is as empty afterwards as it was before, and can be used again."""
    shadow = make_database()
    for _ in range(2):
        worlds.compare(conn, shop(), shadow=shadow)

    other = create_engine(shadow, poolclass=NullPool)
    with other.connect() as connection:
        tables = connection.scalar(text("SELECT count(*) FROM pg_class WHERE oid >= 16384"))
    assert tables == 0


def test_occupied_shadow(conn: Connection, make_database: Callable[[], str]) -> None:
    """A database with objects in it is no shadow: the message names them, and they stay."""
    shadow = make_database()
    other = create_engine(shadow, poolclass=NullPool)
    with other.begin() as connection:
        run(connection, "CREATE TABLE precious (a integer)")

    with pytest.raises(UnfitShadow, match=r"is not empty: it holds table precious"):
        worlds.compare(conn, shop(), shadow=shadow)

    with other.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM precious")) == 0


def test_live_shadow(engine: Engine, database: str) -> None:
    """The live database is no shadow of itself."""
    with engine.connect() as connection, pytest.raises(UnfitShadow, match="live database itself"):
        worlds.compare(connection, shop(), shadow=database)
