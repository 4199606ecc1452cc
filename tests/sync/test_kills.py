"""Processes and connections that die in the middle of a run, and what the next run makes of it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from pgflow.errors import OutcomeUnknown, StatementFailed
from pgflow.run.events import RunStarted, Silence
from pgflow.run.recovery import contact
from pgflow.testing import assert_scd2
from tests.sync.sync_children import GATE, Gate, nursery, until, waiting_for_target

OLD = [(i, f"a{i}") for i in range(1, 6)]
NEW = [*((i, f"a{i}!") for i in range(1, 4)), *OLD[3:]]


@pytest.fixture
def target(world: Any) -> Any:
    """An scd2 target `w.t` that was filled from five rows, of which three have changed since."""
    world.factory = world.table()
    world.pipeline = world.pipe(world.factory, mode="scd2", name="next")
    world.run("INSERT INTO w.s SELECT i, 'a' || i, i FROM generate_series(1, 5) AS i")
    world.pipeline.sync()
    world.run("DELETE FROM pgflow.runs")
    world.run("UPDATE w.s SET a = a || '!' WHERE id <= 3")
    return world


def current(world: Any) -> list[tuple[Any, ...]]:
    """The current versions, after a check of the whole history."""
    with world.engine.connect() as connection:
        assert_scd2(connection, world.factory)
    found: list[tuple[Any, ...]] = world.run("SELECT id, a FROM w.t WHERE is_current ORDER BY id")
    return found


def statuses(world: Any) -> dict[str, str]:
    """The status of each pipeline's last run."""
    return dict(world.run("SELECT pipeline, status FROM pgflow.runs ORDER BY started_at"))


def grow_old(world: Any) -> None:
    """Let every run have begun eleven seconds earlier."""
    world.run("UPDATE pgflow.runs SET started_at = started_at - interval '11 seconds'")


def until_backends_left(world: Any) -> None:
    """Wait until the server has noticed that the killed process is gone."""
    question = (
        "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND application_name LIKE 'pgflow%%')"
    )
    until(lambda: world.run(question)[0][0], "the killed process's connections to end")


def commit_slowly(world: Any) -> None:
    """Let the server wait at the gate in the middle of a commit."""
    world.run(
        "CREATE FUNCTION w.linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" PERFORM pg_advisory_xact_lock({GATE}); RETURN NULL; END $$"
    )
    world.run(
        "CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON w.t DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION w.linger()"
    )


# -- kill -9 --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "where",
    [
        "begin",
        "body",
        "read the source",
        "close the versions",
        "open the versions",
        "commit",
    ],
)
def test_killed_run_leaves_the_old_state_and_is_marked_by_the_next(
    target: Any, database: str, where: str
) -> None:
    """After kill -9 the target is as it was, and the next run marks the dead one once it is old."""
    with Gate(database) as gate, nursery(database) as start:
        child = start(hold=where)
        gate.await_waiters()
        child.kill()
    until_backends_left(target)
    assert current(target) == OLD
    assert statuses(target) == {"p": "running"}
    assert target.pipeline.sync().closed == 3
    assert current(target) == NEW
    assert statuses(target) == {"p": "running", "next": "success"}
    grow_old(target)
    assert target.pipeline.sync().unchanged == 5
    assert target.run(
        "SELECT status, error, finished_at IS NOT NULL FROM pgflow.runs WHERE pipeline = 'p'"
    ) == [("abandoned", "the process ended before the run did", True)]


def test_killed_during_commit_has_committed_all_or_nothing(target: Any, database: str) -> None:
    """A run whose process dies while the server commits has its data and its record, or neither."""
    commit_slowly(target)
    with Gate(database) as gate, nursery(database) as start:
        child = start()
        gate.await_waiters()
        child.kill()
        assert current(target) == OLD
        assert statuses(target) == {"p": "running"}
        gate.open()
        until_backends_left(target)
    assert (current(target), statuses(target)) == (NEW, {"p": "success"})


