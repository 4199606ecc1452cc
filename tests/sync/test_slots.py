"""watermark="slot": what the source's log names, deletes included, and nothing lost."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import InvalidOption, NoPosition, SourceMismatch, StalePosition
from pgflow.run.positions.slot_making import creation, removal
from tests.sync.conftest import World
from tests.sync.slot_world import logged, pipe, rows, slot_of


@pytest.fixture
def world(logical_database: str) -> Iterator[World]:
    """A database on a server whose log can be decoded, with a source table `w.s (id, a, big)`."""
    with logged(logical_database) as made:
        yield made


@pytest.mark.parametrize("mode", ["append", "merge", "scd1", "scd2"])
def test_only_changed_keys_are_read(world: World, counts: Any, mode: str) -> None:
    """The first run reads everything; after it only rows are read whose keys the log names."""
    world.run("INSERT INTO w.s VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    pipeline = pipe(world, mode)
    assert counts(pipeline.sync()) == {"inserted": 3, "read": 3}
    assert counts(pipeline.sync()) == {}
    world.run("INSERT INTO w.s VALUES (4, 'd')")
    world.run("UPDATE w.s SET a = 'B' WHERE id = 2")
    result = pipeline.sync()
    assert (result.read, result.updated + result.closed + result.skipped) == (2, 1)
    assert counts(pipeline.sync()) == {}
    (told,) = result.targets[0].details["changes"]
    assert (told["slot"], told["everything"]) == (slot_of(world), False)


def test_a_dry_run_counts_what_the_next_run_does_and_keeps_the_log(
    world: World, counts: Any
) -> None:
    """What the run before has read is not counted again, though only runs let the slot go of it."""
    world.run("INSERT INTO w.s SELECT i, 'x' FROM generate_series(1, 9) AS i")
    pipeline = pipe(world, "scd2", handle_deletes="soft")
    slots = "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = %s"
    for change in (
        "UPDATE w.s SET a = 'y' WHERE id < 6",
        "UPDATE w.s SET a = 'z' WHERE id IN (1, 9)",
        "DELETE FROM w.s WHERE id = 3",
        "TRUNCATE w.s",
        "INSERT INTO w.s VALUES (4, 'back')",
        "SELECT 1",
        "ALTER TABLE w.s REPLICA IDENTITY FULL",
        "UPDATE w.s SET a = 'full'",
    ):
        before = world.run(slots, slot_of(world))
        rehearsed = [pipeline.dry_run() for _ in range(2)]
        assert world.run(slots, slot_of(world)) == before
        done = pipeline.sync()
        for each in rehearsed:
            assert counts(each) == counts(done)
            assert each.targets[0].details == done.targets[0].details
        world.run(change)


def test_deletes_are_followed_where_asked_for(world: World, counts: Any) -> None:
    """With handle_deletes= keys that the log names and the table lacks are gone; others stay."""
    world.run("INSERT INTO w.s SELECT i, 'x' FROM generate_series(1, 5) AS i")
    made = {
        "hard": pipe(world, name="hard", handle_deletes="hard"),
        "soft": pipe(world, name="soft", handle_deletes="soft"),
        "none": pipe(world, name="none"),
        "hist": pipe(world, "scd2", name="hist", handle_deletes="soft"),
    }
    for pipeline in made.values():
        pipeline.sync()
    world.run("DELETE FROM w.s WHERE id IN (2, 4)")
    world.run("INSERT INTO w.s VALUES (4, 'back')")
    assert counts(made["hard"].sync()) == {"deleted": 1, "updated": 1, "read": 1}
    assert counts(made["soft"].sync()) == {"deleted": 1, "updated": 1, "read": 1}
    assert counts(made["none"].sync()) == {"updated": 1, "read": 1}
    assert counts(made["hist"].sync()) == {"deleted": 1, "closed": 2, "inserted": 1, "read": 1}
    assert [row[0] for row in rows(world, "t_hard")] == [1, 3, 4, 5]
    assert world.run("SELECT id FROM w.t_soft WHERE _deleted_at IS NOT NULL") == [(2,)]
    assert [row[0] for row in rows(world, "t_none")] == [1, 2, 3, 4, 5]
    current = world.run("SELECT id FROM w.t_hist WHERE is_current ORDER BY 1")
    assert [row[0] for row in current] == [1, 3, 4, 5]


def test_a_changed_key_is_a_delete_and_an_insert(world: World) -> None:
    """An update of the key leaves nothing behind under the old one."""
    world.run("INSERT INTO w.s VALUES (1, 'a')")
    pipeline = pipe(world, handle_deletes="hard")
    pipeline.sync()
    world.run("UPDATE w.s SET id = 9")
    pipeline.sync()
    assert rows(world) == [(9, "a")]


def test_truncate_takes_every_row(world: World) -> None:
    """A TRUNCATE names no keys, so all are looked at; rows of the same transaction are there."""
    world.run("INSERT INTO w.s SELECT i, 'x' FROM generate_series(1, 3) AS i")
    pipeline = pipe(world, handle_deletes="hard")
    pipeline.sync()
    world.run("TRUNCATE w.s; INSERT INTO w.s VALUES (7, 'new')")
    assert pipeline.sync().targets[0].details["changes"][0]["everything"] is True
    assert rows(world) == [(7, "new")]


def test_large_values_that_an_update_left_alone_arrive(world: World) -> None:
    """The log does not repeat them; the table has them."""
    big = "".join(random.Random(1).choices("abcdef", k=20_000))
    pipeline = pipe(world)
    pipeline.sync()
    world.run("INSERT INTO w.s VALUES (1, 'a', %s)", big)
    world.run("UPDATE w.s SET a = 'A'")
    pipeline.sync()
    assert world.run("SELECT a, big FROM w.t_p") == [("A", big)]
    world.run("UPDATE w.s SET a = 'AA'")
    pipeline.sync()
    assert world.run("SELECT a, big FROM w.t_p") == [("AA", big)]


def test_keys_of_every_type_and_name(world: World) -> None:
    """Composite keys with odd names and types come out of the log as they went in."""
    world.run(
        'CREATE TABLE w."S ""1""" (id timestamptz, "K 2" text, a numeric(10, 3)[],'
        ' PRIMARY KEY (id, "K 2"))'
    )
    table = world.table(
        "t_k", sa.Column("a", sa.ARRAY(sa.Numeric(10, 3))),
        key=(sa.Column("id", sa.DateTime(timezone=True)), sa.Column("k", sa.Text)),
    )  # fmt: skip
    source = pgflow.SourceTable('w."S ""1"""', {"k": "K 2"})
    pipeline = world.pipe(
        table, source, name="k", mode="merge", watermark="slot", handle_deletes="hard"
    )
    for statement in creation(slot_of(world, "k"), source):
        world.run(str(statement))
    pipeline.sync()
    values = [("2024-01-01 00:00:00.000001+00", "a'\\b\n\t\u00e9\U0001f600,\"{}"), ("infinity", "")]
    for at, text in values:
        world.run('INSERT INTO w."S ""1""" VALUES (%s, %s, ARRAY[1.5])', at, text)
    (name,) = world.run("SELECT current_database()")[0]
    world.run(f"ALTER DATABASE {name} SET DateStyle = 'German'")
    assert pipeline.sync().inserted == 2
    world.run('UPDATE w."S ""1""" SET a = ARRAY[NULL, 2]')
    assert pipeline.sync().updated == 2
    world.run('DELETE FROM w."S ""1""" WHERE "K 2" = \'\'')
    assert pipeline.sync().deleted == 1
    assert world.run("SELECT k FROM w.t_k") == [(values[0][1],)]


