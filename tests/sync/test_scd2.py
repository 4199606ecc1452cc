"""scd2: every change is a version, at one instant, and nothing is ever overwritten."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import EmptySource, InstantTooEarly, InvalidInstant
from pgflow.testing import assert_scd2

DAY = [datetime(2024, 1, day, tzinfo=UTC) for day in range(1, 29)]

VERSIONS = "SELECT id, a, valid_from, valid_to FROM w.t ORDER BY id, valid_from"


def test_a_change_closes_and_opens_at_one_instant(world: Any, counts: Any) -> None:
    """The old version ends where the new one begins; unchanged rows stay as they are."""
    table = world.table()
    pipeline = world.pipe(table, mode="scd2")
    world.fill((1, "a", 1), (2, "b", 2))
    assert counts(pipeline.sync(effective_at=DAY[0])) == {"inserted": 2, "read": 2}
    world.fill((1, "A", 1), (2, "b", 2), (3, "c", 3))
    result = pipeline.sync(effective_at=DAY[1])
    assert counts(result) == {"inserted": 2, "closed": 1, "unchanged": 1, "read": 3}
    assert world.run(VERSIONS) == [
        (1, "a", DAY[0], DAY[1]),
        (1, "A", DAY[1], None),
        (2, "b", DAY[0], None),
        (3, "c", DAY[1], None),
    ]
    closed = world.run("SELECT _closed_batch_id, is_current FROM w.t WHERE valid_to IS NOT NULL")
    assert closed == [(result.run_id, False)]
    with world.engine.connect() as connection:
        assert_scd2(connection, table)


def test_there_and_back_keeps_three_versions(world: Any) -> None:
    """A to B to A is three versions, not one."""
    pipeline = world.pipe(world.table(), mode="scd2")
    for day, value in enumerate("ABA"):
        world.fill((1, value, 1))
        pipeline.sync(effective_at=DAY[day])
    assert [row[1] for row in world.run(VERSIONS)] == ["A", "B", "A"]


def test_the_instant_is_the_servers_clock_after_the_lock(world: Any) -> None:
    """Without effective_at a version begins between the run's call and its return."""
    pipeline = world.pipe(world.table(), mode="scd2")
    world.fill((1, "a", 1))
    (before,) = world.run("SELECT clock_timestamp()")[0]
    result = pipeline.sync()
    (after,) = world.run("SELECT clock_timestamp()")[0]
    assert before < world.run("SELECT valid_from FROM w.t")[0][0] < after
    assert result.targets[0].effective_at == world.run("SELECT valid_from FROM w.t")[0][0]


def test_replaying_the_newest_batch_changes_nothing(world: Any, counts: Any) -> None:
    """The same rows at the same instant again are unchanged."""
    pipeline = world.pipe(world.table(), mode="scd2", handle_deletes="soft")
    for day in (0, 1):
        world.fill((1, f"v{day}", 1), (2, "b", 2))
        pipeline.sync(effective_at=DAY[day])
    before = world.run(VERSIONS)
    assert counts(pipeline.sync(effective_at=DAY[1])) == {"unchanged": 2, "read": 2}
    assert world.run(VERSIONS) == before


def test_the_same_instant_corrects_its_own_version(world: Any, counts: Any) -> None:
    """Other values at the same instant replace what that instant opened."""
    pipeline = world.pipe(world.table(), mode="scd2")
    world.fill((1, "a", 1))
    pipeline.sync(effective_at=DAY[0])
    world.fill((1, "wrong", 1))
    pipeline.sync(effective_at=DAY[1])
    world.fill((1, "right", 1))
    assert counts(pipeline.sync(effective_at=DAY[1])) == {"updated": 1, "read": 1}
    assert world.run(VERSIONS) == [(1, "a", DAY[0], DAY[1]), (1, "right", DAY[1], None)]


@pytest.mark.parametrize("value", ["a", "A"])
def test_an_instant_before_history_is_refused(world: Any, value: str) -> None:
    """effective_at before a current version's beginning is refused, changed or not."""
    pipeline = world.pipe(world.table(), mode="scd2")
    world.fill((1, "a", 1))
    pipeline.sync(effective_at=DAY[5])
    world.fill((1, value, 1))
    with pytest.raises(InstantTooEarly, match="effective_at lies before history.*id=1"):
        pipeline.sync(effective_at=DAY[4])
    assert world.run(VERSIONS) == [(1, "a", DAY[5], None)]


