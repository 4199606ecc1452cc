"""Lookups whatever the rows come from: files, objects of Python, tables read by position."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import NullPool, create_engine

import pgflow
from pgflow.errors import BadRow, InvalidOption, SourceMismatch
from pgflow.plugins import LookupPlugin, SplitHistoryPlugin
from pgflow.run.positions.slot_making import creation, removal
from pgflow.run.positions.slots import slot_name
from tests.sync.conftest import World

DAY = [datetime(2024, 1, day, tzinfo=UTC) for day in range(1, 29)]
LINKS = "SELECT id, version FROM w.fact ORDER BY id"


def dimension(world: Any, *, code: Any = sa.Text, **options: Any) -> pgflow.SimpleTable:
    """Customer 7 with version 1 from day 1 and version 2 from day 3."""
    table = world.table(
        "customer",
        sa.Column("name", sa.Text),
        key=(sa.Column("code", code),),
        mode="scd2",
        system_columns={"version_id": "version"},
        **options,
    )
    for version, day in ((1, 1), (2, 3)):
        source = f"SELECT '7'::text AS code, '{version}' AS name"
        world.pipe(table, source, name="customers").sync(effective_at=DAY[day])
    return table


def facts(world: Any, source: Any, table: Any, *columns: sa.Column[Any], **options: Any) -> Any:
    """A pipeline into `w.fact`, which need not keep what the lookup reads."""
    lookup = pgflow.Lookup(table, into="version", at="at", on="customer", missing="null")
    target = options.pop("target", None)
    target = target or world.table("fact", sa.Column("version", sa.BigInteger), *columns)
    options = {"mode": "merge", "name": "facts", "lookups": [lookup], **options}
    return world.pipe(target, source, **options)


@pytest.mark.parametrize("code", [sa.Text, sa.BigInteger, sa.String(3)])
def test_values_of_files_are_read_as_the_lookup_needs_them(
    world: Any, tmp_path: Path, code: Any
) -> None:
    """A column that the target lacks is of the type of the dimension's key, or an instant."""
    path = tmp_path / "facts.csv"
    path.write_text("id,customer,at\n1,7,2024-01-02T12:00:00Z\n2,7,2024-01-05\n")
    world.run("SET timezone TO 'UTC'")
    pipeline = facts(world, pgflow.CSV(path, time_zone="UTC"), dimension(world, code=code))
    assert pipeline.sync().inserted == 2
    assert world.run(LINKS) == [(1, 1), (2, 2)]


def test_objects_of_python_are_linked(world: Any) -> None:
    """Rows of a function bring an instant with its time zone; one without is refused by row."""
    rows = [{"id": 1, "customer": "7", "at": DAY[2]}]
    table = dimension(world)
    pipeline = facts(world, pgflow.Rows(lambda: rows), table)
    pipeline.sync()
    assert world.run(LINKS) == [(1, 1)]
    rows = [{"id": 1, "customer": "7", "at": datetime(2024, 1, 2)}]
    with pytest.raises(BadRow, match=r"row 1, column 'at'.*SourceTable\(..., time_zone=\)"):
        pipeline.sync()


