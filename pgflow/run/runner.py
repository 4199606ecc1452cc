"""The runner: one transaction a target, lock first, history inside, retried where it helps."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.engine import Connection, Engine, Transaction

from pgflow.connections.registry import describe
from pgflow.declare.instant import check_instant
from pgflow.errors import PgflowError, StatementFailed
from pgflow.plan.decision import Decision
from pgflow.plan.readings import read_here, tell_unreadable
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import bind, raw
from pgflow.plan.statement import Plan
from pgflow.run import facts, joining, locks, settings, upkeep
from pgflow.run.entry import Entry
from pgflow.run.events import Observer, RunStarted
from pgflow.run.execution import Execution, done_by_itself, execute
from pgflow.run.job import Job
from pgflow.run.positions.changes import read_changes
from pgflow.run.recovery import contact, retries
from pgflow.run.recovery.cancellation import Cancellation, cancellable
from pgflow.run.rehearsal import Rehearsal, apart, attempts_at, check_deferred
from pgflow.run.result import TargetResult
from pgflow.run.server_plans import ServerPlan, server_plans
from pgflow.run.session import Session
from pgflow.run.sharing.reading import Reading
from pgflow.run.sources.ends import Ends
from pgflow.run.sources.origin import Origin

_log = logging.getLogger("pgflow.run")

#: Seconds to wait for a server that went away, for the sake of recording that a run failed.
_RECORDING = 5.0


@dataclass
class Run:
    """One run of one target, on one connection.

    Attributes:
        job: What is to be done.
        connection: The connection that it is done on.
        observer: Who watches.
        effective_at: The instant that the caller gave, or None.
        dry_run: Whether everything is rolled back.
        run_id: The run's id.
        cancellation: Whether another thread wants the run to end.
        reading: Whether the run reads its source for itself.
        rehearsal: The transaction of a dry run that it shares with other targets.
    """

    job: Job
    connection: Connection
    observer: Observer
    effective_at: datetime | None = None
    dry_run: bool = False
    run_id: UUID = field(default_factory=uuid4)
    cancellation: Cancellation = field(default_factory=Cancellation)
    reading: Reading = field(default_factory=Reading)
    rehearsal: Rehearsal | None = None

    #: How rows get from the source to the target, once that is known.
    path: Decision[str] | None = field(default=None, init=False)

    #: What `inspect` found to be the source: what the function returned, where there is one.
    source: object = field(default=None, init=False)

    #: What the servers would do, once they were asked.
    server_plans: tuple[ServerPlan, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        check_instant(self.effective_at, f"effective_at={self.effective_at!r}")
        self._begun = time.perf_counter()
        self._entry = Entry(self.job, self.run_id, self.effective_at, self.dry_run)
        self._server_process: int | None = None
        draft = self.job.draft
        self._started = RunStarted(
            self.run_id,
            self.job.pipeline,
            draft.target.label,
            self.dry_run,
            draft.mode,
            describe(self.connection.engine),
            self.job.firing,
        )

    def alone(self) -> TargetResult:
        """Run in transactions of its own.

        Returns:
            What was done.

        Raises:
            PgflowError: It failed; everything was rolled back, and the history says so.
        """
        self.observer.started(self._started)
        attempts = attempts_at(self, self.job.attempts, self.rehearsal)
        try:
            result = attempts.result()
        except BaseException as error:
            if retries.is_lost(error):
                self._wait_a_little()
            self._failed(error, attempts.number, self.connection.begin)
            raise
        if not self.dry_run:
            target = self.job.draft.target.relation
            upkeep.refresh_statistics(self.connection, self._session, target, result)
        self.observer.finished(self._started, result)
        return result

    def joined(self) -> TargetResult:
        """Run in the caller's transaction, behind a savepoint, without retries.

        Returns:
            What was done, if the caller commits.

        Raises:
            UnsuitableTransaction: The transaction's isolation would make the lock useless.
            PgflowError: It failed; the savepoint was rolled back, the transaction goes on.
        """
        session = self._session()
        joining.require_read_committed(session, self.connection)
        self.observer.started(self._started)
        self._entry.announce(self.connection.begin_nested, lambda: session)
        try:
            with apart(session, self.rehearsal, undone=self.dry_run):
                result = self._work(session, 1)
        except BaseException as error:
            self._failed(error, 1, self.connection.begin_nested)
            raise
        self.observer.finished(self._started, result)
        return result

    def inspect(self, *, analyze: bool = False) -> tuple[Plan, SyncSpec]:
        """Gather facts and plan, in a transaction that is rolled back; takes no lock.

        Args:
            analyze: Whether the servers are asked for their plans, which are then `server_plans`.

        Returns:
            The plan that a run would execute now, and what it was made from.
        """
        with self.connection.begin() as transaction:
            session = self._session()
            session.run(raw("SET LOCAL row_security = off"), "refuse hidden rows")
            self.job.check_version(_server_version(self.connection))
            facts.require_tables(session, self.job)
            # The server plans with values, so that it needs an instant.
            at = _clock(session) if analyze and self.effective_at is None else self.effective_at
            found = self._inspected(session, self._stamped(at), analyze=analyze)
            # Also what the pipeline's function has written through its connection.
            transaction.rollback()
        return found

    def _inspected(
        self, session: Session, draft: SyncSpec, *, analyze: bool
    ) -> tuple[Plan, SyncSpec]:
        with self._ends(session) as ends:
            found = ends.locate()
            self.path, self.source = found.path, found.source
            found = self.reading.foresee(session, found, itself=analyze)
            draft = replace(draft, path=found.path)
            if isinstance(found.source, Mapping):
                return Plan(draft.target.label, draft.mode), draft
            spec = facts.gather(session, replace(self.job, draft=draft), found.source)
            ends.check()
            spec = self.reading.foretold(spec)
            plan = self.reading.shown(self._planned(spec))
            if analyze:
                there = found.source.session if isinstance(found.source, Origin) else None
                self.server_plans = server_plans(session, plan, draft.instant, there)
        return plan, spec

    # -- one attempt ------------------------------------------------------------------

    @property
    def title(self) -> str:
        """The pipeline and its target, for messages."""
        return f"{self.job.pipeline} -> {self.job.draft.target.label}"

    @property
    def rolled_back(self) -> bool:
        """Whether nothing of the run is to stay."""
        return self.dry_run

    def announce(self) -> None:
        """Write the run into the history as `running`, in a transaction of its own."""
        self._entry.announce(self.connection.begin, self._session)

    def work(self, attempt: int) -> TargetResult:
        """Do the run's work, in the transaction of its data."""
        session = self._session()
        result = self._work(session, attempt)
        if self.dry_run:
            check_deferred(session)
        return result

    def hold(self) -> None:
        """Take the lock by which other runs see that this one lives."""
        locks.wait_lock(self._session(), locks.run_lock(self.run_id), False)

    def succeeded(self) -> bool:
        """Ask the history whether the run's data was committed, once that is decided."""
        return self._entry.is_success(self._session())

    def retrying(self, error: Exception, attempt: int, delay: float) -> None:
        """Tell the observer that there will be another attempt."""
        self.observer.retrying(self._started, error, attempt, delay)

    def _work(self, session: Session, attempt: int) -> TargetResult:
        self._prepare(session)
        self._entry.check(session)
        locks.lock_target(session, self.job, partial(self.observer.waiting, self._started))
        if (done_by := self._entry.is_settled(session)) is not None:
            return self._nothing(done_by)
        at = self.effective_at or _clock(session)
        draft = self._stamped(at)
        spec, done = self._executed(session, draft)
        instant = at if _has_instant(spec) else None
        self._entry.succeed(session, spec, done, attempt, instant)
        return self._result(spec, done, instant)

    def _executed(self, session: Session, draft: SyncSpec) -> tuple[SyncSpec, Execution]:
        """Find the source, plan, and do what is planned."""
        with self._ends(session) as ends:
            found = self.reading.locate(session, ends.locate, self.observer, self._started)
            draft = replace(draft, path=found.path)
            if isinstance(found.source, Mapping):
                return draft, done_by_itself(self.job, draft, found.source)
            spec = facts.gather(session, replace(self.job, draft=draft), found.source)
            ends.check()
            spec = self.reading.fitted(spec)
            if spec.source.cheap:
                settings.keep_to_one_process(session)
            plan = self._planned(spec)
            self.observer.planned(self._started, plan)
            feeder = (
                partial(ends.feed, found.source, partial(self.observer.transferring, self._started))
                if isinstance(found.source, Origin)
                else read_changes
            )
            try:
                done = execute(session, plan, self.observer, self._started, feeder)
                return spec, self.reading.noted(done)
            except StatementFailed as error:
                if not isinstance(found.source, Origin):
                    tell_unreadable(error, read_here(spec))
                raise

    def _prepare(self, session: Session) -> None:
        """Settings and the sign of life; all of it ends with the transaction."""
        self.job.check_version(_server_version(self.connection))
        label = f"pgflow {self.job.pipeline} {self.run_id}"
        if self._server_process is not None:
            locks.end_former(session, self.run_id, self._server_process)
        self._server_process = session.server_process
        settings.begin(session, label, locks.run_lock(self.run_id))

    # -- parts ------------------------------------------------------------------------

    @property
    def _comment(self) -> str:
        """What every statement of the run bears, on whichever server."""
        pipeline = self.job.pipeline.encode("ascii", "replace").decode()
        safe = pipeline.replace("*", "").replace("/", "").replace("\n", " ")
        return f"pgflow pipeline={safe} run={self.run_id}"

    def _session(self) -> Session:
        guarded = self.job.draft.options.sample_keys is False
        return Session(self.connection, self._comment, owner=self.title, guarded=guarded)

    def _ends(self, session: Session) -> Ends:
        label = f"pgflow {self.job.pipeline} {self.run_id}".encode("ascii", "replace").decode()
        return Ends(self.job, session, self.cancellation, (label[:63], self._comment))

    def _stamped(self, at: datetime | None) -> SyncSpec:
        return replace(
            self.job.draft,
            instant=bind(at, "instant"),
            batch_id=bind(self.run_id, "run_id"),
            rehearsal=self.dry_run,
            explicit_instant=self.effective_at is not None,
        )

    def _result(self, spec: SyncSpec, done: Execution, at: datetime | None) -> TargetResult:
        decided = (d.warning for d in done.plan.decisions.values() if d.warning)
        warnings = (*decided, *spec.hazards, *done.warnings)
        counts: dict[str, Any] = dict(done.counts)
        return TargetResult(
            target=spec.target.label,
            mode=spec.mode,
            run_id=self.run_id,
            seconds=time.perf_counter() - self._begun,
            effective_at=at,
            plan=done.plan,
            warnings=warnings,
            returned=done.returned,
            details=done.details,
            **counts,
        )

    def _nothing(self, done_by: UUID) -> TargetResult:
        """What is told of a firing that an earlier run has settled."""
        draft = self.job.draft
        return TargetResult(
            target=draft.target.label,
            mode=draft.mode,
            run_id=self.run_id,
            seconds=time.perf_counter() - self._begun,
            details={"settled_by": str(done_by)},
        )

    def _planned(self, spec: SyncSpec) -> Plan:
        plan = self.job.make_plan(spec)
        return replace(plan, hazards=(*plan.hazards, *spec.hazards))

    # -- failure ----------------------------------------------------------------------

    def _wait_a_little(self) -> None:
        """Give a server that went away a moment, so that the history can be told."""
        try:
            contact.again(self.connection, patience=_RECORDING)
        except retries.FAILURES as error:
            _log.debug("the server has not come back: %s", error)

    def _failed(self, error: BaseException, attempt: int, begin: Callable[[], Transaction]) -> None:
        self._entry.fail(begin, self._session, error, attempt)
        self._tell_failure(error)

    def _tell_failure(self, error: BaseException) -> None:
        if isinstance(error, PgflowError):
            error.run_id = self.run_id
        draft = self.job.draft
        self.observer.finished(
            self._started,
            TargetResult(
                target=draft.target.label,
                mode=draft.mode,
                run_id=self.run_id,
                status="failed",
                seconds=time.perf_counter() - self._begun,
                error=error,
            ),
        )


