"""Reading a history at an instant: from Python, and by a function in the database."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import InvalidInstant, NoHistory
from pgflow.plugins import AsOfFunctionPlugin

DAY = [datetime(2024, 1, day, tzinfo=UTC) for day in range(1, 29)]

#: For each instant, the value of key 1 and whether key 2 is there.
STORY = [
    (DAY[0], None, False),
    (DAY[1], "a", True),
    (DAY[2], "a", True),
    (DAY[3], "b", True),
    (DAY[4], "b", True),
    (DAY[5], "b", False),
    (DAY[6], "b", False),
]


@pytest.fixture
def history(world: Any) -> pgflow.SimpleTable:
    """Key 1 changes on day 3, key 2 is gone on day 5; columns and names that need quotes."""
    table = world.table(
        'T"x',
        sa.Column("a", sa.Text),
        sa.Column("instant", sa.Text),
        mode="scd2",
        system_columns={"valid_from": "From", "valid_to": "To"},
        extra_plugins=[AsOfFunctionPlugin()],
    )
    pipeline = world.pipe(
        table, "SELECT id, a, 'x' AS instant FROM w.s", handle_deletes="soft", name="history"
    )
    for day, rows in ((1, "a2"), (3, "b2"), (5, "b")):
        world.fill(*[(n, "old" if n == 2 else rows[0], 1) for n in range(1, len(rows) + 1)])
        pipeline.sync(effective_at=DAY[day])
    return table


def test_as_of_selects_the_versions_valid_then(world: Any, history: pgflow.SimpleTable) -> None:
    """A version counts from its first instant on and until just before its end."""
    with world.engine.connect() as connection:
        for at, first, second in STORY:
            found = connection.execute(pgflow.as_of(history, at)).all()
            expected = {(1, first, "x")} if first else set()
            assert {tuple(row) for row in found} == expected | (
                {(2, "old", "x")} if second else set()
            ), at


def test_the_function_says_the_same(world: Any, history: pgflow.SimpleTable) -> None:
    """The function of AsOfFunctionPlugin returns the whole rows of the same versions."""
    for at, first, second in STORY:
        found = world.run('SELECT id, a FROM w."T""x_as_of"(%s)', at)
        expected = ({(1, first)} if first else set()) | ({(2, "old")} if second else set())
        assert set(found) == expected, at
    assert world.run('SELECT count(*) FROM w."T""x_as_of"(NULL)') == [(0,)]


def test_the_planner_looks_into_the_function(world: Any, history: pgflow.SimpleTable) -> None:
    """Its body becomes part of the query, so that a condition on the key uses the key's index."""
    explain = 'EXPLAIN SELECT a FROM w."T""x_as_of"(instant => now()) WHERE id = 1'
    with world.engine.begin() as connection:
        connection.exec_driver_sql("SET enable_seqscan = off")
        plan = "\n".join(row[0] for row in connection.exec_driver_sql(explain))
    assert "Function Scan" not in plan
    assert "Index" in plan
    assert "(id = 1)" in plan
    (facts,) = world.run(
        "SELECT provolatile, prosecdef, proisstrict, proconfig, proretset FROM pg_proc"
        " WHERE proname = 'T\"x_as_of'"
    )
    assert facts == ("s", False, False, None, True)


def test_the_function_knows_columns_that_come_later(
    world: Any, history: pgflow.SimpleTable
) -> None:
    """A column that a migration adds is in the function's rows at once."""
    world.run("""ALTER TABLE w."T""x" ADD later int DEFAULT 7""")
    assert set(world.run('SELECT later FROM w."T""x_as_of"(%s)', DAY[3])) == {(7,)}


def test_as_of_gives_the_interval_if_asked(world: Any, history: pgflow.SimpleTable) -> None:
    """With validity=True the versions' first and last instants are there, under their names."""
    query = pgflow.as_of(history, DAY[2], validity=True)
    assert query.selected_columns.keys() == ["id", "a", "instant", "From", "To"]
    with world.engine.connect() as connection:
        rows = connection.execute(query.where(history.table.c.id == 1)).all()
    assert [tuple(row) for row in rows] == [(1, "a", "x", DAY[1], DAY[3])]


