"""Event time from every kind of source: the rows' own instants survive the way."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow import checks
from pgflow.errors import BadRow, SourceMismatch
from pgflow.factories.backfill import Backfill
from pgflow.testing import assert_scd2
from tests.sync.event_world import Events, day, events

#: Two batches, of which the second is late, and what they come to.
BATCHES = ([(1, "a", 1), (1, "b", 5), (2, "x", 1)], [(1, "z", 3)])
HISTORY = [("a", 1, 3), ("z", 3, 5), ("b", 5, None)]


def dated(world: Any, **options: Any) -> Any:
    """A history `w.t (id, a, u)`, to be filled by event time."""
    columns = (sa.Column("a", sa.Text), sa.Column("u", sa.DateTime(timezone=True)))
    return world.table("t", *columns, **options)


def put(world: Any, *rows: tuple[int, str, float]) -> None:
    """Add rows (id, a, day) to the source."""
    for key, value, at in rows:
        world.run("INSERT INTO w.s (id, a, u) VALUES (%s, %s, %s)", key, value, day(at))


def test_rows_of_another_database_are_spliced(world: Any, far: Any) -> None:
    """From another server everything is as it is from this one, with every option."""
    table = dated(world)
    pipeline = pgflow.Pipeline(
        "p",
        target=table,
        source="SELECT id, a, u FROM w.s",
        source_connection=far.engine,
        target_connection=world.engine,
        mode="scd2",
        event_timestamp_column="u",
        handle_deletes="soft",
        keep_confirmations=True,
    )
    pgflow.create_all(world.metadata, connection=world.engine)
    made = Events(world, table, pipeline)
    for batch in BATCHES:
        far.run("TRUNCATE w.s")
        put(far, *batch)
        pipeline.sync(effective_at=day(20))
        with world.engine.connect() as connection:
            assert_scd2(connection, table)
    assert made.history(1) == HISTORY
    assert made.history(2) == [("x", 1, 20)]


@pytest.mark.parametrize("kind", ["date", "timestamp", "timestamp(3)"])
@pytest.mark.parametrize("remote", [False, True])
def test_a_source_without_time_zones_names_no_instant(
    world: Any, far: Any, kind: str, remote: bool
) -> None:
    """What would depend on the time zone of a session is refused before any row is read."""
    table = dated(world)
    pipeline = pgflow.Pipeline(
        "p",
        target=table,
        source=f"SELECT id, a, u::{kind} AS u FROM w.s",
        source_connection=far.engine if remote else world.engine,
        target_connection=world.engine,
        mode="scd2",
        event_timestamp_column="u",
    )
    pgflow.create_all(world.metadata, connection=world.engine)
    put(far if remote else world, *BATCHES[0])
    with pytest.raises(SourceMismatch, match="is .* in the source.* session's time zone"):
        pipeline.sync()


def test_rows_of_python_are_spliced(world: Any) -> None:
    """Rows that a function yields need instants with an offset, like any other."""
    batches = [[{"id": k, "a": v, "u": day(at)} for k, v, at in batch] for batch in BATCHES]
    table = dated(world)
    made = Events(world, table, world.pipe(table, lambda: batches.pop(0), **BY_EVENT))
    made.again()
    made.again()
    assert made.history() == HISTORY
    batches.append([{"id": 1, "a": "b", "u": datetime(2024, 1, 9)}])
    with pytest.raises(BadRow, match="has no time zone"):
        made.again()


def test_rows_of_files_are_spliced(world: Any, tmp_path: Any) -> None:
    """A file's texts become instants by their offsets."""
    file = tmp_path / "events.csv"
    table = dated(world)
    made = Events(world, table, world.pipe(table, pgflow.CSV(str(file)), **BY_EVENT))
    for batch in BATCHES:
        lines = [f"{key},{value},{day(at).isoformat()}" for key, value, at in batch]
        file.write_text("\n".join(["id,a,u", *lines]) + "\n")
        made.again()
    assert made.history() == HISTORY


BY_EVENT: dict[str, Any] = {"mode": "scd2", "event_timestamp_column": "u"}


@pytest.mark.parametrize(("column", "watermark"), [("xid", "snapshot"), ("xmin", "horizon")])
def test_transactions_can_tell_what_is_new(world: Any, column: str, watermark: str) -> None:
    """A late row is a new row to a watermark that goes by transactions, however old it is."""
    world.run("ALTER TABLE w.s ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id()")
    table = dated(world)
    pipeline = world.pipe(
        table,
        f"SELECT id, a, u, {column} FROM w.s",
        incremental_column=column,
        watermark=watermark,
        **BY_EVENT,
    )
    made = Events(world, table, pipeline)
    for batch in BATCHES:
        put(world, *batch)
        assert made.again()["read"] == len(batch)
    assert made.history() == HISTORY


