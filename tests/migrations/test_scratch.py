"""Declared objects tried out in scratch schemas."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    Table,
    func,
    literal_column,
    text,
)

from pgflow.alembic import catalogue, worlds
from pgflow.alembic.declared.statements import declare_sql
from pgflow.alembic.entity import Mark
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Snapshot
from pgflow.errors import DeclarationRefused, ScratchRefused, UnknownRole
from tests.migrations.declared_objects import make, run, shop


def _plain(snapshot: Snapshot) -> dict[str, object]:
    return {
        str(identifier): replace(entity, mark=None, notes={}, address=None)
        for identifier, entity in snapshot.entities.items()
        # The server's own schema "public" comes with rights that no declaration speaks of.
        if identifier.kind not in ("role", "extension") and str(identifier) != "schema public"
    }


def test_equal_worlds(conn: Connection) -> None:
    """What is declared reads exactly as the same objects made for real under their own names."""
    metadata = shop()
    make(conn, metadata)

    live, declared = worlds.compare(conn, metadata)

    assert len(declared.entities) > 50
    expected = {key: value for key, value in _plain(live).items() if key in _plain(declared)}
    assert _plain(declared) == expected
    assert set(_plain(live)) - set(_plain(declared)) == set()
    assert declared.depends == {
        one: edges for one, edges in live.depends.items() if one in declared
    }
    assert declared.mentions == {
        one: edges for one, edges in live.mentions.items() if one in declared
    }


FOREIGN = """
CREATE SCHEMA legacy;
CREATE TABLE legacy.parent (id bigint PRIMARY KEY, name text);
CREATE TABLE legacy.parts (id bigint, part text) PARTITION BY LIST (part);
CREATE TABLE legacy.old (a integer);
CREATE TABLE public.orders (id bigint PRIMARY KEY, name text);
CREATE VIEW legacy.shown AS SELECT * FROM legacy.parent;
CREATE FUNCTION legacy.fired() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
"""

ATTACHED = """
CREATE TABLE app.child (id bigint REFERENCES legacy.parent);
CREATE TABLE app.part_a PARTITION OF legacy.parts FOR VALUES IN ('a');
CREATE TABLE app.heir (b integer) INHERITS (legacy.old);
CREATE TRIGGER audit AFTER INSERT ON legacy.parent FOR EACH ROW EXECUTE FUNCTION legacy.fired();
CREATE CONSTRAINT TRIGGER held AFTER INSERT ON app.child FROM legacy.parent
    FOR EACH ROW EXECUTE FUNCTION legacy.fired();
CREATE INDEX parent_name_idx ON legacy.parent (name);
CREATE STATISTICS app.parent_stat ON id, name FROM legacy.parent;
CREATE POLICY own ON legacy.parent USING (name = current_user);
CREATE RULE shown_rule AS ON DELETE TO legacy.shown DO INSTEAD NOTHING;
CREATE VIEW app.seen AS SELECT p.*, o.name AS other FROM legacy.parent p, legacy.shown s, orders o;
CREATE TABLE orders (id bigint PRIMARY KEY, name text, more integer);
"""

_LOCKS = text(
    """
    SELECT DISTINCT mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
      JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE l.locktype = 'relation' AND n.nspname IN ('legacy', 'public') AND l.pid = :pid
    """
)


def test_locks(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """No table of the database is locked above ACCESS SHARE while objects are tried out."""
    with engine.begin() as connection:
        run(connection, FOREIGN)
    metadata = MetaData()
    declare_sql(metadata, ATTACHED)
    seen: list[str] = []
    tried = catalogue.tried

    def watched(reader: Reader, *args: Any) -> Snapshot:
        found = tried(reader, *args)
        with engine.connect() as watcher:
            pid = reader.scalar("SELECT pg_backend_pid()")
            seen.extend(watcher.scalars(_LOCKS, {"pid": pid}))
        return found

    monkeypatch.setattr(catalogue, "tried", watched)
    with engine.connect() as connection:
        declared = worlds.compare(connection, metadata).declared

    assert seen == ["AccessShareLock"]
    names = {str(identifier) for identifier in declared.entities}
    assert {"trigger legacy.parent.audit", "policy legacy.parent.own", "table app.heir"} <= names
    assert "table legacy.parent" not in names


def test_nothing_stays(engine: Engine, conn: Connection) -> None:
    """Nothing is left of a comparison: no schema, no setting, no transaction."""
    before = conn.scalar(text("SELECT count(*) FROM pg_namespace"))
    conn.rollback()

    worlds.compare(conn, shop())

    assert not conn.in_transaction()
    with engine.connect() as other:
        assert other.scalar(text("SELECT count(*) FROM pg_namespace")) == before


def test_settings_stay(conn: Connection) -> None:
    """Within a transaction the session's settings are what they were."""
    query = text("SELECT current_setting('search_path'), current_setting('datestyle')")
    run(conn, "CREATE SCHEMA elsewhere; SET search_path = elsewhere, public")
    run(conn, "SET datestyle = 'German, DMY'")
    before = conn.execute(query).one()

    worlds.compare(conn, shop())

    assert conn.in_transaction()
    assert conn.execute(query).one() == before


