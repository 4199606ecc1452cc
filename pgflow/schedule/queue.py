"""The queue of firings: procrastinate's jobs, deferred once, taken back from dead workers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Any

from pgflow.declare.schedule import Schedule
from pgflow.run.locks import lock_key
from pgflow.schedule import installation
from pgflow.schedule.due import MISSED_AFTER, Firing, due
from pgflow.schedule.extra import (
    App,
    BaseRetryStrategy,
    DeleteJobCondition,
    Job,
    JobContext,
    PsycopgConnector,
    RetryDecision,
    Status,
)
from pgflow.schedule.heart import Heart
from pgflow.schedule.sessions import Arguments, Sessions

_log = logging.getLogger("pgflow.schedule")

#: What jobs are called in the queue.
TASK = "pgflow.fire"

#: Connections of a worker to its queue: one listens, the others fetch, finish and look for more.
_CONNECTIONS = 4

#: How often a firing may be taken back from dead workers, beyond what its schedule retries.
_DEATHS = 5

#: Days for which failed firings are kept in the queue; the history keeps them longer.
_KEPT_DAYS = 30

#: Until when firings are put off that wait for others; the queue lets them go.
_HELD = datetime(9999, 1, 1, tzinfo=UTC)

#: Runs a firing; it is told how often that was tried before.
Runner = Callable[[Firing, int], Awaitable[None]]

#: Says how long to wait before a firing that failed is tried again; None if it is not.
Patience = Callable[[Firing, BaseException, int], float | None]


@dataclass(frozen=True)
class Pulse:
    """How a worker shows that it lives, and how it takes others for dead.

    Attributes:
        every: Seconds between two signs of life.
    """

    every: float = 10.0

    @property
    def silence(self) -> float:
        """Seconds without a sign after which a worker is taken for dead."""
        return 3 * self.every


class Queue:
    """The queue in one database.

    Args:
        arguments: How to connect to it. A session has to be the worker's own.
        schema: Where it lives.
    """

    def __init__(self, arguments: Arguments, schema: str = installation.SCHEMA) -> None:
        self._sessions = Sessions(arguments, schema)
        self._connector = PsycopgConnector(
            kwargs=self._sessions.given, min_size=1, max_size=_CONNECTIONS, timeout=10.0
        )
        self._app = App(connector=self._connector)
        #: Jobs whose runs have ended here: when, and as which worker.
        self._over: dict[int, tuple[float, int | None]] = {}

    def check(self) -> None:
        """Make sure that the queue is there and fits; see `Sessions.check`."""
        self._sessions.check()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Keep the queue's connections open."""
        async with self._app.open_async():
            yield

    async def tick(
        self,
        schedules: Mapping[str, Schedule],
        now: datetime | None = None,
        *,
        before: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
    ) -> tuple[tuple[Firing, ...], datetime]:
        """Defer what is due, each firing once, however many workers do so at the same time.

        Args:
            schedules: The schedules by pipeline.
            now: The present; by default the clock of the queue's server.
            before: For pipelines the names of those whose firings come first.

        Returns:
            What was deferred, and the present.
        """
        names = sorted(schedules)
        async with self._connector.pool.connection() as live, live.transaction():
            await live.execute(
                "INSERT INTO pgflow_schedules (pipeline, looked_at)"
                " SELECT name, coalesce(%s, clock_timestamp()) FROM unnest(%s::text[]) AS name"
                " ON CONFLICT DO NOTHING",
                [now, names],
            )
            found = await live.execute(
                "SELECT pipeline, looked_at FROM pgflow_schedules"
                " WHERE pipeline = ANY (%s) ORDER BY pipeline FOR UPDATE",
                [names],
            )
            looked: dict[str, datetime] = dict(await found.fetchall())
            # Read after the locks are held: later than what any other worker has noted.
            moment = now or await _clock(live)
            ahead = [name for name in names if looked[name] > moment + MISSED_AFTER]
            looked |= await _set_back(live, ahead, moment)
            firings = tuple(
                Firing(name, instant, before.get(name, ()))
                # In the order of the project, so that who is read comes before who reads.
                for name in schedules
                for instant in due(schedules[name], looked[name], moment)
            )
            firings = tuple(sorted(firings, key=lambda each: each.instant))
            await self._defer(live, firings)
            await live.execute(
                "UPDATE pgflow_schedules SET looked_at = greatest(looked_at, %s)"
                " WHERE pipeline = ANY (%s)",
                [moment, names],
            )
            # Workers do so when firings end; two that end together leave it to this.
            await live.execute("SELECT pgflow_let_go()")
        return firings, moment

    async def defer(self, firings: Sequence[Firing]) -> None:
        """Put firings into the queue, whether they are due or not.

        Args:
            firings: In their order.
        """
        async with self._connector.pool.connection() as live, live.transaction():
            await self._defer(live, firings)
            await live.execute("SELECT pgflow_let_go()")

    async def newest(self, pipeline: str) -> datetime | None:
        """Return the newest firing of a pipeline that was ever deferred.

        Args:
            pipeline: The pipeline's name.
        """
        async with self._connector.pool.connection() as live:
            found = await live.execute(
                "SELECT newest FROM pgflow_schedules WHERE pipeline = %s", [pipeline]
            )
            row = await found.fetchone()
        return None if row is None else row[0]

    async def rescue(self, pulse: Pulse, retries: Callable[[Firing], int]) -> tuple[Firing, ...]:
        """Take firings back from workers that have died.

        One worker does this at a time; the others let it.

        Args:
            pulse: When a worker is dead.
            retries: How often a firing may be tried again.

        Returns:
            Firings that were given up, because worker after worker has died of them.
        """
        await self._take_back_own(pulse)
        lost: list[Firing] = []
        async with self._connector.pool.connection() as live, live.transaction():
            if not await _alone(live, f"queue rescue {self._sessions.schema}"):
                return ()
            manager = self._app.job_manager
            for job in await manager.get_stalled_jobs(
                task_name=TASK, seconds_since_heartbeat=pulse.silence
            ):
                firing = _firing(job)
                if job.attempts < retries(firing) + _DEATHS:
                    _log.warning("%s: its worker died; it is run again", firing)
                    await manager.retry_job(job)
                else:
                    await manager.finish_job(job, status=Status.FAILED, delete_job=False)
                    lost.append(firing)
        return tuple(lost)

    async def _take_back_own(self, pulse: Pulse) -> None:
        """Take back firings whose runs have ended here, without the queue having heard of it."""
        until = time.monotonic() - pulse.silence
        ended = {job: worker for job, (at, worker) in self._over.items() if at <= until}
        if not ended:
            return
        manager = self._app.job_manager
        for job in await manager.list_jobs_async(task=TASK, status=Status.DOING.value):
            if job.id in ended and ended[job.id] == job.worker_id:
                _log.warning("%s: its end was not recorded; it is run again", _firing(job))
                await manager.retry_job(job)
        for number in ended:
            del self._over[number]

    async def is_waiting(self) -> bool:
        """Whether a firing waits for a worker, and not for the time of its next attempt."""
        _, now = await self.tick({})
        jobs = await self._app.job_manager.list_jobs_async(task=TASK, status=Status.TODO.value)
        return any(job.scheduled_at is None or job.scheduled_at <= now for job in jobs)

    async def forget_old(self) -> None:
        """Delete what failed long ago."""
        await self._app.job_manager.delete_old_jobs(
            nb_hours=24 * _KEPT_DAYS,
            include_failed=True,
            include_cancelled=True,
            include_aborted=True,
        )

    async def work(
        self,
        runner: Runner,
        patience: Patience,
        *,
        concurrency: int,
        pulse: Pulse,
        grace: float,
        wait: bool = True,
    ) -> None:
        """Run the firings of the queue until this is cancelled, or the queue's database is lost.

        Args:
            runner: Runs one.
            patience: Says whether one that failed is tried again, and when.
            concurrency: How many are run at a time.
            pulse: How this worker shows that it lives.
            grace: Seconds that runs have to end once no more are begun, before they are cancelled;
                infinity lets them take their time.
            wait: Whether to wait for more when the queue is empty.
        """
        app = App(connector=self._connector)
        heart = Heart(app.job_manager.update_heartbeat, pulse.every)

        async def fire(
            context: JobContext,
            pipeline: str,
            instant: str,
            after: list[str] | None = None,  # noqa: ARG001  # the queue itself reads it
        ) -> None:
            job, number = context.job, context.job.id or 0
            self._over.pop(number, None)
            heart.worker = job.worker_id
            if (task := asyncio.current_task()) is not None:
                task.add_done_callback(partial(_note_end, _named(pipeline, instant)))
            try:
                await runner(_named(pipeline, instant), job.attempts)
            finally:
                self._over[number] = (time.monotonic(), job.worker_id)

        app.task(name=TASK, pass_context=True, retry=_Strategy(patience))(fire)
        async with heart.beating():
            await app.run_worker_async(
                concurrency=concurrency,
                wait=wait,
                shutdown_graceful_timeout=grace,
                update_heartbeat_interval=pulse.every,
                stalled_worker_timeout=pulse.silence,
                fetch_job_polling_interval=min(5.0, pulse.every),
                delete_jobs=DeleteJobCondition.SUCCESSFUL,
                install_signal_handlers=False,
            )

    async def _defer(self, live: Any, firings: Sequence[Firing]) -> None:
        if not firings:
            return
        jobs = [
            Job(
                queue="pgflow",
                lock=f"pgflow {each.pipeline}",
                queueing_lock=None,
                task_name=TASK,
                task_kwargs={
                    "pipeline": each.pipeline,
                    "instant": each.text,
                    "after": list(each.after),
                },
                scheduled_at=_HELD if each.after else None,
            )
            for each in firings
        ]
        await self._app.job_manager.batch_defer_jobs_async(jobs, connection=live)
        await live.execute(
            "UPDATE pgflow_schedules AS s SET newest = greatest(s.newest, n.instant)"
            " FROM (SELECT pipeline, max(instant) AS instant"
            "         FROM unnest(%s::text[], %s::timestamptz[]) AS f(pipeline, instant)"
            "        GROUP BY pipeline) AS n"
            " WHERE s.pipeline = n.pipeline",
            [[f.pipeline for f in firings], [f.instant for f in firings]],
        )


