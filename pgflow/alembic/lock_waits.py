"""Waiting for locks politely: a short wait, a pause, another try; at the end, who was in the way.

A statement that waits for ACCESS EXCLUSIVE makes everybody wait who comes after it, so it must give
up soon.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from pgflow.alembic.concealment import concealed
from pgflow.errors import LockNotGranted

_LOCK_NOT_AVAILABLE = "55P03"
_DEADLOCK = "40P01"
_LONGEST_PAUSE = 30.0

# Names are looked for in the statement's text: a lock that was not granted leaves no other trace.
_HOLDERS = text(
    """
    SELECT a.pid, a.usename, a.application_name, a.state, left(a.query, 200),
           extract(epoch FROM clock_timestamp() - a.xact_start)::int,
           string_agg(DISTINCT format('%I.%I', n.nspname, c.relname), ', '),
           bool_or(strpos(:statement, c.relname) > 0) AS named
      FROM pg_locks l
      JOIN pg_class c ON c.oid = l.relation
      JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_stat_activity a ON a.pid = l.pid
     WHERE l.granted AND l.pid <> pg_backend_pid() AND a.datname = current_database()
       AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
     GROUP BY 1, 2, 3, 4, 5, 6
     ORDER BY named DESC, 6 DESC, 1
    """
)


def is_lock_failure(error: BaseException) -> bool:
    """Tell whether a statement failed for want of a lock, so that it may work later."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return getattr(cause, "sqlstate", None) in (_LOCK_NOT_AVAILABLE, _DEADLOCK)


def pauses(retries: int) -> Iterator[float]:
    """Give the seconds to wait before each further try: half a second, doubled each time.

    Args:
        retries: How many there are.
    """
    for number in range(retries):
        # Chance keeps two migrations from meeting again and again; it guards no secret.
        yield min(0.5 * 2**number, _LONGEST_PAUSE) * random.uniform(0.8, 1.2)  # noqa: S311


def blockers(connection: Connection, statement: str) -> tuple[str, ...]:
    """Describe the sessions that hold locks on what a statement is about.

    Args:
        connection: A connection outside a failed transaction.
        statement: The statement that was not granted its locks.

    Returns:
        One sentence for each session; those that hold locks on anything at all if none holds one
        on a relation that the statement names.
    """
    rows = connection.execute(_HOLDERS, {"statement": statement}).all()
    found = [row for row in rows if row.named] or rows
    return tuple(
        f"process {pid} of {user}{f' ({application})' if application else ''}, {state} for "
        f"{seconds} s, holds locks on {tables}; its last query: {_shown(query)!r}"
        for pid, user, application, state, query, seconds, tables, _ in found
    )


def not_granted(
    connection: Connection, error: BaseException, tries: int, why_no_more: str = ""
) -> LockNotGranted:
    """Make the error that ends the tries.

    Args:
        connection: The connection, outside a failed transaction.
        error: What the last try failed with.
        tries: How many there were.
        why_no_more: Why there are no more, if it is not their number.
    """
    statement = (error.statement if isinstance(error, DBAPIError) else None) or ""
    holders = blockers(connection, statement)
    seen = "; ".join(holders) if holders else "nobody holds them any more"
    first = _shown(statement)[:200]
    times = "once" if tries == 1 else f"{tries} times"
    return LockNotGranted(
        f"The locks for {first!r} were not granted; it was tried {times}. {seen[0].upper()}"
        f"{seen[1:]}. {why_no_more or 'Nothing of this transaction was kept.'} Wait for them or "
        "end them (SELECT pg_terminate_backend(pid)), and run the migration again; or give it "
        "more time by lock_timeout and lock_retries.",
        blockers=holders,
    )


def _shown(query: str) -> str:
    return " ".join(concealed(query).split())
