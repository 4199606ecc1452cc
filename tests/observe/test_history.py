"""Reading the history back."""

from __future__ import annotations

import io
import json
from dataclasses import fields
from datetime import UTC, datetime

import pytest
from rich.console import Console
from sqlalchemy import Connection, Engine, MetaData, insert

from pgflow.bookkeeping import Bookkeeping, register
from pgflow.connections.places import place
from pgflow.errors import InvalidOption, MissingTable
from pgflow.observe.history import HistoryEntry, history_json, read_history
from pgflow.observe.report import history_listing

RUN = {"target": "w.t", "mode": "merge", "status": "success", "inserted": 2, "read": 3}


def create(conn: Connection, schema: str = "pgflow") -> Bookkeeping:
    """Create pgflow's own tables."""
    metadata = MetaData()
    own = register(metadata, schema)
    conn.exec_driver_sql(f'CREATE SCHEMA "{schema}"')
    metadata.create_all(conn)
    return own


def record(conn: Connection, own: Bookkeeping, number: int, pipeline: str = "p", **more: object
           ) -> None:  # fmt: skip
    """Write a run that began `number` minutes after midnight."""
    at = datetime(2024, 1, 1, 0, number, tzinfo=UTC)
    values = {"run_id": f"{number:032x}", "pipeline": pipeline, "started_at": at, **RUN, **more}
    conn.execute(insert(own.runs).values(**values))


def test_an_entry_has_every_column_of_the_table() -> None:
    """What a run records can be read back, column by column and in the same order."""
    columns = register(MetaData()).runs.columns.keys()
    assert [field.name for field in fields(HistoryEntry)] == columns


def test_the_latest_runs_come_first(conn: Connection) -> None:
    """Newest first, as many as asked for, of one pipeline or of all."""
    own = create(conn)
    for number in range(5):
        record(conn, own, number, "even" if number % 2 == 0 else "odd")
    assert [entry.started_at.minute for entry in read_history(conn)] == [4, 3, 2, 1, 0]
    assert [entry.started_at.minute for entry in read_history(conn, limit=2)] == [4, 3]
    assert [entry.started_at.minute for entry in read_history(conn, "odd")] == [3, 1]
    assert read_history(conn, "nobody") == ()


def test_an_entry_carries_counts_and_values(conn: Connection) -> None:
    """Counts, parameters and instants come back with their types; JSON has them all."""
    own = create(conn, "Book Keeping")
    record(conn, own, 7, parameters={"day": "2013-01-02"}, seconds=1.5)
    (entry,) = read_history(conn, schema="Book Keeping")
    assert entry.counts == {
        "inserted": 2, "updated": 0, "closed": 0, "deleted": 0,
        "unchanged": 0, "skipped": 0, "rejected": 0, "read": 3,
    }  # fmt: skip
    assert entry.parameters == {"day": "2013-01-02"}
    (data,) = json.loads(history_json([entry]))
    assert data["run_id"] == "00000000-0000-0000-0000-000000000007"
    assert datetime.fromisoformat(data["started_at"]) == entry.started_at
    assert data["finished_at"] is None


def test_without_the_tables_the_way_out_is_named(conn: Connection) -> None:
    """A database that nobody has migrated is told apart from one without runs."""
    with pytest.raises(MissingTable) as caught:
        read_history(conn, schema="other")
    assert str(caught.value) == (
        f"the database has no table other.runs ({place(conn)}), so there is no history. Run "
        "alembic upgrade head or pgflow.create_all(), or name the connection and schema that have "
        "it."
    )
    assert conn.exec_driver_sql("SELECT 1").scalar() == 1, "the transaction is still sound"


def test_a_limit_below_one_is_refused(engine: Engine) -> None:
    """Asking for no run at all is a mistake, not an empty history."""
    with engine.connect() as conn, pytest.raises(InvalidOption, match="limit=0 shows nothing"):
        read_history(conn, limit=0)


def test_the_listing_shows_how_far_runs_have_read(conn: Connection) -> None:
    """Watermarks have a column where any run has one."""
    own = create(conn)
    record(conn, own, 1)
    assert "watermark" not in history_listing(read_history(conn)).headings
    record(conn, own, 2, watermark_from="3", watermark_to="7")
    listing = history_listing(read_history(conn))
    at = listing.headings.index("watermark")
    assert [row[at] for row in listing.rows] == ["7", ""]
    assert listing.headings[at - 1 : at + 3] == ("seconds", "watermark", "run", "error")


def test_a_narrow_terminal_shows_target_and_run(conn: Connection) -> None:
    """Where there is no room beside it, the target stands below; the run's id always stays."""
    own = create(conn)
    record(conn, own, 1, pipeline="p" * 27)
    for width, target in ((110, "  w.t  "), (80, "    target w.t  mode merge  read 3")):
        file = io.StringIO()
        history_listing(read_history(conn)).show(Console(file=file, width=width))
        assert target in file.getvalue()
        assert "00000000" in file.getvalue()


def test_the_listing_shows_counts_of_successful_runs_only(conn: Connection) -> None:
    """A run that failed wrote nothing, whatever its columns say, and shows its error."""
    own = create(conn)
    record(conn, own, 1)
    record(conn, own, 2, status="failed", error="no\nluck", seconds=0.5)
    text = str(history_listing(read_history(conn)))
    assert [line.split() for line in text.splitlines()[1:]] == [
        ["2024-01-01T00:02:00Z", "p", "w.t", "merge", "failed", *["-"] * 7, "0.50", "00000000",
         "no", "luck"],
        ["2024-01-01T00:01:00Z", "p", "w.t", "merge", "success", "2", "0", "0", "0", "0", "0",
         "3", "-", "00000000", "-"],
    ]  # fmt: skip
