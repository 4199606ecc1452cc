"""watermark="slot" together with checks, scopes, several targets, and writers who never rest."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

import pgflow
from pgflow import checks
from pgflow.errors import SlotRefused
from pgflow.factories.slots import drop_slot, wanted_slots
from tests.sync.conftest import World
from tests.sync.slot_world import logged, pipe, rows, slot_of

SECONDS = float(os.environ.get("PGFLOW_TRIAL_SECONDS", "2"))


@pytest.fixture
def world(logical_database: str) -> Iterator[World]:
    """A database on a server whose log can be decoded, with a source table `w.s (id, a, big)`."""
    with logged(logical_database) as made:
        yield made


def test_a_rejected_row_is_not_taken_for_a_deleted_one(world: World) -> None:
    """A key that a check keeps out stays in the target, beside keys that were really deleted."""
    check = checks.SQLCheck("short", "length(a) < 3", quarantine=True)
    pipeline = pipe(world, handle_deletes="hard", checks=[check])
    world.run("INSERT INTO w.s VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    pipeline.sync()
    world.run("UPDATE w.s SET a = 'too long' WHERE id = 1")
    world.run("DELETE FROM w.s WHERE id = 2")
    result = pipeline.sync()
    assert (result.rejected, result.deleted) == (1, 1)
    assert rows(world) == [(1, "a"), (3, "c")]


def test_a_scope_limits_what_is_deleted_and_has_a_slot_of_its_own(world: World) -> None:
    """Rows of the target outside of the scope are nobody's business, whatever the log names."""
    table = world.table("t_p", sa.Column("a", sa.Text), sa.Column("big", sa.Text))
    pipeline = world.pipe(
        table, pgflow.SourceTable("w.s"), mode="merge", watermark="slot",
        handle_deletes="hard", scope="id < 100",
    )  # fmt: skip
    (wanted,) = wanted_slots(pipeline, {}, unlimited_wal=False)
    wanted.make()
    world.run("INSERT INTO w.s VALUES (1, 'a'), (2, 'b')")
    pipeline.sync()
    world.run("INSERT INTO w.t_p (id, a) VALUES (200, 'mine')")
    world.run("INSERT INTO w.s VALUES (200, 'x')")
    world.run("DELETE FROM w.s WHERE id IN (1, 200)")
    assert pipeline.sync().deleted == 1
    assert rows(world) == [(2, "b"), (200, "mine")]
    assert wanted.name != slot_of(world)


def test_each_target_has_a_slot(world: World) -> None:
    """A pipeline with two targets reads each target's own slot, and one may be ahead."""
    tables = [world.table(f"t_{n}", sa.Column("a", sa.Text)) for n in ("one", "two")]
    world.run("ALTER TABLE w.s DROP big")
    pipeline = pgflow.Pipeline(
        "both", targets=[pgflow.target(t, mode="merge") for t in tables],
        source=pgflow.SourceTable("w.s"), connection=world.engine, watermark="slot",
        handle_deletes="hard",
    )  # fmt: skip
    pgflow.create_all(world.metadata, connection=world.engine)
    for wanted in wanted_slots(pipeline, {}):
        wanted.make()
    world.run("INSERT INTO w.s VALUES (1, 'a'), (2, 'b')")
    pipeline.sync()
    world.run("DELETE FROM w.s WHERE id = 1")
    world.run("ALTER TABLE w.t_two ADD CONSTRAINT no CHECK (a <> 'c')")
    world.run("INSERT INTO w.s VALUES (3, 'c')")
    with pytest.raises(pgflow.PgflowError, match="violates check"):
        pipeline.sync()
    assert rows(world, "t_one") == [(2, "b"), (3, "c")]
    world.run("ALTER TABLE w.t_two DROP CONSTRAINT no")
    pipeline.sync()
    assert rows(world, "t_one") == rows(world, "t_two") == [(2, "b"), (3, "c")]


