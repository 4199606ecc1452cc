"""A run's entry in the history, from `running` until it says how the run ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy.engine import Transaction

from pgflow.bookkeeping import ADDED, VERSION
from pgflow.plan.decision import Unknown
from pgflow.plan.spec import SyncSpec
from pgflow.run import facts, firings, records
from pgflow.run.execution import Execution
from pgflow.run.job import Job
from pgflow.run.recovery.interrupts import uncovered
from pgflow.run.session import Session

#: The subject under which the history has the range of a backfill's step.
BACKFILL = "backfill"


@dataclass
class Entry:
    """The entry of one run.

    Attributes:
        job: What the run is to do.
        run_id: Its id.
        effective_at: The instant that the caller gave, or None.
        rehearsed: Whether there is to be none, as for whatever is rolled back.
    """

    job: Job
    run_id: UUID
    effective_at: datetime | None
    rehearsed: bool
    _stands: bool = field(default=False, init=False)
    # Ctrl-C may come after the commit and before its answer: then nobody knows whether it stands.
    _written: bool = field(default=False, init=False)
    _layout: int = field(default=VERSION, init=False)

    def announce(self, begin: Callable[[], Transaction], session: Callable[[], Session]) -> None:
        """Write that the run is `running`; once, however often this is called.

        Args:
            begin: Begins the transaction or savepoint that it is written in.
            session: Makes the session, in that transaction.
        """
        if self._stands or self.rehearsed:
            return
        with begin():
            self._write(session())
            self._written = True
        self._stands = True

    def check(self, session: Session) -> None:
        """Make sure that the target and the history are there, and learn the history's layout.

        Args:
            session: The session.

        Raises:
            MissingTable: One of them is not in the database.
            OtherLayout: The history is too old, or too new.
        """
        self._layout = facts.require_tables(session, self.job)

    def succeed(
        self, session: Session, spec: SyncSpec, done: Execution, attempt: int, at: datetime | None
    ) -> None:
        """Write that the run succeeded, in the transaction of its data.

        Args:
            session: The session, in that transaction.
            spec: What was planned.
            done: What was done.
            attempt: The number of the attempt.
            at: The run's instant, where it has one.

        Raises:
            RunLost: The entry is gone, so the data must not be committed either.
        """
        if self.rehearsed:
            return
        records.succeed(
            session,
            self.job.runs,
            self._record,
            done.counts,
            attempts=attempt,
            watermark=_watermark(spec, done),
            effective_at=at,
            details=done.details,
            layout=self._layout,
        )

    def fail(
        self,
        begin: Callable[[], Transaction],
        session: Callable[[], Session],
        error: BaseException,
        attempt: int,
    ) -> None:
        """Write that the run failed, if the history has heard of it; a note says if that fails.

        Args:
            begin: Begins the transaction or savepoint that it is written in.
            session: Makes the session, in that transaction.
            error: What went wrong.
            attempt: The number of the attempt.
        """
        if not self._written:
            return
        try:
            with uncovered(), begin():
                records.fail(session(), self.job.runs, self.run_id, error, attempt, self._layout)
        except Exception as second:
            error.add_note(f"The failure could not be recorded in the history: {second}")

    def is_settled(self, session: Session) -> UUID | None:
        """Look whether an earlier run has settled the firing of this one, which then does nothing.

        Args:
            session: The session, in the transaction of the data.

        Returns:
            The earlier run, or None.

        Raises:
            InvalidInstant: The firing lies too far ahead.
        """
        done_by = None if self.rehearsed else firings.settled_by(session, self.job)
        if done_by is not None:
            firings.withdraw(session, self.job.runs, self.run_id, done_by)
        return done_by

    def is_success(self, session: Session) -> bool:
        """Wait until the run's last transaction is over, and look whether it was committed.

        Args:
            session: The session, in another transaction.
        """
        return records.settled(session, self.job.runs, self.run_id) == "success"

    def _write(self, session: Session) -> None:
        # A target that is missing is found by the run itself, so that the history tells of it.
        self._layout = facts.require_tables(session, self.job, target=False)
        records.abandon_dead(session, self.job.runs)
        records.announce(session, self.job.runs, self._record)

    @property
    def _record(self) -> records.Record:
        draft = self.job.draft
        return records.Record(
            self.run_id,
            self.job.pipeline,
            draft.target.label,
            draft.scope_name,
            draft.mode,
            self.job.parameters,
            self.effective_at,
            {**firings.noted(self.job, self._layout), **self._step},
        )

    @property
    def _step(self) -> dict[str, object]:
        """What the history says of a backfill's step; older layouts have no place for it."""
        if self.job.step is None or self._layout < ADDED["details"]:
            return {}
        begin, end = self.job.step
        return {BACKFILL: {"from": begin, "to": end}}


def _watermark(spec: SyncSpec, done: Execution) -> tuple[str | None, str | None]:
    if spec.watermark is None:
        return None, None
    before = None if isinstance(spec.watermark.value, Unknown) else spec.watermark.value
    return before, spec.watermark.now or done.watermark or before
