"""`pgflow worker`."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg

from pgflow.cli import signals
from pgflow.cli.diary import Diary, in_one_line
from pgflow.cli.failures import FAILED, OK
from pgflow.cli.output import Output
from pgflow.connections.registry import describe, driver_arguments, engine
from pgflow.errors import WrongDriver
from pgflow.observe.progress import LineProgress
from pgflow.project.project import Project
from pgflow.run.recovery.cancellation import cancel_runs
from pgflow.schedule.installation import install
from pgflow.schedule.queue import Pulse, Queue
from pgflow.schedule.worker import Worker

#: Seconds that cancelled runs may take to end before the process does without them.
_LAST = 10.0


@dataclass(frozen=True)
class Posting:
    """Where a worker finds its queue.

    Attributes:
        connection: The connection that leads there, past any pooler.
        schema: Where the queue lives.
    """

    connection: str
    schema: str

    def arguments(self) -> dict[str, Any]:
        """Return what psycopg is given to connect there."""
        return driver_arguments(engine(self.connection))

    def reach(self) -> None:
        """Make sure that PostgreSQL answers there.

        Raises:
            WrongDriver: The connection is none of PostgreSQL's by psycopg.
            sqlalchemy.exc.OperationalError: Nobody answers, or the server refuses.
        """
        found = engine(self.connection)
        if (found.dialect.name, found.dialect.driver) != ("postgresql", "psycopg"):
            raise WrongDriver(
                f"the queue's connection is {found.dialect.name}+{found.dialect.driver}; the queue "
                "lives in PostgreSQL, by psycopg 3: postgresql+psycopg://..."
            )
        found.connect().close()

    @property
    def queue(self) -> Queue:
        """The queue."""
        return Queue(self.arguments, self.schema)


def init_queue(output: Output, posting: Posting) -> int:
    """Create the queue, or bring it up to date.

    Args:
        output: Where to say so.
        posting: Where it is to be.
    """
    posting.reach()
    with psycopg.connect(**posting.arguments()) as live:
        done = install(live, posting.schema)
    where = describe(engine(posting.connection))
    output.line(f"queue {posting.schema} in {where}: {done}")
    return OK


def run_worker(
    output: Output,
    posting: Posting,
    modules: Sequence[str] | None,
    *,
    concurrency: int,
    grace: float,
    heartbeat: float,
    once: bool,
) -> int:
    """Work until a signal says stop.

    Args:
        output: Where to say what happens.
        posting: Where the queue is.
        modules: What `--module` said.
        concurrency: How many pipelines run at a time.
        grace: Seconds that runs have to end after the first signal.
        heartbeat: Seconds between two signs of life.
        once: Whether to end when the queue is empty.

    Returns:
        The exit code. With `once` it tells whether a firing failed; a worker that goes on for
        weeks ends well all the same.
    """
    project = Project.load(modules or None)
    queue, diary = posting.queue, Diary(output)
    worker = Worker(
        project.on_schedule,
        queue,
        concurrency=concurrency,
        grace=grace,
        pulse=Pulse(heartbeat),
        once=once,
        tell=diary.tell,
        observer=partial(LineProgress, diary.tell),
        say=in_one_line,
    )
    posting.reach()
    queue.check()
    diary.tell(f"working on {len(worker.names)} schedules: {', '.join(worker.names)}")
    with diary.of("pgflow.schedule"), diary.of("pgflow.observe"):
        code = asyncio.run(_Shift(diary, worker, grace).run())
    return FAILED if once and code == OK and worker.failed else code


class _Shift:
    """A worker at work, with the signals that end it."""

    def __init__(self, diary: Diary, worker: Worker, grace: float) -> None:
        self._diary = diary
        self._worker = worker
        self._grace = grace
        self._told = 0
        self._cancelled = False
        self._code = OK

    async def run(self) -> int:
        """Work, and return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signal, number)
        try:
            await self._worker.run()
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
        return self._code if self._cancelled else OK

    def _signal(self, number: int) -> None:
        self._told += 1
        self._code = signals.INTERRUPTED if number == signal.SIGINT else signals.TERMINATED
        if self._told == 1:
            self._diary.tell(
                f"stopping: runs have {self._grace:g} s to end; another signal cancels them"
            )
            self._worker.stop()
            # By then the worker has cancelled what goes on. Python code cannot be made to end.
            self._leave_after(self._grace + _LAST)
        elif self._told == 2:
            self._cancelled = True
            self._diary.tell(f"cancelling {cancel_runs()} runs")
            self._leave_after(_LAST)

    def _leave_after(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._leave)

    def _leave(self) -> None:
        self._diary.tell("leaving behind what does not end; another worker takes it over")
        os._exit(self._code)