def test_the_event_column_can_be_the_incremental_one(world: Any) -> None:
    """A run reads from the newest instant on; lookback brings late rows to their place."""
    made = events(world, incremental_column="u", lookback=timedelta(days=4))
    made.sync((1, "a", 1), (2, "x", 2), (1, "b", 9))
    for row in ((1, "z", 7), (1, "too late", 3), (2, "y", 10)):
        world.run("INSERT INTO w.s (id, a, u) VALUES (%s, %s, %s)", *row[:2], day(row[2]))
    assert made.again() == {"inserted": 2, "closed": 1, "updated": 1, "unchanged": 1, "read": 3}
    assert made.history() == [("a", 1, 7), ("z", 7, 9), ("b", 9, None)]
    assert made.history(2) == [("x", 2, 10), ("y", 10, None)]
    assert made.again()["read"] == 3


def test_a_backfill_brings_old_rows_to_their_place(world: Any) -> None:
    """Steps of a backfill are late batches: their rows begin when they say, not when they came."""
    made = events(world, incremental_column="u")
    made.sync((1, "now", 20))
    put(world, (1, "a", 1), (1, "b", 5), (2, "x", 4), (1, "now", 9))
    load = Backfill(made.pipeline, "2024-01-01 00:00+00", "2024-01-13 00:00+00", "3 days")
    assert [result.read for _, result in load.run()] == [1, 2, 0, 1]
    assert made.history() == [("a", 1, 5), ("b", 5, 9), ("now", 9, None)]
    assert made.history(2) == [("x", 4, None)]


def test_a_lookup_fills_what_events_compare(world: Any) -> None:
    """A version that refers to another history's is cut where that one is cut."""
    world.run("CREATE TABLE w.names (code text, name text, u timestamptz)")
    names = world.table(
        "dim",
        sa.Column("name", sa.Text),
        sa.Column("u", sa.DateTime(timezone=True)),
        key=(sa.Column("code", sa.Text),),
        system_columns={"version_id": "version_id"},
    )
    source = "SELECT code, name, u FROM w.names"
    dimension = world.pipe(names, source, name="names", **BY_EVENT)
    columns = (sa.Column("u", sa.DateTime(timezone=True)), sa.Column("v", sa.BigInteger))
    table = world.table("t", sa.Column("a", sa.Text), *columns)
    lookup = pgflow.Lookup(names, into="v", on={"a": "code"}, at="u")
    pipeline = world.pipe(table, "SELECT id, a, u FROM w.s", lookups=[lookup], **BY_EVENT)
    made = Events(world, table, pipeline)
    for name, code, row in (("one", 1, (1, "p", 1)), ("two", 4, (1, "p", 6)), ("", 9, (1, "p", 3))):
        if name:
            world.run("INSERT INTO w.names VALUES ('p', %s, %s)", name, day(code))
        dimension.sync()
        made.sync(row)
    assert made.history(1, "v") == [("p", 1, 6, 1), ("p", 6, None, 2)]


def test_an_event_column_must_be_delivered(world: Any) -> None:
    """A source without it is refused by name."""
    with pytest.raises(SourceMismatch, match="not deliver 'u', which event_timestamp_column="):
        events(world, source="SELECT id, a FROM w.s").sync((1, "a", 1))


def test_rejected_rows_leave_the_others_of_their_key(world: Any) -> None:
    """A check may reject one of several rows of a key; it goes on with the rest, and is alive."""
    good = checks.SQLCheck("good", "a <> 'bad'", quarantine=True)
    made = events(world, handle_deletes="soft", checks=[good])
    made.sync((1, "a", 1), (2, "x", 1), (3, "m", 1), run=2)
    counts = made.sync((1, "b", 4), (1, "bad", 5), (1, "z", 3), (2, "bad", 4), run=6)
    assert counts == {
        "inserted": 2,
        "closed": 2,
        "deleted": 1,
        "rejected": 2,
        "read": 4,
    }
    assert made.history(1) == [("a", 1, 3), ("z", 3, 4), ("b", 4, None)]
    assert made.history(2) == [("x", 1, None)]
    assert made.history(3) == [("m", 1, 6)]
