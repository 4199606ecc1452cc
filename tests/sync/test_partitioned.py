"""Histories in partitions: what allows one current row there, and that runs keep to it."""

from __future__ import annotations

from datetime import UTC, datetime
from threading import Barrier, Thread
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

import pgflow
from pgflow.alembic import declare_sql
from pgflow.errors import InvalidOption, NotAmendable, ReferenceToHistory
from pgflow.plugins import ColumnPKPlugin, NoOverlapPlugin, SplitHistoryPlugin
from pgflow.testing import assert_scd2

DAY = [datetime(2024, 1, day, tzinfo=UTC) for day in range(1, 29)]

#: PARTITION BY of each layout, its partitions, and who keeps current rows apart.
LAYOUTS: dict[str, tuple[str | None, list[str], str]] = {
    "whole": (None, [], "index"),
    "hash of the key": (
        "HASH (id)",
        [f"FOR VALUES WITH (MODULUS 3, REMAINDER {n})" for n in range(3)],
        "index",
    ),
    "range of valid_from": (
        "RANGE (valid_from)",
        ["FOR VALUES FROM (MINVALUE) TO ('2024-01-03+0')", "DEFAULT"],
        "lock",
    ),
    "range of valid_to": (
        "RANGE (valid_to)",
        ["FOR VALUES FROM (MINVALUE) TO ('2024-01-03+0')", "DEFAULT"],
        "index",
    ),
    "current and history": (None, [], "index"),
}


def declared(metadata: sa.MetaData, layout: str, **options: Any) -> Any:
    """A history `w.t` in a layout."""
    by, bounds, _ = LAYOUTS[layout]
    split = [SplitHistoryPlugin()] if layout == "current and history" else []
    arguments = {} if by is None else {"postgresql_partition_by": by}
    options.setdefault("system_columns", {"version_id": "version"})

    class T:
        id: pgflow.types.BigInt
        a: pgflow.types.Text | None
        b: pgflow.types.Numeric | None
        __tablename__ = "t"
        __schema__ = "w"
        __merge_keys__ = ("id",)
        __table_args__ = arguments

    decorate = pgflow.table(metadata=metadata, mode="scd2", extra_plugins=split, **options)
    for number, bound in enumerate(bounds):
        declare_sql(metadata, f"CREATE TABLE w.t_{number} PARTITION OF w.t {bound}")
    return decorate(T)


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    """The name of a layout."""
    return str(request.param)


def guarded(world: Any) -> bool:
    """Whether the server refuses a second current row of a key, wherever its partition is."""
    insert = "INSERT INTO w.t (id, a, valid_from) VALUES (99, 'x', %s)"
    world.run(insert, DAY[0])
    try:
        world.run(insert, DAY[9])
    except IntegrityError:
        return True
    finally:
        world.run("DELETE FROM w.t WHERE id = 99")
    return False


def test_every_layout_tells_the_same_history(world: Any, layout: str, counts: Any) -> None:
    """Changes, corrections, deletes, returns and replays: the partitions change no result."""
    table = declared(world.metadata, layout)
    pipeline = world.pipe(table, handle_deletes="soft")
    said = []
    for day, values in enumerate(["ab", "Ab", "A", "AB", "aB"]):
        world.fill(*[(n, value, 1) for n, value in enumerate(values)])
        said.append(counts(pipeline.sync(effective_at=DAY[day])))
        assert counts(pipeline.sync(effective_at=DAY[day])) == {
            "unchanged": len(values),
            "read": len(values),
        }
    world.fill((0, "corrected", 1), (1, "B", 1))
    said.append(counts(pipeline.sync(effective_at=DAY[4])))
    assert said == [
        {"inserted": 2, "read": 2},
        {"inserted": 1, "closed": 1, "unchanged": 1, "read": 2},
        {"closed": 1, "deleted": 1, "unchanged": 1, "read": 1},
        {"inserted": 1, "unchanged": 1, "read": 2},
        {"inserted": 1, "closed": 1, "unchanged": 1, "read": 2},
        {"updated": 1, "unchanged": 1, "read": 2},
    ]
    with world.engine.connect() as connection:
        assert_scd2(connection, table)
    rows = world.run("SELECT id, a, valid_from, valid_to, is_current FROM w.t ORDER BY 1, 3")
    assert rows == [
        (0, "a", DAY[0], DAY[1], False),
        (0, "A", DAY[1], DAY[4], False),
        (0, "corrected", DAY[4], None, True),
        (1, "b", DAY[0], DAY[2], False),
        (1, "B", DAY[3], None, True),
    ]
    assert world.run("SELECT count(DISTINCT version) FROM w.t") == [(5,)]


