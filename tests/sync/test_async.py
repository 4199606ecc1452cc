"""Runs that asyncio awaits: the loop goes on, and a cancelled task leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import InvalidBody, RunCancelled, StatementFailed, UnsuitableTransaction
from pgflow.run.events import Silence
from tests.sync.sync_children import until

#: Ending a run takes a tenth of a second; a busy machine gets some slack.
SOON = 5.0

SOURCE = "SELECT id, a, b FROM w.s"
SLOW = "SELECT id, a, b FROM w.s, pg_sleep(60)"
SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
HISTORY = "SELECT status, error_type FROM pgflow.runs ORDER BY started_at"


async def asleep(world: Any, count: int = 1) -> None:
    """Wait until runs sleep in the server."""
    await asyncio.to_thread(until, lambda: world.run(SLEEPING) == [(count,)], "runs to sleep")


async def cancel(task: asyncio.Task[Any]) -> float:
    """Cancel a task, and return how long it took to end."""
    begun = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return time.monotonic() - begun


def test_a_run_is_awaited_while_the_loop_goes_on(world: Any, counts: Any) -> None:
    """`await sync_async()` gives what `sync()` gives, and blocks nobody else."""
    pipeline = world.pipe(world.table(), f"{SOURCE}, pg_sleep(0.3)", mode="merge")
    world.fill((1, "a", 1), (2, "b", 2))
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    async def main() -> tuple[Any, Any]:
        clock = asyncio.create_task(tick())
        rehearsed = await pipeline.dry_run_async()
        done = await pipeline.sync_async()
        clock.cancel()
        return rehearsed, done

    rehearsed, done = asyncio.run(main())
    assert counts(done) == counts(rehearsed) == {"inserted": 2, "read": 2}
    assert rehearsed.dry_run
    assert ticks > 10
    assert world.run(HISTORY) == [("success", None)]


def test_several_runs_are_gathered(world: Any) -> None:
    """Runs of one gather sleep in the server at the same time."""
    pipelines = [
        world.pipe(world.table(f"t{n}"), SLOW.replace("60", "1"), mode="merge", name=f"p{n}")
        for n in range(3)
    ]
    world.fill((1, "a", 1))

    async def main() -> list[Any]:
        runs = asyncio.gather(*(pipeline.sync_async() for pipeline in pipelines))
        await asleep(world, 3)
        return await runs

    assert [result.inserted for result in asyncio.run(main())] == [1, 1, 1]


def test_a_cancelled_task_waits_until_its_run_is_rolled_back(world: Any) -> None:
    """The server's statement ends within a second; when the task is over, so is the run."""
    pipeline = world.pipe(world.table(), SLOW, mode="merge")
    other = world.pipe(world.table("u"), SLOW.replace("60", "1.5"), mode="merge", name="q")
    world.fill((1, "a", 1))

    async def main() -> tuple[float, list[Any]]:
        task = asyncio.create_task(pipeline.sync_async())
        spared = asyncio.create_task(other.sync_async())
        await asleep(world, 2)
        seconds = await cancel(task)
        left = world.run("SELECT pipeline, status, error FROM pgflow.runs ORDER BY pipeline")
        assert (await spared).inserted == 1
        return seconds, left

    seconds, left = asyncio.run(main())
    assert seconds < SOON
    assert left == [
        (
            "p",
            "failed",
            "the task that awaits it was cancelled; nothing of this run was written.",
        ),
        ("q", "running", None),
    ]
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]


def test_a_cancelled_task_cancels_every_target(world: Any) -> None:
    """What would go on after a failure does not go on after a cancellation."""
    targets = [pgflow.target(world.table(f"t{n}"), mode="merge") for n in range(3)]
    pipeline = pgflow.Pipeline(
        "p", targets=targets, source=SLOW, connection=world.engine, continue_on_failure=True
    )
    pgflow.create_all(world.metadata, connection=world.engine)
    world.fill((1, "a", 1))

    async def main() -> None:
        task = asyncio.create_task(pipeline.sync_async())
        await asleep(world)
        assert await cancel(task) < SOON

    asyncio.run(main())
    assert world.run(SLEEPING) == [(0,)]
    assert world.run(HISTORY) == [("failed", "RunCancelled")]


