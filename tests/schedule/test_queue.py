"""The queue: created and migrated once, and every firing deferred once."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

import pgflow
from pgflow.connections.registry import driver_arguments, engine
from pgflow.errors import MissingQueue, MissingWorkerExtra, OtherQueue
from pgflow.schedule import installation
from pgflow.schedule.due import Firing
from pgflow.schedule.queue import Pulse, Queue

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


def connected(database: str) -> psycopg.Connection[Any]:
    """A connection to a database."""
    return psycopg.connect(**driver_arguments(engine(database)))


def queue_in(database: str, schema: str = installation.SCHEMA) -> Queue:
    """A queue that exists."""
    with connected(database) as live:
        installation.install(live, schema)
    return Queue(lambda: driver_arguments(engine(database)), schema)


def waiting(database: str, schema: str = installation.SCHEMA) -> list[tuple[str, str]]:
    """The pipelines and instants of firings in the queue."""
    with connected(database) as live:
        return live.execute(
            "SELECT args ->> 'pipeline', substr(args ->> 'instant', 12, 5)"
            f' FROM "{schema}".procrastinate_jobs ORDER BY id'
        ).fetchall()


def test_many_workers_defer_each_firing_once(database: str) -> None:
    """Workers that look at the same time put each firing into the queue once."""
    queues = [queue_in(database) for _ in range(5)]
    schedules = {
        "b": pgflow.Schedule("0 * * * *", catch_up="all"),
        "a": pgflow.Schedule("0 */3 * * *", catch_up="latest"),
    }

    async def look(queue: Queue, now: datetime) -> tuple[Firing, ...]:
        return (await queue.tick(schedules, now))[0]

    async def work() -> list[tuple[Firing, ...]]:
        async with AsyncExitStack() as stack:
            for each in queues:
                await stack.enter_async_context(each.opened())
            assert await look(queues[0], BEGIN) == ()
            later = BEGIN + timedelta(hours=6, minutes=1)
            found = await asyncio.gather(*(look(queue, later) for queue in queues))
            assert await look(queues[0], BEGIN) == ()
            return found

    found = asyncio.run(work())
    assert sorted(len(each) for each in found) == [0, 0, 0, 0, 7]
    # In the order of their instants, and of one instant in the order of the project.
    expected = [("b", f"{hour:02}:00") for hour in range(1, 7)] + [("a", "06:00")]
    assert waiting(database) == expected


def test_a_clock_that_was_set_back_stops_nothing(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Firings go on from now, and none of them is left out for one that lies ahead."""
    queue = queue_in(database)
    schedules = {"p": pgflow.Schedule("0 * * * *")}

    async def work() -> list[tuple[Firing, ...]]:
        async with queue.opened():
            looks = [0.0, 1.0, 0.9, 1.0, 30.0]
            found = [(await queue.tick(schedules, BEGIN + timedelta(hours=h)))[0] for h in looks]
            assert await queue.newest("p") == BEGIN + timedelta(hours=30)
            assert caplog.text == ""  # a few minutes are made up for by waiting
            found += [(await queue.tick(schedules, BEGIN + timedelta(hours=1.5)))[0]]
            assert await queue.newest("p") is None
            found += [(await queue.tick(schedules, BEGIN + timedelta(hours=2)))[0]]
            return found

    found = [[f"{each.instant:%d %H}" for each in one] for one in asyncio.run(work())]
    assert found == [[], ["01 01"], [], [], ["02 06"], [], ["01 02"]]
    assert "the server's clock was set back; p: firings go on from now" in caplog.text


def test_who_reads_waits_for_who_is_read(database: str) -> None:
    """A firing is held while firings that come before it are not over, however they end."""
    queue = queue_in(database)
    later = BEGIN + timedelta(hours=1)

    async def work() -> None:
        async with queue.opened():
            await queue.defer(
                [
                    Firing("report", BEGIN, ("raw", "names")),
                    Firing("mart", BEGIN, ("report",)),
                    Firing("raw", BEGIN),
                    Firing("names", BEGIN),
                    Firing("raw", later),
                    Firing("alone", BEGIN, ("gone",)),
                    Firing("hen", BEGIN, ("egg",)),
                    Firing("egg", BEGIN, ("hen",)),
                ]
            )

    asyncio.run(work())

    def free() -> list[str]:
        with connected(database) as live:
            rows = live.execute(
                "SELECT args ->> 'pipeline' FROM pgflow_queue.procrastinate_jobs"
                " WHERE status = 'todo' AND scheduled_at IS NULL ORDER BY id"
            )
            return [row[0] for row in rows]

    def over(pipeline: str, status: str) -> None:
        with connected(database) as live:
            live.execute("SET search_path = pgflow_queue")
            found = f"FROM procrastinate_jobs WHERE args ->> 'pipeline' = '{pipeline}'"
            first = f"id = (SELECT min(id) {found} AND status = 'todo')"
            live.execute(f"UPDATE procrastinate_jobs SET status = 'doing' WHERE {first}")
            live.execute(
                f"UPDATE procrastinate_jobs SET status = '{status}', attempts = attempts + 1"
                " WHERE status = 'doing'"
            )

    assert free() == ["raw", "names", "raw", "alone", "hen", "egg"]
    over("raw", "succeeded")
    assert free() == ["names", "raw", "alone", "hen", "egg"]
    over("names", "todo")  # to be tried again
    assert "report" not in free()
    over("names", "failed")
    assert free() == ["report", "raw", "alone", "hen", "egg"]
    with connected(database) as live:
        live.execute("SET search_path = pgflow_queue")
        live.execute("DELETE FROM procrastinate_jobs WHERE args ->> 'pipeline' = 'report'")
    assert free() == ["mart", "raw", "alone", "hen", "egg"]


