"""The trial of watermarks: six writers commit in any order, while pipelines run all the time."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from tests.sync.conftest import World

#: How long the writers write; `make soak` gives them longer.
SECONDS = float(os.environ.get("PGFLOW_TRIAL_SECONDS", "3"))

WRITERS = 6

PIPELINES = {
    "snapshot": ("SELECT id, a, xid FROM w.source", {"watermark": "snapshot"}),
    "horizon": ("SELECT id, a, xmin FROM w.source", {"watermark": "horizon"}),
    "value": ("SELECT id, a, u FROM w.source", {"incremental_column": "u"}),
}

SETUP = (
    "CREATE TABLE w.source (id bigint PRIMARY KEY, a text, u timestamptz NOT NULL DEFAULT now(),"
    " xid xid8 NOT NULL DEFAULT pg_current_xact_id())",
    "CREATE INDEX ON w.source (xid)",
    "CREATE SEQUENCE w.ids",
    "CREATE FUNCTION w.track() RETURNS trigger LANGUAGE plpgsql AS"
    " 'BEGIN NEW.xid := pg_current_xact_id(); NEW.u := now(); RETURN NEW; END'",
    "CREATE TRIGGER track BEFORE INSERT OR UPDATE ON w.source"
    " FOR EACH ROW EXECUTE FUNCTION w.track()",
)


@dataclass
class Trial:
    """Writers and readers, and what went wrong in their threads.

    Attributes:
        url: How psycopg reaches the database.
        written: Row versions that were committed.
        errors: What threads raised.
    """

    url: str
    written: int = 0
    errors: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.over = threading.Event()
        self._guard = threading.Lock()

    def guarded(self, work: Any, *args: Any) -> threading.Thread:
        """A thread whose error is kept."""

        def run() -> None:
            try:
                work(*args)
            except BaseException as error:
                self.errors.append(error)

        return threading.Thread(target=run)

    def write(self, number: int) -> None:
        """Insert and update rows, in transactions that overlap with everybody else's."""
        chance = random.Random(number)
        own: list[int] = []
        with psycopg.connect(self.url, autocommit=True) as live:
            while not self.over.is_set():
                self._transaction(live, chance, own)

    def late(self) -> None:
        """One transaction that begins early and commits when the others have gone far."""
        with psycopg.connect(self.url) as live:
            live.execute("INSERT INTO w.source VALUES (-1, 'late')")
            time.sleep(SECONDS / 2)
            with live.transaction():
                live.execute("INSERT INTO w.source VALUES (-2, 'late, under a savepoint')")
            live.commit()
        self._count(2)

    def _transaction(
        self, live: psycopg.Connection[Any], chance: random.Random, own: list[int]
    ) -> None:
        made: list[int] = []
        rolls_back = chance.random() < 0.15
        name = f"trial_{threading.get_ident()}_{chance.random()}"
        live.execute("BEGIN")
        wrote = 0
        for _ in range(chance.randint(1, 3)):
            if chance.random() < 0.6 or not own:
                made.append(self._insert(live))
            else:
                self._update(live, chance.choice(own))
            wrote += 1
            if chance.random() < 0.4:
                wrote += self._savepoint(live, chance, made)
            time.sleep(chance.random() * 0.01)
        if rolls_back:
            live.execute("ROLLBACK")
            return
        if chance.random() < 0.2:
            live.execute(f"PREPARE TRANSACTION '{name}'")
            time.sleep(chance.random() * 0.05)
            live.execute(f"COMMIT PREPARED '{name}'")
        else:
            live.execute("COMMIT")
        own += made
        self._count(wrote)

    def _savepoint(
        self, live: psycopg.Connection[Any], chance: random.Random, made: list[int]
    ) -> int:
        live.execute("SAVEPOINT s")
        inner = self._insert(live)
        if chance.random() < 0.4:
            live.execute("ROLLBACK TO s")
            return 0
        live.execute("RELEASE s")
        made.append(inner)
        return 1

    def _insert(self, live: psycopg.Connection[Any]) -> int:
        row = live.execute(
            "INSERT INTO w.source (id, a) VALUES (nextval('w.ids'), random()::text) RETURNING id"
        ).fetchone()
        assert row is not None
        return int(row[0])

    def _update(self, live: psycopg.Connection[Any], number: int) -> None:
        live.execute("UPDATE w.source SET a = random()::text WHERE id = %s", [number])

    def _count(self, versions: int) -> None:
        with self._guard:
            self.written += versions