def run_alone(
    job: Job,
    engine: Engine,
    *,
    observer: Observer,
    effective_at: datetime | None = None,
    dry_run: bool = False,
    reading: Reading | None = None,
) -> TargetResult:
    """Run a job on a connection of its own.

    Args:
        job: The job.
        engine: The target's engine; one connection of it is used.
        observer: Who watches.
        effective_at: The instant of the run, if it is not the server's clock.
        dry_run: Whether everything is rolled back.
        reading: Whether the run reads its source for itself; by default it does.

    Returns:
        What was done.
    """
    with cancellable() as cancelled, contact.first(engine, cancelled.pause) as connection:
        own = Reading() if reading is None else reading
        run = Run(job, connection, observer, effective_at, dry_run, uuid4(), cancelled, own)
        return run.alone()


def _clock(session: Session) -> datetime:
    """The server's clock, read after the lock is held: later than any run before."""
    at = session.run(raw("SELECT clock_timestamp() AS at"), "read the clock").rows[0]["at"]
    if not isinstance(at, datetime):
        raise PgflowError(f"the server's clock says {at!r}")
    return at.astimezone(UTC)


def _has_instant(spec: SyncSpec) -> bool:
    return spec.target.system.valid_from is not None or spec.explicit_instant


def _server_version(connection: Connection) -> int:
    version = connection.dialect.server_version_info
    return int(version[0]) if version else 0
