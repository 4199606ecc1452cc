"""SQL texts as declarations."""

from __future__ import annotations

import pytest
from sqlalchemy import BigInteger, Column, Connection, MetaData, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy_declarative_extensions import Row, declare_database, register_function
from sqlalchemy_declarative_extensions.dialects.postgresql import Function

from pgflow.alembic import worlds
from pgflow.alembic.declared.statements import declare_sql
from pgflow.alembic.declared.world import declared_world
from pgflow.errors import DeclaredTwice, InvalidDeclaration


def _world(metadata: MetaData) -> list[str]:
    world = declared_world(metadata, postgresql.dialect(), ["public"])
    return [str(d.subject.makes) for d in world.declarations if d.subject.makes is not None]


def test_syntax_error() -> None:
    """A syntax error is told at once, with the place in the text."""
    with pytest.raises(InvalidDeclaration) as caught:
        declare_sql(MetaData(), "CREATE VIEW é.v AS\n  SELEC 1")

    message = str(caught.value)
    assert "'CREATE VIEW é.v AS'" in message
    assert 'syntax error at or near "SELEC", at line 2, column 3' in message


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("INSERT INTO app.t VALUES (1)", "it holds INSERT"),
        ("DROP TABLE app.t", "it holds DROP"),
        ("BEGIN", "it holds TRANSACTION"),
        ("COPY app.t FROM STDIN", "it holds COPY"),
        ("DO $$ BEGIN END $$", "it holds DO"),
        ("SELECT 1", "it holds SELECT"),
        ("CREATE TABLE app.t AS SELECT 1", "it holds a CREATE TABLE AS"),
        ("CREATE TEMP TABLE t (a int)", "it holds a temporary table"),
        ("CREATE INDEX ON app.t (a)", "it holds an index without a name"),
        ("CREATE INDEX CONCURRENTLY i ON app.t (a)", "it holds CREATE INDEX CONCURRENTLY"),
        ("ALTER TABLE app.t DROP COLUMN a", "it holds a statement that drops something"),
        ("ALTER TYPE app.mood ADD VALUE 'x'", "it holds ALTER TYPE"),
        ("CREATE OPERATOR app.+ (FUNCTION = app.f)", "it holds a CREATE statement for this kind"),
        ("CREATE SCHEMA app CREATE TABLE t (a int)", "it holds a CREATE SCHEMA with objects"),
        ("COMMENT ON DATABASE x IS 'y'", "it holds a statement about a database"),
    ],
)
def test_unsupported(sql: str, reason: str) -> None:
    """What cannot be declared is refused at once, with the reason and its first line."""
    with pytest.raises(InvalidDeclaration) as caught:
        declare_sql(MetaData(), f"CREATE TABLE app.fine (a int);\n{sql}")

    assert reason in str(caught.value)
    assert f"begins with {sql!r}" in str(caught.value)
    assert caught.value.sql == sql


def test_many_statements() -> None:
    """A text may hold several statements, comments between them, and names without a schema."""
    metadata = MetaData()
    declare_sql(
        metadata, "-- ü\nCREATE TABLE t (a int);\n/* x; */ CREATE VIEW app.v AS SELECT 'ü;'"
    )

    assert _world(metadata) == ["table public.t", "view app.v"]


def test_renamed_from_needs_one() -> None:
    """A former name belongs to exactly one object."""
    with pytest.raises(InvalidDeclaration, match="makes 2 objects"):
        declare_sql(MetaData(), "CREATE TABLE a (x int); CREATE TABLE b (x int)", renamed_from="c")


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        (
            "CREATE FUNCTION app.f(a int) RETURNS int RETURN 1",
            "CREATE FUNCTION app.f(b integer) RETURNS text RETURN 'x'",
            "function app.f(int4)",
        ),
        ("CREATE VIEW app.v AS SELECT 1", "CREATE TABLE app.v (a int)", "table app.v"),
        ("CREATE TYPE app.e AS ENUM ()", "CREATE DOMAIN app.e AS int", "domain app.e"),
        (
            "CREATE TRIGGER t AFTER INSERT ON app.x EXECUTE FUNCTION app.f()",
            "CREATE TRIGGER t BEFORE INSERT ON app.x EXECUTE FUNCTION app.f()",
            "trigger app.x.t",
        ),
    ],
)
def test_declared_twice(first: str, second: str, name: str) -> None:
    """Two declarations of one object are refused, both named."""
    metadata = MetaData()
    declare_sql(metadata, first)
    declare_sql(metadata, second)

    with pytest.raises(DeclaredTwice) as caught:
        _world(metadata)

    assert caught.value.name == name
    assert first[:30] in str(caught.value)
    assert second[:30] in str(caught.value)


