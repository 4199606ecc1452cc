"""`pgflow worker`: every firing runs once to success, whatever becomes of the workers."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

import pgflow
from pgflow.connections.registry import driver_arguments, engine
from pgflow.schedule.due import Firing
from pgflow.schedule.queue import Queue

if TYPE_CHECKING:
    from conftest import Invoke, Place

#: A pipeline that notes each of its firings, and the process that ran it. Its schedule is far from
#: any test; firings are put into the queue.
PIPELINES = """
import os
from datetime import datetime

from sqlalchemy import TIMESTAMP, BigInteger, Column, MetaData, Text
import pgflow

metadata = MetaData()


def noted(name, connection=None, **schedule):
    columns = [Column("at", TIMESTAMP(timezone=True)), Column("process", BigInteger)]
    table = pgflow.SimpleTable(name, "warehouse", metadata, columns)

    def note(*, scheduled_at: datetime):
        return pgflow.Query(
            "SELECT CAST(:at AS timestamptz) AS at, warehouse.process(:at, :pid) AS process",
            {"at": scheduled_at, "pid": os.getpid()},
        )

    return pgflow.Pipeline(
        name, target=table, mode="append", body=note, connection=connection,
        schedule=pgflow.Schedule("0 0 29 2 *", **schedule),
    )
"""

#: Says which process it is, and waits where a test has put up a gate.
GATES = """
CREATE TABLE warehouse.gates (at timestamptz);
CREATE FUNCTION warehouse.process(at timestamptz, pid bigint) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM warehouse.gates AS g WHERE g.at = process.at) THEN
        PERFORM set_config('application_name', 'at the gate: ' || pid, true);
        PERFORM pg_advisory_xact_lock_shared(4711);
    END IF;
    RETURN pid;
END;
$$
"""

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


def queue_of(place: Place) -> Queue:
    """The queue of a place's database."""
    return Queue(lambda: driver_arguments(engine(place.database)))


def fill(place: Place, firings: list[Firing]) -> None:
    """Put firings into the queue."""

    async def work() -> None:
        queue = queue_of(place)
        async with queue.opened():
            await queue.defer(firings)

    asyncio.run(work())


