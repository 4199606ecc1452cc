"""Between asyncio and runs: runs for a task to await, and a user's coroutines inside a run."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar

from pgflow.errors import InvalidBody
from pgflow.run.recovery.cancellation import RunGroup, present

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """Do blocking work in a thread of the running loop's executor.

    If the task is cancelled, so are the runs that the work has begun, and the task ends when they
    are rolled back. Work that waits for a thread is not begun any more.

    Args:
        work: What to do; it sees the task's context variables.

    Returns:
        What it returns.
    """
    group, begun = RunGroup(), threading.Event()

    def joined() -> T:
        begun.set()
        group.check()  # after `begun` is set: whoever cancels before does not wait
        with group.joined():
            return work()

    loop, context = asyncio.get_running_loop(), contextvars.copy_context()
    future = loop.run_in_executor(None, context.run, joined)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        group.cancel("the task that awaits it was cancelled")
        if begun.is_set():
            await _end(future)
        future.cancel()
        raise


async def _end(future: asyncio.Future[Any]) -> None:
    """Wait for something to end, also while its task is cancelled again."""
    while not future.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([future])


class OwnLoop:
    """An event loop for a user's coroutines, while the code around them is not async.

    It runs in a thread of its own where this one has a loop that runs already. If the run is
    cancelled, what the loop is at is cancelled as a task is, once, so that it can tidy up.
    """

    def __init__(self) -> None:
        self._cancellation = present()
        self._runner = asyncio.Runner()
        self._thread = concurrent.futures.ThreadPoolExecutor(1) if _loop_runs() else None
        self._task: asyncio.Task[Any] | None = None

    def __enter__(self) -> OwnLoop:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def run(self, work: Awaitable[T], *, tidying: bool = False) -> T:
        """Wait for something in the loop.

        Args:
            work: What is awaited.
            tidying: Whether it is to be done even if the run is cancelled.

        Returns:
            What it comes to.

        Raises:
            RunCancelled: The run was cancelled meanwhile.
            InvalidBody: The work's own task was cancelled, by nobody who cancels runs.
        """
        try:
            return self._run(_awaited(work) if tidying else self._watched(work))
        except asyncio.CancelledError as error:
            self._cancellation.check()
            raise InvalidBody(
                "the pipeline's async code let a CancelledError out, and nobody has cancelled the "
                "run. Catch it where the code cancels a task of its own."
            ) from error
        finally:
            if inspect.iscoroutine(work):
                work.close()  # if it was never begun

    def close(self) -> None:
        """End the loop."""
        if self._thread is None:
            self._runner.close()
        else:
            self._thread.submit(self._runner.close).result()
            self._thread.shutdown()

    def cancel_safe(self, *, timeout: float = 0) -> None:  # noqa: ARG002  # as a driver's
        """Cancel what the loop is at, from whichever thread."""
        task, self._task = self._task, None
        if task is not None:
            with suppress(RuntimeError):  # the loop is closed: it has just ended
                task.get_loop().call_soon_threadsafe(task.cancel)

    async def _watched(self, work: Awaitable[T]) -> T:
        self._task = asyncio.current_task()
        try:
            with self._cancellation.watching(self):
                return await work
        finally:
            self._task = None

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._thread is None:
            return self._runner.run(work)
        context = contextvars.copy_context()
        waiting = self._thread.submit(context.run, self._runner.run, work)
        try:
            return waiting.result()
        except BaseException:
            self.cancel_safe()  # an interrupt; where the work itself failed, of no effect
            raise


async def _awaited(work: Awaitable[T]) -> T:
    return await work


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