def follow(trial: Trial, pipeline: Any, reads: dict[str, int]) -> None:
    """Run a pipeline until the trial is over, and count what it reads."""
    while not trial.over.is_set():
        reads[pipeline.name] += pipeline.sync().read


def lost(world: Any, table: str) -> int:
    """How many rows of the source are not in the target as they are."""
    return int(
        world.run(
            f"SELECT count(*) FROM w.source AS s LEFT JOIN w.{table} AS t USING (id)"
            " WHERE s.a IS DISTINCT FROM t.a"
        )[0][0]
    )


@pytest.fixture
def world(logical_database: str) -> Iterator[World]:
    """A database on a server that takes prepared transactions."""
    made = World(sa.create_engine(logical_database, poolclass=sa.NullPool))
    made.run("CREATE SCHEMA w")
    yield made
    made.engine.dispose()


@pytest.fixture
def trial(world: Any) -> Trial:
    """Writers that have not begun."""
    for statement in SETUP:
        world.run(statement)
    url = world.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    return Trial(url)


def test_six_writers_and_nothing_is_lost(world: Any, trial: Trial) -> None:
    """Snapshot and horizon lose no row, and a value watermark does: the one that commits late."""
    pipelines = []
    for name, (query, options) in PIPELINES.items():
        table = world.table(f"t_{name}", sa.Column("a", sa.Text))
        pipelines.append(world.pipe(table, query, name=name, mode="merge", **options))
    reads = dict.fromkeys(PIPELINES, 0)
    threads = [trial.guarded(trial.write, n) for n in range(WRITERS)]
    threads.append(trial.guarded(trial.late))
    threads += [trial.guarded(follow, trial, each, reads) for each in pipelines]
    for thread in threads:
        thread.start()
    time.sleep(SECONDS)
    trial.over.set()
    for thread in threads:
        thread.join()
    assert not trial.errors
    for pipeline in pipelines:
        reads[pipeline.name] += pipeline.sync().read
    assert trial.written > 100
    assert {name: lost(world, f"t_{name}") for name in ("snapshot", "horizon")} == {
        "snapshot": 0,
        "horizon": 0,
    }
    assert lost(world, "t_value") > 0, "slow writers are what a value watermark cannot see"
    # Read again is only what committed in the instant between the look at the server and the
    # reading statement; a row that changed twice between two runs is read once.
    assert reads["snapshot"] <= trial.written * 1.2
    snapshot, horizon, _ = pipelines
    assert snapshot.sync().read == 0
    assert horizon.sync().read == 0


def test_a_watermark_by_value_with_lookback_finds_what_came_late(world: Any, trial: Trial) -> None:
    """A lookback that is longer than the longest transaction reads the late rows after all."""
    from datetime import timedelta

    table = world.table("t", sa.Column("a", sa.Text))
    back = timedelta(seconds=SECONDS + 60)
    query, options = PIPELINES["value"]
    pipeline = world.pipe(table, query, mode="merge", lookback=back, **options)
    writer = trial.guarded(trial.late)
    writer.start()
    while writer.is_alive():
        world.run("INSERT INTO w.source (id, a) VALUES (nextval('w.ids'), 'x')")
        pipeline.sync()
    pipeline.sync()
    assert not trial.errors
    assert lost(world, "t") == 0