def test_a_preview_is_awaited_and_cancelled(world: Any) -> None:
    """`await preview_async()` gives what `preview()` gives; its task cancels what it asks."""
    naps = ["pg_sleep(60)", "clock_timestamp()", "clock_timestamp()"]

    def body(conn: Any) -> str:
        conn.execute(sa.text(f"SELECT {naps.pop()}"))
        return SOURCE

    pipeline = world.pipe(world.table(), None, body=body, mode="merge")

    async def main() -> None:
        told = await pipeline.preview_async()
        assert told.to_dict() == pipeline.preview().to_dict()
        assert told.targets[0].steps
        task = asyncio.create_task(pipeline.preview_async())
        await asleep(world)
        assert await cancel(task) < SOON

    asyncio.run(main())
    assert naps == []
    assert world.run(SLEEPING) == [(0,)]
    assert world.run(HISTORY) == []


def test_a_timeout_ends_the_run(world: Any) -> None:
    """asyncio.timeout() cancels the run, and tells that it was the time."""
    pipeline = world.pipe(world.table(), SLOW, mode="merge")
    world.fill((1, "a", 1))

    async def main() -> None:
        async with asyncio.timeout(0.5):
            await pipeline.sync_async()

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert world.run(SLEEPING) == [(0,)]


def test_a_task_that_is_cancelled_again_still_waits(world: Any) -> None:
    """Impatience does not leave a run behind that nobody waits for."""
    pipeline = world.pipe(world.table(), None, body=lambda conn: blocked.wait(30) and SOURCE,
                          mode="merge")  # fmt: skip
    blocked, ended = threading.Event(), threading.Event()

    class Watch(Silence):
        def finished(self, *_: Any) -> None:
            ended.set()

    async def main() -> None:
        task = asyncio.create_task(pipeline.sync_async(observer=Watch()))
        await asyncio.to_thread(
            until, lambda: world.run("SELECT status FROM pgflow.runs") == [("running",)], "the run"
        )
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0.05)
        assert not task.done()
        blocked.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    asyncio.run(main())
    assert world.run(HISTORY) == [("failed", "RunCancelled")]


def test_a_run_that_waits_for_a_thread_is_not_begun(world: Any) -> None:
    """Cancelled before it had a thread, a run leaves no trace and is not waited for."""
    pipeline = world.pipe(world.table(), SOURCE, mode="merge")
    free = threading.Event()

    async def main() -> float:
        loop = asyncio.get_running_loop()
        busy = [loop.run_in_executor(None, free.wait, 30) for _ in range(40)]
        task = asyncio.create_task(pipeline.sync_async())
        await asyncio.sleep(0.05)
        seconds = await cancel(task)
        free.set()
        await asyncio.gather(*busy)
        return seconds

    assert asyncio.run(main()) < SOON
    assert world.run("SELECT count(*) FROM pgflow.runs") == [(0,)]


def test_errors_and_context_are_the_task_s_own(world: Any, counts: Any) -> None:
    """A failure is raised where the run is awaited; the function sees context variables."""
    tenant = contextvars.ContextVar("tenant", default="nobody")

    def body(conn: Any) -> str:
        return f"SELECT 1::bigint AS id, '{tenant.get()}' AS a, {divisor} AS b"

    divisor = "1"
    pipeline = world.pipe(world.table(), None, body=body, mode="merge")

    async def main() -> Any:
        tenant.set("acme")
        return await pipeline.sync_async()

    assert counts(asyncio.run(main())) == {"inserted": 1, "read": 1}
    assert world.run("SELECT a FROM w.t") == [("acme",)]
    divisor = "1/0"
    with pytest.raises(StatementFailed, match="division by zero"):
        asyncio.run(main())


@pytest.mark.parametrize("method", ["sync_async", "dry_run_async"])
def test_a_transaction_is_not_joined_from_another_thread(world: Any, method: str) -> None:
    """connection= is refused with the reason and the way out, before anything runs."""
    pipeline = world.pipe(world.table(), SOURCE, mode="merge")
    with (
        world.engine.begin() as connection,
        pytest.raises(UnsuitableTransaction, match=r"thread of its own.*asyncio.to_thread"),
    ):
        asyncio.run(getattr(pipeline, method)(connection=connection))
    assert world.run("SELECT count(*) FROM pgflow.runs") == [(0,)]


# -- functions that are async themselves ----------------------------------------------


def run_in_loop(pipeline: Any) -> Any:
    """Call the blocking sync() where a loop runs already."""

    async def main() -> Any:
        return pipeline.sync()

    return asyncio.run(main())


def run_in_task(pipeline: Any) -> Any:
    return asyncio.run(pipeline.sync_async())