def until(condition: Callable[[], Any], seconds: float = 120.0) -> Any:
    """Wait for something to be true, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return found


@pytest.fixture
def yard(place: Place, invoke: Invoke) -> Place:
    """A project of one noted pipeline `p`, with its tables and a queue."""
    prepare(place, invoke, "p = noted('p', catch_up='all')")
    return place


def prepare(place: Place, invoke: Invoke, text: str) -> None:
    place.write(text, PIPELINES)
    place.create()
    place.execute(GATES)
    assert invoke("worker", "--init").code == 0


@pytest.fixture
def start(
    place: Place, console_script: list[str], environment: Callable[..., dict[str, str]]
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts workers in processes of their own; those that still live are ended."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        command = [*console_script, "worker", "--heartbeat", "0.3", *words]
        with (place.directory / f"worker {len(started)}").open("w") as told:
            process = subprocess.Popen(
                command, stderr=told, text=True, cwd=place.directory, env=environment()
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


@contextmanager
def gate(place: Place) -> Iterator[None]:
    """Keep the gates closed."""
    with psycopg.connect(place.database.replace("+psycopg", ""), autocommit=True) as live:
        live.execute("SELECT pg_advisory_lock(4711)")
        yield


def at_the_gate(place: Place) -> int | None:
    """The process that waits at the gate."""
    rows = place.execute(
        "SELECT substring(application_name FROM 'at the gate: (.*)') FROM pg_stat_activity"
        " WHERE application_name LIKE 'at the gate: %'"
        " AND datname = current_database() AND wait_event_type = 'Lock'"
    )
    return int(rows[0][0]) if rows else None


def left(place: Place) -> int:
    """How many firings are not over."""
    rows = place.execute(
        "SELECT count(*) FROM pgflow_queue.procrastinate_jobs WHERE status IN ('todo', 'doing')"
    )
    return int(rows[0][0])


def told(place: Place) -> str:
    """What all workers have said."""
    return "".join(each.read_text() for each in sorted(place.directory.glob("worker *")))


def runs(place: Place, columns: str = "status, details ->> 'firing'") -> list[tuple[Any, ...]]:
    """The history, in order."""
    return place.execute(f"SELECT {columns} FROM pgflow.runs ORDER BY started_at")


def jobs(place: Place) -> list[tuple[Any, ...]]:
    """What is in the queue."""
    text = "SELECT status::text, attempts FROM pgflow_queue.procrastinate_jobs ORDER BY id"
    return place.execute(text)


def test_each_of_200_firings_runs_once_though_a_worker_is_killed(
    place: Place, invoke: Invoke, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """Two workers share 200 firings, one is killed in the middle: each ran once to success.

    Whatever the workers say of that bears the time.
    """
    names = ["a", "b", "c", "d"]
    prepare(place, invoke, "\n".join(f"{n} = noted('{n}', catch_up='all')" for n in names))
    instants = [BEGIN + timedelta(minutes=i) for i in range(50)]
    fill(place, [Firing(name, instant) for instant in instants for name in names])
    place.execute(f"INSERT INTO warehouse.gates VALUES ('{instants[20]}')")
    with gate(place):
        workers = {each.pid: each for each in (start(), start())}
        # The other three pipelines pass the gate's instant as well, so up to four runs wait there.
        killed = until(lambda: at_the_gate(place))
        os.kill(killed, signal.SIGKILL)
        workers[killed].wait()
    until(lambda: left(place) == 0)
    survivor = next(each for pid, each in workers.items() if pid != killed)
    survivor.terminate()
    assert survivor.wait() == 0, told(place)
    for name in names:
        rows = place.execute(f"SELECT at FROM warehouse.{name} ORDER BY at")
        assert [row[0] for row in rows] == instants, name
    successes = place.execute(
        "SELECT pipeline, details ->> 'firing', count(*) FROM pgflow.runs"
        " WHERE status = 'success' GROUP BY 1, 2"
    )
    assert len(successes) == 200
    assert {row[2] for row in successes} == {1}
    assert f" of {instants[20]:%Y-%m-%d %H:%M} UTC: begins, attempt 2" in told(place)
    assert " UTC: its worker died; it is run again\n" in told(place)
    stamp = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d \S")
    assert [line for line in told(place).splitlines() if not stamp.match(line)] == []


def test_a_firing_that_was_committed_is_not_run_again(
    yard: Place, start: Callable[..., subprocess.Popen[str]], invoke: Invoke
) -> None:
    """A worker killed after its commit, before the queue heard of it, leaves nothing to be done."""
    yard.execute(
        """
        CREATE FUNCTION warehouse.wait() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM set_config('application_name', 'at the gate: ' || pg_backend_pid(), true);
            PERFORM pg_advisory_xact_lock_shared(4711);
            RETURN OLD;
        END $$;
        CREATE TRIGGER wait BEFORE DELETE ON pgflow_queue.procrastinate_jobs
            FOR EACH ROW EXECUTE FUNCTION warehouse.wait()
        """
    )
    fill(yard, [Firing("p", BEGIN)])
    with gate(yard):
        worker = start()
        until(lambda: at_the_gate(yard))
        worker.kill()
        worker.wait()
        # The server's process would go on and delete the job, as if the worker had lived on.
        yard.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE 'at the gate: %' AND datname = current_database()"
        )
        until(lambda: at_the_gate(yard) is None)
    assert jobs(yard) == [("doing", 0)]
    yard.execute("DROP TRIGGER wait ON pgflow_queue.procrastinate_jobs")
    yard.execute("UPDATE pgflow_queue.procrastinate_workers SET last_heartbeat = 'epoch'")
    done = invoke("worker", "--once")
    assert "p of 2026-03-01 00:00 UTC: had been run before" in done.err
    assert jobs(yard) == []
    assert yard.execute("SELECT count(*) FROM warehouse.p") == [(1,)]
    assert [status for status, _ in runs(yard)] == ["success", "abandoned"]
    why = runs(yard, "error")[1][0]
    assert re.fullmatch(r"run [-0-9a-f]{36} had settled this firing; nothing was to be done", why)


def test_a_firing_that_kills_worker_after_worker_is_given_up(yard: Place, invoke: Invoke) -> None:
    """A firing is taken back from dead workers a few times, then it stands as failed."""
    fill(yard, [Firing("p", BEGIN), Firing("p", BEGIN + timedelta(days=1))])
    yard.execute(
        "SET search_path = pgflow_queue; UPDATE procrastinate_jobs SET status = 'doing',"
        " attempts = 8 WHERE id = (SELECT min(id) FROM procrastinate_jobs)"
    )
    done = invoke("worker", "--once")
    assert "p of 2026-03-01 00:00 UTC: worker after worker died of it; it is given up" in done.err
    assert jobs(yard) == [("failed", 9)]
    assert yard.execute("SELECT at FROM warehouse.p") == [(BEGIN + timedelta(days=1),)]


def test_a_firing_that_fails_is_tried_again_and_then_given_up(place: Place, invoke: Invoke) -> None:
    """Retries are bounded, stand in the history, and the firing after it has its turn."""
    text = "p = noted('p', catch_up='all', retries=2, retry_delay=timedelta(0))"
    prepare(place, invoke, f"from datetime import timedelta\n{text}")
    place.execute("ALTER TABLE warehouse.p ADD CHECK (at <> '2026-03-01T00:00:00Z')")
    fill(place, [Firing("p", BEGIN), Firing("p", BEGIN + timedelta(days=1))])
    done = invoke("worker", "--once")
    assert invoke("worker", "--once").code == 0  # nothing is left
    first, second = (Firing("p", BEGIN + timedelta(days=i)).text for i in (0, 1))
    assert runs(place) == [("failed", first)] * 3 + [("success", second)]
    assert "p of 2026-03-01 00:00 UTC: given up after 3 attempts" in done.err
    assert re.search(r'constraint "p_at_check" DETAIL: +Failing row contains', done.err)
    assert done.code == 1
    assert jobs(place) == [("failed", 3)]


def test_a_declaration_error_is_not_tried_again(place: Place, invoke: Invoke) -> None:
    """What the project has to mend first is told once."""
    text = """
