"""Event time in every layout: partitions, constraints, and what others have left in a table."""

from __future__ import annotations

from typing import Any

import pytest

import pgflow
from pgflow.alembic import declare_sql
from pgflow.errors import InstantTooEarly, InvalidOption
from pgflow.plugins import NoOverlapPlugin, SplitHistoryPlugin
from pgflow.types import BigInt, Text, TimestampTZ
from tests.sync.event_world import Events, day, events

#: PARTITION BY, the partitions, and plugins, by layout.
LAYOUTS: dict[str, tuple[str | None, list[str], list[Any]]] = {
    "hash of the key": (
        "HASH (id)",
        [f"FOR VALUES WITH (MODULUS 2, REMAINDER {number})" for number in (0, 1)],
        [],
    ),
    "range of valid_from": (
        "RANGE (valid_from)",
        ["FOR VALUES FROM (MINVALUE) TO ('2024-01-04+0')", "DEFAULT"],
        [],
    ),
    "range of valid_to": (
        "RANGE (valid_to)",
        ["FOR VALUES FROM (MINVALUE) TO ('2024-01-04+0')", "DEFAULT"],
        [],
    ),
    "current and history": (None, [], [SplitHistoryPlugin()]),
    "overlaps forbidden": (None, [], [NoOverlapPlugin()]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_has_the_same_history(world: Any, layout: str) -> None:
    """Versions move between partitions as they end, begin earlier or come late."""
    by, bounds, plugins = LAYOUTS[layout]

    class T:
        id: BigInt
        a: Text | None
        u: TimestampTZ
        __tablename__ = "t"
        __schema__ = "w"
        __merge_keys__ = ("id",)
        __table_args__ = {"postgresql_partition_by": by} if by else {}

    world.run("CREATE EXTENSION IF NOT EXISTS btree_gist")
    system = {"version_id": "version"}
    decorate = pgflow.table(
        metadata=world.metadata, mode="scd2", extra_plugins=plugins, system_columns=system
    )
    table: Any = decorate(T)
    for number, bound in enumerate(bounds):
        declare_sql(world.metadata, f"CREATE TABLE w.t_{number} PARTITION OF w.t {bound}")
    options = {"handle_deletes": "soft", "keep_confirmations": True}
    pipeline = world.pipe(table, "SELECT id, a, u FROM w.s", event_timestamp_column="u", **options)
    made = Events(world, table, pipeline)
    made.sync((1, "a", 1), (1, "b", 5), (2, "x", 2), (3, None, 3), run=20)
    made.sync((1, "c", 9), (2, "x", 6), (3, "", 3), run=20)
    made.sync((1, "z", 3), (1, "B", 5), (2, "w", 1), (2, "x", 4), (1, "c", 7), run=20)
    assert made.history(1) == [("a", 1, 3), ("z", 3, 5), ("B", 5, 7), ("c", 7, None)]
    assert made.history(2) == [("w", 1, 2), ("x", 2, None)]
    assert made.history(3) == [("", 3, 20)]
    assert made.confirmed(2) == [1, 6]


def test_no_constraint_is_met_on_the_way(world: Any) -> None:
    """A server that forbids overlaps at every single row lets every splice pass."""
    world.run("CREATE EXTENSION btree_gist")
    made = events(world, keep_confirmations=True)
    world.run(
        "ALTER TABLE w.t ADD EXCLUDE USING gist"
        " (id WITH =, tstzrange(valid_from, valid_to) WITH &&)"
    )
    made.sync((1, "a", 1), (1, "b", 5), (1, "c", 9), (1, "d", 14))
    made.sync((1, "b", 3), (1, "c", 7), (1, "d", 11), (1, "D", 14), (1, "a", 0))
    assert made.history() == [
        ("a", 0, 3),
        ("b", 3, 7),
        ("c", 7, 11),
        ("d", 11, 14),
        ("D", 14, None),
    ]


@pytest.mark.parametrize("far", ["infinity", "9999-12-31"])
@pytest.mark.parametrize("rows", [[(1, "b", 5)], [(1, "b", 5), (1, "c", 7)]])
def test_an_open_end_must_be_null(world: Any, far: str, rows: list[Any]) -> None:
    """Versions that another tool has left open with a date far away are not cut up, but named."""
    made = events(world)
    world.run(
        "INSERT INTO w.t (id, a, u, valid_from, valid_to)"
        " VALUES (1, 'a', '2024-01-01', '2024-01-01', %s)",
        far,
    )
    with pytest.raises(InstantTooEarly, match="has no end, not one far away.: id=1"):
        made.sync(*rows)
    assert world.run("SELECT count(*) FROM w.t") == [(1,)]


def test_history_may_reach_into_the_future(world: Any) -> None:
    """What is known to begin later can be corrected and preceded as anything else can."""
    made = events(world)
    made.sync((1, "now", 1), (1, "next", 36500))
    made.sync((1, "soon", 36400))
    assert made.history() == [("now", 1, 36400), ("soon", 36400, 36500), ("next", 36500, None)]


def test_who_knows_no_instants_cannot_fill_what_keeps_confirmations(world: Any) -> None:
    """A run without event time could end a version before it was last confirmed."""
    made = events(world, keep_confirmations=True)
    made.sync((1, "a", 1), (1, "a", 8))
    plain = world.pipe(made.table, "SELECT id, a, u FROM w.s", name="plain", mode="scd2")
    with pytest.raises(InvalidOption, match="keeps confirmations .*event_timestamp_column="):
        plain.sync(effective_at=day(6))
    assert made.history() == [("a", 1, None)]
