"""Declared objects made for real, without any migration: the world that a comparison must equal."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Computed,
    Connection,
    Enum,
    ForeignKey,
    Identity,
    Index,
    MetaData,
    Sequence,
    Table,
    Text,
    text,
)

from pgflow.alembic.declared.arrangement import arranged
from pgflow.alembic.declared.statements import declare_sql
from pgflow.alembic.declared.world import declared_world


def make(connection: Connection, metadata: MetaData) -> None:
    """Run all declared statements as they are, schemas first."""
    world = declared_world(metadata, connection.dialect, ["public"])
    for schema in sorted(world.schemas):
        run(connection, f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
    run(connection, "SET LOCAL check_function_bodies = off")
    for declaration in arranged(world.declarations, [m.makers for m in world.mentions]):
        if not declaration.sql.startswith("CREATE SCHEMA"):
            run(connection, declaration.sql)


def run(connection: Connection, sql: str) -> None:
    """Run a text as it is."""
    connection.exec_driver_sql(sql, execution_options={"no_parameters": True})


def shop() -> MetaData:
    """Return a MetaData with something of everything that needs no other role."""
    metadata = MetaData()
    mood = Enum("happy", "so: %so", name="Mood", schema="Shop")
    orders = Table(
        "orders",
        metadata,
        Column("id", BigInteger, primary_key=True),
        Column("mood", mood, server_default="happy"),
        Column("note", Text, server_default=text("'10:30 %a\\b'")),
        Column("line", BigInteger, Identity(always=True)),
        Column("loud", Text, Computed("upper(note)", persisted=True)),
        Column("parent", ForeignKey("Shop.orders.id", name="orders_parent_fkey")),
        CheckConstraint("note <> ':word' AND note NOT LIKE '%%x'", name="orders_note_check"),
        schema="Shop",
        comment="all orders: 100 %",
    )
    Index("orders_note_idx", orders.c.note.desc(), postgresql_where=text("note <> ':x'"))
    Table(
        "lines",
        metadata,
        Column("id", BigInteger, primary_key=True),
        Column("order_id", ForeignKey("Shop.orders.id", name="lines_order_id_fkey")),
        Column("part", BigInteger, server_default=text("nextval('shop_seq')")),
    )
    Sequence("shop_seq", metadata=metadata)
    declare_sql(metadata, OBJECTS)
    return metadata


OBJECTS = """
CREATE DOMAIN "Shop".email AS text CHECK (VALUE LIKE '%@%');
CREATE TYPE "Shop".pair AS (a integer, b "Shop"."Mood");
CREATE TYPE "Shop".span AS RANGE (subtype = integer);
CREATE FUNCTION "Shop".stamp() RETURNS trigger LANGUAGE plpgsql SET search_path = "Shop" AS $$
BEGIN
    -- "Shop".orders: %, %%, :name, \\, '''
    INSERT INTO lines SELECT 1 WHERE 'x' <> '"';
    RETURN new;
END $$;
CREATE FUNCTION "Shop".total(of_order "Shop".orders, OUT n bigint, OUT what text)
    LANGUAGE sql STABLE BEGIN ATOMIC
    SELECT count(*), 'a;b' FROM "Shop".orders o WHERE o.id = of_order.id; END;
CREATE FUNCTION "Shop".total(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1';
CREATE PROCEDURE "Shop".tidy(INOUT n integer) LANGUAGE plpgsql AS 'BEGIN END';
CREATE FUNCTION "Shop".plus(bigint, bigint) RETURNS bigint IMMUTABLE LANGUAGE sql RETURN $1 + $2;
CREATE AGGREGATE "Shop".summed(bigint) (SFUNC = "Shop".plus, STYPE = bigint, INITCOND = '0');
CREATE VIEW "Shop".later AS
    SELECT e.*, l.part FROM "Shop".early e JOIN lines l ON l.order_id = e.id;
CREATE VIEW "Shop".early (id, mood) WITH (security_barrier) AS
    WITH orders AS (SELECT 1 AS one)
    SELECT o.id, o.mood FROM "Shop".orders o, orders
    WHERE o.mood = 'happy'::"Shop"."Mood" AND o.note <> '"Shop".orders';
CREATE MATERIALIZED VIEW "Shop".counted AS SELECT "Shop".summed(id) AS n FROM "Shop".early;
CREATE UNIQUE INDEX counted_n_idx ON "Shop".counted (n);
CREATE TRIGGER stamp BEFORE UPDATE OF note ON "Shop".orders
    FOR EACH ROW WHEN (new.note IS DISTINCT FROM old.note) EXECUTE FUNCTION "Shop".stamp();
CREATE RULE quiet AS ON DELETE TO "Shop".orders DO INSTEAD NOTHING;
ALTER TABLE "Shop".orders ENABLE ROW LEVEL SECURITY, DISABLE TRIGGER stamp;
CREATE POLICY mine ON "Shop".orders FOR SELECT USING (mood = 'happy'::"Shop"."Mood");
CREATE STATISTICS "Shop".both_stat ON id, mood FROM "Shop".orders;
CREATE TABLE "Shop".parted (a integer NOT NULL, b text) PARTITION BY RANGE (a);
CREATE TABLE "Shop".parted_1 PARTITION OF "Shop".parted FOR VALUES FROM (1) TO (10);
CREATE INDEX parted_b_idx ON "Shop".parted (b);
CREATE SEQUENCE "Shop".numbers OWNED BY "Shop".parted.a;
ALTER TABLE "Shop".parted ALTER b SET DEFAULT nextval('"Shop".numbers'::regclass)::text;
GRANT USAGE ON SEQUENCE "Shop".orders_id_seq TO PUBLIC;
COMMENT ON SEQUENCE lines_id_seq IS 'serial';
CREATE VIEW "Shop".next AS SELECT nextval('"Shop".orders_id_seq') AS next;
GRANT SELECT (id), INSERT ON "Shop".orders TO PUBLIC;
REVOKE EXECUTE ON FUNCTION "Shop".total(integer) FROM PUBLIC;
GRANT USAGE ON SCHEMA "Shop" TO PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA "Shop" GRANT SELECT ON TABLES TO PUBLIC;
COMMENT ON COLUMN "Shop".early.mood IS 'seen';
COMMENT ON TRIGGER stamp ON "Shop".orders IS 'it''s 100 %';
COMMENT ON FUNCTION "Shop".total(integer) IS 'one';
COMMENT ON CONSTRAINT orders_note_check ON "Shop".orders IS 'check';
COMMENT ON SCHEMA "Shop" IS 'the shop';
"""