def two(*, scheduled_at: datetime):
    return "SELECT 1 AS process; SELECT 2"

table = noted("p").spec.targets[0].table
q = pgflow.Pipeline("q", target=table, mode="append", body=two, schedule="0 0 29 2 *")
"""
    prepare(place, invoke, text)
    fill(place, [Firing("q", BEGIN)])
    done = invoke("worker", "--once")
    assert "q of 2026-03-01 00:00 UTC: given up after 1 attempt\n" in done.err
    assert jobs(place) == [("failed", 1)]


def test_a_pipeline_that_is_gone_is_told_and_offered_again_later(
    yard: Place, invoke: Invoke
) -> None:
    """A firing of a pipeline that was removed waits for another worker's version, not for ever."""
    fill(yard, [Firing("gone", BEGIN)])
    done = invoke("worker", "--once")
    assert "gone of 2026-03-01 00:00 UTC: this worker's project has no pipeline of that" in done.err
    assert jobs(yard) == [("todo", 1)]
    yard.execute(
        "SET search_path = pgflow_queue;"
        " UPDATE procrastinate_jobs SET scheduled_at = now(), attempts = 5"
    )
    invoke("worker", "--once")
    assert jobs(yard) == [("failed", 6)]


def test_a_newer_firing_takes_the_place_of_those_that_wait(place: Place, invoke: Invoke) -> None:
    """With catch_up='latest' a worker that was slow runs the newest firing only."""
    prepare(place, invoke, "p = noted('p')")
    schedules = {"p": pgflow.Schedule("0 0 29 2 *")}

    async def work() -> None:
        queue = queue_of(place)
        async with queue.opened():
            await queue.tick(schedules, BEGIN)
            await queue.defer([Firing("p", BEGIN + timedelta(days=i)) for i in range(3)])

    asyncio.run(work())
    done = invoke("worker", "--once")
    assert [firing for _, firing in runs(place)] == [Firing("p", BEGIN + timedelta(days=2)).text]
    assert "p of 2026-03-01 00:00 UTC: left out, as a newer one is due" in done.err