class _Strategy(BaseRetryStrategy):
    """What procrastinate asks when a job has failed."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """Say when to try again, or None."""
        seconds = self._patience(_firing(job), exception, job.attempts)
        return None if seconds is None else RetryDecision(retry_in={"seconds": int(seconds)})


def _note_end(firing: Firing, task: asyncio.Task[Any]) -> None:
    """Say in a line that the end of a run was not recorded; nobody awaits the task."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        why = str(error.__cause__ or error).strip().partition("\n")[0]
        _log.warning("%s: its end could not be recorded: %s", firing, why)


async def _clock(live: Any) -> datetime:
    row = await (await live.execute("SELECT clock_timestamp()")).fetchone()
    moment: datetime = row[0]
    return moment


async def _set_back(live: Any, names: Sequence[str], moment: datetime) -> dict[str, datetime]:
    """Look from now on again, where the clock was ahead; what ran then stands in the history."""
    if names:
        told = ", ".join(names)
        _log.warning("the server's clock was set back; %s: firings go on from now", told)
        await live.execute(
            "UPDATE pgflow_schedules SET looked_at = %s,"
            " newest = CASE WHEN newest <= %s THEN newest END WHERE pipeline = ANY (%s)",
            [moment, moment, list(names)],
        )
    return dict.fromkeys(names, moment)


async def _alone(live: Any, purpose: str) -> bool:
    text = "SELECT pg_try_advisory_xact_lock(%s)"
    row = await (await live.execute(text, [lock_key(purpose)])).fetchone()
    return bool(row[0])


def _firing(job: Job) -> Firing:
    return _named(str(job.task_kwargs["pipeline"]), str(job.task_kwargs["instant"]))


def _named(pipeline: str, instant: str) -> Firing:
    return Firing(pipeline, datetime.fromisoformat(instant))