@pytest.mark.parametrize(
    "run",
    [lambda pipeline: pipeline.sync(), run_in_loop, run_in_task],
    ids=["script", "loop", "task"],
)
def test_an_async_function_has_a_loop_of_its_own(world: Any, run: Any) -> None:
    """`async def` runs to its end wherever sync is called, with the caller's context."""
    tenant = contextvars.ContextVar("tenant", default="nobody")

    async def body(conn: Any) -> str:
        first, second = await asyncio.gather(asyncio.sleep(0, "a"), asyncio.sleep(0, "b"))
        (number,) = conn.exec_driver_sql("SELECT 7").one()
        return f"SELECT {number}::bigint AS id, '{first}{second} {tenant.get()}' AS a, 1 AS b"

    pipeline = world.pipe(world.table(), None, body=body, mode="merge")
    tenant.set("acme")
    assert run(pipeline).inserted == 1
    assert world.run("SELECT id, a FROM w.t") == [(7, "ab acme")]


@pytest.mark.parametrize("rows", [False, True], ids=["function", "generator"])
@pytest.mark.parametrize("how", ["cancel_runs", "task"])
def test_an_async_function_is_cancelled_where_it_waits(world: Any, how: str, rows: bool) -> None:
    """A function or generator that waits for somebody else is cancelled, and can tidy up."""
    entered, tidied = threading.Event(), []

    async def wait() -> None:
        entered.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.3)  # longer than it takes to ask again
            tidied.append("tidied")

    async def body(conn: Any) -> str:
        await wait()
        return SOURCE

    async def generate() -> AsyncIterator[dict[str, Any]]:
        yield {"id": 1, "a": "a", "b": 1}
        await wait()

    pipeline = world.pipe(
        world.table(), None, body=(lambda: generate()) if rows else body, mode="merge"
    )

    async def main() -> None:
        task = asyncio.create_task(pipeline.sync_async())
        assert await asyncio.to_thread(entered.wait, 30)
        if how == "task":
            assert await cancel(task) < SOON
        else:
            assert pgflow.cancel_runs() == 1
            with pytest.raises(RunCancelled, match=r"cancel_runs\(\) was called"):
                await task

    asyncio.run(main())
    assert tidied == ["tidied"]
    assert world.run(HISTORY) == [("failed", "RunCancelled")]
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]


def test_a_cancelled_error_of_the_function_s_own_is_an_error(world: Any) -> None:
    """A function that lets a CancelledError out does not look like a cancelled run."""

    async def body(conn: Any) -> str:
        own = asyncio.create_task(asyncio.sleep(60))
        own.cancel()
        await own
        return SOURCE

    pipeline = world.pipe(world.table(), None, body=body, mode="merge")
    with pytest.raises(InvalidBody, match="let a CancelledError out"):
        asyncio.run(pipeline.sync_async())
    assert world.run(HISTORY) == [("failed", "InvalidBody")]


def test_what_a_plain_function_has_begun_is_awaited(world: Any, counts: Any) -> None:
    """A callable that returns a coroutine is as good as an `async def`."""

    class Feed:
        async def __call__(self, conn: Any) -> str:
            return "SELECT 1::bigint AS id, 'a' AS a, 1 AS b"

    pipeline = world.pipe(world.table(), None, body=Feed(), mode="merge")
    assert counts(pipeline.sync()) == {"inserted": 1, "read": 1}


CHILD = """
import asyncio, sys
import sqlalchemy as sa
import pgflow
from pgflow.plugins import ColumnPKPlugin

key = ColumnPKPlugin(sa.Column("id", sa.BigInteger))
table = pgflow.SimpleTable("t", "w", sa.MetaData(), [sa.Column("a", sa.Text)], plugins=[key])
slow = "SELECT id, a FROM w.s, pg_sleep(60)"
asyncio.run(
    pgflow.Pipeline("p", target=table, source=slow, mode="merge", connection=sys.argv[1])
    .sync_async()
)
"""


def test_ctrl_c_ends_a_run_that_is_awaited(world: Any, database: str) -> None:
    """On Ctrl-C asyncio cancels its main task: the statement ends, and then the program."""
    world.pipe(world.table("t", sa.Column("a", sa.Text)), "SELECT id, a FROM w.s", mode="merge")
    world.fill((1, "a", 1))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", CHILD, database],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            until(lambda: world.run(SLEEPING) == [(1,)], "the run to sleep")
            begun = time.monotonic()
            child.send_signal(signal.SIGINT)
            said = child.communicate(timeout=30)[1]
            seconds = time.monotonic() - begun
        finally:
            child.kill()
    assert seconds < SOON
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert child.returncode != 0
    assert world.run(SLEEPING) == [(0,)]
    assert world.run(HISTORY) == [("failed", "RunCancelled")]
