"""The one transaction of a dry run whose targets share what is read of their source.

Each target is tried behind a savepoint, and is rolled back to it. What a target keeps for those
that follow lies before a second savepoint: then only its own work is undone. In the end all of it
is rolled back, so that nothing is ever committed, and poolers hand out one server process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field

from sqlalchemy.engine import Connection, Transaction
from sqlalchemy.exc import DBAPIError

from pgflow.errors import PgflowError
from pgflow.run import joining
from pgflow.run.recovery import contact, retries
from pgflow.run.recovery.attempts import Attempts, Undertaking
from pgflow.run.recovery.interrupts import uncovered
from pgflow.run.result import TargetResult
from pgflow.run.session import Session, stop

#: Others wait for what earlier targets have locked, so that none of it must stay.
_DEADLOCK = "40P01"


@dataclass
class Rehearsal:
    """The transaction, and how far the present target has come in it.

    Attributes:
        connection: The connection that the targets are tried on.
        joined: Whether the transaction is the caller's; then a savepoint stands for all of it.
    """

    connection: Connection
    joined: bool = False
    _whole: Transaction | None = field(default=None, init=False)
    _target: Transaction | None = field(default=None, init=False)
    _work: Transaction | None = field(default=None, init=False)

    @property
    def goes_on(self) -> bool:
        """Whether a transaction is open."""
        return self._whole is not None

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Undo what the block does, but for the rows that it keeps.

        A connection that is lost, and a deadlock, end the transaction and all that was kept in it.
        """
        before: dict[str, str] = {}
        try:
            before = self._begin()
            yield
            self._undo(before)
        except BaseException as error:
            self._fail(error, before)
            raise

    def save(self) -> None:
        """Undo nothing of what the present target has done so far: it has kept rows."""
        if self._target is not None and self._work is None:
            self._work = self.connection.begin_nested()

    def end(self) -> None:
        """Roll everything back, also what was kept."""
        inside_out = (self._work, self._target, self._whole)
        self._work = self._target = self._whole = None
        for each in inside_out:
            if each is not None and each.is_active:
                each.rollback()

    def _begin(self) -> dict[str, str]:
        """Begin what is not begun; return the transaction's settings."""
        if self._whole is None:
            begin = self.connection.begin_nested if self.joined else self.connection.begin
            self._whole = begin()
        self._target = self.connection.begin_nested()
        return joining.settings(Session(self.connection))

    def _undo(self, before: dict[str, str]) -> None:
        """Undo a target's work, and what its preparation has left beside the rows that it kept."""
        if self._target is None:
            return
        if self._work is None:
            self._target.rollback()
        else:
            self._work.rollback()
            joining.leave(Session(self.connection), before)
            self._target.commit()
        self._target = self._work = None

    def _fail(self, error: BaseException, before: dict[str, str]) -> None:
        """Undo what a target has done that failed; what went wrong tells more than this could."""
        if not self.joined:
            stop(self.connection)
        with suppress(DBAPIError, PgflowError), uncovered():
            if not _ends_all(error):
                self._undo(before)
                return
        with suppress(DBAPIError), uncovered():
            self.end()


@dataclass
class Trials(Attempts):
    """The attempts at one target of a rehearsal.

    Attributes:
        rehearsal: The rehearsal.
    """

    rehearsal: Rehearsal = field(kw_only=True)

    def _once(self) -> TargetResult:
        with self.rehearsal.trying():
            return self._watched(self.run.connection)

    def _rest(self, delay: float, lost: bool) -> None:
        self.run.cancellation.pause(delay)
        if lost:
            contact.again(self.run.connection, self.run.cancellation.pause)


def attempts_at(run: Undertaking, limit: int, rehearsal: Rehearsal | None) -> Attempts:
    """Return the attempts at a run that has a connection to itself, or shares a rehearsal.

    Args:
        run: The run.
        limit: How many there may be where the server asks for another one.
        rehearsal: The rehearsal, or None.
    """
    if rehearsal is None:
        return Attempts(run, limit)
    return Trials(run, limit, rehearsal=rehearsal)


def apart(
    session: Session, rehearsal: Rehearsal | None, *, undone: bool
) -> AbstractContextManager[None]:
    """Do in the caller's transaction what can fail by itself.

    Args:
        session: The session.
        rehearsal: The rehearsal that undoes it, or None.
        undone: Whether it is undone where there is none.
    """
    return (
        joining.behind_savepoint(session, undone=undone)
        if rehearsal is None
        else rehearsal.trying()
    )


def check_deferred(session: Session) -> None:
    """Check what waits for a commit, which will not come.

    Args:
        session: The session, in a transaction of the run's own.
    """
    with session.failing("commit", "COMMIT"), session.driver.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE", prepare=False)


def _ends_all(error: BaseException) -> bool:
    """Whether an error leaves nothing to go on with, or nothing that one may hold on to."""
    if retries.is_lost(error) or not isinstance(error, Exception):
        return True
    return getattr(retries.origin(error), "sqlstate", None) == _DEADLOCK