def test_the_clock_is_the_servers(database: str) -> None:
    """What is due is decided by the clock of the queue's server, the same for all workers."""
    queue = queue_in(database)

    async def work() -> datetime:
        async with queue.opened():
            return (await queue.tick({}))[1]

    moment = asyncio.run(work())
    with connected(database) as live:
        row = live.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    assert timedelta(0) <= row[0] - moment < timedelta(minutes=1)


def test_firings_are_taken_back_from_dead_workers_by_one_other(database: str) -> None:
    """Of several that look, one takes back what a silent worker had; the living keep theirs."""
    queues = [queue_in(database) for _ in range(3)]

    async def work() -> None:
        async with queues[0].opened(), queues[1].opened(), queues[2].opened():
            firings = [Firing(name, BEGIN) for name in ("dead", "alive", "unheard")]
            await queues[0].defer(firings)
            with connected(database) as live:
                live.execute("SET search_path = pgflow_queue")
                live.execute(
                    "INSERT INTO procrastinate_workers (last_heartbeat)"
                    " VALUES (now() - interval '31 s'), (now() - interval '29 s')"
                )
                live.execute(
                    "UPDATE procrastinate_jobs SET status = 'doing', worker_id ="
                    " CASE args ->> 'pipeline' WHEN 'dead' THEN 1 WHEN 'alive' THEN 2 END"
                )
            await asyncio.gather(*(each.rescue(Pulse(10), lambda _: 3) for each in queues))

    asyncio.run(work())
    with connected(database) as live:
        rows = live.execute(
            "SELECT args ->> 'pipeline', status::text, attempts"
            " FROM pgflow_queue.procrastinate_jobs ORDER BY id"
        ).fetchall()
    assert rows == [("dead", "todo", 1), ("alive", "doing", 0), ("unheard", "todo", 1)]


def test_an_end_that_the_queue_did_not_hear_of_blocks_nothing(database: str) -> None:
    """A worker that could not record the end of a run takes the firing back by itself."""
    queue = queue_in(database)
    with connected(database) as live:
        live.execute(
            "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE 'not now'; END $$"
        )
        live.execute(
            "CREATE TRIGGER refuse BEFORE DELETE ON pgflow_queue.procrastinate_jobs"
            " FOR EACH ROW EXECUTE FUNCTION public.refuse()"
        )
    ran: list[int] = []

    async def run(firing: Firing, tried: int) -> None:
        ran.append(tried)

    async def pass_over(grace: float = 1) -> None:
        await queue.work(
            run, lambda *_: None, concurrency=1, pulse=Pulse(), grace=grace, wait=False
        )

    async def work() -> None:
        async with queue.opened():
            await queue.defer([Firing("p", BEGIN)])
            await pass_over()
            with connected(database) as live:
                live.execute("DROP TRIGGER refuse ON pgflow_queue.procrastinate_jobs")
                # As if this worker went on; it has only ended for the test.
                live.execute("INSERT INTO pgflow_queue.procrastinate_workers DEFAULT VALUES")
                live.execute(
                    "UPDATE pgflow_queue.procrastinate_jobs SET worker_id ="
                    " (SELECT max(id) FROM pgflow_queue.procrastinate_workers)"
                )
                row = live.execute(
                    "SELECT max(id) FROM pgflow_queue.procrastinate_workers"
                ).fetchone()
            assert row is not None
            queue._over = {number: (at, row[0]) for number, (at, _) in queue._over.items()}
            await queue.rescue(Pulse(), lambda _: 3)
            await pass_over()
            assert ran == [0]  # not yet: the worker might be about to record it
            await queue.rescue(Pulse(0), lambda _: 3)
            await pass_over()

    asyncio.run(work())
    assert ran == [0, 1]
    assert waiting(database) == []


