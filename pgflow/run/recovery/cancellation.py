"""Ending the runs of this process from another thread, or from a signal's handler."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Protocol

import psycopg

from pgflow.errors import RunCancelled

#: Seconds between two requests to the server; the first may come between two statements.
_INTERVAL = 0.1

#: Seconds that one request may take.
_TIMEOUT = 2.0


class Cancellable(Protocol):
    """What another thread may cancel: a statement of a psycopg connection, a function's task."""

    def cancel_safe(self, *, timeout: float = ...) -> None:
        """Ask whoever does the work to stop it."""


class Cancellation:
    """The wish that one run should end, and the connections that it is busy on."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._guard = threading.Lock()
        self._busy: list[Cancellable] = []
        self._why = ""

    def check(self) -> None:
        """Go on, unless somebody wants the run to end.

        Raises:
            RunCancelled: Somebody does.
        """
        if self._asked.is_set():
            raise self._error()

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than until somebody wants the run to end.

        Raises:
            RunCancelled: Somebody does.
        """
        self._asked.wait(seconds)
        self.check()

    @contextmanager
    def watching(self, driver: Cancellable) -> Iterator[None]:
        """Cancel what the server does on this connection, if the run is to end meanwhile.

        Args:
            driver: The driver's connection. A request never reaches it after the block.

        Raises:
            RunCancelled: The run is to end, so whatever failed, failed for that.
        """
        self.check()
        with self._guard:
            self._busy.append(driver)
        try:
            yield
        except Exception as error:
            if self._asked.is_set():
                raise self._error() from error
            raise
        else:
            self.check()  # a request between two statements is void, and is not forgotten
        finally:
            with self._guard:
                self._busy.remove(driver)

    def ask(self, why: str) -> None:
        """Want the run to end, and tell whoever works for it.

        Args:
            why: What happened, for the message.
        """
        self._why = self._why or why
        self._asked.set()
        with self._guard:
            for driver in self._busy:
                with suppress(psycopg.Error, OSError):
                    driver.cancel_safe(timeout=_TIMEOUT)

    def _error(self) -> RunCancelled:
        return _cancelled(self._why)


class RunGroup:
    """Runs that end together when somebody wants it, in whichever threads they are.

    A run belongs to the groups in whose `joined()` block it begins. The block's context is what
    counts: `asyncio.to_thread` and `contextvars.copy_context().run` take it into a thread.
    """

    def __init__(self) -> None:
        self._why = ""
        self._runs: set[Cancellation] = set()

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Let every run that begins in this block belong to the group."""
        token = _groups.set((*_groups.get(), self))
        try:
            yield
        finally:
            _groups.reset(token)

    def cancel(self, why: str) -> int:
        """Cancel the runs of the group; those that begin later end at once.

        This returns at once and can be called in a signal's handler: it takes no lock.

        Args:
            why: What happened, such as `the task was cancelled`, for the message of the error.

        Returns:
            How many runs were going on.
        """
        self._why = self._why or why
        return _cancel(set(self._runs), why)

    def check(self) -> None:
        """Go on, unless the group was cancelled.

        Raises:
            RunCancelled: It was.
        """
        if self._why:
            raise _cancelled(self._why)

    def add(self, run: Cancellation) -> None:
        """Take a run that begins; if the group was cancelled before, the run is as well."""
        self._runs.add(run)
        if self._why:  # after the run was added: whoever cancels meanwhile finds it there
            run.ask(self._why)

    def discard(self, run: Cancellation) -> None:
        """Let go of a run that is over."""
        self._runs.discard(run)


_going_on: set[Cancellation] = set()
_groups: ContextVar[tuple[RunGroup, ...]] = ContextVar("pgflow_run_groups", default=())
_present: ContextVar[Cancellation | None] = ContextVar("pgflow_run", default=None)


def present() -> Cancellation:
    """Return whether the run that calls this is to end; outside a run nobody can want that."""
    return _present.get() or Cancellation()


@contextmanager
def cancellable() -> Iterator[Cancellation]:
    """Let `cancel_runs` and the groups around it know of a run while it goes on.

    Yields:
        What the run looks at.

    Raises:
        RunCancelled: A group that it belongs to was cancelled before.
    """
    made, groups = Cancellation(), _groups.get()
    _going_on.add(made)
    token = _present.set(made)
    try:
        for group in groups:
            group.add(made)
        made.check()
        yield made
    finally:
        _present.reset(token)
        _going_on.discard(made)
        for group in groups:
            group.discard(made)


def cancel_runs() -> int:
    """Cancel every run of this process, in whichever thread it is.

    Each of them fails with `RunCancelled`, is rolled back, and stands in the history as failed; one
    that is just committing may end well. This returns at once and can be called in a signal's
    handler.

    Returns:
        How many runs were going on.
    """
    return _cancel(set(_going_on), "cancel_runs() was called")


def _cancelled(why: str) -> RunCancelled:
    return RunCancelled(f"{why}; nothing of this run was written.")


def _cancel(runs: set[Cancellation], why: str) -> int:
    if runs:
        threading.Thread(
            target=_insist, args=(runs, why), name="pgflow-cancel-runs", daemon=True
        ).start()
    return len(runs)


def _insist(runs: set[Cancellation], why: str) -> None:
    """Repeat the request until the runs are over: one that comes between statements is void."""
    while left := runs & _going_on:
        for each in left:
            each.ask(why)
        time.sleep(_INTERVAL)
