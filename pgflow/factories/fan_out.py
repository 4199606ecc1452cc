"""Running a pipeline's targets in order: on one connection where they can share its source."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import TracebackType

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

from pgflow.errors import PgflowError
from pgflow.factories.parts import parts
from pgflow.factories.sync_target import SyncTarget
from pgflow.run.events import Observer
from pgflow.run.job import Job
from pgflow.run.recovery import contact
from pgflow.run.recovery.cancellation import Cancellation, cancellable
from pgflow.run.rehearsal import Rehearsal
from pgflow.run.result import TargetResult
from pgflow.run.runner import Run, run_alone
from pgflow.run.session import Session
from pgflow.run.sharing.kept import forget
from pgflow.run.sharing.part import Part, Share
from pgflow.run.sharing.reading import Reading

_log = logging.getLogger("pgflow.run")


@dataclass
class FanOut:
    """The targets of one run of a pipeline; a context manager.

    Attributes:
        targets: The targets.
        values: The run parameters.
        observer: Who watches.
        effective_at: The instant of the run, if it is not the server's clock.
        joined: The caller's connection, whose transaction the run joins, or None.
        dry_run: Whether everything is rolled back.
        firing: The instant at which a schedule asked for the run, or None.
    """

    targets: Sequence[SyncTarget]
    values: Mapping[str, object]
    observer: Observer
    effective_at: datetime | None = None
    joined: Connection | None = None
    dry_run: bool = False
    firing: datetime | None = None
    _parts: Mapping[int, Part] = field(default_factory=dict, init=False)
    _stack: ExitStack = field(default_factory=ExitStack, init=False)
    _held: tuple[Share, Connection] | None = field(default=None, init=False)
    _rehearsal: Rehearsal | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        lasting = self.joined is None and not self.dry_run
        self._parts = parts(self.targets, self.values, lasting=lasting)
        if self.dry_run and self.joined is not None:
            self._rehearse(self.joined)

    def __enter__(self) -> FanOut:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.joined is None:
            self._release()
        else:
            self._forget(self.joined)

    def run(self, place: int) -> TargetResult:
        """Run one target.

        Args:
            place: Its place in the pipeline; they are run in that order.

        Returns:
            What was done.

        Raises:
            PgflowError: It failed; everything was rolled back, and the history says so.
        """
        part = self._parts.get(place)
        try:
            return self._run(place, part)
        except BaseException:
            if part is not None:
                part.share.failed.add(place)
            raise

    def _run(self, place: int, part: Part | None) -> TargetResult:
        target = self.targets[place]
        job = replace(target.job(self.values), firing=self.firing)
        reading = Reading() if part is None else part
        if self.joined is not None:
            return self._on(self.joined, job, reading).joined()
        if self._held is not None and (part is None or part.share is not self._held[0]):
            self._release()
        if part is not None and part.share.jobs:
            return self._on_held(job, target.target_engine(), part)
        return run_alone(
            job,
            target.target_engine(),
            observer=self.observer,
            effective_at=self.effective_at,
            dry_run=self.dry_run,
            reading=reading,
        )

    # -- one connection for several targets -------------------------------------------

    def _on_held(self, job: Job, engine: Engine, part: Part) -> TargetResult:
        with cancellable() as cancellation:
            connection = self._hold(part.share, engine, cancellation.pause)
            run = self._on(connection, job, part, cancellation)
            try:
                return run.alone()
            finally:
                # What a function has done to its connection is not for the next target.
                used = part.share.connected and not part.share.kept
                if used or not self._is_sound(connection):
                    self._release()

    def _on(
        self,
        connection: Connection,
        job: Job,
        reading: Reading,
        cancellation: Cancellation | None = None,
    ) -> Run:
        return Run(
            job,
            connection,
            self.observer,
            self.effective_at,
            self.dry_run,
            cancellation=Cancellation() if cancellation is None else cancellation,
            reading=reading,
            rehearsal=self._rehearsal,
        )

    def _rehearse(self, connection: Connection) -> None:
        """Let one transaction hold all targets on this connection, which are rolled back."""
        self._rehearsal = Rehearsal(connection, joined=self.joined is not None)
        for part in self._parts.values():
            part.share.save = self._rehearsal.save

    def _hold(self, share: Share, engine: Engine, pause: Callable[[float], object]) -> Connection:
        if self._held is None:
            self._held = share, self._stack.enter_context(contact.first(engine, pause))
            if self.dry_run:
                self._rehearse(self._held[1])
        return self._held[1]

    def _release(self) -> None:
        """Give the connection back, as clean as it came."""
        if self._held is None:
            return
        connection, self._held = self._held[1], None
        with self._stack:
            self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        """Drop what was kept; a connection that cannot drop it must not be used again."""
        shares = {id(part.share): part.share for part in self._parts.values()}
        names = [name for share in shares.values() for name in share.names]
        for share in shares.values():
            share.clear()
        rehearsal, self._rehearsal = self._rehearsal, None
        try:
            if rehearsal is not None:
                rehearsal.end()
            elif names and self._is_sound(connection):
                begin = connection.begin if self.joined is None else connection.begin_nested
                with begin():
                    forget(Session(connection), names)
        except (PgflowError, DBAPIError, psycopg.Error) as error:
            _log.debug("what was kept could not be dropped: %s", error)
            self._give_up(connection)
        except BaseException:
            self._give_up(connection)
            raise

    def _give_up(self, connection: Connection) -> None:
        """End a connection of the run's own, and its temporary tables with it."""
        if self.joined is None:
            connection.invalidate()

    def _is_sound(self, connection: Connection) -> bool:
        """Whether a connection can be worked with: nothing on it is lost, or left half done."""
        if connection.closed or connection.invalidated:
            return False
        driver = connection.connection.driver_connection
        rehearsed = self._rehearsal is not None and self._rehearsal.goes_on
        inside = rehearsed or self.joined is not None
        wanted = TransactionStatus.INTRANS if inside else TransactionStatus.IDLE
        return (
            isinstance(driver, psycopg.Connection)
            and not driver.closed
            and driver.info.transaction_status == wanted
        )
