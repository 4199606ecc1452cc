"""Pipelines that run together: what waits for what, what runs at the same time, what fails."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool, StaticPool

import pgflow
from pgflow.declare.sources import Query, SourceTable
from pgflow.declare.targets import Target
from pgflow.errors import InvalidOption, PipelineCycle
from pgflow.project.batch import Batch, Chosen, OnFailure
from pgflow.project.crew import default_workers
from pgflow.project.pools import capacity, demand
from pgflow.project.precedence import precedence
from tests.project.conftest import ROW, Alone, Meeting, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgflow.factories.pipeline import Pipeline

FAILS = "SELECT 1 / 0 AS id, '' AS v"


def statuses(batch: Batch) -> dict[str, str]:
    """How the pipelines of a batch stand, in the order of the plan."""
    return {each.name: each.status for each in batch.outcomes}


def relations(chosen: list[Pipeline], project: list[Pipeline]) -> dict[str, tuple[str, str]]:
    """What each of some pipelines needs and follows, in the order of the plan."""
    found = precedence(chosen, project)
    return {
        p.name: (" ".join(sorted(found.needs[p.name])), " ".join(sorted(found.follows[p.name])))
        for p in found.pipelines
    }


# -- who waits for whom ---------------------------------------------------------------


def computed(conn: Any) -> str:
    """A function whose text does not tell what it reads."""
    return f"{ROW} "


def test_readers_need_what_they_read_perhaps_through_others(paper: World) -> None:
    """Of three in a row the last still waits for the first where the second does not run."""
    a, b, c = (paper.pipe(n, s) for n, s in (("a", ROW), ("b", SourceTable("w.a")),
                                             ("c", SourceTable("w.b"))))  # fmt: skip
    everybody = [a, b, c]
    assert relations([c, b, a], everybody) == {"a": ("", ""), "b": ("a", ""), "c": ("b", "")}
    assert relations([c, a], everybody) == {"a": ("", ""), "c": ("a", "")}
    assert relations([c], everybody) == {"c": ("", "")}


def test_what_is_not_related_by_reading_may_still_not_overlap(paper: World) -> None:
    """The same target, foreign keys, and what nobody knows: each follows what is before it."""
    target = paper.table("t")
    first = paper.pipe("first", target=target)
    second = paper.pipe("second", target=target)
    child = paper.pipe("child", target=paper.table("child", parent="parent"))
    parent = paper.pipe("parent", target=paper.table("parent"))
    own = paper.pipe("own", SourceTable("w.own"))
    unknown = paper.pipe("unknown", computed)
    last = paper.pipe("last")
    everybody = [first, second, child, parent, own, unknown, last]
    assert relations(everybody, []) == {
        "first": ("", ""),
        "second": ("", "first"),
        "parent": ("", ""),
        "child": ("", "parent"),
        "own": ("", ""),
        "unknown": ("", "child first own parent second"),
        "last": ("", ""),
    }


def test_a_circle_stops_only_the_runs_that_it_is_part_of(world: World) -> None:
    """Pipelines that wait for each other run one by one; together they are named."""
    a, b = world.pipe("a", SourceTable("w.b")), world.pipe("b", SourceTable("w.a"))
    through = world.pipe("through", SourceTable("w.a"))
    back = world.pipe("back", SourceTable("w.through"))
    broken = world.pipe("broken", "SELEC 1")
    everybody = [a, b, through, back, broken]
    with pytest.raises(PipelineCycle) as caught:
        precedence([a, b], everybody)
    assert caught.value.chain == ("a", "b", "a")
    assert relations([back, b], everybody) == {"b": ("", ""), "back": ("b", "")}
    world.create()
    assert world.sync("a", workers=4).outcomes[0].status == "success"


# -- at the same time -----------------------------------------------------------------


def test_independent_pipelines_run_at_the_same_time(world: World) -> None:
    """Two that nothing relates are at work together; the reader of one comes after that one."""
    meeting = Meeting(2)
    world.pipe("reader", SourceTable("w.a"))
    world.pipe("a", meeting.body("SELECT i AS id, '' AS v FROM generate_series(1, 3) AS i"))
    world.pipe("b", meeting.body())
    batch = world.sync(workers=2)
    assert statuses(batch) == dict.fromkeys(("a", "reader", "b"), "success")
    assert [each.result.inserted for each in batch.outcomes if each.result] == [3, 3, 1]


def test_a_diamond_runs_its_sides_together(world: World) -> None:
    """Both sides begin when the top is done, the bottom when both are."""
    meeting = Meeting(2)
    world.pipe("bottom", "SELECT l.id, l.v FROM w.left l JOIN w.right r USING (id)")
    world.pipe("left", meeting.body("SELECT id, v FROM w.top"))
    world.pipe("right", meeting.body("SELECT id, v FROM w.top"))
    world.pipe("top")
    batch = world.sync(workers=4)
    assert statuses(batch) == dict.fromkeys(("top", "left", "right", "bottom"), "success")
    assert world.run("SELECT count(*) FROM w.bottom") == [(1,)]


def test_pipelines_of_one_target_never_overlap(world: World) -> None:
    """They follow each other as they are declared, and so do several runs of one pipeline."""
    alone, target = Alone(), world.table("t")
    for name in ("a", "b"):
        world.pipe(name, alone.body(name), target=target)
    again = [Chosen(world.pipelines["a"])]
    assert set(statuses(world.sync(workers=4, again=again)).values()) == {"success"}
    assert alone.order == ["a", "a", "b"]


def test_a_child_waits_for_its_parent(world: World) -> None:
    """Rows with a foreign key come after the rows that they refer to."""
    source = "SELECT 1 AS id, '' AS v, 1 AS parent"
    world.pipe("child", source, target=world.table("child", parent="parent"))
    world.pipe("parent", "SELECT 1 AS id, '' AS v FROM pg_sleep(0.2)",
               target=world.table("parent"))  # fmt: skip
    assert statuses(world.sync(workers=4)) == {"parent": "success", "child": "success"}


def test_one_worker_runs_in_the_callers_thread(world: World) -> None:
    """With workers=1, and with a single pipeline, no thread is begun."""
    threads: list[threading.Thread] = []

    def body(conn: Any) -> str:
        threads.append(threading.current_thread())
        return ROW

    for name in "ab":
        world.pipe(name, body)
    world.sync(workers=1)
    world.sync("a", workers=4)
    assert threads == [threading.current_thread()] * 3
    world.sync(workers=2)
    assert {thread.name for thread in threads[3:]} == {"pgflow a", "pgflow b"}


@pytest.mark.parametrize("workers", [0, -1, True, "2"])
def test_a_number_of_workers_that_runs_nothing_is_refused(world: World, workers: Any) -> None:
    """Less than one worker, or no number, is an error before anything runs."""
    world.pipe("a")
    with pytest.raises(InvalidOption, match="workers="):
        world.sync(workers=workers)
    assert world.history() == []


def test_the_number_of_workers_is_small() -> None:
    """The work is the server's: four are enough for anybody who does not say more."""
    assert 1 <= default_workers() <= 4