def test_living_runs_are_never_marked(target: Any, database: str) -> None:
    """A run that works, and one that waits for it, are left alone however old they are."""
    other = target.pipe(target.table("u"), mode="merge", name="other")
    with Gate(database) as gate, nursery(database) as start:
        works = start(hold="body")
        gate.await_waiters()
        waits = start()
        until(lambda: waiting_for_target(database), "the second run to wait for the target")
        grow_old(target)
        other.sync()
        assert target.run("SELECT DISTINCT status FROM pgflow.runs WHERE pipeline = 'p'") == [
            ("running",)
        ]
        gate.open()
        works.answer()
        waits.answer()
    assert statuses(target) == {"p": "success", "other": "success"}


# -- lost connections -----------------------------------------------------------------


def terminate(world: Any) -> None:
    """End the server processes of runs, as an administrator would."""
    found = world.run(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE 'pgflow next%%'"
    )
    assert found == [(True,)]


class Terminator(Silence):
    """Ends the run's server process before a statement."""

    def __init__(self, world: Any, purpose: str) -> None:
        self.world, self.purpose = world, purpose

    def executing(self, run: RunStarted, statement: Any) -> None:
        if statement.purpose.startswith(self.purpose):
            terminate(self.world)


@pytest.mark.parametrize(
    "purpose",
    ["read the source", "open the versions"],
)
def test_terminated_backend_is_told_and_recorded(target: Any, purpose: str) -> None:
    """A run whose server process is ended each time says so, changes nothing, and is recorded."""
    with pytest.raises(StatementFailed, match=f"could not {purpose}") as caught:
        target.pipeline.sync(observer=Terminator(target, purpose))
    assert "terminating connection due to administrator command" in str(caught.value)
    assert caught.value.__cause__ is not None
    assert current(target) == OLD
    assert target.run("SELECT status, attempts, error_type FROM pgflow.runs") == [
        ("failed", 3, "StatementFailed")
    ]
    assert target.pipeline.sync().closed == 3


def test_terminated_backend_in_a_first_load(world: Any) -> None:
    """A connection lost behind the savepoint of a first load is told like any other."""
    pipeline = world.pipe(world.table(), mode="merge", name="next")
    world.fill((1, "a", 1))
    purpose = "load the empty target"
    with pytest.raises(StatementFailed, match=f"could not {purpose}.*: terminating connection"):
        pipeline.sync(observer=Terminator(world, purpose))
    assert world.run("SELECT status FROM pgflow.runs") == [("failed",)]
    assert pipeline.sync().inserted == 1


def test_connection_lost_before_the_commit_arrives(target: Any) -> None:
    """A commit that never reached the server is found missing, and the run starts again."""
    begun = []
    sa.event.listen(target.engine, "begin", begun.append)

    def lose(_connection: Any) -> None:
        if len(begun) == 2:
            terminate(target)

    sa.event.listen(target.engine, "commit", lose)
    assert target.pipeline.sync().closed == 3
    assert current(target) == NEW
    assert target.run("SELECT status, attempts FROM pgflow.runs") == [("success", 2)]


class Wires:
    """Keeps a second handle on the run's socket."""

    def __init__(self, engine: sa.Engine) -> None:
        self.sockets: list[socket.socket] = []
        sa.event.listen(engine, "connect", self.connected)

    def connected(self, driver: Any, _record: Any) -> None:
        self.sockets.append(socket.socket(fileno=os.dup(driver.fileno())))

    def cut(self) -> None:
        """Cut every connection, as a broken network would; the server does not notice."""
        for each in self.sockets:
            each.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        for each in self.sockets:
            each.close()


@pytest.fixture
def wires(target: Any) -> Iterator[Wires]:
    """The sockets of all connections of the target's engine."""
    made = Wires(target.engine)
    yield made
    made.close()


def test_connection_lost_during_commit_is_settled_by_the_history(
    target: Any, database: str, wires: Wires
) -> None:
    """If the answer to a commit is lost, the run waits for the outcome and asks what it was."""
    commit_slowly(target)
    with ThreadPoolExecutor(1) as pool, Gate(database) as gate:
        running = pool.submit(target.pipeline.sync)
        gate.await_waiters()
        wires.cut()
        until(lambda: waiting_for_target(database), "the run to ask for the outcome")
        gate.open()
        assert running.result().closed == 3
    assert current(target) == NEW
    assert statuses(target) == {"next": "success"}


