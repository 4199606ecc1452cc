"""Rows that Python makes: what arrives, what is refused, and how often they can be read."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

import pgflow
from pgflow.errors import (
    BadRow,
    ConsumedRows,
    InvalidBody,
    InvalidOption,
    InvalidSource,
    SourceMismatch,
)

NOW = datetime(2024, 3, 1, 10, tzinfo=UTC)


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Item:
    id: int
    a: str | None = None
    b: Decimal | None = None


class Mixed:
    """Not a row."""


def test_dicts_dataclasses_and_tuples_arrive(world: Any, counts: Any) -> None:
    """A list of dicts, of dataclasses, or of tuples with names becomes the target's rows."""
    table = world.table()
    made = {
        "dicts": [{"id": 1, "a": "x", "b": Decimal("1.5")}, {"b": None, "a": None, "id": 2}],
        "classes": [Item(3, "y"), Item(4)],
        "tuples": pgflow.Rows([("z", 5)], columns=["a", "id"]),
    }
    for name, rows in made.items():
        assert world.pipe(table, rows, name=name, mode="merge").sync().inserted == len(
            rows.rows if isinstance(rows, pgflow.Rows) else rows
        )
    assert world.run("SELECT id, a, b FROM w.t ORDER BY id") == [
        (1, "x", Decimal("1.50")),
        (2, None, None),
        (3, "y", None),
        (4, None, None),
        (5, "z", None),
    ]


_VALUES: list[tuple[Any, Any, str | None]] = [
    (sa.Text(), "tab\tnew\nline\r\\N \\. \\", "tab\tnew\nline\r\\N \\. \\"),
    (sa.Text(), "", ""),
    (sa.Text(), None, None),
    (sa.Text(), Colour.RED, "red"),
    (sa.Integer(), 7.0, "7"),
    (sa.Integer(), Decimal("7.00"), "7"),
    (sa.Numeric(20, 10), Decimal("0.1000000001"), "0.1000000001"),
    (sa.Numeric(), Decimal("NaN"), "NaN"),
    (sa.Double(), float("-inf"), "-Infinity"),
    (sa.Double(), 0.1, "0.1"),
    (sa.Boolean(), 1, "true"),
    (sa.Boolean(), b"\0", "false"),
    (sa.Date(), datetime(2024, 1, 2), "2024-01-02"),
    (sa.Date(), date(9999, 12, 31), "9999-12-31"),
    (sa.DateTime(timezone=True), NOW, "2024-03-01 10:00:00+00"),
    (sa.DateTime(timezone=True), "2024-03-01T12:00+02:00", "2024-03-01 10:00:00+00"),
    (sa.DateTime(), datetime(2024, 3, 1, 10, 0, 0, 1), "2024-03-01 10:00:00.000001"),
    (sa.Time(), timedelta(hours=3), "03:00:00"),
    (sa.Time(), time(3, 4), "03:04:00"),
    (sa.Interval(), -timedelta(hours=1), "-1 days +23:00:00"),
    (sa.LargeBinary(), memoryview(b"\0\\x"), "\\x005c78"),
    (sa.Uuid(), UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (pg.JSONB(), {"a": [1, Decimal("1.10"), None, "ü\\"]}, '{"a": [1, 1.10, null, "ü\\\\"]}'),
    (pg.ARRAY(sa.Text()), ["a,b", None, '"', "NULL", ""], '{"a,b",NULL,"\\"","NULL",""}'),
    (pg.ARRAY(sa.Integer()), [[1, 2], [3, None]], "{{1,2},{3,NULL}}"),
    (pg.INET(), "10.0.0.1", "10.0.0.1/32"),
]


def test_values_arrive_as_they_are(world: Any) -> None:
    """Each Python value is what PostgreSQL would print for it, whatever the session's settings."""
    columns = [sa.Column(f"c{i}", kind) for i, (kind, _, _) in enumerate(_VALUES)]
    table = world.table("t", *columns)
    row = {"id": 1, **{f"c{i}": value for i, (_, value, _) in enumerate(_VALUES)}}
    pipeline = world.pipe(table, [row], mode="merge")
    with world.engine.begin() as connection:
        connection.exec_driver_sql(
            "SET LOCAL timezone = 'Asia/Tokyo'; SET LOCAL datestyle = 'German, DMY';"
            "SET LOCAL intervalstyle = 'sql_standard'"
        )
        pipeline.sync(connection=connection)
        kept = connection.exec_driver_sql("SHOW datestyle").scalar_one()
    assert kept == "German, DMY"
    with world.engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL timezone = 'UTC'")
        texts = ", ".join(f"c{i}::text" for i in range(len(_VALUES)))
        found = connection.exec_driver_sql(f"SELECT {texts} FROM w.t").one()
    assert list(found) == [expected for _, _, expected in _VALUES]


@pytest.mark.parametrize(
    "kind, value, reason",
    [
        (sa.Integer(), 1.5, "is no whole number"),
        (sa.Integer(), True, "is bool, which integer does not take"),
        (sa.Integer(), "x", "invalid input syntax"),
        (sa.Integer(), 2**31, "out of range"),
        (sa.Text(), b"x", "is bytes"),
        (sa.Text(), "a\0b", "NUL character"),
        (sa.Text(), "\ud800", "surrogate"),
        (sa.String(3), "abcd", "too long"),
        (sa.Date(), NOW, "time of day"),
        (sa.Date(), "01/02/2024", "is no ISO 8601 date"),
        (sa.Date(), "2024-02-30", "out of range"),
        (sa.DateTime(timezone=True), datetime(2024, 1, 1), "has no time zone"),
        (sa.DateTime(timezone=True), "2024-01-01 10:00", "or Rows(..., time_zone=)"),
        (sa.DateTime(timezone=True), "20240101T100000Z", "(YYYY-MM-DD HH:MM:SS+00, or Z for +00)"),
        (sa.DateTime(), NOW, "has a time zone"),
        (sa.DateTime(), "2024-01-01 10:00+05", "has a time zone"),
        (pg.JSONB(), {"a": float("nan")}, "cannot be JSON"),
        (sa.Double(), 2**53 + 1, "more digits"),
        (sa.Uuid(), b"x" * 16, "is bytes"),
        (sa.LargeBinary(), "text", "column holds bytes"),
        (sa.Text(), Mixed(), "Mixed"),
    ],
)
def test_a_bad_value_is_named_and_nothing_written(
    world: Any, kind: Any, value: Any, reason: str
) -> None:
    """A value that would be lost, cut or guessed at is refused by its row and column."""
    table = world.table("t", sa.Column("c", kind))
    rows = [{"id": i, "c": None} for i in range(250)] + [{"id": 250, "c": value}]
    with pytest.raises(BadRow) as refused:
        world.pipe(table, rows, mode="merge").sync()
    assert reason in str(refused.value)
    assert (refused.value.row, refused.value.column) == (251, "c")
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]