def test_a_run_that_fails_reads_the_same_again(world: World, counts: Any) -> None:
    """The slot moves only after the data of the run before is committed."""
    pipeline = pipe(world)
    pipeline.sync()
    world.run("ALTER TABLE w.t_p ADD CONSTRAINT no CHECK (a <> 'b')")
    world.run("INSERT INTO w.s VALUES (1, 'a'), (2, 'b')")
    for _ in range(2):
        with pytest.raises(pgflow.PgflowError, match="violates check"):
            pipeline.sync()
    world.run("ALTER TABLE w.t_p DROP CONSTRAINT no")
    pipeline.dry_run()
    assert counts(pipeline.sync()) == {"inserted": 2, "read": 2}
    assert counts(pipeline.sync()) == {}


def test_the_slot_lets_go_of_what_was_read(world: World) -> None:
    """The next run lets the server drop the log of the run before; a rehearsal does not."""
    pipeline = pipe(world)
    where = "SELECT confirmed_flush_lsn FROM pg_replication_slots"
    pipeline.sync()
    world.run("INSERT INTO w.s VALUES (1, 'a')")
    pipeline.sync()
    before = world.run(where)
    pipeline.dry_run()
    decided = dict(pipeline.preview().targets[0].decisions)
    assert decided["on_empty_source"].reason.startswith("watermark='slot' names what has changed")
    assert world.run(where) == before
    pipeline.sync()
    assert world.run(where) > before


