"""The runner: one transaction a target, lock first, history inside, retried where it helps."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from psycopg.pq import TransactionStatus
from sqlalchemy.engine import Connection, Engine, RootTransaction, Transaction
from sqlalchemy.exc import DBAPIError

from pgflow.errors import (
    InvalidInstant,
    OutcomeUnknown,
    PgflowError,
    StatementFailed,
    UnsuitableTransaction,
)
from pgflow.plan.decision import Unknown
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import bind, raw, sql
from pgflow.plan.statement import Plan
from pgflow.run import facts, joining, locks, records
from pgflow.run.body import BodyConnection
from pgflow.run.events import Observer, RunStarted
from pgflow.run.execution import Execution, done_by_itself, execute
from pgflow.run.job import Delivery, Job
from pgflow.run.result import TargetResult
from pgflow.run.session import Session

_log = logging.getLogger("pgflow")

#: SQLSTATEs after which the same work may succeed when it is done again: serialization failure,
#: deadlock, and a key that somebody else has just inserted.
RETRYABLE = frozenset({"40001", "40P01", "23505"})


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
    """

    job: Job
    connection: Connection
    observer: Observer
    effective_at: datetime | None = None
    dry_run: bool = False
    run_id: UUID = field(default_factory=uuid4)

    def __post_init__(self) -> None:
        if self.effective_at is not None and self.effective_at.utcoffset() is None:
            raise InvalidInstant(
                f"effective_at={self.effective_at!r} has no time zone, so it names no instant. "
                "Give for instance datetime(2024, 1, 1, tzinfo=timezone.utc)."
            )
        self._begun = time.perf_counter()
        self._announced = False
        self._started = RunStarted(
            self.run_id, self.job.pipeline, self.job.draft.target.label, self.dry_run
        )

    def alone(self) -> TargetResult:
        """Run in transactions of its own.

        Returns:
            What was done.

        Raises:
            PgflowError: It failed; everything was rolled back, and the history says so.
        """
        self.observer.started(self._started)
        attempt = 1
        try:
            if not self.dry_run:
                with self.connection.begin():
                    self._announce(self._session())
                self._announced = True
            while (result := self._try(attempt)) is None:
                attempt += 1
        except BaseException as error:
            self._failed(error, attempt, self.connection.begin)
            raise
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
        with self.connection.begin_nested():
            self._announce(session)
        self._announced = not self.dry_run
        try:
            with self.connection.begin_nested() as savepoint:
                before = joining.settings(session)
                result = self._work(session, 1)
                joining.leave(session, before)
                if self.dry_run:
                    savepoint.rollback()
        except BaseException as error:
            self._failed(error, 1, self.connection.begin_nested)
            raise
        self.observer.finished(self._started, result)
        return result

    def inspect(self) -> tuple[Plan, SyncSpec]:
        """Gather facts and plan, in a transaction that is rolled back; takes no lock.

        Returns:
            The plan that a run would execute now, and what it was made from.
        """
        with self.connection.begin() as transaction:
            session = self._session()
            session.run(raw("SET LOCAL row_security = off"), "refuse hidden rows")
            self.job.check_version(_server_version(self.connection))
            facts.require_tables(session, self.job)
            draft = self._stamped(self.effective_at)
            source = self._source()
            if isinstance(source, Mapping):
                return Plan(draft.target.label, draft.mode), draft
            spec = facts.gather(session, replace(self.job, draft=draft), source)
            plan = self.job.make_plan(spec)
            transaction.rollback()
        return plan, spec

    # -- one attempt ------------------------------------------------------------------

    def _try(self, attempt: int) -> TargetResult | None:
        """Make one attempt; None if another one is to follow."""
        try:
            return self._attempt(attempt)
        except (StatementFailed, DBAPIError) as error:
            delay = self._delay(error, attempt)
            if delay is None:
                raise
            self.observer.retrying(self._started, error, attempt + 1, delay)
        self._rest(delay)
        return None

    def _attempt(self, attempt: int) -> TargetResult:
        transaction = self.connection.begin()
        try:
            result = self._work(self._session(), attempt)
        except BaseException:
            # What went wrong tells more than that the connection went with it.
            with suppress(DBAPIError):
                transaction.rollback()
            raise
        if self.dry_run:
            transaction.rollback()
        else:
            self._commit(transaction)
        return result

    def _rest(self, delay: float) -> None:
        """Wait for the next attempt without looking dead to other runs."""
        with self.connection.begin():
            locks.wait_lock(self._session(), locks.run_lock(self.run_id), False)
            time.sleep(delay)

    def _commit(self, transaction: RootTransaction) -> None:
        try:
            transaction.commit()
        except DBAPIError as error:
            transaction.close()
            if self.connection.invalidated and self._was_committed(error):
                return
            cause = error.orig or error
            raise StatementFailed.of(cause, "commit", "COMMIT", self._owner) from error
        except BaseException:
            # An interrupt: whether the commit came first, only the history knows.
            transaction.close()
            raise

    def _was_committed(self, error: DBAPIError) -> bool:
        """Ask the history whether a commit arrived whose answer did not."""
        try:
            with self.connection.begin():
                return records.settled(self._session(), self.job.runs, self.run_id) == "success"
        except (PgflowError, DBAPIError) as second:
            raise OutcomeUnknown(
                f"{self.job.pipeline}: the connection broke while run {self.run_id} committed, and "
                f"the history cannot be asked whether it did ({second}). Ask it later: the run's "
                "data is there if, and only if, its status is 'success'."
            ) from error

    def _work(self, session: Session, attempt: int) -> TargetResult:
        self._prepare(session)
        facts.require_tables(session, self.job)
        locks.lock_target(session, self.job, partial(self.observer.waiting, self._started))
        at = self.effective_at or _clock(session)
        draft = self._stamped(at)
        source = self._source()
        if isinstance(source, Mapping):
            spec, done = draft, done_by_itself(draft, source)
        else:
            spec = facts.gather(session, replace(self.job, draft=draft), source)
            if spec.source.cheap:
                _keep_to_one_process(session)
            plan = self.job.make_plan(spec)
            self.observer.planned(self._started, plan)
            done = execute(session, plan, self.observer, self._started)
        if not self.dry_run:
            records.succeed(
                session,
                self.job.runs,
                self._record(),
                done.counts,
                attempts=attempt,
                watermark=_watermark(spec, done),
                effective_at=at if _has_instant(spec) else None,
            )
        return self._result(spec, done, at)

    def _prepare(self, session: Session) -> None:
        """Settings and the sign of life; all of it ends with the transaction."""
        self.job.check_version(_server_version(self.connection))
        label = f"pgflow {self.job.pipeline} {self.run_id}"
        session.run(
            sql(
                "SELECT set_config('application_name', {label}, true),"
                " set_config('row_security', 'off', true), set_config('jit', 'off', true),"
                " pg_advisory_xact_lock({lock}::bigint)",
                label=bind(label.encode("ascii", "replace").decode()[:63], "application_name"),
                lock=bind(locks.run_lock(self.run_id), "lock"),
            ),
            "begin the run",
        )

    # -- parts ------------------------------------------------------------------------

    @property
    def _owner(self) -> str:
        return f"{self.job.pipeline} -> {self.job.draft.target.label}"

    def _session(self) -> Session:
        pipeline = self.job.pipeline.encode("ascii", "replace").decode()
        safe = pipeline.replace("*", "").replace("/", "").replace("\n", " ")
        label = f"pgflow pipeline={safe} run={self.run_id}"
        return Session(self.connection, label, owner=self._owner)

    def _source(self) -> Delivery:
        delivery = self.job.source(BodyConnection(lambda: self.connection))
        driver: Any = self.connection.connection.driver_connection
        if driver.info.transaction_status == TransactionStatus.IDLE:
            raise UnsuitableTransaction(
                f"the function of pipeline {self.job.pipeline!r} has ended the run's transaction "
                "by SQL of its own. What it did before stands; the target was not touched. Leave "
                "COMMIT and ROLLBACK to the run."
            )
        return delivery

    def _stamped(self, at: datetime | None) -> SyncSpec:
        return replace(
            self.job.draft,
            instant=bind(at, "instant"),
            batch_id=bind(self.run_id, "run_id"),
            rehearsal=self.dry_run,
            explicit_instant=self.effective_at is not None,
        )

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
        )

    def _announce(self, session: Session) -> None:
        if self.dry_run:
            return
        facts.require_tables(session, self.job)
        records.abandon_dead(session, self.job.runs)
        records.announce(session, self.job.runs, self._record())

    def _result(self, spec: SyncSpec, done: Execution, at: datetime) -> TargetResult:
        warnings = tuple(d.warning for d in done.plan.decisions.values() if d.warning)
        for warning in warnings:
            _log.warning("pipeline %s -> %s: %s", self.job.pipeline, spec.target.label, warning)
        counts: dict[str, Any] = dict(done.counts)
        return TargetResult(
            target=spec.target.label,
            mode=spec.mode,
            run_id=self.run_id,
            seconds=time.perf_counter() - self._begun,
            effective_at=at if _has_instant(spec) else None,
            plan=done.plan,
            warnings=warnings,
            returned=done.returned,
            **counts,
        )

    # -- failure ----------------------------------------------------------------------

    def _delay(self, error: StatementFailed | DBAPIError, attempt: int) -> float | None:
        """How long to wait before the next attempt; None if there is none."""
        sqlstate = getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)
        limit = 2 if sqlstate == "23505" else self.job.attempts
        if sqlstate not in RETRYABLE or attempt >= limit:
            return None
        pause: float = min(2.0, 0.05 * 2**attempt)
        # Jitter keeps two runs that met once from meeting again; nothing secret hangs on it.
        return pause * (0.5 + random.random())  # noqa: S311

    def _failed(
        self, error: BaseException, attempt: int, transaction: Callable[[], Transaction]
    ) -> None:
        if self._announced:
            try:
                with transaction():
                    records.fail(self._session(), self.job.runs, self.run_id, error, attempt)
            except Exception as second:
                error.add_note(f"The failure could not be recorded in the history: {second}")
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
) -> TargetResult:
    """Run a job on a connection of its own.

    Args:
        job: The job.
        engine: The target's engine; one connection of it is used.
        observer: Who watches.
        effective_at: The instant of the run, if it is not the server's clock.
        dry_run: Whether everything is rolled back.

    Returns:
        What was done.
    """
    with engine.connect() as connection:
        plain = connection.execution_options(isolation_level="READ COMMITTED")
        return Run(job, plain, observer, effective_at, dry_run).alone()


def _keep_to_one_process(session: Session) -> None:
    """Do without parallel workers: for a plain scan they cost half as much again and gain nothing.

    Sources that join, sort or aggregate keep what the server allows them.
    """
    session.run(raw("SET LOCAL max_parallel_workers_per_gather = 0"), "keep to one process")


def _clock(session: Session) -> datetime:
    """The server's clock, read after the lock is held: later than any run before."""
    at = session.run(raw("SELECT clock_timestamp() AS at"), "read the clock").rows[0]["at"]
    if not isinstance(at, datetime):
        raise PgflowError(f"the server's clock says {at!r}")
    return at.astimezone(UTC)


def _has_instant(spec: SyncSpec) -> bool:
    return spec.target.system.valid_from is not None or spec.explicit_instant


def _watermark(spec: SyncSpec, done: Execution) -> tuple[str | None, str | None]:
    if spec.watermark is None:
        return None, None
    before = None if isinstance(spec.watermark.value, Unknown) else spec.watermark.value
    return before, done.watermark or before


def _server_version(connection: Connection) -> int:
    version = connection.dialect.server_version_info
    return int(version[0]) if version else 0