def test_overloads() -> None:
    """Functions of one name with other arguments, and triggers of one name, are different."""
    metadata = MetaData()
    declare_sql(
        metadata,
        """
        CREATE FUNCTION app.f(int) RETURNS int RETURN 1;
        CREATE FUNCTION app.f(int[]) RETURNS int RETURN 1;
        CREATE FUNCTION app.f(int, OUT text) RETURNS text RETURN 'x';
        CREATE TABLE app.t (a int); CREATE TABLE app.u (a int);
        CREATE TRIGGER x AFTER INSERT ON app.t EXECUTE FUNCTION app.f();
        CREATE TRIGGER x AFTER INSERT ON app.u EXECUTE FUNCTION app.f()
        """.replace("CREATE FUNCTION app.f(int, OUT text)", "CREATE FUNCTION app.f(int, text)"),
    )

    assert len(_world(metadata)) == 7


def test_declared_by_both() -> None:
    """An object of sqlalchemy-declarative-extensions cannot be declared by SQL as well."""
    metadata = MetaData()
    register_function(
        metadata, Function("f", "SELECT 1", returns="integer", parameters=["a int"], schema="app")
    )
    declare_sql(metadata, "CREATE FUNCTION app.f(integer) RETURNS integer RETURN 1")

    with pytest.raises(DeclaredTwice, match=r"by Function 'app.f' and by declare_sql"):
        _world(metadata)


@pytest.mark.parametrize(
    "sql",
    [
        "GRANT SELECT ON app.t TO PUBLIC",
        "COMMENT ON FUNCTION app.f(integer) IS 'x'",
        "ALTER TABLE app.t ENABLE ROW LEVEL SECURITY",
        "COMMENT ON TRIGGER x ON app.t IS 'x'",
    ],
)
def test_strangers(sql: str) -> None:
    """Only declared objects can be commented, granted and altered."""
    metadata = MetaData()
    declare_sql(metadata, sql)

    with pytest.raises(InvalidDeclaration, match="which is not declared"):
        _world(metadata)


def test_rows() -> None:
    """Declared rows are no part of migrations, and are refused instead of forgotten."""
    metadata = MetaData()
    Table("t", metadata, Column("a", BigInteger))
    declare_database(metadata, rows=[Row("t", a=1)])

    with pytest.raises(InvalidDeclaration, match="declares rows"):
        _world(metadata)


NAMES = """
CREATE TABLE "Data"."select" (id bigint PRIMARY KEY, "app" integer, value text);
CREATE TABLE data.value (id bigint, "select" text);
CREATE VIEW data.v AS
    SELECT data.value, data."select", "Data"."select".id AS n, "Data"."select".app
    FROM (SELECT 1 AS value, 'data.value' AS "select", '"Data"."select"' AS quoted) data,
         "Data"."select", DATA.Value AS other
    WHERE other.id = "Data"."select".id AND data.value::text <> E'data.value\\'' || $q$data.value$q$
      AND 'data.value'::regclass::oid <> 0 AND to_regclass('"Data"."select"') IS NOT NULL
      AND CAST('data.value' AS regclass) IS NOT NULL /* data.value */ -- data.value
;
CREATE FUNCTION data.value(data.value) RETURNS text RETURN ($1).id::text;
"""


def test_names(conn: Connection) -> None:
    """Names are told from columns, strings and comments that only look like them."""
    metadata = MetaData()
    declare_sql(metadata, NAMES)

    declared = worlds.compare(conn, metadata).declared

    views = [e for i, e in declared.entities.items() if i.kind == "view"]
    query = str(views[0].facts["query"])
    assert "'data.value'::text AS \"select\"" in query
    assert "'data.value'::regclass" in query
    assert "FROM ( SELECT 1 AS value" in query
    assert "data.value other" in query
    assert 'to_regclass(\'"Data"."select"\'::text)' in query
    assert "pgflow_scratch" not in str(declared.entities)