def test_two_phase_and_savepoints(world: World) -> None:
    """A prepared transaction comes when it is committed, whatever ran meanwhile."""
    pipeline = pipe(world)
    pipeline.sync()
    url = world.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as live:
        live.execute("BEGIN")
        live.execute("INSERT INTO w.s VALUES (1, 'a')")
        live.execute("SAVEPOINT s")
        live.execute("INSERT INTO w.s VALUES (2, 'b')")
        live.execute("ROLLBACK TO s")
        live.execute("SAVEPOINT t")
        live.execute("INSERT INTO w.s VALUES (3, 'c')")
        live.execute("PREPARE TRANSACTION 'x'")
        world.run("INSERT INTO w.s VALUES (4, 'd')")
        pipeline.sync()
        assert rows(world) == [(4, "d")]
        live.execute("COMMIT PREPARED 'x'")
    pipeline.sync()
    assert rows(world) == [(1, "a"), (3, "c"), (4, "d")]


def test_a_new_column_of_the_source_arrives(world: World) -> None:
    """Columns that the table gets between two runs do not confuse the log's reader."""
    pipeline = pipe(world)
    pipeline.sync()
    world.run("INSERT INTO w.s VALUES (1, 'a')")
    world.run("ALTER TABLE w.s ADD more int DEFAULT 3")
    world.run("ALTER TABLE w.s RENAME a TO old; ALTER TABLE w.s ADD a text")
    world.run("UPDATE w.s SET a = old || '!'")
    pipeline.sync()
    assert rows(world) == [(1, "a!")]


def test_partitions_are_one_table(world: World) -> None:
    """Changes in partitions are changes of their table; none is lost, however partitions come."""
    world.run("CREATE TABLE w.parts (id bigint PRIMARY KEY, a text, big text)"
              " PARTITION BY RANGE (id)")  # fmt: skip
    world.run("CREATE TABLE w.p1 PARTITION OF w.parts FOR VALUES FROM (0) TO (10)")
    world.run("CREATE TABLE w.p2 (big text, gone int, id bigint PRIMARY KEY, a text)")
    world.run("ALTER TABLE w.p2 DROP gone")
    world.run("ALTER TABLE w.parts ATTACH PARTITION w.p2 FOR VALUES FROM (10) TO (20)")
    pipeline = pipe(world, source="w.parts", handle_deletes="hard")

    def everything() -> bool:
        return bool(pipeline.sync().targets[0].details["changes"][0]["everything"])

    pipeline.sync()
    world.run("INSERT INTO w.parts VALUES (1, 'a'), (11, 'b')")
    assert not everything()
    world.run("UPDATE w.parts SET id = 12 WHERE id = 1")
    assert not everything()
    assert rows(world) == [(11, "b"), (12, "a")]
    world.run("INSERT INTO w.parts VALUES (2, 'c')")
    world.run("TRUNCATE w.p2")
    assert everything(), "a TRUNCATE names no keys"
    assert rows(world) == [(2, "c")]
    world.run("CREATE TABLE w.p3 (LIKE w.parts INCLUDING ALL)")
    world.run("INSERT INTO w.p3 VALUES (21, 'there before')")
    world.run("ALTER TABLE w.parts ATTACH PARTITION w.p3 FOR VALUES FROM (20) TO (30)")
    assert everything(), "what an attached partition brings is not in the log"
    assert rows(world) == [(2, "c"), (21, "there before")]
    world.run("UPDATE w.p3 SET a = 'x'")
    world.run("UPDATE w.parts SET id = 3 WHERE id = 2")
    assert not everything()
    world.run("DROP TABLE w.p1")
    assert everything(), "what goes with a partition is not in the log"
    assert rows(world) == [(21, "x")]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("ALTER PUBLICATION {p} SET (publish = 'insert')",
         "ALTER PUBLICATION {p} SET (publish = 'insert, update, delete, truncate')"),
        ("ALTER PUBLICATION {p} SET TABLE w.other", "ALTER PUBLICATION {p} SET TABLE w.parts"),
        ("ALTER TABLE w.parts DETACH PARTITION w.p1",
         "ALTER TABLE w.parts ATTACH PARTITION w.p1 FOR VALUES FROM (0) TO (10)"),
    ],
)  # fmt: skip
def test_what_was_written_while_nothing_was_published_is_read(
    world: World, before: str, after: str
) -> None:
    """A publication, or a partition, that was another for a while has everything looked at once."""
    world.run("CREATE TABLE w.parts (id int PRIMARY KEY, a text, big text) PARTITION BY RANGE (id)")
    world.run("CREATE TABLE w.p1 PARTITION OF w.parts FOR VALUES FROM (0) TO (10)")
    world.run("CREATE TABLE w.other (id bigint PRIMARY KEY)")
    pipeline = pipe(world, source="w.parts", handle_deletes="hard")
    world.run("INSERT INTO w.parts VALUES (1, 'a'), (2, 'b')")
    pipeline.sync()
    world.run(before.format(p=slot_of(world)))
    world.run("DELETE FROM w.p1 WHERE id = 1")
    world.run("UPDATE w.p1 SET a = 'late'")
    world.run(after.format(p=slot_of(world)))
    assert pipeline.sync().targets[0].details["changes"][0]["everything"]
    assert rows(world) == [(2, "late")]
    assert not pipeline.sync().targets[0].details["changes"][0]["everything"]


