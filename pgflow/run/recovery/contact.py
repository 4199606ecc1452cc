"""Contact with the target's server: the first, and again after it was lost."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.engine import Connection, Engine

from pgflow.run.recovery import retries
from pgflow.run.recovery.interrupts import uncovered

#: Seconds to wait for a server that is restarting, or has no connection left.
PATIENCE = 60.0

#: What a server answers that is there, but takes no connection yet, or no more. Connections that
#: cannot be opened have no SQLSTATE; in another language the run fails at once, and says so.
_SOON = (
    "is starting up",
    "is shutting down",
    "is not yet accepting connections",
    "in recovery mode",
    "too many clients already",
    "too many connections for",
    "remaining connection slots are reserved",
)


@contextmanager
def first(engine: Engine, pause: Callable[[float], object] = time.sleep) -> Iterator[Connection]:
    """Open a connection for a run; wait for a server that says it will take it soon.

    A server that does not answer at all is not waited for: the address may be wrong.

    Args:
        engine: The target's engine.
        pause: Waits so many seconds.

    Yields:
        The connection, in READ COMMITTED.

    Raises:
        sqlalchemy.exc.OperationalError: The server cannot be reached, or refuses.
    """
    for seconds in _pauses(PATIENCE):
        try:
            with uncovered():
                connection = engine.connect()
            break
        except retries.FAILURES as error:
            if seconds is None or not any(phrase in str(error) for phrase in _SOON):
                raise
        pause(seconds)
    with connection:
        yield connection.execution_options(isolation_level="READ COMMITTED")


def again(
    connection: Connection,
    pause: Callable[[float], object] = time.sleep,
    patience: float | None = None,
) -> None:
    """Make sure that a connection has a living server behind it, waiting for one if need be.

    The server was there a moment ago: also one that does not answer at all is waited for, since
    that is how a restart looks from outside.

    Args:
        connection: The run's connection, not in a transaction.
        pause: Waits so many seconds.
        patience: Seconds to wait in all; by default `PATIENCE`.

    Raises:
        sqlalchemy.exc.OperationalError: It cannot be reached in that time.
    """
    for seconds in _pauses(PATIENCE if patience is None else patience):
        try:
            with uncovered(), connection.begin():
                # SQLAlchemy's own statement: if it finds the connection broken, the pool learns
                # that the others which it has kept are no better.
                connection.exec_driver_sql("SELECT 1")
        except retries.FAILURES as error:
            if seconds is None or not retries.is_lost(error):
                raise
        else:
            return
        pause(seconds)


def _pauses(patience: float) -> Iterator[float | None]:
    """Yield how long to wait after each refusal; None when patience ends."""
    deadline = time.monotonic() + patience
    seconds = 0.05
    while time.monotonic() < deadline:
        yield seconds * (0.5 + random.random())  # noqa: S311  # nothing secret hangs on it
        seconds = min(1.0, seconds * 1.5)
    yield None
