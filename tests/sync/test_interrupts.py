"""Runs that are ended from outside: by a signal to a script, from another thread, or a task."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import RunCancelled
from pgflow.run.events import Silence
from tests.sync.sync_children import Gate, interpreter, nursery, until, waiting_for_target

#: Ending a run takes a tenth of a second; a busy machine gets some slack.
SOON = 5.0

SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"

SLOW = "SELECT id, a, b FROM w.s, pg_sleep(60)"


@pytest.fixture
def target(world: Any) -> Any:
    """An empty target `w.t` with a source of one row and a pipeline that takes a minute."""
    world.factory = world.table()
    world.pipeline = world.pipe(world.factory, SLOW, mode="merge")
    world.fill((1, "a", 1))
    return world


def ended(world: Any) -> list[Any]:
    """How runs ended; the server is idle, and nothing is in the target."""
    assert world.run(SLEEPING) == [(0,)]
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]
    found: list[Any] = world.run("SELECT status, error_type FROM pgflow.runs")
    return found


def until_asleep(world: Any, count: int = 1) -> None:
    until(lambda: world.run(SLEEPING) == [(count,)], "the run to sleep in the server")


# -- signals to a script --------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "sent", "code", "told"),
    [
        ({}, signal.SIGINT, None, "KeyboardInterrupt"),
        ({"on_sigterm": "interrupt"}, signal.SIGTERM, None, "KeyboardInterrupt"),
        ({"on_sigterm": "exit"}, signal.SIGTERM, 143, "SystemExit"),
    ],
)
def test_signals_that_raise_cancel_the_query(
    target: Any,
    database: str,
    order: dict[str, Any],
    sent: signal.Signals,
    code: int | None,
    told: str,
) -> None:
    """Whatever a signal's handler raises, the server's query ends and the history says failed."""
    with nursery(database, interpreter) as start:
        child = start("merge", source=SLOW, **order)
        until_asleep(target)
        seconds, found, _ = child.interrupt(sent)
    assert seconds < SOON
    assert ended(target) == [("failed", told)]
    assert code is None or found == code


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_signals_end_a_wait_for_another_run(
    target: Any, database: str, sent: signal.Signals
) -> None:
    """A signal ends a run that waits for the target, and the run that holds it goes on."""
    source = "SELECT id, a, b FROM w.s"
    with Gate(database) as gate, nursery(database) as start:
        first = start("merge", source=source, hold="body")
        gate.await_waiters()
        second = start("merge", source=source, on_sigterm="exit")
        until(lambda: waiting_for_target(database), "the second run to wait for the target")
        seconds, _, _ = second.interrupt(sent)
        assert seconds < SOON
        assert waiting_for_target(database) == 0
        gate.open()
        assert first.answer()["inserted"] == 1
    assert target.run("SELECT status FROM pgflow.runs ORDER BY started_at") == [
        ("success",),
        ("failed",),
    ]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_signals_end_a_copy_from_another_database(
    target: Any, database: str, make_database: Callable[[], str], sent: signal.Signals
) -> None:
    """A signal that comes while rows are copied ends the work on both servers."""
    with nursery(database, interpreter) as start:
        child = start(
            "merge",
            source="SELECT generate_series(1, 1000000000) AS id, 'a' AS a, 1 AS b",
            source_url=make_database(),
            on_sigterm="exit",
        )
        copying = (
            "SELECT count(*) FROM pg_stat_progress_copy AS c JOIN pg_stat_activity AS a USING (pid)"
            " WHERE a.application_name LIKE 'pgflow p %%'"
        )
        until(lambda: target.run(copying) == [(2,)], "the run to copy")
        seconds, code, said = child.interrupt(sent)
    assert seconds < SOON, said
    assert code != 0
    until(lambda: target.run(copying) == [(0,)], "both servers to be idle", seconds=SOON)
    assert [status for status, _ in ended(target)] == ["failed"]


# -- from another thread --------------------------------------------------------------


def test_cancel_runs_ends_the_runs_of_other_threads(target: Any) -> None:
    """`cancel_runs()` ends every run of the process within a second, whichever thread it is in."""
    other = target.pipe(target.table("u"), SLOW, mode="scd2", name="q")
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(each.sync) for each in (target.pipeline, other)]
        until_asleep(target, 2)
        begun = time.monotonic()
        assert pgflow.cancel_runs() == 2
        for run in runs:
            with pytest.raises(RunCancelled, match=r"cancel_runs\(\) was called"):
                run.result()
        assert time.monotonic() - begun < SOON
    assert ended(target) == [("failed", "RunCancelled")] * 2
    assert pgflow.cancel_runs() == 0


def test_cancel_runs_ends_a_run_that_is_between_statements(target: Any) -> None:
    """A run whose own function is at work is cancelled at its next statement."""
    entered, go = threading.Event(), threading.Event()

    def body(conn: Any) -> str:
        entered.set()
        assert go.wait(30)
        return SLOW

    pipeline = target.pipe(target.factory, None, body=body, mode="merge")
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(pipeline.sync)
        assert entered.wait(30)
        assert pgflow.cancel_runs() == 1
        go.set()
        with pytest.raises(RunCancelled):
            run.result(timeout=SOON)
    assert ended(target) == [("failed", "RunCancelled")]


def test_cancel_runs_ends_a_run_that_waits_for_another(target: Any, database: str) -> None:
    """A run that waits for its target stops waiting."""
    with Gate(database) as gate, nursery(database) as start, ThreadPoolExecutor(1) as pool:
        first = start("merge", source="SELECT id, a, b FROM w.s", hold="body")
        gate.await_waiters()
        waits = pool.submit(target.pipeline.sync)
        until(lambda: waiting_for_target(database), "the second run to wait for the target")
        pgflow.cancel_runs()
        with pytest.raises(RunCancelled):
            waits.result(timeout=SOON)
        gate.open()
        assert first.answer()["inserted"] == 1


def test_cancel_runs_ends_a_rest_between_attempts(
    target: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that waits for its next attempt stops waiting."""
    monkeypatch.setattr("pgflow.run.recovery.retries.delay", lambda *_: 60.0)
    pipeline = target.pipe(target.factory, "SELECT id, a, b FROM w.s", mode="merge")
    target.run(
        "CREATE FUNCTION w.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'not now' USING ERRCODE = '40001'; END $$"
    )
    target.run(
        "CREATE TRIGGER fail BEFORE INSERT ON w.t FOR EACH STATEMENT EXECUTE FUNCTION w.fail()"
    )
    resting = threading.Event()

    class Watch(Silence):
        def retrying(self, *_: Any) -> None:
            resting.set()

    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(pipeline.sync, observer=Watch())
        assert resting.wait(30)
        pgflow.cancel_runs()
        with pytest.raises(RunCancelled):
            run.result(timeout=SOON)
    assert ended(target) == [("failed", "RunCancelled")]