def test_a_role_that_is_no_superuser_may_do_it_all(world: World) -> None:
    """REPLICATION, the table and the right to publish are enough; without them it is refused."""
    (database,) = world.run("SELECT current_database()")[0]
    world.run("CREATE ROLE feeder LOGIN")
    try:
        world.run(f"GRANT CREATE ON DATABASE {database} TO feeder")
        world.run("ALTER SCHEMA w OWNER TO feeder; ALTER TABLE w.s OWNER TO feeder")
        url = world.engine.url.set(username="feeder")
        feeder = World(sa.create_engine(url, poolclass=sa.NullPool))
        table = feeder.table("t_p", sa.Column("a", sa.Text), sa.Column("big", sa.Text))
        pipeline = feeder.pipe(
            table, pgflow.SourceTable("w.s"), mode="merge", watermark="slot", handle_deletes="hard"
        )
        with pytest.raises(SlotRefused, match=r"ALTER ROLE \.\.\. REPLICATION"):
            wanted_slots(pipeline, {})
        world.run("ALTER ROLE feeder REPLICATION")
        (wanted,) = wanted_slots(pipeline, {})
        wanted.make()
        feeder.run("INSERT INTO w.s VALUES (1, 'a'), (2, 'b')")
        pipeline.sync()
        feeder.run("DELETE FROM w.s WHERE id = 1")
        assert pipeline.sync().deleted == 1
        assert drop_slot(feeder.engine, wanted.name)
    finally:
        world.run("DROP OWNED BY feeder CASCADE; DROP ROLE feeder")


def test_many_changes_are_read_in_pieces(world: World) -> None:
    """A log that is longer than a piece comes whole, a key that changed often once."""
    pipeline = pipe(world, handle_deletes="hard")
    pipeline.sync()
    world.run("INSERT INTO w.s SELECT i, 'x' FROM generate_series(1, 12000) AS i")
    world.run("UPDATE w.s SET a = 'y' WHERE id <= 6000")
    world.run("DELETE FROM w.s WHERE mod(id, 2) = 0")
    for _ in range(3):
        world.run("UPDATE w.s SET a = a || '!' WHERE id = 1")
    result = pipeline.sync()
    assert (result.read, result.inserted) == (6000, 6000)
    (told,) = result.targets[0].details["changes"]
    assert (told["transactions"], told["everything"]) == (6, False)
    assert rows(world) == world.run("SELECT id, a FROM w.s ORDER BY id")


def test_six_writers_and_nothing_is_lost(world: World) -> None:
    """Inserts, updates, deletes, rollbacks and savepoints of six writers end as in the source."""
    pipeline = pipe(world, handle_deletes="hard")
    over = threading.Event()
    errors: list[BaseException] = []
    url = world.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)

    def guarded(work: Callable[..., None], *args: Any) -> threading.Thread:
        def run() -> None:
            try:
                work(*args)
            except BaseException as error:
                errors.append(error)

        return threading.Thread(target=run)

    def write(number: int) -> None:
        chance = random.Random(number)
        with psycopg.connect(url) as live:
            while not over.is_set():
                for _ in range(chance.randint(1, 4)):
                    _write_once(live, chance, number)
                if chance.random() < 0.2:
                    live.rollback()
                else:
                    live.commit()

    def follow() -> None:
        while not over.is_set():
            pipeline.sync()

    threads = [guarded(write, n) for n in range(6)] + [guarded(follow)]
    for thread in threads:
        thread.start()
    time.sleep(SECONDS)
    over.set()
    for thread in threads:
        thread.join()
    assert not errors
    pipeline.sync()
    assert rows(world) == world.run("SELECT id, a FROM w.s ORDER BY id")
    assert len(rows(world)) > 20
    assert pipeline.sync().read == 0


def _write_once(live: psycopg.Connection[Any], chance: random.Random, number: int) -> None:
    key = chance.randint(1, 60) * 10 + number
    statements = (
        "INSERT INTO w.s VALUES (%(k)s, %(v)s) ON CONFLICT (id) DO UPDATE SET a = excluded.a",
        "UPDATE w.s SET a = %(v)s WHERE id = %(k)s",
        "DELETE FROM w.s WHERE id = %(k)s AND %(v)s::text IS NOT NULL",
    )
    with live.transaction(force_rollback=chance.random() < 0.2):
        live.execute(
            chance.choices(statements, (5, 3, 2))[0], {"k": key, "v": str(chance.random())}
        )
    time.sleep(chance.random() * 0.005)