def test_refused_object(conn: Connection) -> None:
    """What the server does not accept is named, with its message and the text's first line."""
    metadata = MetaData()
    declare_sql(metadata, "CREATE TABLE app.t (a integer)")
    declare_sql(metadata, "CREATE VIEW app.v AS\nSELECT b FROM app.t")

    with pytest.raises(DeclarationRefused) as caught:
        worlds.compare(conn, metadata)

    message = str(caught.value)
    assert message.startswith('PostgreSQL does not accept view app.v: column "b" does not exist')
    assert "'CREATE VIEW app.v AS'" in message
    assert "pgflow_scratch" not in message
    assert conn.scalar(text("SELECT 1")) == 1


def test_missing_parent(conn: Connection) -> None:
    """A foreign key to a table that is nowhere is refused with the table's name."""
    metadata = MetaData()
    declare_sql(metadata, "CREATE TABLE app.t (a integer REFERENCES nowhere.there)")

    with pytest.raises(DeclarationRefused, match=r"needs nowhere\.there, which is neither"):
        worlds.compare(conn, metadata)


def test_read_only(conn: Connection) -> None:
    """In a read-only transaction, as on a standby, the way out is a shadow database."""
    run(conn, "SET TRANSACTION READ ONLY")

    with pytest.raises(ScratchRefused, match=r"read-only transaction\. Give an empty database"):
        worlds.compare(conn, shop())


def test_no_right_to_create(conn: Connection) -> None:
    """Without CREATE on the database, both ways out are named."""
    run(conn, "CREATE ROLE d_reader; SET LOCAL ROLE d_reader")

    with pytest.raises(ScratchRefused, match=r"as shadow=.*GRANT CREATE ON DATABASE"):
        worlds.compare(conn, shop())


def test_roles_and_extensions(conn: Connection) -> None:
    """Declared roles and extensions that are missing are there while objects are tried out."""
    metadata = MetaData()
    declare_sql(
        metadata,
        """
        CREATE ROLE d_owner CREATEDB; CREATE ROLE d_seer IN ROLE d_owner;
        CREATE EXTENSION citext SCHEMA d_types; CREATE EXTENSION pg_trgm;
        CREATE TABLE app.t (a d_types.citext, b text);
        CREATE INDEX t_b_idx ON app.t USING gin (b gin_trgm_ops);
        ALTER TABLE app.t OWNER TO d_owner;
        GRANT SELECT ON app.t TO d_seer;
        CREATE POLICY p ON app.t TO d_seer USING (true);
        ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO d_seer;
        ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO d_seer;
        """,
    )

    declared = worlds.compare(conn, metadata).declared

    names = {str(identifier): entity for identifier, entity in declared.entities.items()}
    assert names["column app.t.a"].facts["type"] == "d_types.citext"
    assert names["index app.t.t_b_idx"].facts["definition"] == "USING gin (b public.gin_trgm_ops)"
    assert names["table app.t"].owner == "d_owner"
    assert names["table app.t"].mark == Mark("", frozenset({"d_seer"}))
    assert names["role d_owner"].facts["createdb"] is True
    assert names["extension citext"].facts["schema"] == "d_types"
    assert names["policy app.t.p"].facts["roles"] == ("d_seer",)
    assert 'default_privileges app."postgres/tables"' in names
    assert names['default_privileges "postgres/sequences"'].privileges
    assert conn.scalar(text("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'd\\_%'")) == 0


