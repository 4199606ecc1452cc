"""A run's work in transactions of its own: committed once, or tried again, or told why not."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from sqlalchemy.engine import Connection, RootTransaction
from sqlalchemy.exc import DBAPIError

from pgflow.errors import OutcomeUnknown, PgflowError
from pgflow.run.failures import statement_failed
from pgflow.run.recovery import contact, retries
from pgflow.run.recovery.cancellation import Cancellation
from pgflow.run.recovery.interrupts import uncovered
from pgflow.run.result import TargetResult
from pgflow.run.session import stop


class Undertaking(Protocol):
    """What is attempted."""

    @property
    def connection(self) -> Connection:
        """The connection that it is done on; after a loss another one is behind it."""

    @property
    def cancellation(self) -> Cancellation:
        """Whether it is to end."""

    @property
    def run_id(self) -> UUID:
        """Its id in the history."""

    @property
    def title(self) -> str:
        """Its name, for messages."""

    @property
    def rolled_back(self) -> bool:
        """Whether nothing of it is to stay."""

    def announce(self) -> None:
        """Say in a transaction of its own that it begins; once, however often this is called."""

    def work(self, attempt: int) -> TargetResult:
        """Do it, in a transaction that has begun."""

    def hold(self) -> None:
        """Show in a transaction that has begun that it lives."""

    def succeeded(self) -> bool:
        """Wait for its last transaction to end, and look whether that was committed."""

    def retrying(self, error: Exception, attempt: int, delay: float) -> None:
        """Hear that it will be tried again."""


@dataclass
class Attempts:
    """The attempts at one thing.

    Attributes:
        run: The thing.
        limit: How many there may be where the server asks for another one.
        number: The number of the present attempt, from 1.
    """

    run: Undertaking
    limit: int
    number: int = 1

    def result(self) -> TargetResult:
        """Attempt it until it succeeds, or fails in a way that another attempt would not cure.

        Returns:
            What was done.

        Raises:
            OutcomeUnknown: Whether it was committed cannot be found out.
            PgflowError: It failed; everything was rolled back.
        """
        while (found := self._try()) is None:
            self.number += 1
        return found

    def _try(self) -> TargetResult | None:
        """Make one attempt; None if another one is to follow."""
        try:
            with uncovered():
                self._announce()
                return self._once()
        except retries.FAILURES as error:
            delay = retries.delay(error, self.number, self.limit)
            if delay is None:
                raise
            lost = retries.is_lost(error)
            self.run.retrying(error, self.number + 1, delay)
        with uncovered():
            self._rest(delay, lost)
        return None

    def _announce(self) -> None:
        try:
            self.run.announce()
        except BaseException:
            # An interrupt leaves the connection busy; the pool must not get it back like that.
            stop(self.run.connection)
            raise

    def _once(self) -> TargetResult:
        connection = self.run.connection
        transaction = connection.begin()
        try:
            result = self._watched(connection)
        except BaseException:
            # What went wrong tells more than that the connection went with it.
            stop(connection)
            with suppress(DBAPIError), uncovered():
                transaction.rollback()
            raise
        if self.run.rolled_back:
            transaction.rollback()
        else:
            self._commit(connection, transaction)
        return result

    def _watched(self, connection: Connection) -> TargetResult:
        driver = connection.connection.driver_connection
        if driver is None:
            return self.run.work(self.number)
        with self.run.cancellation.watching(driver):
            return self.run.work(self.number)

    def _commit(self, connection: Connection, transaction: RootTransaction) -> None:
        try:
            with uncovered():
                transaction.commit()
        except DBAPIError as error:
            transaction.close()
            if connection.invalidated and self._was_committed(connection, error):
                return
            cause = error.orig or error
            raise statement_failed(cause, "commit", "COMMIT", self.run.title) from error
        except BaseException:
            # An interrupt: whether the commit came first, only the history knows.
            stop(connection)
            transaction.close()
            raise

    def _was_committed(self, connection: Connection, error: DBAPIError) -> bool:
        """Ask the history whether a commit arrived whose answer did not."""
        try:
            with uncovered():
                contact.again(connection, self.run.cancellation.pause)
                with connection.begin():
                    return self.run.succeeded()
        except (PgflowError, *retries.FAILURES) as second:
            raise OutcomeUnknown(
                f"{self.run.title}: the connection broke while run {self.run.run_id} committed, "
                f"and the history cannot be asked whether it did ({second}). Ask it later: the "
                "run's data is there if, and only if, its status is 'success'."
            ) from error

    def _rest(self, delay: float, lost: bool) -> None:
        """Wait for the next attempt, without looking dead to other runs where that can be."""
        pause = self.run.cancellation.pause
        if not lost:
            try:
                with self.run.connection.begin():
                    self.run.hold()
                    pause(delay)
            except retries.FAILURES as error:
                if not retries.is_lost(error):
                    raise
            else:
                return
        pause(delay)
        contact.again(self.run.connection, pause)