def test_a_pipeline_runs_after_those_that_it_reads(place: Place, invoke: Invoke) -> None:
    """Pipelines of one schedule run in the project's order, though workers run several at once."""
    text = """
source = noted("source", catch_up="all")
columns = [Column("at", TIMESTAMP(timezone=True))]
target = pgflow.SimpleTable("copy", "warehouse", metadata, columns)
copy = pgflow.Pipeline("copy", target=target, source="SELECT at FROM warehouse.source",
                       mode="truncate", schedule=pgflow.Schedule("0 0 29 2 *", catch_up="all"))
"""
    prepare(place, invoke, text)
    invoke("worker", "--once")  # sees the schedules, and that nothing was missed
    place.execute("UPDATE pgflow_queue.pgflow_schedules SET looked_at = '2019-01-01'")
    done = invoke("worker", "--once")
    for year in (2020, 2024):
        written = done.err.index(f"source of {year}-02-29 00:00 UTC: done")
        assert written < done.err.index(f"copy of {year}-02-29 00:00 UTC: begins")
    years = place.execute("SELECT extract(year FROM at)::int FROM warehouse.copy ORDER BY 1")
    assert years == [(2020,), (2024,)]


def test_runs_wait_for_the_connections_of_a_small_pool(place: Place, invoke: Invoke) -> None:
    """More pipelines at a time than an engine has connections do not fail for that."""
    text = f"""
import sqlalchemy as sa

engine = sa.create_engine(
    {place.database!r}, pool_size=1, max_overflow=0, pool_timeout=0.001,
    connect_args={{"prepare_threshold": None}},
)
"""
    text += "\n".join(f"p{i} = noted('p{i}', connection=engine)" for i in range(6))
    prepare(place, invoke, text)
    fill(place, [Firing(f"p{i}", BEGIN) for i in range(6)])
    done = invoke("worker", "--once", "--concurrency", "6")
    sys.modules["pipelines"].engine.dispose()
    assert [status for status, _ in runs(place)] == ["success"] * 6, done.err
    assert "attempt 2" not in done.err


@pytest.mark.parametrize(
    "address, code, said",
    [
        ("postgresql://me:secret@127.0.0.1:1/none", 3, "the database cannot be reached"),
        ("sqlite:///queue.db", 3, "the queue's connection is sqlite+pysqlite"),
        ("nowhere", 3, "nowhere"),
    ],
)
@pytest.mark.parametrize("words", [("--init",), ("--once",)])
def test_a_queue_that_cannot_be_reached_is_told(
    place: Place, invoke: Invoke, address: str, code: int, said: str, words: tuple[str, ...]
) -> None:
    """A wrong address is a sentence with an exit code, and shows no password."""
    place.write("p = noted('p')", PIPELINES)
    done = invoke("worker", "--connection", address, *words)
    assert said in done.err
    assert done.code == code
    assert "secret" not in done.err


