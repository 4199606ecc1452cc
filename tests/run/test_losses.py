"""Connections that break, and servers that restart, in the middle of a run."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import QueuePool, create_engine

from pgflow.errors import StatementFailed
from pgflow.run.failures import statement_failed
from pgflow.run.recovery.retries import delay
from tests.run.losses import Once, history
from tests.sync.sync_children import nursery, session, until


def end_runs(world: Any) -> None:
    """End the server processes of all runs, as an administrator would."""
    assert world.run(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE 'pgflow p %%'"
    )


MODES = {
    "append": "insert new rows",
    "merge": "insert new rows",
    "scd1": "insert new rows",
    "scd2": "open the versions",
    "truncate": "",
}


@pytest.mark.parametrize("mode", MODES)
def test_a_lost_connection_starts_the_run_again(world: Any, mode: str) -> None:
    """A run whose connection breaks in the middle is done again, on a new one, and only once."""
    pipeline = world.pipe(world.table(), mode=mode)
    world.fill((1, "a", 1))
    pipeline.sync()
    world.fill((1, "a", 1), (2, "b", 2))
    watch = Once(MODES[mode], lambda: end_runs(world))
    result = pipeline.sync(observer=watch)
    assert watch.attempts == [2]
    assert result.inserted == (2 if mode == "truncate" else 1)
    assert history(world) == [("success", 1), ("success", 2)]
    assert world.run("SELECT id, a FROM w.t ORDER BY id") == [(1, "a"), (2, "b")]


def test_the_body_runs_again(world: Any) -> None:
    """A connection that breaks under the pipeline's own function counts like any other."""
    calls = []

    def body(conn: Any) -> str:
        calls.append(1)
        if len(calls) == 1:
            end_runs(world)
        conn.exec_driver_sql("SELECT 1")
        return "SELECT id, a, b FROM w.s"

    pipeline = world.pipe(world.table(), None, body=body, mode="merge")
    world.fill((1, "a", 1))
    assert pipeline.sync().inserted == 1
    assert len(calls) == 2
    assert history(world) == [("success", 2)]


def test_a_session_that_the_server_ends_for_its_limit_says_which(world: Any) -> None:
    """A function that is slower than the server lets a transaction be idle is not tried again."""
    name = world.engine.url.database

    def body(conn: Any) -> str:
        time.sleep(0.3)
        return "SELECT id, a, b FROM w.s"

    pipeline = world.pipe(world.table(), None, body=body, mode="merge")
    world.run(f"ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '100ms'")
    with pytest.raises(StatementFailed, match=r"than idle_in_transaction_session_timeout allows"):
        pipeline.sync()
    assert history(world) == [("failed", 1)]


def test_a_dry_run_starts_again_too(world: Any) -> None:
    """A dry run whose connection breaks is done again, and still leaves no trace."""
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", 1))
    watch = Once("", lambda: end_runs(world))
    assert pipeline.dry_run(observer=watch).inserted == 1
    assert watch.attempts == [2]
    assert history(world) == []
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]


def test_a_connection_that_breaks_each_time_fails_after_three_attempts(world: Any) -> None:
    """What brings the connection down every time is not repeated for ever."""
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", 1))
    watch = Once("", lambda: end_runs(world), times=99)
    with pytest.raises(StatementFailed, match="terminating connection"):
        pipeline.sync(observer=watch)
    assert watch.attempts == [2, 3]
    assert history(world) == [("failed", 3)]


def test_a_joined_run_is_not_tried_again(world: Any) -> None:
    """A run in the caller's transaction fails with it: only its owner can repeat that."""
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", 1))
    watch = Once("", lambda: end_runs(world))
    with world.engine.connect() as connection:
        transaction = connection.begin()
        with pytest.raises(StatementFailed, match="terminating connection"):
            pipeline.sync(connection=connection, observer=watch)
        transaction.close()
    assert watch.attempts == []
    assert history(world) == []
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]


def test_a_pool_of_broken_connections(world: Any, database: str) -> None:
    """A pool that has kept only broken connections costs one attempt, not one for each of them."""
    world.engine = create_engine(database, poolclass=QueuePool, pool_size=4)
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", 1))
    connections = [world.engine.connect() for _ in range(4)]
    pids = [each.exec_driver_sql("SELECT pg_backend_pid()").scalar() for each in connections]
    for each in connections:
        each.close()
    with session(database) as admin:
        admin.execute("SELECT pg_terminate_backend(pid, 10000) FROM unnest(%s) AS pid", [pids])
    assert pipeline.sync().inserted == 1
    assert history(world) == [("success", 2)]
    world.engine.dispose()


