"""A worker: it looks for what is due, runs it, and does the work of those that have died."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from pgflow.declare.schedule import Schedule
from pgflow.errors import RunCancelled, UnknownPipeline, WorkerLost
from pgflow.factories.pipeline import Pipeline
from pgflow.factories.watched import begun_again
from pgflow.project.order import dependencies
from pgflow.project.pools import Places, demand
from pgflow.run.events import Observer
from pgflow.run.result import SyncResult
from pgflow.schedule.calendar import Calendar
from pgflow.schedule.due import Firing, scheduled
from pgflow.schedule.extra import UNAVAILABLE
from pgflow.schedule.patience import given_up, pause
from pgflow.schedule.queue import Pulse, Queue

_log = logging.getLogger("pgflow.schedule")

#: How often, and after how many seconds, a firing is offered again whose pipeline no worker that
#: took it knows: while a new version is rolled out, another one may.
STRANGER_TRIES, STRANGER_DELAY = 5, 60.0

#: Seconds between two looks at the queue when its database was away.
_BACK_SOON = 5.0

#: Seconds between two looks at a queue that is to be emptied.
_SHORTLY = 0.05

#: The longest that a worker sleeps before it looks what is due.
_NAP = 60.0


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says."""
    return str(error).strip().partition("\n")[0]


def nobody() -> Observer | None:
    """Watch nothing."""
    return None