def test_as_of_joins_each_row_at_its_own_instant(world: Any, history: pgflow.SimpleTable) -> None:
    """With a column as the instant the result joins laterally, or stands in a subquery."""
    world.run("CREATE TABLE w.o (id bigint, at timestamptz)")
    for at, _, _ in STORY:
        world.run("INSERT INTO w.o VALUES (1, %s)", at)
    orders = sa.table("o", sa.column("id"), sa.column("at", sa.DateTime(timezone=True)), schema="w")
    then = pgflow.as_of(history, orders.c.at).lateral("then")
    joined = sa.select(orders.c.at, then.c.a).select_from(
        orders.outerjoin(then, then.c.id == orders.c.id)
    )
    subquery = pgflow.as_of(history, orders.c.at).where(history.table.c.id == orders.c.id)
    exists = sa.select(orders.c.at).where(subquery.exists())
    with world.engine.connect() as connection:
        rows = {tuple(row) for row in connection.execute(joined)}
        known = {row[0] for row in connection.execute(exists)}
    assert rows == {(at, first) for at, first, _ in STORY}
    assert known == {at for at, first, _ in STORY if first}


def test_as_of_takes_tables_aliases_and_classes(world: Any, history: pgflow.SimpleTable) -> None:
    """A factory, its table, an alias of that and a class under the decorator all serve."""
    alias = history.table.alias("z")

    @pgflow.table(schema="w", mode="scd2", metadata=world.metadata)
    class City:
        city: pgflow.types.Text
        name: pgflow.types.Text
        __merge_keys__ = ("city",)

    with world.engine.connect() as connection:
        for table in (history, history.table, alias):
            assert len(connection.execute(pgflow.as_of(table, DAY[2])).all()) == 2
        one = connection.execute(pgflow.as_of(alias, DAY[2]).where(alias.c.id == 1)).all()
    assert len(one) == 1
    assert pgflow.as_of(City, DAY[1]).selected_columns.keys() == ["city", "name"]


@pytest.mark.parametrize(
    "instant",
    [
        datetime(2024, 1, 1),
        date(2024, 1, 1),
        "2024-01-01",
        sa.literal(datetime(2024, 1, 1)),
        sa.column("at", sa.DateTime()),
        sa.cast(sa.literal("2024-01-01"), sa.DateTime()),
        sa.Column("day", sa.Date()).label("x"),
    ],
)
def test_an_instant_needs_a_time_zone(history: pgflow.SimpleTable, instant: Any) -> None:
    """What would mean something else in another time zone is refused."""
    with pytest.raises(InvalidInstant, match=r"as_of\(\).*(time zone|is no instant)"):
        pgflow.as_of(history, instant)


def test_as_of_takes_functions_and_parameters(world: Any, history: pgflow.SimpleTable) -> None:
    """The server's clock and a bound parameter are instants."""
    with world.engine.connect() as connection:
        now = connection.execute(pgflow.as_of(history, sa.func.now())).all()
        query = pgflow.as_of(history, sa.bindparam("at"))
        then = connection.execute(query, {"at": DAY[1]}).all()
    assert [len(now), len(then)] == [1, 2]


def test_tables_without_history_are_refused(world: Any) -> None:
    """A table that another mode fills, or nobody, is named with the reason and the way out."""
    plain = world.table("plain")
    with pytest.raises(NoHistory, match="nothing that has been declared.*mode='scd2'"):
        pgflow.as_of(plain, DAY[0])
    world.pipe(plain, mode="merge", handle_deletes="soft", name="soft")
    with pytest.raises(NoHistory, match=r"w\.plain.*pipeline 'soft' fills it in mode 'merge'"):
        pgflow.as_of(plain, DAY[0])
    for number in range(4):
        world.pipe(plain, mode="merge", name=f"more{number}")
    said = r"'soft', pipeline 'more0', pipeline 'more1' and 2 more fill it in mode 'merge', which"
    with pytest.raises(NoHistory, match=said):
        pgflow.as_of(plain, DAY[0])
    with pytest.raises(NoHistory, match=r"AsOfFunctionPlugin of w\.other"):
        world.table("other", mode="merge", extra_plugins=[AsOfFunctionPlugin()])
    assert "w.other" not in world.metadata.tables


def test_a_pipeline_can_give_its_target_the_function(world: Any) -> None:
    """On a pipeline the plugin is about the target, under a name of the user's."""
    table = world.table("late")
    plugin = AsOfFunctionPlugin("target", name="then")
    pipeline = world.pipe(table, mode="scd2", extra_plugins=[plugin])
    world.fill((1, "a", 1))
    pipeline.sync(effective_at=DAY[1])
    assert world.run('SELECT id, a FROM w."then"(%s)', DAY[1]) == [(1, "a")]
