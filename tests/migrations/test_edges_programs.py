"""Changes of types, functions and what others have beside them, at their edges."""

from __future__ import annotations

from functools import partial

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, Table

from pgflow.alembic import declare_sql
from pgflow.errors import ForeignDependent
from tests.migrations.journey import Journey

TABLE = "CREATE SCHEMA app; CREATE TABLE app.t (id int PRIMARY KEY, a int);"


@pytest.fixture
def journey(engine: Engine) -> Journey:
    """An empty database."""
    return Journey(engine)


def test_all_that_stands_on_ours_elsewhere_is_named(journey: Journey) -> None:
    """What others built in schemas of their own is named to the last one before anything runs."""
    view = "CREATE VIEW app.v AS SELECT a FROM app.t"
    journey.go(TABLE, view)
    journey.run(
        "CREATE SCHEMA bi; CREATE VIEW bi.x AS SELECT a FROM app.v;"
        "CREATE MATERIALIZED VIEW bi.y AS SELECT a FROM bi.x;"
        "CREATE FUNCTION bi.f() RETURNS bigint LANGUAGE sql"
        " BEGIN ATOMIC SELECT count(*) FROM bi.x; END"
    )
    with pytest.raises(ForeignDependent) as caught:
        journey.draft(TABLE.replace("a int", "a bigint"), view)
    assert {"view bi.x", "materialized view bi.y", "function bi.f()"} <= set(caught.value.objects)


def test_a_schema_with_other_peoples_objects_stays(journey: Journey) -> None:
    """It is not dropped, and so not made again on the way back."""
    journey.go(TABLE)
    journey.run("CREATE TABLE app.theirs (id int)")
    draft = journey.go("CREATE SCHEMA other")
    assert "drop schema app" not in draft.steps
    journey.go_back(1)
    assert journey.rows("SELECT count(*) FROM app.theirs") == [(0,)]


def test_copies_of_a_table_are_not_ours(journey: Journey) -> None:
    """LIKE copies the comments of indexes and statistics; what they are on belongs to others."""
    parts = "CREATE INDEX i ON app.t (a); CREATE STATISTICS app.s ON id, a FROM app.t"
    journey.run("CREATE SCHEMA bi; CREATE TABLE bi.n (id int, a int)")
    on_others = "CREATE INDEX n_i ON bi.n (a)"
    journey.go(TABLE, parts, on_others)
    journey.run("CREATE TABLE bi.copy (LIKE app.t INCLUDING ALL)")
    journey.run("CREATE TABLE bi.n2 (LIKE bi.n INCLUDING ALL)")
    assert journey.draft(TABLE, parts, on_others).steps == []
    assert sorted(journey.draft(TABLE).steps) == [
        "drop index app.t.i",
        "drop index bi.n.n_i",
        "drop statistics app.t.s",
    ]


def test_a_column_comment_that_looks_like_a_mark(journey: Journey) -> None:
    """Columns have no marks, so that their comments are what they are."""
    journey.go(TABLE, "COMMENT ON COLUMN app.t.a IS '[pgflow]'")
    assert journey.rows("SELECT col_description('app.t'::regclass, 2)") == [("[pgflow]",)]
    journey.go_back()


def test_a_schema_is_declared_in_sql_and_by_its_tables(journey: Journey) -> None:
    """A table's schema is on the MetaData by itself; saying it in SQL as well is no second one."""

    def declare(metadata: MetaData) -> None:
        Table("t", metadata, Column("id", Integer), schema="app")
        declare_sql(metadata, "CREATE SCHEMA app; COMMENT ON SCHEMA app IS 'of the shop'")

    journey.go(declare)
    journey.go_back()


def test_bodies_name_columns_that_come_back(journey: Journey) -> None:
    """An SQL body is put back only when the column that it names is there again."""
    function = "CREATE FUNCTION app.q() RETURNS bigint LANGUAGE sql AS 'SELECT sum(a) FROM app.t'"
    journey.go(TABLE, function)
    journey.go(TABLE.replace("a int", "b int"), function.replace("sum(a)", "sum(b)"))
    journey.go_back()


def test_a_renamed_function_with_other_arguments(journey: Journey) -> None:
    """A new name cannot give a function other arguments: the old one is dropped."""
    function = "CREATE FUNCTION app.{}(x {}) RETURNS int LANGUAGE sql AS 'SELECT 1'"
    journey.go("CREATE SCHEMA app", function.format("f", "bigint"))
    renamed = partial(declare_sql, sql=function.format("g", "int"), renamed_from="f")
    draft = journey.go("CREATE SCHEMA app", renamed)
    assert sorted(draft.steps) == ["create function app.g(integer)", "drop function app.f(bigint)"]
    journey.go_back()


def test_an_enum_gets_a_name_and_a_value(journey: Journey) -> None:
    """Both are one file: the value is added under the old name, before the transaction."""
    journey.go(
        "CREATE SCHEMA app; CREATE TYPE app.e AS ENUM ('a')",
        "CREATE TABLE app.t (e app.e DEFAULT 'a')",
    )
    journey.go(
        "CREATE SCHEMA app",
        partial(declare_sql, sql="CREATE TYPE app.f AS ENUM ('a', 'b')", renamed_from="e"),
        "CREATE TABLE app.t (e app.f DEFAULT 'b')",
    )
    journey.go_back()


def test_a_domain_in_arrays_gets_stricter(journey: Journey) -> None:
    """The server cannot try a rule on values in arrays: a new domain takes the old one's place."""
    table = "CREATE TABLE app.t (one app.d, many app.d[])"
    function = "CREATE FUNCTION app.ok({}) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true'"
    journey.go("CREATE SCHEMA app; CREATE DOMAIN app.d AS int", table)
    journey.run("INSERT INTO app.t VALUES (1, '{2}')")
    for check in ("int", "int, int"):
        values = ", ".join("VALUE" for _ in check.split(", "))
        domain = f"CREATE DOMAIN app.d AS int CONSTRAINT c CHECK (app.ok({values}))"
        journey.go("CREATE SCHEMA app", function.format(check), domain, table)
    assert journey.rows("SELECT one, many FROM app.t") == [(1, "{2}")]
    journey.go_back()