def test_a_key_cannot_reappear_before_it_was_closed(world: Any) -> None:
    """A closed version is not overlapped by one that begins inside it."""
    pipeline = world.pipe(world.table(), mode="scd2", handle_deletes="soft")
    world.fill((1, "a", 1), (2, "b", 2))
    pipeline.sync(effective_at=DAY[0])
    world.fill((2, "b", 2))
    pipeline.sync(effective_at=DAY[9])
    world.fill((1, "a", 1))
    narrow = pgflow.Pipeline(
        "narrow",
        target=pipeline.sync_target.table,
        mode="scd2",
        source=pgflow.Query("SELECT id, a, b FROM w.s"),
        connection=world.engine,
    )
    with pytest.raises(InstantTooEarly, match="an older version ends later.*id=1"):
        narrow.sync(effective_at=DAY[5])


def test_an_instant_needs_a_time_zone(world: Any) -> None:
    """A naive datetime names no instant."""
    pipeline = world.pipe(world.table(), mode="scd2")
    with pytest.raises(InvalidInstant, match="has no time zone"):
        pipeline.sync(effective_at=datetime(2024, 1, 1))


def test_deletes_close_and_reappearance_leaves_the_gap(world: Any, counts: Any) -> None:
    """A vanished key is closed; when it is back, a new version begins and the gap stays."""
    pipeline = world.pipe(world.table(), mode="scd2", handle_deletes="soft")
    world.fill((1, "a", 1), (2, "b", 2))
    pipeline.sync(effective_at=DAY[0])
    world.fill((1, "a", 1))
    gone = counts(pipeline.sync(effective_at=DAY[1]))
    assert gone == {"closed": 1, "deleted": 1, "unchanged": 1, "read": 1}
    world.fill((1, "a", 1), (2, "b", 2))
    back = counts(pipeline.sync(effective_at=DAY[3]))
    assert back == {"inserted": 1, "unchanged": 1, "read": 2}
    assert world.run(VERSIONS)[1:] == [(2, "b", DAY[0], DAY[1]), (2, "b", DAY[3], None)]


def test_a_delete_at_the_opening_instant_removes_the_version(world: Any, counts: Any) -> None:
    """A version that would end where it began never was."""
    pipeline = world.pipe(world.table(), mode="scd2", handle_deletes="soft")
    world.fill((1, "a", 1), (2, "b", 2))
    pipeline.sync(effective_at=DAY[0])
    world.fill((1, "a", 1))
    assert counts(pipeline.sync(effective_at=DAY[0])) == {"deleted": 1, "unchanged": 1, "read": 1}
    assert world.run(VERSIONS) == [(1, "a", DAY[0], None)]


def test_an_empty_source_closes_nothing(world: Any) -> None:
    """Deletes are not followed when nothing at all was delivered."""
    pipeline = world.pipe(world.table(), mode="scd2", handle_deletes="soft")
    world.fill((1, "a", 1))
    pipeline.sync()
    world.fill()
    with pytest.raises(EmptySource, match="and 1 row of the target would go"):
        pipeline.sync()


def test_ttl_closes_what_is_old_and_not_delivered(world: Any, counts: Any) -> None:
    """A current version older than ttl is closed when nobody delivers it; a younger one stays."""
    pipeline = world.pipe(world.table(), mode="scd2", ttl=timedelta(days=3))
    world.fill((1, "old", 1), (2, "kept alive", 2))
    pipeline.sync(effective_at=DAY[0])
    world.fill((2, "kept alive", 2), (3, "young", 3))
    pipeline.sync(effective_at=DAY[2])
    world.fill((2, "kept alive", 2))
    assert counts(pipeline.sync(effective_at=DAY[4])) == {
        "closed": 1,
        "deleted": 1,
        "unchanged": 1,
        "read": 1,
    }
    assert world.run("SELECT id FROM w.t WHERE is_current ORDER BY id") == [(2,), (3,)]


def test_columns_outside_compare_columns_make_no_version(world: Any, counts: Any) -> None:
    """A change of a column that is not compared is not written."""
    pipeline = world.pipe(world.table(), mode="scd2", compare_columns=("a",))
    world.fill((1, "a", 1))
    pipeline.sync()
    world.fill((1, "a", 2))
    assert counts(pipeline.sync()) == {"unchanged": 1, "read": 1}