def test_a_bad_value_is_not_shown_where_samples_are_off(world: Any) -> None:
    """With sample_keys=False neither the error nor the history holds the value."""
    table = world.table("t", sa.Column("c", sa.Integer()))
    for value in ("secret-1", b"secret-2"):
        pipeline = world.pipe(table, [{"id": 1, "c": value}], mode="merge", sample_keys=False)
        with pytest.raises(BadRow, match="row 1, column 'c'") as refused:
            pipeline.sync()
        assert "secret" not in str(refused.value)
        assert refused.value.__cause__ is None
    assert "secret" not in str(world.run("SELECT error FROM pgflow.runs"))


def test_a_declared_time_zone_gives_naive_times_a_meaning(world: Any) -> None:
    """time_zone= says what a time without a zone is, in both directions."""
    table = world.table(
        "t", sa.Column("i", sa.DateTime(timezone=True)), sa.Column("l", sa.DateTime())
    )
    rows = [
        {"id": 1, "i": datetime(2024, 7, 1, 12), "l": NOW},
        {"id": 2, "i": "2024-07-01 12:00", "l": "2024-03-01 10:00Z"},
    ]
    world.pipe(table, pgflow.Rows(rows, time_zone="Europe/Berlin"), mode="merge").sync()
    expected = (datetime(2024, 7, 1, 10, tzinfo=UTC), datetime(2024, 3, 1, 11))
    assert world.run("SELECT i, l FROM w.t") == [expected, expected]


