"""`create_all()` makes what a migration would make, and never changes what is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Enum,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy.exc import DBAPIError

from pgflow.alembic import declare_sql
from pgflow.alembic.apply import create_all
from pgflow.alembic.drift import examine
from pgflow.errors import DeclarationRefused, TablesOutOfDate

BODIES = """
CREATE FUNCTION app.doubled(n integer) RETURNS integer LANGUAGE sql AS $$ SELECT n * 2 $$;
CREATE FUNCTION app.doubled(n text) RETURNS text LANGUAGE sql AS $$ SELECT n || n $$;
COMMENT ON FUNCTION app.doubled(text) IS 'twice; [pgflow] too';
CREATE FUNCTION app.stamp() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    new.note := '50%: ' || app.doubled(new.id);
    RETURN new;
END $$;
CREATE TRIGGER stamp BEFORE INSERT ON app.orders FOR EACH ROW EXECUTE FUNCTION app.stamp();
CREATE VIEW app.notes AS SELECT id, note FROM app.orders;
CREATE MATERIALIZED VIEW app.totals AS SELECT count(*) AS n FROM app.notes;
CREATE UNIQUE INDEX totals_n ON app.totals (n);
ALTER TABLE app.orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_rows ON app.orders USING (true);
CREATE DOMAIN app.short AS varchar(3);
"""


def orders(*more: Column[Any], sql: str = "") -> MetaData:
    """Two tables with a key between them, a type and an index; and more objects by SQL."""
    metadata = MetaData()
    Table("customers", metadata, Column("id", BigInteger, primary_key=True), schema="app")
    Table(
        "orders",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("customer", ForeignKey("app.customers.id"), index=True),
        Column("state", Enum("new", ":done", name="state", schema="app")),
        Column("note", Text, comment="50% :of"),
        *more,
        schema="app",
        comment="What was ordered",
    )
    if sql:
        declare_sql(metadata, sql)
    return metadata


def differences(engine: Engine, metadata: MetaData) -> list[str]:
    """What the next migration would do."""
    with engine.connect() as connection:
        return [step.title for step in examine(connection, [metadata]).migration.upgrade]


def comment(engine: Engine, what: str) -> str | None:
    """The comment of an object, given as `'app.t'::regclass`."""
    catalogue = (
        what.rpartition("::reg")[2].replace("class", "pg_class").replace("procedure", "pg_proc")
    )
    with engine.connect() as connection:
        query = f"SELECT obj_description({what}, '{catalogue}')"
        found: str | None = connection.exec_driver_sql(query).scalar()
        return found


def test_the_next_migration_is_empty(engine: Engine) -> None:
    """Tables, types, functions, triggers, views, policies: all are as a migration makes them."""
    create_all(orders(sql=BODIES), connection=engine)
    assert differences(engine, orders(sql=BODIES)) == []
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO app.orders (id) VALUES (4)")
        (note,) = connection.exec_driver_sql("SELECT note FROM app.notes").scalars()
    assert note == "50%: 8"


def test_what_it_makes_is_marked_and_can_be_dropped_later(engine: Engine) -> None:
    """Marks say that migrations may drop it; comments of the user stand before them."""
    create_all(orders(sql=BODIES), connection=engine)
    assert comment(engine, "'app.orders'::regclass") == "What was ordered [pgflow]"
    assert comment(engine, "'app.notes'::regclass") == "[pgflow]"
    assert comment(engine, "'app.doubled(integer)'::regprocedure") == "[pgflow]"
    assert comment(engine, "'app.doubled(text)'::regprocedure") == "twice; [pgflow] too [pgflow]"
    titles = differences(engine, orders())
    assert "Drop view app.notes" in titles
    assert any(title.startswith("Drop function app.doubled(text)") for title in titles)


def test_a_second_call_changes_nothing(engine: Engine) -> None:
    """Also with functions and views, nothing is made twice, and what is there stays as it is."""
    create_all(orders(sql=BODIES), connection=engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP INDEX app.ix_app_orders_customer")
        connection.exec_driver_sql(
            "CREATE OR REPLACE VIEW app.notes AS SELECT id, note || '' AS note FROM app.orders"
        )
        before = _definitions(connection)
    create_all(orders(sql=BODIES), connection=engine)
    with engine.connect() as connection:
        assert _definitions(connection) == before


def _definitions(connection: Connection) -> list[tuple[Any, ...]]:
    rows = connection.exec_driver_sql(
        "SELECT oid::bigint, relname, pg_get_viewdef(oid), relacl::text FROM pg_class"
        " WHERE relnamespace IN ('app'::regnamespace, 'pgflow'::regnamespace) ORDER BY 1"
    )
    return [tuple(row) for row in rows]


def test_what_is_missing_is_made_beside_what_is_there(engine: Engine) -> None:
    """A new view and a new table come beside old ones, with or without functions."""
    create_all(orders(), connection=engine)
    newer = orders(sql="CREATE VIEW app.notes AS SELECT note FROM app.orders")
    Table("more", newer, Column("a", ForeignKey("app.orders.id")), schema="app")
    create_all(newer, connection=engine)
    assert differences(engine, newer) == []
    newest = orders(sql=BODIES.replace("CREATE TRIGGER", "CREATE OR REPLACE TRIGGER"))
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION app.doubled(n numeric) RETURNS numeric LANGUAGE sql AS 'SELECT n'"
        )
    create_all(newest, connection=engine)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT app.doubled('ab'::text)").scalar() == "abab"
        assert connection.exec_driver_sql("SELECT app.doubled(3::numeric)").scalar() == 3


@pytest.fixture
def role(engine: Engine) -> Iterator[str]:
    """The name of a role that is dropped afterwards."""
    name = f"reader_{uuid4().hex[:8]}"
    yield name
    with engine.begin() as connection:
        if connection.scalar(text("SELECT to_regrole(:name)"), {"name": name}):
            connection.exec_driver_sql(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_rights_are_made_and_marked(engine: Engine, role: str) -> None:
    """Roles, grants and default privileges too; the next migration is empty."""
    sql = f"""
        CREATE ROLE {role};
        GRANT USAGE ON SCHEMA app TO {role};
        GRANT SELECT ON app.orders TO {role};
        ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO {role}
    """
    create_all(orders(sql=sql), connection=engine)
    assert comment(engine, "'app.orders'::regclass") == f"What was ordered [pgflow grants={role}]"
    assert differences(engine, orders(sql=sql)) == []
    create_all(orders(sql=sql), connection=engine)
    assert differences(engine, orders(sql=sql)) == []


def test_a_statement_that_the_server_refuses_is_named(engine: Engine) -> None:
    """The error says which declaration it is, and nothing is left."""
    bad = orders(sql="CREATE VIEW app.bad AS SELECT nothing FROM app.orders")
    with pytest.raises(DeclarationRefused, match=r'view app\.bad: column "nothing" does not exist'):
        create_all(bad, connection=engine)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT to_regnamespace('app')")) is None


def test_a_renamed_table_is_left_to_migrations(engine: Engine) -> None:
    """An empty new table beside the old, full one would look like lost rows."""
    create_all(orders(), connection=engine)
    newer = MetaData()
    Table("purchases", newer, Column("id", Integer), schema="app", info={"renamed_from": "orders"})
    with pytest.raises(TablesOutOfDate, match=r"app\.purchases is still called orders\. "):
        create_all(newer, connection=engine)


def test_the_session_is_as_it_was(engine: Engine) -> None:
    """Settings for the work end with it, also in the caller's transaction."""
    with engine.connect() as connection:
        connection.exec_driver_sql("SET LOCAL search_path = 'x', public")
        settings = "SELECT current_setting('check_function_bodies'), current_setting('search_path')"
        before = connection.exec_driver_sql(settings).one()
        create_all(orders(sql=BODIES), connection=connection)
        assert connection.exec_driver_sql(settings).one() == before
        with pytest.raises(DBAPIError):
            connection.exec_driver_sql("CREATE FUNCTION app.f() RETURNS int LANGUAGE sql AS 'x'")
