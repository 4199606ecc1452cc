"""Running a batch: one after the other in this thread, or several at a time in threads."""

from __future__ import annotations

import contextvars
import os
import queue
import threading
import time
from collections.abc import Iterable, Sequence

from pgflow.errors import InvalidOption
from pgflow.factories.pipeline import Pipeline
from pgflow.project.batch import Batch, Board, Call, Chosen, OnFailure, run
from pgflow.project.pools import Demand, Places, demand, stay_in_thread
from pgflow.project.precedence import precedence
from pgflow.run.events import Observer
from pgflow.run.recovery.cancellation import RunGroup

#: Seconds that an interrupt waits for runs to end: a user's function may be at work in them.
PATIENCE = 5.0

#: Nobody types so fast, and it is soon enough to see that a thread has ended.
_INTERVAL = 0.05


def run_batch(
    chosen: Sequence[Chosen],
    call: Call,
    *,
    project: Iterable[Pipeline] = (),
    workers: int | None = None,
    on_failure: OnFailure = OnFailure.STOP,
    observer: Observer | None = None,
) -> Batch:
    """Run pipelines, each when those before it are done.

    Args:
        chosen: What is to run. One pipeline may be there several times, as with different
            parameters; its runs follow each other.
        call: Runs one of them.
        project: All pipelines: those that are chosen may depend on each other through others.
        workers: How many run at the same time, each in a thread of its own; by default
            `default_workers()`. With 1 they run in the caller's thread.
        on_failure: What happens when one has failed.
        observer: Who watches, from several threads at a time.

    Returns:
        What has become of each, in the order of the plan.

    Raises:
        PipelineCycle: Pipelines read what the others write; nothing was run.
        InvalidOption: `workers` is less than one.
    """
    count = default_workers() if workers is None else workers
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InvalidOption(f"workers={workers!r} runs nothing; give a number from 1 on.")
    order = precedence({c.pipeline.name: c.pipeline for c in chosen}.values(), project)
    board = Board(chosen, order, on_failure)
    observers = () if observer is None else (observer,)
    if min(count, len(board.outcomes)) > 1:
        demands = [demand(each.chosen.pipeline) for each in board.outcomes]
        if not stay_in_thread(demands):
            return _Crew(board, demands, call, observers, count).work()
    return _one_by_one(board, call, observers)


def default_workers() -> int:
    """Return how many pipelines run at the same time where nobody says it.

    Returns:
        As many as there are processors, four at most: the work is mostly the server's.
    """
    return max(1, min(4, os.cpu_count() or 1))


def _one_by_one(board: Board, call: Call, observers: Sequence[Observer]) -> Batch:
    while ready := board.ready:
        number = ready[0]
        try:
            run(board.begin(number), call, observers)
        except KeyboardInterrupt as interrupt:
            return Batch(tuple(board.outcomes), interrupt)
        board.end(number)
    return Batch(tuple(board.outcomes))


class _Crew:
    """Threads that run pipelines, and the one that tells them what to do.

    Ctrl-C reaches only the main thread, so that one does nothing but wait. The threads do not keep
    the process alive: a user's function that never returns cannot hold up its end.
    """

    def __init__(
        self,
        board: Board,
        demands: Sequence[Demand],
        call: Call,
        observers: Sequence[Observer],
        workers: int,
    ) -> None:
        self._board = board
        self._call = call
        self._observers = observers
        self._workers = workers
        self._group = RunGroup()
        self._ended: queue.SimpleQueue[tuple[int, BaseException | None]] = queue.SimpleQueue()
        self._threads: dict[int, threading.Thread] = {}
        self._taken: dict[int, Demand] = {}
        self._demands = demands
        self._places = Places(demands)

    def work(self) -> Batch:
        """Run everything that can run."""
        try:
            self._begin()
            while self._threads:
                self._note(*self._ended.get())
                self._begin()
        except KeyboardInterrupt as interrupt:
            self._end(str(interrupt).rstrip(".") or "The run was interrupted, as by Ctrl-C")
            return Batch(tuple(self._board.outcomes), interrupt)
        except BaseException as error:
            self._end(f"Another run of the batch has ended the program ({type(error).__name__})")
            raise
        return Batch(tuple(self._board.outcomes))

    def _begin(self) -> None:
        """Begin what may begin, as long as there are workers and connections."""
        for number in self._board.ready:
            if len(self._threads) >= self._workers:
                return
            wanted = self._demands[number]
            if self._places.take(wanted):
                self._taken[number] = wanted
            elif self._threads:
                continue  # nobody waits for a connection while he holds another one
            self._start(number)

    def _start(self, number: int) -> None:
        context = contextvars.copy_context()
        name = f"pgflow {self._board.outcomes[number].name}"
        thread = threading.Thread(
            target=context.run, args=(self._run, number), name=name, daemon=True
        )
        # Known before it counts as running: an interrupt may come at any moment.
        self._threads[number] = thread
        self._board.begin(number)
        thread.start()

    def _run(self, number: int) -> None:
        """Run one pipeline, in its thread."""
        stopper: BaseException | None = None
        try:
            with self._group.joined():
                run(self._board.outcomes[number], self._call, self._observers)
        except BaseException as error:  # a function's SystemExit: the caller's thread raises it
            stopper = error
        finally:
            self._ended.put((number, stopper))

    def _note(self, number: int, stopper: BaseException | None) -> None:
        del self._threads[number]
        if (taken := self._taken.pop(number, None)) is not None:
            self._places.give_back(taken)
        self._board.end(number)
        if stopper is not None:
            raise stopper

    def _end(self, why: str) -> None:
        """Cancel the runs that go on, and wait for them, but not for ever."""
        self._board.stop()
        self._group.cancel(why)
        deadline = time.monotonic() + PATIENCE
        try:
            while self._is_busy() and time.monotonic() < deadline:
                try:
                    number, _ = self._ended.get(timeout=_INTERVAL)
                except queue.Empty:
                    continue
                self._threads.pop(number, None)
        except KeyboardInterrupt:
            pass  # twice: somebody is in a hurry
        for number, thread in self._threads.items():
            if thread.ident is None:  # the interrupt came before it could start
                self._board.outcomes[number].status = "not run"

    def _is_busy(self) -> bool:
        return any(thread.is_alive() for thread in self._threads.values())