def test_a_pool_of_one_connection_is_enough_for_a_second_attempt(world: Any, database: str) -> None:
    """The new connection takes the place of the broken one; a second is never needed."""
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", 1))
    narrow = create_engine(
        database, poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=1
    )
    pipeline = world.pipe(world.table("u"), mode="merge", name="p", target_connection=narrow)
    watch = Once("", lambda: end_runs(world))
    assert pipeline.sync(observer=watch).inserted == 1
    assert watch.attempts == [2]
    assert narrow.pool.checkedout() == 0
    narrow.dispose()


# -- a network that breaks ------------------------------------------------------------


class Wires:
    """Keeps a second handle on the sockets of an engine's connections."""

    def __init__(self, engine: sa.Engine) -> None:
        self.sockets: list[socket.socket] = []
        sa.event.listen(engine, "connect", self.connected)

    def connected(self, driver: Any, _record: Any) -> None:
        self.sockets.append(socket.socket(fileno=os.dup(driver.fileno())))

    def cut(self) -> None:
        """Cut the connections so that only the client notices, as a firewall does."""
        for each in self.sockets:
            each.shutdown(socket.SHUT_RD)


@pytest.fixture
def wires(world: Any) -> Iterator[Wires]:
    made = Wires(world.engine)
    yield made
    for each in made.sockets:
        each.close()


SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"


@pytest.fixture
def slow(world: Any) -> Any:
    """A pipeline whose source takes a minute when it is read for the first time."""
    world.run("CREATE SEQUENCE w.tries")
    world.run(
        "CREATE FUNCTION w.pace() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN"
        " IF nextval('w.tries') = 1 THEN PERFORM pg_sleep(60); END IF; RETURN true; END $$"
    )
    pipeline = world.pipe(
        world.table(), "SELECT id, a, b FROM w.s WHERE (SELECT w.pace())", mode="merge"
    )
    world.fill((1, "a", 1))
    return pipeline


def test_the_locks_of_a_broken_attempt_are_not_waited_for(
    world: Any, slow: Any, wires: Wires
) -> None:
    """A server that has not noticed the break is told by the next attempt to end the first."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(slow.sync)
        until(lambda: world.run(SLEEPING) == [(1,)], "the run to sleep in the server")
        wires.cut()
        assert running.result(timeout=20).inserted == 1
    assert history(world) == [("success", 2)]
    assert world.run(SLEEPING) == [(0,)]


def test_a_killed_process_is_noticed_by_a_busy_server(world: Any, slow: Any, database: str) -> None:
    """A server that is busy with a statement of a killed process ends it within seconds."""
    source = "SELECT id, a, b FROM w.s WHERE (SELECT w.pace())"
    with nursery(database) as start:
        child = start("merge", source=source)
        until(lambda: world.run(SLEEPING) == [(1,)], "the run to sleep in the server")
        child.kill()
        until(lambda: world.run(SLEEPING) == [(0,)], "the server to notice", seconds=10)
    assert slow.sync().inserted == 1


# -- servers that restart -------------------------------------------------------------


# -- what is tried again --------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (psycopg.errors.SerializationFailure(), 5),
        (psycopg.errors.DeadlockDetected(), 5),
        (psycopg.errors.UniqueViolation(), 2),
        (psycopg.OperationalError("server closed the connection unexpectedly"), 3),
        (psycopg.errors.AdminShutdown(), 3),
        (psycopg.errors.CrashShutdown(), 3),
        (psycopg.errors.CannotConnectNow(), 3),
        (psycopg.errors.TooManyConnections(), 3),
        (psycopg.errors.QueryCanceled(), 1),
        (psycopg.errors.IdleInTransactionSessionTimeout(), 1),
        (psycopg.errors.DiskFull(), 1),
        (psycopg.errors.OutOfMemory(), 1),
        (psycopg.errors.InsufficientPrivilege(), 1),
        (psycopg.errors.DivisionByZero(), 1),
        (ValueError("the user's own"), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_which_failures_get_how_many_attempts(error: Exception, attempts: int) -> None:
    """Conflicts get five attempts, losses three, a key that somebody inserts two, others one.

    pgflow's and SQLAlchemy's own errors about them get the same.
    """
    failed = statement_failed(error, "do it", "SELECT")
    failed.__cause__ = error
    wrapped = sa.exc.DBAPIError("SELECT", (), error)
    for each in (error, failed, wrapped):
        seen = [n for n in range(1, 10) if delay(each, n, 5) is None]
        assert seen[0] == attempts, each


def test_pauses_grow_and_differ() -> None:
    """The pause before an attempt doubles from one to the next, by chance half more or less."""
    lost = psycopg.errors.AdminShutdown()
    for attempt, middle in ((1, 0.4), (2, 0.8)):
        pauses = {delay(lost, attempt, 5) for _ in range(50)}
        assert all(0.5 * middle <= (pause or 0) <= 1.5 * middle for pause in pauses)
        assert len(pauses) > 10