@dataclass
class Worker:
    """Runs the firings of a queue until it is told to stop.

    Attributes:
        pipelines: Those of the project, in their order; the ones with a schedule are run.
        queue: Where firings are.
        concurrency: How many pipelines run at a time. Of one pipeline one firing runs at a time.
        grace: Seconds that runs have to end when the worker is told to stop; then they are
            cancelled, and another worker runs those firings again.
        pulse: How the worker shows that it lives, and takes others for dead.
        once: Whether to end when nothing is due and the queue is empty.
        tell: Takes one line about a firing.
        observer: Makes who watches a run.
        say: Says in one line what went wrong.
    """

    pipelines: Iterable[Pipeline]
    queue: Queue
    concurrency: int = 4
    grace: float = 30.0
    pulse: Pulse = field(default_factory=Pulse)
    once: bool = False
    tell: Callable[[str], object] = _log.info
    observer: Callable[[], Observer | None] = nobody
    say: Callable[[BaseException], str] = first_line

    def __post_init__(self) -> None:
        self.pipelines = tuple(self.pipelines)
        self._known = {p.name: (p, schedule) for p, schedule in scheduled(self.pipelines)}
        self._schedules = {name: schedule for name, (_, schedule) in self._known.items()}
        self._before = {
            name: tuple(each for each in others if each in self._known)
            for name, others in dependencies(self.pipelines).items()
        }
        self._places = Places(demand(pipeline) for pipeline, _ in self._known.values())
        self._freed = asyncio.Condition()
        self._stopping = asyncio.Event()
        self._work: asyncio.Task[None] | None = None
        self._runs: set[asyncio.Task[Any] | None] = set()
        self._failed: set[Firing] = set()

    @property
    def names(self) -> tuple[str, ...]:
        """The pipelines whose firings it runs."""
        return tuple(self._known)

    @property
    def failed(self) -> frozenset[Firing]:
        """With `once`, the firings whose last attempt by this worker failed."""
        return frozenset(self._failed)

    def _note_failed(self, firing: Firing) -> None:
        if self.once:  # else they would be more and more for weeks
            self._failed.add(firing)

    def stop(self) -> None:
        """Take no more firings, let runs end within the grace, and end; called in the loop."""
        self._stopping.set()
        if self._work is not None:
            self._work.cancel()
        if self.once:  # else the queue itself sees to the grace
            asyncio.get_running_loop().call_later(self.grace, self._cancel_runs)

    def _cancel_runs(self) -> None:
        for run in self._runs:
            if run is not None:
                run.cancel()

    async def run(self) -> None:
        """Work until `stop` is called, or, with `once`, until the queue is empty."""
        with ThreadPoolExecutor(self.concurrency, thread_name_prefix="pgflow-worker") as threads:
            asyncio.get_running_loop().set_default_executor(threads)
            async with self.queue.opened():
                await self.queue.forget_old()
                await self._look()
                await self._rescue()
                looking = asyncio.create_task(self._keep_looking())
                try:
                    await self._keep_working()
                finally:
                    looking.cancel()
                    with suppress(asyncio.CancelledError):
                        await looking

    # -- looking ----------------------------------------------------------------------

    async def _look(self) -> float:
        """Defer what is due; return the seconds until something is due next."""
        firings, now = await self.queue.tick(self._schedules, before=self._before)
        for firing in firings:
            self.tell(f"{firing}: due")
        coming = min(Calendar(each).next(now) for each in self._schedules.values())
        return (coming - now).total_seconds()

    async def _keep_looking(self) -> None:
        rescued = 0.0
        loop = asyncio.get_running_loop()
        while True:
            try:
                # A moment later, so that the server's clock has come that far.
                nap = min(await self._look() + 0.01, _NAP)
                if loop.time() - rescued >= self.pulse.every:
                    rescued = loop.time()
                    await self._rescue()
            except UNAVAILABLE as error:
                _log.warning("the queue cannot be asked what is due: %s", _said(error))
                nap = _BACK_SOON
            await asyncio.sleep(min(nap, self.pulse.every))

    async def _rescue(self) -> None:
        for firing in await self.queue.rescue(self.pulse, self._retries):
            lost = WorkerLost(f"{firing}: worker after worker died of it; it is given up.")
            self._note_failed(firing)
            self.tell(str(lost))
            _log.error("%s", lost)

    def _retries(self, firing: Firing) -> int:
        schedule = self._schedules.get(firing.pipeline)
        return 0 if schedule is None else schedule.retries

    # -- working ----------------------------------------------------------------------

    async def _keep_working(self) -> None:
        while not self._stopping.is_set():
            self._work = asyncio.create_task(
                self.queue.work(
                    self._run,
                    self._patience,
                    concurrency=self.concurrency,
                    pulse=self.pulse,
                    # An empty queue ends the work; that is no reason to cancel what goes on.
                    grace=math.inf if self.once else self.grace,
                    wait=not self.once,
                )
            )
            try:
                await self._work
                if self.once:
                    if not await self.queue.is_waiting():
                        return
                    # For a firing of the same pipeline, perhaps another worker's.
                    await asyncio.sleep(_SHORTLY)
                    continue
            except asyncio.CancelledError:
                if not self._stopping.is_set():
                    raise
                return
            except UNAVAILABLE as error:
                _log.warning("the queue's database was lost: %s", _said(error))
            with suppress(TimeoutError):
                seconds = _BACK_SOON * (0.5 + random.random())  # noqa: S311  # no secret
                await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _run(self, firing: Firing, tried: int) -> None:
        run = asyncio.current_task()
        self._runs.add(run)
        self._note_failed(firing)  # until it has ended well
        try:
            await self._fire(firing, tried)
            self._failed.discard(firing)
        except (asyncio.CancelledError, RunCancelled):
            self._failed.discard(firing)  # it is kept for another worker
            raise
        finally:
            self._runs.discard(run)

    async def _fire(self, firing: Firing, tried: int) -> None:
        pipeline, schedule = self._find(firing)
        if schedule.catch_up != "all":
            newest = await self.queue.newest(firing.pipeline)
            if newest is not None and newest > firing.instant:
                self.tell(f"{firing}: left out, as a newer one is due")
                return
        self.tell(f"{firing}: begins" + (f", attempt {tried + 1}" if tried else ""))
        try:
            async with self._seated(pipeline):
                result = await self._sync(pipeline, firing, schedule, tried)
        except Exception as error:
            self.tell(f"{firing}: failed: {self.say(error)}")
            raise
        settled = all("settled_by" in each.details for each in result.targets)
        self.tell(f"{firing}: {'had been run before' if settled else 'done'}")

    async def _sync(
        self, pipeline: Pipeline, firing: Firing, schedule: Schedule, tried: int
    ) -> SyncResult:
        with begun_again(lambda error: pause(schedule, error, tried) is not None):
            return await pipeline.sync_async(firing=firing.instant, observer=self.observer())

    @asynccontextmanager
    async def _seated(self, pipeline: Pipeline) -> AsyncIterator[None]:
        """Wait until pools have the connections that a run takes: a full one makes it fail."""
        wanted = demand(pipeline)
        async with self._freed:
            await self._freed.wait_for(lambda: self._places.take(wanted))
        try:
            yield
        finally:
            self._places.give_back(wanted)
            async with self._freed:
                self._freed.notify_all()

    def _find(self, firing: Firing) -> tuple[Pipeline, Schedule]:
        found = self._known.get(firing.pipeline)
        if found is None:
            message = (
                f"{firing}: this worker's project has no pipeline of that name with a schedule. "
                "It was renamed or removed, or this worker has another version of the project."
            )
            self.tell(message)
            raise UnknownPipeline(message, name=firing.pipeline, nearest=None)
        return found

    def _patience(self, firing: Firing, error: BaseException, tried: int) -> float | None:
        """Say how long to wait before a firing is tried again; None if it is not."""
        if isinstance(error, (asyncio.CancelledError, RunCancelled)):
            return 0.0  # the worker was stopped; the firing did not fail
        if isinstance(error, UnknownPipeline):
            return STRANGER_DELAY if tried < STRANGER_TRIES else None
        schedule = self._schedules.get(firing.pipeline)
        seconds = None if schedule is None else pause(schedule, error, tried)
        if seconds is None:
            self.tell(f"{firing}: {given_up(tried + 1)}")
        return seconds


def _said(error: BaseException) -> str:
    return first_line(error.__cause__ or error)