def test_a_body_may_yield(world: Any) -> None:
    """A pipeline's function may be a generator; each run calls it again, and closes it."""
    table, ended = world.table(), []

    def make() -> Iterator[dict[str, object]]:
        try:
            yield {"id": 1, "a": "x", "b": 1}
            yield {"id": 2, "a": "y", "b": 2}
        finally:
            ended.append(True)

    pipeline = pgflow.Pipeline("p", target=table, body=make, mode="merge", connection=world.engine)
    pgflow.create_all(world.metadata, connection=world.engine)
    assert "rows of generator" in str(pipeline.preview())
    assert pipeline.dry_run().inserted == 2
    assert pipeline.sync().inserted == 2
    assert pipeline.sync().unchanged == 2
    assert len(ended) == 4


def test_a_body_may_be_an_async_generator(world: Any) -> None:
    """`async def` with `yield` is drained, also where an event loop is running already."""
    table = world.table()

    async def make() -> AsyncIterator[dict[str, object]]:
        for number in range(250):
            await asyncio.sleep(0)
            yield {"id": number, "a": str(number), "b": None}

    pipeline = pgflow.Pipeline("p", target=table, body=make, mode="merge", connection=world.engine)
    pgflow.create_all(world.metadata, connection=world.engine)
    assert pipeline.sync().inserted == 250

    async def inside() -> int:
        return pipeline.sync().unchanged

    assert asyncio.run(inside()) == 250


def test_an_iterator_is_read_once(world: Any) -> None:
    """A preview leaves an iterator's rows in place; a second run is refused, not empty."""
    rows = iter([{"id": 1, "a": "x", "b": None}, {"id": 2, "a": "y", "b": None}])
    pipeline = world.pipe(world.table(), rows, mode="merge", handle_deletes="hard")
    assert "id, a, b" in str(pipeline.preview())
    assert pipeline.sync().inserted == 2
    with pytest.raises(ConsumedRows, match="Give a function"):
        pipeline.sync()
    assert world.run("SELECT count(*) FROM w.t") == [(2,)]


def test_rows_of_another_shape_are_refused(world: Any) -> None:
    """A missing or superfluous key is an error with its row, unless the rows say otherwise."""
    table = world.table()
    whole = {"id": 1, "a": "x", "b": None}
    for odd, said in (
        (
            {"id": 2, "a": "y"},
            r"row 2, column 'b': it has no 'b'; pgflow\.Rows\(rows, missing='null'\) would",
        ),
        (
            {**whole, "id": 2, "z": 1},
            r"row 2, column 'z': it has 'z'.*pgflow\.Rows\(rows, extra='ignore'\) would",
        ),
        ((2, "y"), "row 2: it has 2 values for 3 columns"),
        (Mixed(), "row 2: it is Mixed"),
    ):
        with pytest.raises(BadRow, match=said):
            world.pipe(table, [whole, odd], mode="merge").sync()
    rows = pgflow.Rows([whole, {"id": 2, "z": 1}], missing="null", extra="ignore")
    assert world.pipe(table, rows, mode="merge").sync().inserted == 2


def test_names_match_whatever_their_case(world: Any) -> None:
    """USR_ID fills usr_id; where two could be meant both are named."""
    table = world.table()
    assert world.pipe(table, [{"ID": 1, "A": "x", "b": 2}], mode="merge").sync().inserted == 1
    with pytest.raises(SourceMismatch, match="'Id' and 'ID' could each be the target's 'id'"):
        world.pipe(table, [{"Id": 1, "ID": 2, "a": "x"}], mode="merge").sync()
    both = world.table("u", sa.Column("x", sa.Text), sa.Column("X", sa.Text))
    assert world.pipe(both, [{"id": 1, "x": "l", "X": "u"}], name="u", mode="merge").sync().inserted
    lower = world.table("v", sa.Column("xy", sa.Text), sa.Column("XY", sa.Text))
    with pytest.raises(SourceMismatch, match="could be the target's 'xy' and 'XY'"):
        world.pipe(lower, [{"id": 1, "Xy": "l"}], name="v", mode="merge").sync()
    mapped = pgflow.Rows([{"key": 2, "A": None}], column_map={"id": "KEY"})
    assert world.pipe(table, mapped, mode="merge").sync().inserted == 1


def test_an_empty_source_is_planned_and_checked(world: Any) -> None:
    """No rows: declared names are still checked, and on_empty_source still guards the target."""
    table = world.table()
    world.pipe(table, [{"id": 1, "a": "x", "b": 1}], mode="merge").sync()
    with pytest.raises(SourceMismatch, match="'nope'"):
        world.pipe(table, pgflow.Rows([], columns=["id", "nope"]), mode="merge").sync()
    assert world.pipe(table, [], mode="merge").sync().read == 0
    with pytest.raises(pgflow.PgflowError, match="delivered no rows"):
        world.pipe(table, [], mode="merge", handle_deletes="hard").sync()