# -- after a failure ------------------------------------------------------------------


@pytest.fixture
def failing(world: World) -> World:
    """One that fails while another works, readers of both, and one that nothing relates to it."""
    begun, failed = threading.Event(), threading.Event()

    def slow(conn: Any) -> str:
        begun.set()
        assert failed.wait(20)
        return ROW

    def fails(conn: Any) -> str:
        assert begun.wait(20)
        failed.set()
        return FAILS

    world.pipe("slow", slow)
    world.pipe("bad", fails)
    world.pipe("reads_bad", SourceTable("w.bad"))
    world.pipe("reads_that", SourceTable("w.reads_bad"))
    world.pipe("reads_slow", SourceTable("w.slow"))
    return world


def test_after_a_failure_nothing_begins_and_what_runs_is_finished(failing: World) -> None:
    """The rest is not run, and the history tells the same."""
    batch = failing.sync(workers=2, on_failure=OnFailure.STOP)
    assert statuses(batch) == {
        "slow": "success",
        "bad": "failed",
        "reads_bad": "not run",
        "reads_that": "not run",
        "reads_slow": "not run",
    }
    assert dict(failing.history()) == {"slow": "success", "bad": "failed"}
    assert [each.name for each in batch.failed] == ["bad"]


def test_going_on_leaves_out_what_depends_on_the_failure(failing: World) -> None:
    """Others run; those that read what failed, however far away, say which failure it was."""
    batch = failing.sync(workers=2, on_failure=OnFailure.GO_ON)
    assert statuses(batch) == {
        "slow": "success",
        "bad": "failed",
        "reads_bad": "not run",
        "reads_that": "not run",
        "reads_slow": "success",
    }
    because = {each.name: each.because for each in batch.outcomes if each.because}
    assert because == {"reads_bad": "bad", "reads_that": "bad"}


def test_a_failure_can_be_ignored(failing: World) -> None:
    """Where everything is rolled back, every pipeline is tried."""
    batch = failing.sync(workers=2, on_failure=OnFailure.IGNORE)
    assert [name for name, status in statuses(batch).items() if status != "success"] == ["bad"]


