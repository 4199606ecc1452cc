"""Targets that read the source for themselves, and what a preview says of all of them."""

from __future__ import annotations

from typing import Any

import pgflow
from tests.sync.fan_out_world import (
    A_AND_B,
    COUNTED,
    SUMS,
    Fan,
    count_reads,
    foretold,
    reads,
    told,
)


def test_a_target_with_a_position_reads_for_itself(fan: Fan) -> None:
    """An incremental target reads from its own position on; the others share."""
    pipeline = fan(
        "SELECT id, a, max(b) AS b FROM w.s GROUP BY id, a",
        {"mode": "merge"},
        {"mode": "append", "incremental_column": "id"},
        {"mode": "scd1"},
    )
    said = [
        "read once for 2 targets",
        "read again: the target goes on from a position of its own",
        "read once for 2 targets",
    ]
    assert told(pipeline.sync()) == said == foretold(pipeline)
    fan.world.fill((3, "c", 3))
    assert [each.read for each in pipeline.sync().targets] == [1, 1, 1]
    assert fan.rows(2) == [*A_AND_B, (3, "c", "3.00")]


def test_a_source_that_reads_a_target_gives_all_targets_the_same_rows(fan: Fan) -> None:
    """What the first target writes is not read by the second, be the source however cheap."""
    fan.world.fill((1, "a", 10))
    pipeline = fan("SELECT id, a, b + 1 AS b FROM w.t1", {"mode": "merge"}, {"mode": "merge"})
    fan.world.run("INSERT INTO w.t1 (id, a, b) VALUES (1, 'a', 1)")
    once = ["read once for 2 targets"] * 2
    assert foretold(pipeline) == once
    foreseen = [(each.inserted, each.updated) for each in pipeline.dry_run().targets]
    done = pipeline.sync()
    assert told(done) == once
    assert [(each.inserted, each.updated) for each in done.targets] == foreseen
    assert fan.rows(1) == fan.rows(2) == [(1, "a", "2.00")]


def test_a_function_that_leaves_its_connection_alone_is_called_once(fan: Fan) -> None:
    """That it takes one alone, as most functions do, keeps no target from sharing."""
    calls = []

    def body(source: Any, target: Any) -> str:
        calls.append((source, target))
        return SUMS

    pipeline = fan(None, body=body)
    once = ["read once for 2 targets"] * 2
    assert foretold(pipeline) == once
    calls.clear()
    assert told(pipeline.sync()) == once
    assert len(calls) == 1


def test_rows_that_a_function_reads_late_belong_to_each_transaction(fan: Fan) -> None:
    """A generator uses its connection only when its rows are asked for."""
    calls = []

    def body(conn: Any) -> Any:
        calls.append(conn.exec_driver_sql("SELECT pg_current_xact_id()::text").scalar())
        yield {"id": 1, "a": "a", "b": 1}

    done = fan(None, body=body).sync()
    assert len(set(calls)) == 2
    assert [each.read for each in done.targets] == [1, 1]


def test_a_function_that_uses_its_connection_is_called_for_each_target(fan: Fan) -> None:
    """What it does on its connection belongs to each target's transaction."""
    calls = []

    def body(connection: Any) -> str:
        calls.append(connection.exec_driver_sql("SELECT pg_current_xact_id()::text").scalar())
        return SUMS

    pipeline = fan(None, body=body)
    done = pipeline.sync()
    assert len(set(calls)) == 2
    why = "the function uses its connection, so that each target's transaction calls it"
    said = [f"read for this target only: {why}", f"read again: {why}"]
    assert told(done) == said == foretold(pipeline)


def test_a_function_that_does_the_work_itself_does_it_for_each_target(fan: Fan) -> None:
    """It is called as often as there are targets, no more and no less."""
    calls = []

    def body() -> dict[str, int]:
        calls.append("called")
        return {"inserted": 1}

    assert fan(None, body=body).sync().inserted == 2
    assert calls == ["called", "called"]


def test_targets_in_other_databases_read_for_themselves(fan: Fan, far: Any) -> None:
    """Only targets on one connection share; one in another database reads the source itself."""
    targets = [
        pgflow.target(fan.world.table("t1")),
        pgflow.target(fan.world.table("t2")),
        pgflow.target(far.table("t3"), target_connection=far.engine),
    ]
    pipeline = pgflow.Pipeline(
        "p", targets=targets, source=SUMS, connection=fan.world.engine, mode="merge"
    )
    pgflow.create_all(fan.world.metadata, connection=fan.world.engine)
    pgflow.create_all(far.metadata, connection=far.engine)
    alone = "read again: no target beside this one is on the same connection"
    said = ["read once for 2 targets", "read once for 2 targets", alone]
    assert told(pipeline.sync()) == said == foretold(pipeline)
    assert Fan(far).rows(3) == A_AND_B


def test_each_reading_of_several_is_named(fan: Fan, far: Any) -> None:
    """Two targets here and two elsewhere are two readings, and a preview says whose."""
    here = [pgflow.target(fan.world.table(name)) for name in ("t1", "t2")]
    there = [pgflow.target(far.table(name), target_connection=far.engine) for name in ("t3", "t4")]
    pipeline = pgflow.Pipeline(
        "p", targets=[*here, *there], source=SUMS, connection=fan.world.engine, mode="merge"
    )
    pgflow.create_all(fan.world.metadata, connection=fan.world.engine)
    pgflow.create_all(far.metadata, connection=far.engine)
    shown = [line.strip() for line in str(pipeline.preview()).splitlines() if "is read" in line]
    assert shown == [
        "the source is read once for 2 targets: w.t1, w.t2",
        "the source is read once for 2 targets: w.t3, w.t4",
    ]
    assert pipeline.sync().read == 4


def test_a_single_target_says_nothing(fan: Fan) -> None:
    """A pipeline of one target has nobody to share with, and works as ever."""
    assert told(fan(SUMS, {"mode": "merge"}).sync()) == ["None"]


def test_a_preview_keeps_nothing(fan: Fan) -> None:
    """It says how the source would be read, without reading or writing anything."""
    count_reads(fan.world)
    pipeline = fan(COUNTED)
    question = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
    before = fan.world.run(question)
    assert foretold(pipeline) == ["read once for 2 targets"] * 2
    assert fan.world.run(question) == before, "no transaction has written anything"
    assert reads(fan.world) == 0
