"""What depends on what, as the server and the bodies of functions tell it."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, MetaData

from pgflow.alembic import catalogue, worlds
from pgflow.alembic.declared.statements import declare_sql
from pgflow.alembic.snapshot import Edges
from tests.migrations.declared_objects import run

OBJECTS = """
SET LOCAL check_function_bodies = off;
CREATE SCHEMA app;
CREATE TYPE app.mood AS ENUM ('a', 'b');
CREATE DOMAIN app.mail AS text;
CREATE FUNCTION app.f(app.mood) RETURNS boolean IMMUTABLE LANGUAGE sql RETURN true;
CREATE FUNCTION app.fire() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE row app.audit%ROWTYPE;
BEGIN INSERT INTO app.audit SELECT app.f(m) FROM orders; RETURN new; END $$;
CREATE TABLE app.orders (
    id serial PRIMARY KEY, line bigint GENERATED ALWAYS AS IDENTITY,
    m app.mood, ms app.mood[], mail app.mail DEFAULT 'x'::app.mail,
    g boolean GENERATED ALWAYS AS (app.f(m)) STORED,
    parent integer REFERENCES app.orders, CONSTRAINT checked CHECK (app.f(m)));
CREATE INDEX by_f ON app.orders (app.f(m), line) WHERE mail <> 'x';
CREATE VIEW app.v AS SELECT id, mail FROM app.orders;
CREATE MATERIALIZED VIEW app.mv AS SELECT id FROM app.v;
CREATE UNIQUE INDEX mv_id ON app.mv (id);
CREATE TRIGGER fired BEFORE UPDATE OF mail ON app.orders
    FOR EACH ROW WHEN (new.line > 1) EXECUTE FUNCTION app.fire();
CREATE POLICY own ON app.orders USING (m = 'a'::app.mood);
CREATE STATISTICS app.stat ON id, line FROM app.orders;
CREATE RULE r AS ON DELETE TO app.orders WHERE app.f(old.m) DO INSTEAD NOTHING;
CREATE TABLE app.audit (o app.orders, at date) PARTITION BY RANGE (at);
CREATE TABLE app.audit_1 PARTITION OF app.audit FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE INDEX audit_at ON app.audit (at);
CREATE TRIGGER audited AFTER INSERT ON app.audit FOR EACH ROW EXECUTE FUNCTION app.fire();
ALTER TABLE app.audit ADD CONSTRAINT late CHECK (at > '2000-01-01');
CREATE AGGREGATE app.every(boolean) (SFUNC = booland_statefunc, STYPE = boolean);
CREATE FUNCTION app.rows_of() RETURNS SETOF app.v LANGUAGE sql BEGIN ATOMIC
    SELECT * FROM app.v WHERE id > 0; END;
