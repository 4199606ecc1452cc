"""What a runner tells whoever watches it; the watcher decides what to show."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from pgflow.connections.registry import Description
from pgflow.plan.statement import Plan, Statement
from pgflow.run.result import TargetResult


@dataclass(frozen=True)
class Transferred:
    """How much of a transfer is done.

    Attributes:
        rows: Rows so far.
        bytes: Bytes so far.
        seconds: How long it has taken so far.
    """

    rows: int
    bytes: int
    seconds: float

    @property
    def rate(self) -> float:
        """Bytes per second."""
        return self.bytes / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class RunStarted:
    """A run begins.

    Attributes:
        run_id: Its id.
        pipeline: The pipeline's name.
        target: The target's qualified name.
        dry_run: Whether it will be rolled back.
        mode: The mode's name.
        where: The target's database, without anything secret; None where nobody knows it.
        firing: The instant at which a schedule asked for the run, or None.
    """

    run_id: UUID
    pipeline: str
    target: str
    dry_run: bool
    mode: str = ""
    where: Description | None = None
    firing: datetime | None = None


class Observer(Protocol):
    """Watches a run. Its methods must not raise and should return at once."""

    def started(self, run: RunStarted) -> None:
        """A run begins."""

    def waiting(self, run: RunStarted, holders: tuple[str, ...]) -> None:
        """The run waits for others on the same target."""

    def planned(self, run: RunStarted, plan: Plan) -> None:
        """The plan is made; its statements are about to run."""

    def executing(self, run: RunStarted, statement: Statement) -> None:
        """A statement is about to run."""

    def executed(self, run: RunStarted, statement: Statement, rows: int) -> None:
        """A statement has run: it wrote or returned so many rows. One that fails is not told."""

    def transferring(self, run: RunStarted, progress: Transferred) -> None:
        """Rows of a source that is elsewhere are on their way; told a few times a second."""

    def retrying(self, run: RunStarted, error: Exception, attempt: int, delay: float) -> None:
        """The run failed in a way that another attempt may not; it starts again after a delay."""

    def finished(self, run: RunStarted, result: TargetResult) -> None:
        """The run is over, with or without success."""

    def refused(self, pipeline: str, result: TargetResult) -> None:
        """A target's run could not begin, as when its database cannot be reached."""


class Silence:
    """An observer that does nothing; a base for those that watch only some events."""

    def started(self, run: RunStarted) -> None:
        """Do nothing."""

    def waiting(self, run: RunStarted, holders: tuple[str, ...]) -> None:
        """Do nothing."""

    def planned(self, run: RunStarted, plan: Plan) -> None:
        """Do nothing."""

    def executing(self, run: RunStarted, statement: Statement) -> None:
        """Do nothing."""

    def executed(self, run: RunStarted, statement: Statement, rows: int) -> None:
        """Do nothing."""

    def transferring(self, run: RunStarted, progress: Transferred) -> None:
        """Do nothing."""

    def retrying(self, run: RunStarted, error: Exception, attempt: int, delay: float) -> None:
        """Do nothing."""

    def finished(self, run: RunStarted, result: TargetResult) -> None:
        """Do nothing."""

    def refused(self, pipeline: str, result: TargetResult) -> None:
        """Do nothing."""
