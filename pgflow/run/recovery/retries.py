"""Which failures another attempt may cure, how many attempts they get, and how far apart."""

from __future__ import annotations

import random

import psycopg
from sqlalchemy.exc import DBAPIError

from pgflow.errors import StatementFailed

#: SQLSTATEs by which the server asks for another try: serialization failure and deadlock.
_CONFLICTS = frozenset({"40001", "40P01"})

#: A key that somebody else has just inserted: a second look finds it, a third is no use.
_UNIQUE_VIOLATION = "23505"

#: How a server says that a connection ends, or cannot begin, for reasons of its own: it stops,
#: starts, has crashed, was told to end the session, or has no connection left.
_GONE = frozenset({"57P01", "57P02", "57P03", "57P05", "53300", "08000", "08003", "08006", "08001"})

#: Attempts in all after a lost connection. A statement that brings the server down every time
#: must not do so for ever.
_LOST_ATTEMPTS = 3

#: Attempts in all when a standby cancels what stands in the way of its replay.
_STANDBY_ATTEMPTS = 3

#: What another try may follow; everything else is told at once.
FAILURES = (StatementFailed, DBAPIError, psycopg.Error)


def delay(error: BaseException, attempt: int, attempts: int) -> float | None:
    """Say how long to wait before the next attempt.

    Args:
        error: What ended the attempt.
        attempt: Its number, from 1.
        attempts: How many there may be when the server asks for another one.

    Returns:
        Seconds, or None if there is no next attempt.
    """
    lost = is_lost(error)
    if attempt >= _limit(error, lost, attempts):
        return None
    longest, unit = (5.0, 0.2) if lost else (2.0, 0.05)
    pause = min(longest, unit * 2.0**attempt)
    # Jitter keeps two runs that met once from meeting again; nothing secret hangs on it.
    return pause * (0.5 + random.random())  # noqa: S311


def is_lost(error: BaseException) -> bool:
    """Tell whether an error means that a connection broke, or could not be opened.

    Args:
        error: What was raised, by pgflow, SQLAlchemy or psycopg.
    """
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    found = origin(error)
    if not isinstance(found, psycopg.OperationalError):
        return False
    # What the server did not say itself has no SQLSTATE: psycopg noticed that nobody answers.
    return found.sqlstate is None or found.sqlstate in _GONE


def origin(error: BaseException) -> BaseException:
    """Return the driver's own error behind pgflow's and SQLAlchemy's.

    Args:
        error: What was raised.
    """
    seen: BaseException | None = error
    while isinstance(seen, (StatementFailed, DBAPIError)):
        inner = seen.orig if isinstance(seen, DBAPIError) else seen.__cause__
        if inner is None:
            break
        error = seen = inner
    return error


def _limit(error: BaseException, lost: bool, attempts: int) -> int:
    found = origin(error)
    sqlstate = getattr(found, "sqlstate", None)
    if sqlstate in _CONFLICTS:
        return min(attempts, _STANDBY_ATTEMPTS) if _is_recovery_conflict(found) else attempts
    if sqlstate == _UNIQUE_VIOLATION:
        return min(attempts, 2)
    return min(attempts, _LOST_ATTEMPTS) if lost else 1


def _is_recovery_conflict(error: BaseException) -> bool:
    """Whether a standby has cancelled a query for the sake of its replay.

    The message may be in any language. The server's main loop raises these codes for nothing else;
    real serialization failures and deadlocks come from the heap and the lock manager.
    """
    diagnostic = getattr(error, "diag", None)
    return getattr(diagnostic, "source_file", None) == "postgres.c"
