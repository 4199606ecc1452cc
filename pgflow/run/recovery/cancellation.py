"""Ending the runs of this process from another thread, or from a signal's handler."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import psycopg

from pgflow.errors import RunCancelled

#: Seconds between two requests to the server; the first may come between two statements.
_INTERVAL = 0.1

#: Seconds that one request may take.
_TIMEOUT = 2.0


class Cancellable(Protocol):
    """A connection whose statement another thread may cancel, as psycopg's can."""

    def cancel_safe(self, *, timeout: float = ...) -> None:
        """Ask the server to cancel what it is doing."""


class Cancellation:
    """The wish that one run should end, and the connections that it is busy on."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._guard = threading.Lock()
        self._busy: list[Cancellable] = []

    def check(self) -> None:
        """Go on, unless somebody wants the run to end.

        Raises:
            RunCancelled: Somebody does.
        """
        if self._asked.is_set():
            raise RunCancelled("cancel_runs() was called; nothing of this run was written.")

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
                raise RunCancelled(
                    "cancel_runs() was called; nothing of this run was written."
                ) from error
            raise
        finally:
            with self._guard:
                self._busy.remove(driver)

    def ask(self) -> None:
        """Want the run to end, and tell the servers."""
        self._asked.set()
        with self._guard:
            for driver in self._busy:
                with suppress(psycopg.Error, OSError):
                    driver.cancel_safe(timeout=_TIMEOUT)


_going_on: set[Cancellation] = set()


@contextmanager
def cancellable() -> Iterator[Cancellation]:
    """Let `cancel_runs` know of a run while it goes on.

    Yields:
        What the run looks at.
    """
    made = Cancellation()
    _going_on.add(made)
    try:
        yield made
    finally:
        _going_on.discard(made)


def cancel_runs() -> int:
    """Cancel every run of this process, in whichever thread it is.

    Each of them fails with `RunCancelled`, is rolled back, and stands in the history as failed; one
    that is just committing may end well. This returns at once and can be called in a signal's
    handler.

    Returns:
        How many runs were going on.
    """
    runs = set(_going_on)
    if runs:
        threading.Thread(
            target=_insist, args=(runs,), name="pgflow-cancel-runs", daemon=True
        ).start()
    return len(runs)


def _insist(runs: set[Any]) -> None:
    """Repeat the request until the runs are over: one that comes between statements is void."""
    while left := runs & _going_on:
        for each in left:
            each.ask()
        time.sleep(_INTERVAL)