def test_a_queue_in_a_schema_of_any_name(database: str) -> None:
    """A schema's name may need quotes, a blank, or a backslash."""
    schema = 'my "queue" \\ 1'
    queue = queue_in(database, schema)
    queue.check()

    async def work() -> None:
        async with queue.opened():
            await queue.defer([Firing("p", BEGIN)])

    asyncio.run(work())
    with connected(database) as live:
        count = 'SELECT count(*) FROM "my ""queue"" \\ 1".procrastinate_jobs'
        assert live.execute(count).fetchone() == (1,)


def test_without_a_queue_the_message_says_what_to_do(database: str) -> None:
    """Nothing is created by the way."""
    queue = Queue(lambda: driver_arguments(engine(database)))
    with pytest.raises(MissingQueue, match="Create it once, .*: `pgflow worker --init`"):
        queue.check()


def test_a_role_with_the_documented_rights_can_work(database: str) -> None:
    """A worker's role needs no more than what the reference says."""
    queue_in(database)
    role = f"worker_{os.getpid()}"
    with connected(database) as live:
        live.execute(f"CREATE ROLE {role} LOGIN")
        live.execute(f"GRANT USAGE ON SCHEMA pgflow_queue TO {role}")
        live.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA pgflow_queue TO {role}")
        live.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA pgflow_queue TO {role}")
    given = {**driver_arguments(engine(database)), "user": role}
    queue = Queue(lambda: given)
    ran: list[Firing] = []

    async def run(firing: Firing, tried: int) -> None:
        ran.append(firing)

    async def work() -> None:
        async with queue.opened():
            await queue.tick({"p": pgflow.Schedule("0 * * * *")}, BEGIN)
            await queue.tick({"p": pgflow.Schedule("0 * * * *")}, BEGIN + timedelta(hours=1))
            await queue.rescue(Pulse(), lambda _: 3)
            await queue.forget_old()
            await queue.work(
                run, lambda *_: None, concurrency=1, pulse=Pulse(), grace=1, wait=False
            )

    queue.check()
    try:
        asyncio.run(work())
    finally:
        with connected(database) as live:
            live.execute(f"DROP OWNED BY {role}")
            live.execute(f"DROP ROLE {role}")
    assert ran == [Firing("p", BEGIN + timedelta(hours=1))]


def test_an_older_queue_is_refused_and_migrated(database: str) -> None:
    """A queue of an older procrastinate is brought up to date, with what is in it."""
    old = [path for path in installation.migrations() if path.stem < "03.04"]
    with connected(database) as live:
        live.autocommit = True
        live.execute("CREATE SCHEMA pgflow_queue")
        live.execute("SET search_path = pgflow_queue")
        for path in old:
            live.execute(path.read_bytes())
        words = sql.Literal(str(installation.Stamp(old[-1].stem)))
        live.execute(sql.SQL("COMMENT ON SCHEMA pgflow_queue IS {}").format(words))
        live.execute(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, args) VALUES"
            ' (\'pgflow\', \'pgflow.fire\', \'{"pipeline": "p", "instant": "2026-03-01T00:00"}\')'
        )
    queue = Queue(lambda: driver_arguments(engine(database)))
    with pytest.raises(OtherQueue, match="Bring the queue up to date: `pgflow worker --init`"):
        queue.check()
    with connected(database) as live:
        assert installation.install(live) == "migrated"
        assert installation.install(live) == "up to date"
    queue.check()
    assert waiting(database) == [("p", "00:00")]


@pytest.mark.parametrize(
    "later, advice",
    [
        (installation.Stamp("99.00.00_01_pre_later"), "Upgrade procrastinate on this machine"),
        (
            installation.Stamp(installation.migrations()[-1].stem, installation.VERSION + 1),
            "Upgrade pgflow on this machine",
        ),
    ],
)
def test_a_newer_queue_is_refused(database: str, later: installation.Stamp, advice: str) -> None:
    """A queue that another machine has migrated further is left alone."""
    queue = queue_in(database)
    with connected(database) as live:
        words = sql.Literal(str(later))
        live.execute(sql.SQL("COMMENT ON SCHEMA pgflow_queue IS {}").format(words))
    with pytest.raises(OtherQueue, match=advice):
        queue.check()
    with connected(database) as live, pytest.raises(OtherQueue, match=advice):
        installation.install(live)


def test_a_schema_of_somebody_else_is_left_alone(database: str) -> None:
    """The queue does not move in with other tables, procrastinate's own among them."""
    with connected(database) as live:
        live.execute("CREATE TABLE public.orders (id int)")
        live.commit()
        with pytest.raises(OtherQueue, match="schema 'public' holds 'orders', and no queue that"):
            installation.install(live, "public")


def test_without_procrastinate_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install, and what does without."""
    monkeypatch.setitem(sys.modules, "procrastinate", None)
    monkeypatch.delitem(sys.modules, "pgflow.schedule.extra")
    with pytest.raises(MissingWorkerExtra, match=r"pip install 'pgflow\[worker\]'.*run-due"):
        __import__("pgflow.schedule.extra")