def test_outcome_that_cannot_be_asked_is_said_to_be_unknown(
    target: Any, database: str, wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the history cannot be asked after a lost commit, the error names the run to look for."""
    monkeypatch.setattr(contact, "PATIENCE", 0.5)
    commit_slowly(target)
    with ThreadPoolExecutor(1) as pool, Gate(database) as gate:
        running = pool.submit(target.pipeline.sync)
        gate.await_waiters()

        def refuse(*_: Any) -> None:
            raise target.engine.dialect.dbapi.OperationalError("the network is down")

        sa.event.listen(target.engine, "do_connect", refuse)
        wires.cut()
        with pytest.raises(OutcomeUnknown, match="the network is down") as caught:
            running.result()
        sa.event.remove(target.engine, "do_connect", refuse)
        gate.open()
    until(lambda: statuses(target) == {"next": "success"}, "the commit to arrive")
    assert target.run("SELECT run_id FROM pgflow.runs") == [(caught.value.run_id,)]
    assert current(target) == NEW


# -- Ctrl-C ---------------------------------------------------------------------------


def test_ctrl_c_ends_a_long_query_at_once(target: Any, database: str) -> None:
    """Ctrl-C cancels the server's query within a second and leaves a failed run behind."""
    with nursery(database) as start:
        child = start(source="SELECT id, a, b FROM w.s, pg_sleep(30)")
        asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        until(lambda: target.run(asleep) == [(1,)], "the run to sleep in the server")
        seconds, code, said = child.interrupt()
    assert target.run(asleep) == [(0,)]
    assert seconds < 5  # a busy machine gets some slack; the query would take thirty
    assert (code != 0, said.strip().splitlines()[-1]) == (True, "KeyboardInterrupt")
    assert target.run("SELECT status, error_type FROM pgflow.runs") == [
        ("failed", "KeyboardInterrupt")
    ]
    assert current(target) == OLD


def test_ctrl_c_while_waiting_for_another_run(target: Any, database: str) -> None:
    """Ctrl-C ends a run that waits for the target; the run that holds it goes on."""
    with Gate(database) as gate, nursery(database) as start:
        first = start(hold="body")
        gate.await_waiters()
        second = start()
        until(lambda: waiting_for_target(database), "the second run to wait for the target")
        seconds, _, said = second.interrupt()
        assert seconds < 5
        assert said.strip().splitlines()[-1] == "KeyboardInterrupt"
        assert waiting_for_target(database) == 0
        gate.open()
        assert first.answer()["closed"] == 3
    assert target.run("SELECT status FROM pgflow.runs ORDER BY started_at") == [
        ("success",),
        ("failed",),
    ]


def test_ctrl_c_during_the_commit(target: Any, database: str) -> None:
    """Ctrl-C ends also a commit that the server is busy with; nothing is written."""
    commit_slowly(target)
    with Gate(database) as gate, nursery(database) as start:
        child = start()
        gate.await_waiters()
        seconds, _, said = child.interrupt()
    assert seconds < 5
    assert said.strip().splitlines()[-1] == "KeyboardInterrupt"
    assert current(target) == OLD
    assert statuses(target) == {"p": "failed"}


def test_interrupt_after_the_commit_does_not_make_a_success_a_failure(target: Any) -> None:
    """If Ctrl-C arrives when the server has just committed, the history says success."""
    begun = []
    sa.event.listen(target.engine, "begin", begun.append)
    commit = target.engine.dialect.do_commit

    def late(connection: Any) -> None:
        commit(connection)
        if len(begun) == 2:
            raise KeyboardInterrupt

    target.engine.dialect.do_commit = late
    with pytest.raises(KeyboardInterrupt):
        target.pipeline.sync()
    del target.engine.dialect.do_commit
    assert current(target) == NEW
    assert statuses(target) == {"next": "success"}