def test_commits_that_do_not_wait_for_the_disk_are_not_missed(world: World) -> None:
    """With synchronous_commit off the log is behind what is to be seen, and is waited for."""
    (name,) = world.run("SELECT current_database()")[0]
    world.run(f"ALTER DATABASE {name} SET synchronous_commit = off")
    pipeline = pipe(world)
    pipeline.sync()
    for number in range(3):
        world.run("INSERT INTO w.s VALUES (%s, 'a')", number)
        assert pipeline.sync().inserted == 1


def test_tables_that_others_inherit_from_are_refused(world: World) -> None:
    """The log keeps the changes of heirs apart, so they would be lost."""
    pipeline = pipe(world)
    pipeline.sync()
    world.run("CREATE TABLE w.heir () INHERITS (w.s)")
    with pytest.raises(NoPosition, match="other tables inherit from w.s"):
        pipeline.sync()


def test_what_is_missing_is_said_with_the_way_out(world: World) -> None:
    """No slot, a slot that was made anew, a table that was made anew, and another server stop."""
    world.run("INSERT INTO w.s VALUES (1, 'a')")
    pipeline = pipe(world)
    pipeline.sync()
    for statement in removal(slot_of(world)):
        world.run(str(statement))
    with pytest.raises(NoPosition, match=r"no replication slot pgflow_p_.*pgflow slots create p"):
        pipeline.sync()
    world.run("INSERT INTO w.s VALUES (2, 'gone from the log')")
    for statement in creation(slot_of(world), pgflow.SourceTable("w.s")):
        world.run(str(statement))
    with pytest.raises(StalePosition, match="was made anew, or somebody else reads it"):
        pipeline.sync()
    pipeline.set_watermark(None)
    assert pipeline.sync().inserted == 1
    world.run("ALTER TABLE w.s RENAME TO former; CREATE TABLE w.s (LIKE w.former INCLUDING ALL)")
    world.run(f"ALTER PUBLICATION {slot_of(world)} ADD TABLE w.s")
    with pytest.raises(StalePosition, match="the source's table was made anew"):
        pipeline.sync()
    world.run(f"ALTER PUBLICATION {slot_of(world)} DROP TABLE w.s")
    with pytest.raises(NoPosition, match="is gone, or does not have all changes of w.s"):
        pipeline.sync()


def test_what_a_slot_cannot_do_is_refused(world: World) -> None:
    """Queries, and options that a slot has no use for, are refused by name."""
    table = world.table("t_q", sa.Column("a", sa.Text), sa.Column("big", sa.Text))
    pipeline = world.pipe(table, "SELECT * FROM w.s", name="q", mode="merge", watermark="slot")
    with pytest.raises(SourceMismatch, match="names the changed keys of one table"):
        pipeline.sync()
    for option in ({"max_delete_ratio": 0.5}, {"incremental_column": "id"}):
        with pytest.raises(InvalidOption, match="does not go with watermark='slot'"):
            world.pipe(
                table, pgflow.SourceTable("w.s"), name="r", mode="merge", watermark="slot", **option
            )
