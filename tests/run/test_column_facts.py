"""What is known of columns without asking is what the catalogue would have said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from pgflow.plan.spec import TargetColumn, TargetShape
from pgflow.plan.sql import raw
from pgflow.run.column_facts import source_columns, target_columns
from pgflow.run.session import Session

_TYPES = (
    *("bool", "bytea", "int8", "int2", "int4", "text", "float4", "float8", "char(3)", "bpchar"),
    *("varchar", "varchar(5)", "date", "time", "time(2)", "timestamp", "timestamp(3)"),
    *("timestamptz", "timestamptz(0)", "interval", "interval day to second(2)", "numeric"),
    *("numeric(10,2)", "numeric(3,-2)", "uuid", "jsonb", 'text COLLATE "C"'),
    *("json", "point", "int4[]", "varchar(4)[]", "w.short", "w.deep", "w.pair", "bit(3)", "xid8"),
)


@pytest.fixture
def columns(world: Any) -> Any:
    """A table of many types, and what is read of it under a search path."""
    world.run("CREATE DOMAIN w.short AS varchar(7)")
    world.run("CREATE DOMAIN w.deep AS w.short")
    world.run("CREATE TYPE w.pair AS (a int, b point)")
    spelt = ", ".join(f"c{number} {kind}" for number, kind in enumerate(_TYPES))
    world.run(f"CREATE TABLE w.many ({spelt}, n int NOT NULL, d int DEFAULT 1)")

    def read(path: str = "") -> tuple[TargetColumn, ...]:
        with world.engine.begin() as connection:
            if path:
                connection.execute(text(f"SET LOCAL search_path = {path}"))
            return target_columns(Session(connection), "w.many")

    return read


def test_ordinary_types_are_what_the_catalogue_says(columns: Any) -> None:
    """Where another schema comes before pg_catalog, nothing is taken for granted."""
    known, asked = columns(), columns("public, pg_catalog")
    assert known == asked
    assert [c.name for c in known] == [*(f"c{n}" for n in range(len(_TYPES))), "n", "d"]
    assert [c.type for c in known if not c.comparable] == ["json", "point", "w.pair"]


def test_an_equality_that_the_search_path_hides_is_found(columns: Any, world: Any) -> None:
    """An operator of the user's own may stand before that of pg_catalog."""
    world.run("CREATE OPERATOR w.= (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_catalog.texteq)")
    hidden = {c.hidden_equality for c in columns("w, pg_catalog") if c.type == "text"}
    assert hidden == {"pg_catalog"}
    assert {c.hidden_equality for c in columns("w")} == {None}
    assert {c.hidden_equality for c in columns("pg_catalog, w")} == {None}


def test_a_temporary_table_hides_nothing(world: Any) -> None:
    """Its schema is searched first, for tables and types only."""
    world.run("CREATE TABLE w.one (a int, b text)")
    with world.engine.begin() as connection:
        connection.execute(text("CREATE TEMPORARY TABLE one (a int) ON COMMIT DROP"))
        session = Session(connection)
        found = target_columns(session, "w.one")
    assert [(c.name, c.type, c.hidden_equality) for c in found] == [
        ("a", "integer", None),
        ("b", "text", None),
    ]


def test_a_source_of_the_same_types_is_what_the_catalogue_says(columns: Any, world: Any) -> None:
    """The target's own columns tell the type of every field that is of the same one."""
    known = columns()
    target = TargetShape("w", "many", known)
    unknown = replace(target, columns=tuple(replace(c, base=None) for c in known))
    with world.engine.begin() as connection:
        session = Session(connection)
        for query in (
            "SELECT * FROM w.many",
            "SELECT n, n, d::bigint, c5::varchar(9) AS c11, 1 AS more, c0 AS n FROM w.many",
            "SELECT c27 AS c0, c28 AS n, c24 AS c12 FROM w.many",
        ):
            fields = session.describe(raw(f"({query})"), "describe the source")
            found = source_columns(session, target, fields)
            assert found == source_columns(session, unknown, fields)
            assert [c.name for c in found.columns] == [f.name for f in fields]
