"""Types from another database are refused before any row where a value could be lost or misread."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from pgflow.errors import SchemaEvolved, SourceMismatch
from pgflow.types import Raw


def _into(world: Any, far: Any, kind: str, source: str, **options: Any) -> Any:
    table = world.table("t", sa.Column("v", Raw[kind]))
    return world.pipe(table, source, mode="merge", source_connection=far.engine, **options)


@pytest.mark.parametrize(
    ("source", "kind", "said"),
    [
        ("SELECT 1::bigint AS id, true AS v", "integer", "'v' is boolean, the target has integer"),
        (
            "SELECT 1::bigint AS id, 'a'::w.colour AS v",
            "integer",
            "'v' is w.colour, the target has integer",
        ),
        (
            "SELECT 1::bigint AS id, 'a'::w.colour AS v",
            "date[]",
            r"'v' is w.colour, the target has date\[\]",
        ),
        (
            "SELECT 1::bigint AS id, '{1}'::int[] AS v",
            "uuid[]",
            r"'v' is integer\[\], the target has uuid\[\]",
        ),
    ],
)
@pytest.mark.parametrize("rows", ["true", "false"])
def test_a_type_that_cannot_be_cast_is_refused_before_any_row(
    world: Any, far: Any, source: str, kind: str, said: str, rows: str
) -> None:
    """Column and types are named, also where the source has no row at all."""
    far.run("CREATE TYPE w.colour AS ENUM ('a')")
    pipeline = _into(world, far, kind, f"{source} WHERE {rows}")
    with pytest.raises(SourceMismatch, match=said):
        pipeline.sync()
    preview = pipeline.preview()
    assert not preview.ok
    assert "path" in str(preview)
    assert "copy" in str(preview)


#: Source and target types of which PostgreSQL would cast one to the other and lose something.
LOSING = (
    ("double precision", "integer", "fractions"),
    ("numeric", "bigint", "fractions"),
    ("timestamp with time zone", "date", "time of day"),
    ("timestamp with time zone", "timestamp without time zone", "time zone"),
    ("timestamp without time zone", "time without time zone", "day"),
    ("numeric(10,3)", "numeric(10,2)", "digits after the 2th"),
    ("double precision", "real", "half of the digits"),
)


def test_types_that_would_lose_values_are_refused_as_in_one_database(world: Any, far: Any) -> None:
    """Nothing is rounded or cut off, whichever way the rows take; the message is the same."""
    columns = [sa.Column(f"v{i}", Raw[kind]) for i, (_, kind, _) in enumerate(LOSING)]
    values = ", ".join(f"NULL::{kind} AS v{i}" for i, (kind, _, _) in enumerate(LOSING))
    source, table, said = f"SELECT 1::bigint AS id, {values}", world.table("t", *columns), []
    for name, connection in (("here", None), ("there", far.engine)):
        pipeline = world.pipe(table, source, mode="merge", name=name, source_connection=connection)
        with pytest.raises(SourceMismatch, match="types would lose values") as caught:
            pipeline.sync()
        said.append(str(caught.value).removeprefix(name))
    assert said[0] == said[1]
    assert all(why in said[1] for _, _, why in LOSING)
    assert all(f"'v{i}' is {kind}" in said[1] for i, (kind, _, _) in enumerate(LOSING))


def test_a_source_that_has_grown_is_noticed_from_afar(world: Any, far: Any) -> None:
    """New columns and wider types are told by what the source has, not by what is staged."""
    far.run("CREATE TYPE w.colour AS ENUM ('a')")
    source = "SELECT 1::bigint AS id, 2::bigint AS v, 1.5::numeric(9,3) AS n, 'a'::w.colour AS c"
    pipeline = _into(world, far, "integer", source, schema_mode="evolve")
    with pytest.raises(SchemaEvolved) as caught:
        pipeline.sync()
    assert caught.value.added == {"n": "numeric(9,3)", "c": "text"}
    assert caught.value.widened == {"v": "bigint"}


#: Types of one name in the source's database and in the target's that are not the same.
NAMESAKES = (
    ("TYPE w.c0 AS (a int, b int)", "TYPE w.c0 AS (b int, a int)"),
    ("TYPE w.c1 AS (a int, b text)", "TYPE w.c1 AS (a int)"),
    ("TYPE w.c2 AS (a numeric(9,4))", "TYPE w.c2 AS (a numeric(9,2))"),
    ("TYPE w.c3 AS (a varchar(9))", "TYPE w.c3 AS (a varchar(5))"),
    ("TYPE w.c4 AS (a int[])", "TYPE w.c4 AS (a text)"),
    ("TYPE w.c5 AS (a w.c0[])", "TYPE w.c5 AS (a w.c0[])"),
    ("DOMAIN w.d AS numeric(9,4)", "DOMAIN w.d AS numeric(9,2)"),
    ("TYPE w.c6 AS (a w.d)", "TYPE w.c6 AS (a w.d)"),
    ("TYPE w.c7 AS RANGE (subtype = numeric)", "TYPE w.c7 AS RANGE (subtype = int8)"),
    ("TYPE w.same AS (x int, a int)", "TABLE w.same (a int)"),
)


def test_types_that_have_only_the_name_in_common_are_refused(world: Any, far: Any) -> None:
    """Text of a composite with other fields, or of fewer digits, would be read as another value."""
    for there, here in NAMESAKES:
        far.run(f"CREATE {there}")
        world.run(f"CREATE {here}")
    far.run("ALTER TYPE w.same DROP ATTRIBUTE x")
    kinds = [*(f"w.c{i}" for i in range(8)), "w.c0[]", "w.d[]", "w.same", "w.same[]"]
    columns = [sa.Column(f"v{i}", Raw[kind]) for i, kind in enumerate(kinds)]
    values = ", ".join(f"NULL::{kind} AS v{i}" for i, kind in enumerate(kinds))
    pipeline = world.pipe(
        world.table("t", *columns), f"SELECT 1::bigint AS id, {values}", mode="merge",
        source_connection=far.engine,
    )  # fmt: skip
    with pytest.raises(SourceMismatch, match="made of other parts") as caught:
        pipeline.sync()
    named = [f"v{i}" for i, kind in enumerate(kinds) if f"'v{i}' is {kind}" in str(caught.value)]
    assert named == [f"v{i}" for i in range(10)]


@pytest.mark.parametrize("rows", ["true", "false"])
def test_names_are_checked_before_any_row(world: Any, far: Any, rows: str) -> None:
    """Missing, superfluous and repeated columns are refused as in one database."""
    for columns, said in (
        ("1::bigint AS id, 2 AS w", "delivers 'w', which the target lacks"),
        ("'x'::text AS v", "does not deliver 'id'"),
        ("1::bigint AS id, 'x'::text AS v, 'y'::text AS v", "'v' more than once"),
    ):
        pipeline = _into(world, far, "text", f"SELECT {columns} WHERE {rows}")
        world.metadata.clear()
        with pytest.raises(SourceMismatch, match=said):
            pipeline.sync()


def test_a_column_that_orders_must_be_comparable_here(world: Any, far: Any) -> None:
    """An enum that the target does not have sorts otherwise as text: it is refused."""
    far.run("CREATE TYPE w.colour AS ENUM ('b', 'a')")
    source = "SELECT id, a AS v, 'a'::w.colour AS c FROM w.s"
    ordered = _into(world, far, "text", source, order_by="c")
    with pytest.raises(SourceMismatch, match="order_by='c' is w.colour, a type that the target"):
        ordered.sync()
    world.metadata.clear()
    marked = _into(world, far, "text", source, incremental_column="c", name="q")
    with pytest.raises(SourceMismatch, match="incremental_column='c' is w.colour"):
        marked.sync()