def test_only_newer_rows_are_taken(world: Any) -> None:
    """An incremental pipeline leaves out rows from before its position, also of plain rows."""
    table = world.table("t", sa.Column("u", sa.DateTime(timezone=True)))
    rows = [{"id": i, "u": datetime(2024, 1, i, tzinfo=UTC)} for i in range(1, 6)]
    pipeline = world.pipe(table, rows, mode="merge", incremental_column="u")
    assert pipeline.sync().read == 5
    rows.append({"id": 6, "u": datetime(2024, 1, 6, tzinfo=UTC)})
    result = pipeline.sync()
    assert (result.read, result.inserted) == (2, 1)
    (details,) = world.run("SELECT details FROM pgflow.runs ORDER BY started_at DESC LIMIT 1")[0]
    assert details["transfer"][0]["left_out"] == 4


def test_an_order_needs_a_type(world: Any) -> None:
    """A column that the target lacks and that orders rows must say its type."""
    table = world.table("t", sa.Column("a", sa.Text))
    rows = [{"id": 1, "a": "old", "n": 9}, {"id": 1, "a": "new", "n": 10}]
    options = {"mode": "merge", "order_by": "n", "on_duplicate": "last"}
    with pytest.raises(SourceMismatch, match="types={'n'"):
        world.pipe(table, rows, **options).sync()
    world.pipe(table, pgflow.Rows(rows, types={"n": "bigint"}), **options).sync()
    assert world.run("SELECT a FROM w.t") == [("new",)]


def test_what_is_no_source_of_rows_is_refused(world: Any) -> None:
    """Rows without names, one dict, unknown options and zones are refused with the way out."""
    table = world.table()
    with pytest.raises(InvalidBody, match="columns="):
        world.pipe(table, [(1, "x", None)], mode="merge").sync()
    with pytest.raises(InvalidOption, match="One row stands in a list"):
        pgflow.Rows({"id": 1})
    with pytest.raises(InvalidOption, match="needs 'conn'.*give it by body="):
        world.pipe(table, lambda conn: [], mode="merge")
    for given in (table, table.table):
        with pytest.raises(InvalidSource, match=r"Give source_table='w\.t'"):
            world.pipe(table, given, mode="merge")
    with pytest.raises(InvalidOption, match="'error', 'null'"):
        pgflow.Rows([], missing="drop")
    with pytest.raises(InvalidOption, match="time zone"):
        pgflow.Rows([], time_zone="Mars/Base")
    with pytest.raises(InvalidOption, match="snapshot"):
        world.pipe(
            table,
            [{"id": 1, "a": None, "b": 1}],
            mode="merge",
            watermark="snapshot",
            incremental_column="b",
        ).sync()


@pytest.mark.parametrize("told", [{"types": {"a": "text"}}, {"time_zone": "UTC"}])
def test_what_only_other_sources_need_is_refused_for_postgresql(
    world: Any, told: dict[str, Any]
) -> None:
    """types= and time_zone= would change nothing for SQL in PostgreSQL, so they are refused."""
    table = world.table()
    for source in (pgflow.Query("SELECT id, a, b FROM w.s", **told), _table_of(told)):
        with pytest.raises(InvalidOption, match=f"{next(iter(told))}= is for sources"):
            world.pipe(table, source, mode="merge").sync()


def _table_of(told: dict[str, Any]) -> pgflow.SourceTable:
    return pgflow.SourceTable("w.s", **told)


def test_rows_that_end_in_an_error_leave_nothing(world: Any) -> None:
    """A generator's own exception reaches the caller, says whose it was, and nothing is written."""
    table = world.table()

    def make() -> Iterator[dict[str, object]]:
        for number in range(1000):
            yield {"id": number, "a": "x", "b": None}
        raise LookupError("page 11 is gone")

    async def make_async() -> AsyncIterator[dict[str, object]]:
        for row in make():
            yield row

    for rows in (make, make_async):
        with pytest.raises(LookupError, match="page 11") as raised:
            world.pipe(table, pgflow.Rows(rows), mode="append").sync()
        assert raised.value.__notes__ == ["p -> w.t: the source raised this; nothing was written."]
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]
    assert world.run("SELECT DISTINCT status FROM pgflow.runs") == [("failed",)]