def test_what_the_source_does_not_deliver_goes_along(world: Any) -> None:
    """A column that somebody filled by hand is carried into the next version; defaults are not."""
    table = world.table(
        "t",
        sa.Column("a", sa.Text),
        sa.Column("note", sa.Text),
        sa.Column("kind", sa.Text, server_default="new"),
    )
    pipeline = world.pipe(table, "SELECT id, a FROM w.s", mode="scd2")
    world.fill((1, "a", None))
    pipeline.sync()
    world.run("UPDATE w.t SET note = 'seen', kind = 'old'")
    world.fill((1, "A", None))
    pipeline.sync()
    assert world.run("SELECT a, note, kind FROM w.t ORDER BY valid_from") == [
        ("a", "seen", "old"),
        ("A", "seen", "new"),
    ]


@pytest.mark.parametrize("detection", ["exact", "hash"])
def test_other_ways_of_comparing_make_the_same_history(
    world: Any, counts: Any, detection: str
) -> None:
    """By bytes or by a stored hash, a change is a version and no change is none."""
    pipeline = world.pipe(world.table(), mode="scd2", change_detection=detection)
    world.fill((1, "a", 1), (2, None, "NaN"))
    pipeline.sync()
    assert counts(pipeline.sync()) == {"unchanged": 2, "read": 2}
    world.fill((1, "A", 1), (2, "", "NaN"))
    assert counts(pipeline.sync()) == {"inserted": 2, "closed": 2, "read": 2}
    assert counts(pipeline.sync()) == {"unchanged": 2, "read": 2}


def test_a_hash_does_not_depend_on_the_session(world: Any, counts: Any) -> None:
    """Another time zone, date style or scale makes no version."""
    table = world.table("t", sa.Column("u", sa.DateTime(timezone=True)), sa.Column("b", sa.Numeric))
    pipeline = world.pipe(table, "SELECT id, u, b FROM w.s", mode="scd2", change_detection="hash")
    world.run("INSERT INTO w.s VALUES (1, 'a', 1.0, '2024-07-01 12:00+00')")
    pipeline.sync()
    world.run("UPDATE w.s SET b = 1.000")
    name = world.run("SELECT current_database()")[0][0]
    world.run(f"ALTER DATABASE {name} SET TimeZone = 'Asia/Tokyo'")
    world.run(f"ALTER DATABASE {name} SET DateStyle = 'German'")
    world.engine.dispose()
    assert counts(pipeline.sync()) == {"unchanged": 1, "read": 1}


def test_system_columns_can_be_renamed_and_left_out(world: Any, counts: Any) -> None:
    """A table of another tool's making is taken over under its own names."""
    world.run(
        "CREATE TABLE w.t (id bigint, a text, b numeric(10,2), dbt_valid_from timestamptz NOT NULL,"
        " dbt_valid_to timestamptz)"
    )
    world.run("CREATE UNIQUE INDEX ON w.t (id) WHERE dbt_valid_to IS NULL")
    table = world.table(
        system_columns={
            "valid_from": "dbt_valid_from",
            "valid_to": "dbt_valid_to",
            "is_current": None,
            "_loaded_at": None,
            "_batch_id": None,
            "_closed_batch_id": None,
        }
    )
    pipeline = world.pipe(table, mode="scd2")
    world.fill((1, "a", 1))
    assert counts(pipeline.sync(effective_at=DAY[0])) == {"inserted": 1, "read": 1}
    world.fill((1, "A", 1))
    assert counts(pipeline.sync(effective_at=DAY[1])) == {"inserted": 1, "closed": 1, "read": 1}
    assert world.run("SELECT a, dbt_valid_from, dbt_valid_to FROM w.t ORDER BY 2") == [
        ("a", DAY[0], DAY[1]),
        ("A", DAY[1], None),
    ]


def test_a_natural_key_versions_a_table_with_a_surrogate(world: Any, counts: Any) -> None:
    """With an id of its own the versions are told by the natural key, and the run says so once."""
    table = pgflow.SimpleTable(
        "t",
        "w",
        world.metadata,
        [
            sa.Column("code", sa.Text, nullable=False),
            sa.Column("a", sa.Text),
            pgflow.Unique("code"),
        ],
    )
    pipeline = world.pipe(table, "SELECT id::text AS code, a FROM w.s", mode="scd2")
    world.fill((1, "a", None))
    first = pipeline.sync()
    (warning,) = first.targets[0].warnings
    assert "differs from the declared primary key (id). Pass keys= explicitly" in warning
    world.fill((1, "A", None))
    assert counts(pipeline.sync()) == {"inserted": 1, "closed": 1, "read": 1}
    assert world.run("SELECT count(DISTINCT id), count(*) FROM w.t") == [(2, 2)]