def test_the_first_signal_lets_runs_end(
    yard: Place, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """SIGTERM takes no more firings, waits for the run that goes on, and ends well."""
    yard.execute(f"INSERT INTO warehouse.gates VALUES ('{BEGIN}')")
    fill(yard, [Firing("p", BEGIN), Firing("p", BEGIN + timedelta(days=1))])
    with gate(yard):
        worker = start()
        until(lambda: at_the_gate(yard))
        worker.terminate()
        until(lambda: "stopping: runs have 30 s to end" in told(yard))
        time.sleep(1.5)  # longer than a worker may be silent
        assert worker.poll() is None
    assert worker.wait(60) == 0, told(yard)
    assert [status for status, _ in runs(yard)] == ["success"]
    assert jobs(yard) == [("todo", 0)]
    assert "its worker died" not in told(yard)


def test_once_gives_runs_the_time_that_they_need(
    yard: Place, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """The grace counts from a signal, not from when the queue is empty; then it does count."""
    yard.execute(f"INSERT INTO warehouse.gates VALUES ('{BEGIN}')")
    fill(yard, [Firing("p", BEGIN)])
    with gate(yard):
        worker = start("--once", "--grace", "0.1")
        until(lambda: at_the_gate(yard))
        time.sleep(1)
        assert runs(yard, "status") == [("running",)]
        worker.terminate()
        assert worker.wait(60) == 0, told(yard)
        assert runs(yard, "status, error_type") == [("failed", "RunCancelled")]
    assert jobs(yard) == [("todo", 1)]


def test_an_end_that_the_queue_does_not_take_is_told_in_a_line(
    yard: Place, invoke: Invoke, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever took the job away, the worker says so and prints no traceback."""
    yard.execute(
        """
        CREATE FUNCTION warehouse.lose() RETURNS trigger LANGUAGE plpgsql
            SET search_path = pgflow_queue AS
            $$ BEGIN DELETE FROM procrastinate_jobs; RETURN NEW; END $$;
        CREATE TRIGGER lose BEFORE INSERT ON warehouse.p
            FOR EACH ROW EXECUTE FUNCTION warehouse.lose()
        """
    )
    fill(yard, [Firing("p", BEGIN)])
    done = invoke("worker", "--once")
    assert "p of 2026-03-01 00:00 UTC: done" in done.err
    why = "p of 2026-03-01 00:00 UTC: its end could not be recorded: Job was not found"
    assert why in caplog.text
    assert "Traceback" not in done.err + caplog.text


@pytest.mark.parametrize("signals, words, code", [(2, (), 143), (1, ("--grace", "0.1"), 0)])
def test_runs_that_do_not_end_are_cancelled_and_run_again(
    yard: Place,
    start: Callable[..., subprocess.Popen[str]],
    invoke: Invoke,
    signals: int,
    words: tuple[str, ...],
    code: int,
) -> None:
    """A second signal, or the end of the grace, cancels runs on the server; the firing is kept."""
    yard.execute(f"INSERT INTO warehouse.gates VALUES ('{BEGIN}')")
    fill(yard, [Firing("p", BEGIN)])
    with gate(yard):
        worker = start(*words)
        until(lambda: at_the_gate(yard))
        worker.terminate()
        until(lambda: "stopping: runs have" in told(yard))
        if signals > 1:
            worker.terminate()
        assert worker.wait(60) == code, told(yard)
        assert runs(yard, "status, error_type") == [("failed", "RunCancelled")]
    assert jobs(yard) == [("todo", 1)]
    assert invoke("worker", "--once").code == 0
    assert yard.execute("SELECT at FROM warehouse.p") == [(BEGIN,)]


def test_a_worker_survives_the_loss_of_its_connections(
    yard: Place, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """Sessions that the server ends are opened again, and the next firing is run."""
    mine = "FROM pg_stat_activity WHERE application_name = 'pgflow worker'"
    mine += " AND datname = current_database()"
    worker = start()
    until(lambda: yard.execute(f"SELECT 1 {mine} AND query LIKE 'LISTEN%'"))
    yard.execute(f"SELECT pg_terminate_backend(pid) {mine}")
    fill(yard, [Firing("p", BEGIN)])
    until(lambda: [status for status, _ in runs(yard)] == ["success"])
    worker.terminate()
    assert worker.wait(60) == 0, told(yard)
