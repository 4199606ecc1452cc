"""Objects that get another name and keep their rows."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, Engine, Index, Integer, MetaData, Table, Text

from pgflow.alembic import declare_sql
from pgflow.errors import AmbiguousRename
from tests.migrations.world_loop import Loop, titles

SCHEMA = "CREATE SCHEMA app"


def declared(
    *tables: tuple[str, str | None, str, str | None], sql: tuple[str, ...] = ()
) -> MetaData:
    """Declare tables by (name, old name, name of a column, its old name)."""
    metadata = MetaData()
    declare_sql(metadata, SCHEMA)
    for name, old_name, column, old_column in tables:
        Table(
            name,
            metadata,
            Column("id", Integer, primary_key=True),
            Column(column, Text, info={"renamed_from": old_column} if old_column else {}),
            Index(f"ix_{name}", column),
            schema="app",
            info={"renamed_from": old_name} if old_name else {},
        )
    for text in sql:
        declare_sql(metadata, text)
    return metadata


def test_a_table_its_column_and_what_is_named_after_them_keep_their_rows(engine: Engine) -> None:
    """Renames only: key, index and sequence follow, nothing is rewritten."""
    loop = Loop(engine)
    before = declared(("a", None, "name", None))
    after = declared(("b", "a", "title", "name"))
    loop.up(before)
    loop.sql("INSERT INTO app.a (name) VALUES ('x')")
    file = loop.value("SELECT pg_relation_filenode('app.a')")
    planned = loop.close(before, after)
    assert {step.action for step in planned.upgrade} == {"rename"}
    assert {step.action for step in planned.downgrade} == {"rename"}
    assert titles(planned.upgrade)[:2] == [
        "Rename table app.a to b",
        "Rename column app.b.name to title",
    ]
    assert loop.value("SELECT title FROM app.b") == "x"
    assert loop.value("SELECT pg_relation_filenode('app.b')") == file
    loop.sql("INSERT INTO app.b (title) VALUES ('y')")


def test_views_follow_and_get_the_columns_that_they_should_have(engine: Engine) -> None:
    """A view that shows the column under its old name is replaced, under the new one remade."""
    loop = Loop(engine)
    view = "CREATE VIEW app.v AS SELECT id, {} FROM app.a"
    before = declared(("a", None, "name", None), sql=(view.format("name"),))
    kept = declared(("a", None, "title", "name"), sql=(view.format("title AS name"),))
    planned = loop.close(before, kept)
    assert titles(planned.upgrade) == ["Rename column app.a.name to title", "Replace view app.v"]
    loop.run(planned.downgrade)
    loop.close(before, declared(("a", None, "title", "name"), sql=(view.format("title"),)))


def test_a_chain_of_renames_is_done_from_its_end(engine: Engine) -> None:
    """`b` becomes `c` before `a` becomes `b`; once done, it is not done again."""
    loop = Loop(engine)
    planned = loop.close(
        declared(("a", None, "x", None), ("b", None, "x", None)),
        declared(("b", "a", "x", None), ("c", "b", "x", None)),
    )
    assert {step.action for step in planned.upgrade} == {"rename"}


def test_a_new_table_may_take_the_old_name(engine: Engine) -> None:
    """The way back moves it aside, and drops it when nothing is lost."""
    loop = Loop(engine)
    before = declared(("a", None, "x", None))
    loop.up(before)
    loop.sql("INSERT INTO app.a (x) VALUES ('old')")
    planned = loop.plan(declared(("a", None, "y", None), ("b", "a", "x", None)))
    loop.run(planned.upgrade)
    assert loop.value("SELECT x FROM app.b") == "old"
    loop.run(planned.downgrade)
    assert loop.value("SELECT x FROM app.a") == "old"
    assert loop.plan(before).upgrade == ()


def test_two_heirs_of_one_table_are_refused(engine: Engine) -> None:
    """Only one of them can have the rows."""
    loop = Loop(engine)
    loop.up(declared(("a", None, "x", None)))
    with pytest.raises(AmbiguousRename, match=r"table app\.b and table app\.c"):
        loop.plan(declared(("b", "a", "x", None), ("c", "a", "x", None)))


def test_both_names_live_means_that_nothing_is_renamed(engine: Engine) -> None:
    """Each is compared with the declaration of its own name; an exchange is refused."""
    loop = Loop(engine)
    loop.up(declared(("a", None, "x", None), ("b", None, "x", None)))
    left = loop.plan(declared(("a", None, "x", None), ("b", "a", "x", None)))
    assert left.upgrade == ()
    with pytest.raises(AmbiguousRename, match="exchange their names"):
        loop.plan(declared(("a", "b", "x", None), ("b", "a", "x", None)))


OTHERS = {
    "view": (
        ["CREATE TABLE app.t (a int)", "CREATE VIEW app.v AS SELECT a FROM app.t"],
        ["CREATE TABLE app.t (a int)", ("CREATE VIEW app.w AS SELECT a FROM app.t", "v")],
        ["Rename view app.v to w"],
    ),
    "function": (
        [
            "CREATE FUNCTION app.f(a int) RETURNS int LANGUAGE sql RETURN a",
            "CREATE TABLE app.t (a int DEFAULT app.f(1))",
        ],
        [
            ("CREATE FUNCTION app.g(a int) RETURNS int LANGUAGE sql RETURN a", "f"),
            "CREATE TABLE app.t (a int DEFAULT app.g(1))",
        ],
        ["Rename function app.f(integer) to g"],
    ),
    "enum": (
        ["CREATE TYPE app.m AS ENUM ('a')", "CREATE TABLE app.t (a app.m DEFAULT 'a')"],
        [("CREATE TYPE app.n AS ENUM ('a')", "m"), "CREATE TABLE app.t (a app.n DEFAULT 'a')"],
        ["Rename type app.m to n"],
    ),
    "index and sequence": (
        ["CREATE TABLE app.t (a int)", "CREATE INDEX i ON app.t (a)", "CREATE SEQUENCE app.s"],
        [
            "CREATE TABLE app.t (a int)",
            "CREATE INDEX j ON app.t (a)",
            ("CREATE SEQUENCE app.r CACHE 3", "s"),
        ],
        ["Rename sequence app.s to r", "Rename index app.i to j", "Change sequence app.r"],
    ),
    "table to another schema": (
        ["CREATE SCHEMA b", "CREATE TABLE app.t (id serial PRIMARY KEY)"],
        ["CREATE SCHEMA b", ("CREATE TABLE b.t (id serial PRIMARY KEY)", "app.t")],
        ["Rename table app.t to b.t"],
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_every_kind_with_a_name_can_be_renamed(engine: Engine, name: str) -> None:
    """By `declare_sql(renamed_from=...)`, or because nothing else differs."""
    before, after, expected = OTHERS[name]
    planned = Loop(engine).close([SCHEMA, *before], [SCHEMA, *after])
    assert titles(planned.upgrade) == expected


def test_a_schema_is_renamed_with_all_that_is_in_it(engine: Engine) -> None:
    """One step; what is in it is equal under the new name."""
    before = [SCHEMA, "CREATE TABLE app.t (id serial PRIMARY KEY, a int CHECK (a > 0))"]
    after = [("CREATE SCHEMA shop", "app"), before[1].replace("app.", "shop.")]
    planned = Loop(engine).close(before, after)
    assert titles(planned.upgrade) == ["Rename schema app to shop"]