def test_unknown_role(conn: Connection) -> None:
    """A right for a role that nobody declares and the server lacks is refused."""
    metadata = MetaData()
    declare_sql(metadata, "CREATE TABLE app.t (a integer); GRANT SELECT ON app.t TO nobody_here")

    with pytest.raises(UnknownRole, match="'nobody_here', which is neither declared nor on"):
        worlds.compare(conn, metadata)


def test_search_path(conn: Connection) -> None:
    """Names without a schema mean the first schema of the path, and are found along the path."""
    run(conn, "CREATE SCHEMA home; CREATE TABLE public.others (x integer)")
    run(conn, "SET search_path = home, public")
    metadata = MetaData()
    declare_sql(metadata, "CREATE TABLE mine (a integer); CREATE TABLE public.shared (b integer)")
    declare_sql(metadata, "CREATE VIEW v AS SELECT * FROM mine, shared, others")

    declared = worlds.compare(conn, metadata).declared

    view = declared[EntityIdentifier("home", "v", kind="view")]
    assert "home.mine" in str(view.facts["query"])
    assert "public.shared" in str(view.facts["query"])
    assert "public.others" in str(view.facts["query"])


def test_notes(conn: Connection) -> None:
    """Former names and backfills reach the declared objects as notes."""
    metadata = MetaData()
    table = Table("t", metadata, Column("a", Integer), schema="app")
    table.info["renamed_from"] = "old.t"
    table.c.a.info.update(renamed_from="b", backfill=func.coalesce(literal_column("b"), 1))
    declare_sql(
        metadata,
        "CREATE FUNCTION app.f(a int, b varchar(5)[] DEFAULT '{}') RETURNS int RETURN 1",
        renamed_from="g",
    )
    declare_sql(metadata, "CREATE FUNCTION app.f(a int) RETURNS int RETURN 1")

    declared = worlds.compare(conn, metadata, owner="shop").declared

    notes = {str(i): dict(e.notes) for i, e in declared.entities.items()}
    assert notes["table app.t"]["renamed_from"] == "old.t"
    assert notes["column app.t.a"]["renamed_from"] == "b"
    assert notes["column app.t.a"]["backfill"] == "coalesce(b, 1)"
    former = {name: said.get("renamed_from") for name, said in notes.items() if ".f(" in name}
    assert former == {
        "function app.f(integer)": None,
        "function app.f(integer, character varying[])": "g",
    }
    assert declared[EntityIdentifier("app", "t", kind="table")].mark == Mark("shop")


def test_marked_schemas(conn: Connection) -> None:
    """Objects that an earlier migration of the same history made are found in any schema."""
    run(conn, "CREATE SCHEMA left_behind; CREATE TABLE left_behind.t (a integer)")
    run(conn, "CREATE SCHEMA others; CREATE TABLE others.t (a integer)")
    run(conn, "COMMENT ON TABLE left_behind.t IS '[pgflow:shop]'")
    run(conn, "COMMENT ON TABLE others.t IS '[pgflow]'")

    live = worlds.compare(conn, MetaData(), owner="shop").live

    assert EntityIdentifier("left_behind", "t", kind="table") in live
    assert EntityIdentifier("others", "t", kind="table") not in live


def test_autocommit(engine: Engine) -> None:
    """A connection in AUTOCOMMIT, where nothing can be undone, is refused."""
    opened = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    with opened as connection, pytest.raises(ScratchRefused, match="AUTOCOMMIT"):
        worlds.compare(connection, shop())


def test_called_bodies(conn: Connection) -> None:
    """A function in an index may call another new one, and its body stays as it is written."""
    metadata = MetaData()
    body = 'select  "app".inner ( $1 ) || App.\n  inner($1) -- app.inner'
    declare_sql(
        metadata,
        f"""
        CREATE FUNCTION app.outer(text) RETURNS text IMMUTABLE LANGUAGE sql AS $x${body}$x$;
        CREATE FUNCTION app.inner(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'select $1';
        CREATE TABLE app.t (a text);
        CREATE INDEX t_a_idx ON app.t (app.outer(a));
        """,
    )

    declared = worlds.compare(conn, metadata).declared

    function = declared[EntityIdentifier("app", "outer", None, "function", "text")]
    assert function.notes["body"] == body
    assert f"$function${body}$function$" in str(function.facts["definition"])
    assert "pgflow_scratch" not in str(declared.entities)
