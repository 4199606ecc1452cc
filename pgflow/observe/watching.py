"""Everybody who watches a run, as one observer; and who watches all runs of a project."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Protocol

from pgflow.observe.failure import Hook
from pgflow.observe.progress import LogProgress
from pgflow.plan.statement import Plan, Statement
from pgflow.run.events import Observer, RunStarted, Silence, Transferred
from pgflow.run.result import TargetResult

#: Where nobody has configured logging, this one reaches standard error: who watches is to know.
_log = logging.getLogger("pgflow.observe")


class Watch(Protocol):
    """Who watches the runs of a whole project."""

    def observers(self) -> tuple[Observer, ...]:
        """Return who watches every run."""

    def on_failure(self) -> Hook | None:
        """Return what is called for failed runs of pipelines that name nothing themselves."""


class Observers(Silence):
    """Several observers as one.

    What one of them raises is logged, once for each of its methods, and ends no run. Only
    interrupts pass.

    Args:
        observers: Who watches, in the order in which they are told.
    """

    def __init__(self, observers: Iterable[Observer]) -> None:
        self.observers = tuple(observers)
        #: How runs ended, in order; those that could not begin are not among them.
        self.results: list[TargetResult] = []
        self._broken: set[tuple[int, str]] = set()

    def started(self, run: RunStarted) -> None:
        """Tell everybody."""
        self._tell("started", run)

    def waiting(self, run: RunStarted, holders: tuple[str, ...]) -> None:
        """Tell everybody."""
        self._tell("waiting", run, holders)

    def planned(self, run: RunStarted, plan: Plan) -> None:
        """Tell everybody."""
        self._tell("planned", run, plan)

    def executing(self, run: RunStarted, statement: Statement) -> None:
        """Tell everybody."""
        self._tell("executing", run, statement)

    def executed(self, run: RunStarted, statement: Statement, rows: int) -> None:
        """Tell everybody."""
        self._tell("executed", run, statement, rows)

    def transferring(self, run: RunStarted, progress: Transferred) -> None:
        """Tell everybody."""
        self._tell("transferring", run, progress)

    def retrying(self, run: RunStarted, error: Exception, attempt: int, delay: float) -> None:
        """Tell everybody."""
        self._tell("retrying", run, error, attempt, delay)

    def finished(self, run: RunStarted, result: TargetResult) -> None:
        """Remember the result, and tell everybody."""
        self.results.append(result)
        self._tell("finished", run, result)

    def refused(self, pipeline: str, result: TargetResult) -> None:
        """Tell everybody."""
        self._tell("refused", pipeline, result)

    def _tell(self, event: str, *details: object) -> None:
        for observer in self.observers:
            # Observers that were written before an event existed do without it.
            method = getattr(observer, event, None)
            if method is None:
                continue
            try:
                method(*details)
            except Exception:
                if (id(observer), event) not in self._broken:
                    self._broken.add((id(observer), event))
                    _log.exception("the observer %r raised in %s()", observer, event)


def everybody(given: Observer | None, watch: Watch | None) -> Observers:
    """Put together who watches a run.

    Args:
        given: Who was given for this run.
        watch: Who watches every run of the project.

    Returns:
        They, and the log of `pgflow.run` unless another log is among them.
    """
    found = list(_flat([] if given is None else [given]))
    for observer in _flat(watch.observers() if watch is not None else ()):
        if observer not in found:
            found.append(observer)
    if not any(isinstance(each, LogProgress) for each in found):
        found.insert(0, LogProgress())
    return Observers(found)


def _flat(observers: Iterable[Observer]) -> Iterable[Observer]:
    """Take what stands for several apart, so that everybody is told once."""
    for observer in observers:
        if isinstance(observer, Observers):
            yield from _flat(observer.observers)
        else:
            yield observer
