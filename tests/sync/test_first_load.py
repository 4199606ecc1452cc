"""First loads in steps: a target filled range by range, whatever interrupts it."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import BackfillRefused
from pgflow.factories.backfill import Backfill
from pgflow.types import Raw
from tests.sync import first_load_child

ROOT = Path(__file__).parents[2]


def text(engine: sa.Engine) -> str:
    """The engine's URL, as another process needs it."""
    return engine.url.render_as_string(hide_password=False)


def until(world: Any, child: subprocess.Popen[bytes], steps: int) -> None:
    """Wait until a child has committed so many steps more."""
    for _ in range(2000):
        done = world.run("SELECT to_regclass('pgflow.backfills') IS NOT NULL")[0][0] and world.run(
            "SELECT coalesce(sum(steps_done), 0) FROM pgflow.backfills"
        )
        if done and done[0][0] >= steps:
            return
        if child.poll() is not None:
            raise AssertionError(f"the child ended before step {steps}")
        time.sleep(0.005)
    raise AssertionError("the child does not come on")


@pytest.mark.parametrize("mode", ["append", "merge", "scd2"])
def test_a_killed_first_load_goes_on_where_it_stopped(world: Any, far: Any, mode: str) -> None:
    """After kill -9 at any moment the same call goes on; each row of another database is once."""
    far.run("CREATE TABLE w.events (id bigint PRIMARY KEY, at timestamptz, v text)")
    far.run(
        "INSERT INTO w.events SELECT g, timestamptz '2024-01-01' + g * interval '80 seconds',"
        " 'v' || g FROM generate_series(0, 3999) AS g"
    )
    arguments = (mode, text(world.engine), text(far.engine))
    program = [sys.executable, "-m", "tests.sync.first_load_child", *arguments]
    for steps in (1, 9):
        child = subprocess.Popen(program, cwd=ROOT)
        try:
            until(world, child, steps)
            time.sleep(random.random() / 20)
        finally:
            child.kill()
            child.wait()
    load = first_load_child.backfill(*arguments)
    left = load.left()
    assert 0 < len(left) < len(load.all_steps)
    assert len(list(load.run())) == len(left)
    assert load.left() == ()
    rows = "SELECT id, at, v FROM w.{} ORDER BY id"
    assert world.run(rows.format("loaded")) == far.run(rows.format("events"))
    runs = dict(world.run("SELECT status, count(*) FROM pgflow.runs GROUP BY 1"))
    assert runs["success"] == len(load.all_steps)


def test_versions_loaded_by_key_begin_when_they_are_loaded(world: Any, far: Any) -> None:
    """Steps through the keys of a history are ordinary runs; the next full run changes nothing."""
    far.run("INSERT INTO w.s SELECT g, 'a' || g, g FROM generate_series(1, 30) AS g")
    pipeline = world.pipe(
        world.table(mode="scd2"), pgflow.SourceTable("w.s"), source_connection=far.engine
    )
    load = Backfill(pipeline, "1", "31", "10", column="id")
    assert [result.inserted for _, result in load.run()] == [10, 10, 10]
    began = world.run("SELECT count(DISTINCT valid_from), bool_and(is_current) FROM w.t")
    assert began == [(3, True)]
    assert pipeline.sync().unchanged == 30


def test_a_step_reads_only_its_part_of_the_source(world: Any, far: Any) -> None:
    """The range stands in the COPY, by the source column's own type, so that an index serves it."""
    far.run("INSERT INTO w.s SELECT g, 'a', g FROM generate_series(1, 20) AS g")
    pipeline = world.pipe(world.table(), mode="append", source_connection=far.engine)
    load = Backfill(pipeline, "1", "21", "5", column="id")
    done = [result.targets[0] for _, result in load.run()]
    assert [target.details["transfer"][0]["rows"] for target in done] == [5, 5, 5, 5]
    assert world.run("SELECT * FROM pgflow.watermarks") == []
    assert world.run("SELECT count(*) FROM w.t") == [(20,)]


@pytest.mark.parametrize("kind", ["uuid", "text"])
def test_keys_that_nobody_counts_in_are_refused(world: Any, far: Any, kind: str) -> None:
    """The types that a range can be counted in are named, before anything is written."""
    far.run(f"CREATE TABLE w.odd (id {kind}, a text)")
    table = world.table("t", sa.Column("a", sa.Text), key=(sa.Column("id", Raw[kind]),))
    pipeline = world.pipe(
        table, pgflow.SourceTable("w.odd"), mode="merge", source_connection=far.engine
    )
    with pytest.raises(BackfillRefused, match=f"the column is {kind}"):
        Backfill(pipeline, "a", "b", "1", column="id")
    assert world.run("SELECT count(*) FROM pgflow.backfills") == [(0,)]


def test_keys_that_nobody_counts_in_go_by_buckets(world: Any, far: Any) -> None:
    """A function that is given the bounds of a hash's buckets loads every key once."""
    far.run("CREATE TABLE w.odd AS SELECT gen_random_uuid() AS id, 'a' || g AS a"
            " FROM generate_series(1, 200) AS g")  # fmt: skip

    def buckets(conn: Any, *, start: int, end: int) -> str:
        return (
            "SELECT id, a FROM w.odd"
            " WHERE uuid_hash(id) & 63 >= :start AND uuid_hash(id) & 63 < :end"
        )

    table = world.table("t", sa.Column("a", sa.Text), key=(sa.Column("id", Raw["uuid"]),))
    pipeline = world.pipe(table, None, body=buckets, mode="append", source_connection=far.engine)
    load = Backfill(pipeline, "0", "64", "16")
    assert len(list(load.run())) == 4
    rows = "SELECT id, a FROM w.{} ORDER BY id"
    assert world.run(rows.format("t")) == far.run(rows.format("odd"))
