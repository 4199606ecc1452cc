"""Pipelines that are run together: what is to run, what became of it, and who waits for whom."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

from pgflow.errors import RunCancelled
from pgflow.factories.pipeline import Pipeline
from pgflow.observe.watching import Observers
from pgflow.project.precedence import Precedence
from pgflow.run.events import Observer, RunStarted, Silence
from pgflow.run.result import SyncResult, TargetResult


class OnFailure(Enum):
    """What becomes of the other pipelines when one has failed."""

    #: Nothing more begins; what has begun is finished.
    STOP = "stop"
    #: Those that do not depend on it run.
    GO_ON = "go on"
    #: All run.
    IGNORE = "ignore"


@dataclass(frozen=True)
class Chosen:
    """A pipeline that is to run.

    Attributes:
        pipeline: The pipeline.
        values: Its run parameters.
        effective_at: The instant of the run, if it is not the server's clock.
        targets: The places of the targets to run, from 0; all if there are none.
        firing: The instant at which a schedule asked for the run, or None.
    """

    pipeline: Pipeline
    values: Mapping[str, Any] = field(default_factory=dict)
    effective_at: datetime | None = None
    targets: tuple[int, ...] = ()
    firing: datetime | None = None


#: Runs a pipeline, watched by an observer.
Call = Callable[[Chosen, Observer], SyncResult]


class Recorder(Silence):
    """Keeps what is told of one pipeline's runs.

    Attributes:
        open: Runs that are not over, or were interrupted.
        results: How the others ended, in order.
    """

    def __init__(self) -> None:
        self.open: dict[UUID, RunStarted] = {}
        self.results: list[TargetResult] = []

    def started(self, run: RunStarted) -> None:
        """Remember the run."""
        self.open[run.run_id] = run

    def finished(self, run: RunStarted, result: TargetResult) -> None:
        """Remember how it ended."""
        # In this order, as another thread may look: no run is in neither of them.
        self.results.append(result)
        if not isinstance(result.error, (KeyboardInterrupt, RunCancelled)):
            self.open.pop(run.run_id, None)


@dataclass
class Outcome:
    """What has become of a pipeline that was to run.

    Attributes:
        chosen: The pipeline with its parameters.
        status: `not run`, `running`, `success`, `failed` or `interrupted`. One that is running
            when the batch is over could not be interrupted.
        result: What was done, if it succeeded.
        error: What went wrong, if it failed or was interrupted.
        because: The pipeline whose failure kept this one, which depends on it, from running.
        seen: What was told of its runs.
    """

    chosen: Chosen
    status: str = "not run"
    result: SyncResult | None = None
    error: BaseException | None = None
    because: str | None = None
    seen: Recorder = field(default_factory=Recorder)

    @property
    def name(self) -> str:
        """The pipeline's name."""
        return self.chosen.pipeline.name


@dataclass(frozen=True)
class Batch:
    """What has become of pipelines that were run together.

    Attributes:
        outcomes: One for each, in the order of the plan.
        interrupt: Ctrl-C or SIGTERM, if one of them ended it.
    """

    outcomes: tuple[Outcome, ...]
    interrupt: KeyboardInterrupt | None = None

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Those that failed, in order; also by `cancel_runs()`, but not by an interrupt."""
        own = ("failed", "interrupted") if self.interrupt is None else ("failed",)
        return tuple(each for each in self.outcomes if each.status in own and each.error)


class Board:
    """Where the pipelines of a batch stand: what may begin, what waits, what is left out.

    Args:
        chosen: What is to run. One pipeline may stand there several times.
        order: The order of the pipelines.
        on_failure: What happens after a failure.
    """

    def __init__(self, chosen: Sequence[Chosen], order: Precedence, on_failure: OnFailure) -> None:
        runs: dict[str, list[int]] = {}
        self.outcomes: list[Outcome] = []
        for pipeline in order.pipelines:
            for one in (c for c in chosen if c.pipeline.name == pipeline.name):
                runs.setdefault(pipeline.name, []).append(len(self.outcomes))
                self.outcomes.append(Outcome(one))
        self._on_failure = on_failure
        self._stopped = False
        self._needs: list[set[int]] = []
        self._waits: list[set[int]] = []
        self._after: list[list[int]] = [[] for _ in self.outcomes]
        for number, outcome in enumerate(self.outcomes):
            name = outcome.name
            needs, follows = order.needs[name], order.follows[name]
            self._needs.append({i for each in needs for i in runs[each]})
            waits = {i for each in needs | follows for i in runs[each]}
            # Runs of the same pipeline follow each other.
            self._waits.append(waits | {i for i in runs[name] if i < number})
            for other in self._waits[number]:
                self._after[other].append(number)
        self._ready = [i for i, waits in enumerate(self._waits) if not waits]

    @property
    def ready(self) -> list[int]:
        """What may begin now, in order."""
        return [] if self._stopped else sorted(self._ready)

    def begin(self, number: int) -> Outcome:
        """Mark a pipeline as running."""
        self._ready.remove(number)
        outcome = self.outcomes[number]
        outcome.status = "running"
        return outcome

    def end(self, number: int) -> None:
        """Let those go on that wait for a pipeline, or leave them out if it has failed."""
        ended = [number]
        while ended:
            one = heapq.heappop(ended)
            self._stopped = self._stopped or self._stops(self.outcomes[one])
            for other in self._after[one]:
                self._waits[other].discard(one)
                if self._waits[other]:
                    continue
                because = self._obstacle(other)
                if because is None:
                    self._ready.append(other)
                else:
                    self.outcomes[other].because = because
                    heapq.heappush(ended, other)

    def stop(self) -> None:
        """Let nothing more begin."""
        self._stopped = True

    def _stops(self, outcome: Outcome) -> bool:
        if _is_cancelled(outcome.error):
            return True  # whoever calls `cancel_runs()` means all of them
        return outcome.status == "failed" and self._on_failure is OnFailure.STOP

    def _obstacle(self, number: int) -> str | None:
        """The failed pipeline that one depends on, perhaps by way of others."""
        if self._on_failure is OnFailure.IGNORE:
            return None
        for other in sorted(self._needs[number]):
            outcome = self.outcomes[other]
            if outcome.status != "success":
                return outcome.because or outcome.name
        return None


def run(outcome: Outcome, call: Call, observers: Iterable[Observer]) -> None:
    """Run one pipeline, and note what became of it.

    Args:
        outcome: The pipeline; what becomes of it is noted here.
        call: Runs it.
        observers: Who watches.
    """
    try:
        outcome.result = call(outcome.chosen, Observers((outcome.seen, *observers)))
        outcome.status = "success"
    except Exception as error:
        outcome.error = error
        outcome.status = "interrupted" if _is_cancelled(error) else "failed"
    except BaseException as error:
        outcome.error, outcome.status = error, "interrupted"
        raise


def _is_cancelled(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, RunCancelled):
        error = error.__cause__
    return error is not None