def test_a_column_that_is_no_instant_is_refused_before_a_row_is_read(world: Any) -> None:
    """A source of another kind of database that says so is refused with the column."""
    engine = create_engine("sqlite://", poolclass=sa.StaticPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE f (id integer, customer text, at boolean)")
    rows = sa.table("f", sa.column("id"), sa.column("customer"), sa.column("at", sa.Boolean()))
    source = pgflow.Query(sa.select(rows), connection=engine)
    with pytest.raises(SourceMismatch, match="'at' is .*its lookup needs timestamp with time zone"):
        facts(world, source, dimension(world)).sync()


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("watermark", ["horizon", "snapshot"])
def test_positions_by_transactions_go_with_lookups(world: Any, watermark: str, kept: bool) -> None:
    """The first run and later ones are linked, whether the target keeps key and instant or not."""
    table = dimension(world)
    world.run("CREATE TABLE w.f (id bigint, customer text, at timestamptz, xid xid8)")
    add = "INSERT INTO w.f VALUES (%s, '7', %s, pg_current_xact_id())"
    world.run(add, 1, DAY[2])
    columns = [sa.Column("customer", sa.Text), sa.Column("at", sa.DateTime(timezone=True))]
    source = pgflow.SourceTable("w.f")
    pipeline = facts(world, source, table, *(columns if kept else []), watermark=watermark)
    assert pipeline.sync().inserted == 1
    world.run(add, 2, DAY[4])
    assert pipeline.sync().read == 1
    assert world.run(LINKS) == [(1, 1), (2, 2)]


@pytest.fixture
def logical(logical_database: str) -> Iterator[World]:
    """A database on a server whose log can be decoded."""
    made = World(create_engine(logical_database, poolclass=NullPool))
    made.run("CREATE SCHEMA w")
    yield made
    made.engine.dispose()


def test_a_slot_goes_with_lookups(logical: World) -> None:
    """Changed rows are linked; a key that the log names and the table lacks is deleted."""
    table = dimension(logical)
    logical.run("CREATE TABLE w.f (id bigint PRIMARY KEY, customer text, at timestamptz)")
    for number in (1, 2):
        logical.run("INSERT INTO w.f VALUES (%s, '7', %s)", number, DAY[2])
    source = pgflow.SourceTable("w.f")
    pipeline = facts(logical, source, table, watermark="slot", handle_deletes="hard")
    (database,) = logical.run("SELECT current_database()")[0]
    slot = slot_name(database, "facts", "w.fact")
    for statement in creation(slot, source):
        logical.run(str(statement))
    try:
        assert pipeline.sync().inserted == 2
        logical.run("DELETE FROM w.f WHERE id = 1")
        logical.run("INSERT INTO w.f VALUES (3, '7', %s)", DAY[5])
        result = pipeline.sync()
        assert (result.inserted, result.deleted) == (1, 1)
        assert logical.run(LINKS) == [(2, 1), (3, 2)]
    finally:
        for statement in removal(slot):
            logical.run(str(statement))


def test_a_dimension_may_be_partitioned(world: Any) -> None:
    """Versions are found in whichever partition they are, by lookups and by as_of()."""
    table = dimension(world, extra_plugins=[SplitHistoryPlugin()])
    world.run("CREATE TABLE w.f AS SELECT i AS id, '7' AS customer, now() AS at"
              " FROM generate_series(1, 2) AS i")  # fmt: skip
    world.run("UPDATE w.f SET at = %s WHERE id = 1", DAY[2])
    facts(world, "SELECT * FROM w.f", table).sync()
    assert world.run(LINKS) == [(1, 1), (2, 2)]
    with world.engine.connect() as connection:
        found = [connection.execute(pgflow.as_of(table, DAY[day])).all() for day in (0, 1, 3)]
    assert [[row.name for row in rows] for rows in found] == [[], ["1"], ["2"]]


def test_what_a_lookup_fills_is_no_key(world: Any) -> None:
    """A fact whose key depends on the dimension would stand there twice after a correction."""
    table = dimension(world)
    target = world.table("fact", key=(sa.Column("version", sa.BigInteger),))
    lookup = pgflow.Lookup(table, into="version", at="at", on="customer")
    with pytest.raises(
        InvalidOption, match=r"'version' is part of the merge key.*'customer', 'at'"
    ):
        world.pipe(target, "SELECT 1 AS id", mode="append", lookups=[lookup])


def test_a_column_is_filled_by_one_lookup(world: Any) -> None:
    """A plugin and an option that fill one column are told apart from the source."""
    table = dimension(world)
    source = "SELECT 1 AS id, '7' AS customer, now() AS at"
    again = pgflow.Lookup(table, into="version", at="at", on="customer")
    pipeline = facts(world, source, table, extra_plugins=[LookupPlugin(again)])
    with pytest.raises(SourceMismatch, match="several lookups fill 'version'"):
        pipeline.sync()


def test_a_function_that_does_the_work_itself_is_refused(world: Any) -> None:
    """Nothing was looked up in what it wrote; it is rolled back."""

    def body(conn: Any) -> dict[str, int]:
        conn.exec_driver_sql("INSERT INTO w.fact (id) VALUES (1)")
        return {"inserted": 1}

    pipeline = facts(world, None, dimension(world), body=body)
    with pytest.raises(SourceMismatch, match="did the work itself, so 'version' was not looked up"):
        pipeline.sync()
    assert world.run(LINKS) == []