"""


def _words(edges: Edges) -> dict[str, list[str]]:
    return {str(one): sorted(map(str, others)) for one, others in edges.items()}


EXPECTED = {
    "column app.orders.m": ["enum app.mood"],
    "column app.orders.ms": ["enum app.mood"],
    "column app.orders.mail": ["domain app.mail"],
    "column app.orders.g": ["column app.orders.m", "function app.f(app.mood)"],
    "column app.audit.o": ["table app.orders"],
    "function app.f(app.mood)": ["enum app.mood"],
    "sequence app.orders_id_seq": ["column app.orders.id"],
    "default app.orders.id": ["sequence app.orders_id_seq"],
    "default app.orders.mail": ["domain app.mail"],
    "constraint app.orders.orders_pkey": ["column app.orders.id"],
    "constraint app.orders.checked": ["column app.orders.m", "function app.f(app.mood)"],
    "constraint app.orders.orders_parent_fkey": [
        "column app.orders.id",
        "column app.orders.parent",
        "constraint app.orders.orders_pkey",
    ],
    "index app.orders.by_f": [
        "column app.orders.line",
        "column app.orders.m",
        "column app.orders.mail",
        "function app.f(app.mood)",
    ],
    "view app.v": ["column app.orders.id", "column app.orders.mail", "domain app.mail"],
    "materialized_view app.mv": ["view app.v"],
    "trigger app.orders.fired": [
        "column app.orders.line",
        "column app.orders.mail",
        "function app.fire()",
    ],
    "policy app.orders.own": ["column app.orders.m", "enum app.mood"],
    "statistics app.orders.stat": ["column app.orders.id", "column app.orders.line"],
    "rule app.orders.r": ["column app.orders.m", "function app.f(app.mood)"],
    # Through its column, which belongs to the parent.
    "table app.audit_1": ["table app.audit", "table app.orders"],
    "function app.rows_of()": ["view app.v"],
    # Their copies on the partition tell nothing new.
    "index app.audit.audit_at": ["column app.audit.at"],
    "trigger app.audit.audited": ["function app.fire()"],
    "constraint app.audit.late": ["column app.audit.at"],
}


def test_edges(conn: Connection) -> None:
    """Edges are as fine as the server's own: columns, functions, types, constraints."""
    run(conn, OBJECTS)

    found = _words(catalogue.read(conn, ["app"]).depends)

    assert {name: found.get(name) for name in EXPECTED} == EXPECTED
    assert not [name for name in found if name not in EXPECTED and "audit_1" in name]


def test_mentions(conn: Connection) -> None:
    """What the text of a function names is known too, with and without a schema."""
    run(conn, OBJECTS)

    found = _words(catalogue.read(conn, ["app"]).mentions)

    assert found["function app.fire()"] == [
        "function app.f(app.mood)",
        "table app.audit",
        "table app.orders",
    ]


@pytest.mark.parametrize(
    ("sql", "words", "needed"),
    [
        (
            "CREATE VIEW others.seen AS SELECT mail FROM app.orders",
            "view others.seen",
            "column app.orders.mail",
        ),
        (
            "CREATE TABLE others.t (a integer REFERENCES app.orders)",
            "constraint t_a_fkey on table others.t",
            "constraint app.orders.orders_pkey",
        ),
        ("CREATE TABLE others.t (a app.mood)", "table others.t", "enum app.mood"),
        (
            "CREATE FUNCTION others.g(app.v) RETURNS integer LANGUAGE sql RETURN 1",
            "function others.g(app.v)",
            "view app.v",
        ),
        (
            "CREATE TABLE others.t (a boolean DEFAULT app.f('a'))",
            "table others.t",
            "function app.f(app.mood)",
        ),
        (
            "CREATE PUBLICATION published FOR TABLE app.orders (id)",
            "publication of table app.orders in publication published",
            "column app.orders.id",
        ),
    ],
)
def test_outsiders(conn: Connection, sql: str, words: str, needed: str) -> None:
    """What lies outside the schemas that were read is named in the server's words."""
    run(conn, OBJECTS)
    run(conn, "CREATE SCHEMA others; SET LOCAL client_min_messages = error")
    run(conn, sql)

    found = _words(catalogue.read(conn, ["app"]).outsiders)

    matching = [name for name in found if words in name]
    assert len(matching) == 1, found
    assert needed in found[matching[0]]


def test_no_outsiders(conn: Connection) -> None:
    """Nothing of what belongs to the objects themselves is taken for an outsider."""
    run(conn, OBJECTS)

    assert catalogue.read(conn, ["app"]).outsiders == {}


def test_extension_types(conn: Connection) -> None:
    """What uses a type of an extension needs the extension, in both worlds."""
    run(conn, "CREATE EXTENSION citext SCHEMA public")
    metadata = MetaData()
    declare_sql(metadata, "CREATE EXTENSION citext; CREATE TABLE app.t (a citext)")

    declared = _words(worlds.compare(conn, metadata).declared.depends)

    assert declared["column app.t.a"] == ["extension citext"]