def test_a_task_that_is_cancelled_can_cancel_its_run(target: Any) -> None:
    """An asyncio task that runs a sync in a thread cancels it when it is cancelled itself."""

    async def sync() -> None:
        try:
            await asyncio.to_thread(target.pipeline.sync)
        except asyncio.CancelledError:
            pgflow.cancel_runs()
            raise

    async def main() -> None:
        task = asyncio.create_task(sync())
        await asyncio.to_thread(until_asleep, target)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    begun = time.monotonic()
    asyncio.run(main())  # ends when the thread has
    assert time.monotonic() - begun < 2 * SOON
    assert ended(target) == [("failed", "RunCancelled")]


@pytest.mark.parametrize("covered", [False, True])
@pytest.mark.parametrize("commit", [1, 2])
def test_an_interrupt_during_a_commit_is_told_truly(
    target: Any, covered: bool, commit: int
) -> None:
    """Ctrl-C between a commit and its answer ends the run, whatever error is put over it."""

    class Interrupted(psycopg.Connection[Any]):
        commits = 0

        def commit(self) -> None:
            super().commit()
            Interrupted.commits += 1
            if Interrupted.commits == commit:
                try:
                    raise KeyboardInterrupt
                except KeyboardInterrupt:
                    if covered:
                        raise psycopg.OperationalError("the connection is lost")  # noqa: B904
                    raise

    url = target.engine.url.render_as_string(hide_password=False).replace("+psycopg", "")
    engine = sa.create_engine(target.engine.url, creator=lambda: Interrupted.connect(url))
    pipeline = pgflow.Pipeline(
        "interrupted",
        target=target.factory,
        source="SELECT id, a, b FROM w.s",
        mode="merge",
        connection=engine,
    )
    try:
        with pytest.raises(KeyboardInterrupt):
            pipeline.sync()
    finally:
        engine.dispose()
    # The first commit is that of the history's line, the second that of the data.
    told = [("failed", "KeyboardInterrupt")] if commit == 1 else [("success", None)]
    assert target.run("SELECT status, error_type FROM pgflow.runs") == told
    assert target.run("SELECT count(*) FROM w.t") == [(commit - 1,)]


def test_an_interrupt_that_the_caller_handles_is_not_taken_for_another(target: Any) -> None:
    """A run in an `except KeyboardInterrupt:` block fails with its own errors."""
    pipeline = target.pipe(target.factory, "SELECT id, a, b FROM w.nowhere", mode="merge")
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        with pytest.raises(pgflow.PgflowError):
            pipeline.sync()