def test_what_is_not_known_runs_after_a_failure_too(world: World) -> None:
    """A pipeline of which nobody knows what it reads waits for a failed one, and then runs."""
    world.pipe("bad", FAILS)
    world.pipe("unknown", computed)
    batch = world.sync(workers=2, on_failure=OnFailure.GO_ON)
    assert statuses(batch) == {"bad": "failed", "unknown": "success"}
    assert [name for name, _ in world.history()] == ["bad", "unknown"]


# -- connections ----------------------------------------------------------------------


def test_workers_never_wait_for_each_others_connections(
    world: World, make_database: Callable[[], str]
) -> None:
    """Two that copy between the same two databases, in both ways, out of pools of one."""
    urls = (world.url, make_database())
    here, there = (create_engine(url, pool_size=1, max_overflow=0, pool_timeout=5) for url in urls)
    with there.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA w; CREATE TABLE w.s AS " + ROW)
    world.run("CREATE TABLE w.s AS " + ROW)
    gate = threading.Barrier(2)

    def body(source: Any) -> str:
        with suppress(threading.BrokenBarrierError):
            gate.wait(0.3)  # if both may run, both hold their target's connection now
        source.exec_driver_sql("SELECT 1")
        return "SELECT id, v FROM w.s"

    forth = world.pipe("forth", body, connection=None, source_connection=there,
                       target_connection=here)  # fmt: skip
    back = world.pipe("back", body, connection=None, source_connection=here,
                      target_connection=there)  # fmt: skip
    pgflow.create_all(world.metadata, connection=there)
    assert demand(forth).pools == {here.pool: 1, there.pool: 1}
    assert demand(back).elsewhere is False
    try:
        assert set(statuses(world.sync(workers=2)).values()) == {"success"}
    finally:
        here.dispose()
        there.dispose()


def test_more_workers_than_connections_wait(world: World) -> None:
    """Eight pipelines on a pool of two run two at a time, and none fails."""
    engine = create_engine(world.url, pool_size=2, max_overflow=0, pool_timeout=1)
    meeting, sleeps = Meeting(2), "SELECT 1 AS id, '' AS v FROM pg_sleep(0.3)"
    for number in range(8):
        world.pipe(f"p{number}", meeting.body(sleeps), connection=engine)
    try:
        assert set(statuses(world.sync(workers=8)).values()) == {"success"}
    finally:
        engine.dispose()


def test_a_database_of_one_thread_keeps_runs_in_it(world: World) -> None:
    """SQLite in memory is another database in every thread, so no thread is begun for it."""
    memory = create_engine("sqlite://")
    with memory.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE s AS SELECT 1 AS id, 'x' AS v")
    for name in "ab":
        world.pipe(name, "SELECT id, v FROM s", connection=None, source_connection=memory,
                   target_connection=world.engine)  # fmt: skip
    assert set(statuses(world.sync(workers=2)).values()) == {"success"}
    memory.dispose()


def test_a_pool_that_is_too_small_for_one_is_tried_alone(world: World) -> None:
    """A run that could never have all that it may want begins when nobody else runs."""
    engine = create_engine(world.url, pool_size=1, max_overflow=0, pool_timeout=1)
    for name in "ab":
        world.pipe(name, computed, connection=engine)
    try:
        assert demand(world.pipelines["a"]).elsewhere
        assert set(statuses(world.sync(workers=2)).values()) == {"success"}
    finally:
        engine.dispose()


def test_how_many_connections_a_pool_has_is_read_from_it(world: World) -> None:
    """What somebody else holds is not there; pools that do not count have no limit."""
    engine = create_engine(world.url, pool_size=2, max_overflow=3)
    with engine.connect():
        assert capacity(engine.pool) == 4
    engine.dispose()
    unlimited = ({"pool_size": 0}, {"max_overflow": -1}, {"poolclass": NullPool})
    for options in unlimited:
        assert capacity(create_engine(world.url, **options).pool) == float("inf")
    assert capacity(create_engine(world.url, poolclass=StaticPool).pool) == 1


def test_what_a_pipeline_takes_is_known_from_its_declaration(world: World) -> None:
    """One connection for each target's database, one more where the source is elsewhere."""
    other = create_engine(world.url)
    fan = world.pipe(
        "fan",
        ROW,
        targets=[
            Target(world.table("x")),
            Target(world.table("y"), target_connection=other),
            Target(world.table("z")),
        ],
    )
    assert demand(fan).pools == {world.engine.pool: 2, other.pool: 1}
    assert demand(world.pipe("same")).pools == {world.engine.pool: 1}
    far = world.pipe("far", Query(ROW, connection=other))
    assert demand(far).pools == {world.engine.pool: 1, other.pool: 1}
    lost = world.pipe("lost", ROW, connection="nobody")
    assert demand(lost).pools == {}