def test_what_guards_the_current_row(world: Any, layout: str) -> None:
    """An index where the server can have one; else the preview says that the lock does."""
    pipeline = world.pipe(declared(world.metadata, layout))
    by_index = LAYOUTS[layout][2] == "index"
    assert guarded(world) is by_index
    decisions = pipeline.preview().to_dict()["targets"][0]["decisions"]
    said = decisions.get("one current row", {}).get("value")
    assert said == (None if by_index else "the target's lock")


def test_runs_at_once_leave_one_current_row(world: Any, layout: str) -> None:
    """Six runs that begin together, with values of their own, write one history."""
    table = declared(world.metadata, layout)
    source = "SELECT i AS id, '{}' || i AS a, 1 AS b FROM generate_series(1, 40) AS i"
    pipelines = [world.pipe(table, source.format(n), name=f"p{n}") for n in range(6)]
    barrier, failures = Barrier(len(pipelines)), []

    def run(pipeline: Any) -> None:
        barrier.wait()
        try:
            pipeline.sync()
        except Exception as error:
            failures.append(error)

    threads = [Thread(target=run, args=(p,)) for p in pipelines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert world.run("SELECT count(*), count(DISTINCT id) FROM w.t WHERE valid_to IS NULL") == [
        (40, 40)
    ]
    assert world.run("SELECT count(*) FROM w.t") == [(240,)]
    with world.engine.connect() as connection:
        assert_scd2(connection, table)


def test_a_run_touches_current_rows_alone_where_they_are_apart(world: Any) -> None:
    """The planner leaves the closed versions out, for runs and for readers of current rows."""
    table = declared(world.metadata, "current and history")
    pipeline = world.pipe(table)
    world.fill((1, "a", 1))
    pipeline.sync()
    plan = world.run("EXPLAIN SELECT * FROM w.t WHERE valid_to IS NULL")
    text = "\n".join(row[0] for row in plan)
    assert "t_current" in text
    assert "t_history" not in text
    assert world.run("SELECT tableoid::regclass::text FROM w.t") == [("w.t_current",)]
    world.fill((1, "b", 1))
    pipeline.sync()
    assert world.run("SELECT tableoid::regclass::text, a FROM w.t ORDER BY valid_from") == [
        ("w.t_history", "a"),
        ("w.t_current", "b"),
    ]


def test_event_time_keeps_to_the_partitions(world: Any) -> None:
    """Late events are spliced into the closed versions of a split history."""
    events = world.table(
        "e",
        sa.Column("a", sa.Text),
        sa.Column("u", sa.DateTime(timezone=True)),
        mode="scd2",
        extra_plugins=[SplitHistoryPlugin()],
    )
    pipeline = world.pipe(
        events, "SELECT id, a, u FROM w.s", name="events", event_timestamp_column="u"
    )
    for day, value in ((1, "a"), (5, "c"), (3, "b")):
        world.run("TRUNCATE w.s")
        world.run("INSERT INTO w.s (id, a, u) VALUES (1, %s, %s)", value, DAY[day])
        pipeline.sync()
    assert world.run("SELECT a, valid_from, valid_to FROM w.e ORDER BY valid_from") == [
        ("a", DAY[1], DAY[3]),
        ("b", DAY[3], DAY[5]),
        ("c", DAY[5], None),
    ]


def test_inherited_children_are_guarded_by_the_lock(world: Any) -> None:
    """No index spans a table and those that inherit from it; a run still sees all their rows."""
    table = world.table(mode="scd2")
    pipeline = world.pipe(table)
    world.run("CREATE TABLE w.child () INHERITS (w.t)")
    world.run("INSERT INTO w.child (id, a, b, valid_from) VALUES (1, 'a', 1, %s)", DAY[0])
    world.fill((1, "A", 1), (2, "b", 2))
    result = pipeline.sync(effective_at=DAY[1])
    assert (result.inserted, result.closed) == (2, 1)
    with world.engine.connect() as connection:
        assert_scd2(connection, table)


@pytest.mark.parametrize("by", ["LIST (a)", "LIST ((valid_to IS NULL))", "LIST (is_current)"])
def test_layouts_that_nothing_can_guard_are_refused(by: str) -> None:
    """The error says what could be instead; the MetaData is as it was."""
    metadata = sa.MetaData()
    LAYOUTS["refused"] = (by, [], "")
    try:
        with pytest.raises(NotAmendable, match=r"(?s)w\.t.*by LIST.*HASH \(id\)"):
            declared(metadata, "refused")
    finally:
        del LAYOUTS["refused"]
    assert not metadata.tables


def test_what_partitions_cannot_keep_unique_is_refused() -> None:
    """A unique constraint without the partition's columns, and references to version numbers."""
    metadata = sa.MetaData()
    options: dict[str, Any] = {
        "mode": "scd2",
        "keys": ("id",),
        "plugins": [ColumnPKPlugin(sa.Column("id", sa.Uuid))],
    }
    with pytest.raises(NotAmendable, match=r"w\.u: \(a\) is to be unique"):
        pgflow.SimpleTable(
            "u",
            "w",
            metadata,
            [sa.Column("a", sa.Text), pgflow.Unique("a")],
            extra_plugins=[SplitHistoryPlugin()],
            **options,
        )
    split = declared(metadata, "current and history")
    with pytest.raises(ReferenceToHistory):
        pgflow.SimpleTable(
            "r",
            "w",
            metadata,
            [sa.Column("v", sa.BigInteger), pgflow.ForeignKey({"v": "w.t.version"})],
        )
    assert split.__table__.primary_key.columns.keys() == []


def test_the_split_needs_a_history_and_a_table_in_one_piece() -> None:
    """It is refused with another mode, and on a table with partitions of its own."""
    metadata = sa.MetaData()
    with pytest.raises(InvalidOption, match="mode 'merge' has none"):
        pgflow.SimpleTable(
            "m", "w", metadata, [], mode="merge", extra_plugins=[SplitHistoryPlugin()]
        )
    with pytest.raises(NotAmendable, match=r"declared to be partitioned by HASH \(id\)"):

        @pgflow.table(
            schema="w", metadata=metadata, mode="scd2", extra_plugins=[SplitHistoryPlugin()]
        )
        class Hashed:
            id: pgflow.types.BigInt
            __merge_keys__ = ("id",)
            __table_args__ = {"postgresql_partition_by": "HASH (id)"}  # SQLAlchemy's

    assert not metadata.tables


def test_the_server_forbids_overlaps_across_hash_partitions(world: Any) -> None:
    """An exclusion constraint can hold where the key is what partitions; PostgreSQL 17."""
    with world.engine.connect() as connection:
        if (connection.dialect.server_version_info or (0,))[0] < 17:
            pytest.skip("PostgreSQL 17 brought it")
    table = declared(world.metadata, "hash of the key")
    pipeline = world.pipe(table, extra_plugins=[NoOverlapPlugin("target")])
    world.fill((1, "a", 1))
    pipeline.sync(effective_at=DAY[2])
    insert = "INSERT INTO w.t (id, a, valid_from, valid_to) VALUES (1, 'x', %s, %s)"
    world.run(insert, DAY[0], DAY[1])
    with pytest.raises(IntegrityError, match="conflicting key value"):
        world.run(insert, DAY[1], DAY[3])
