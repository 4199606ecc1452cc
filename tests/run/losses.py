"""Runs that lose their connection: when, how often, and what the history says."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from pgflow.run.events import RunStarted, Silence
from pgflow.run.recovery.retries import is_lost


class Once(Silence):
    """Does something before a statement, the first so many times; remembers retries."""

    def __init__(self, purpose: str, action: Callable[[], object], times: int = 1) -> None:
        self.purpose, self.action, self.times = purpose, action, times
        self.attempts: list[int] = []
        self.retried = threading.Event()

    def executing(self, run: RunStarted, statement: Any) -> None:
        if self.times and statement.purpose.startswith(self.purpose):
            self.times -= 1
            self.action()

    def retrying(self, run: RunStarted, error: Exception, attempt: int, delay: float) -> None:
        assert is_lost(error), error
        self.attempts.append(attempt)
        self.retried.set()


def history(world: Any) -> list[Any]:
    """Status and attempts of every run."""
    found: list[Any] = world.run("SELECT status, attempts FROM pgflow.runs ORDER BY started_at")
    return found
