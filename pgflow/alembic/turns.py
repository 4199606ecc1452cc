"""One migration at a time: whoever comes second waits, and then finds the work done.

Programs that start together tend to migrate together, and statements that run outside of any
transaction must not meet themselves.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, text

log = logging.getLogger(__name__)

_TRY = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:key, 0))")
_WAIT = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")
_UNLIMITED = ("SET LOCAL lock_timeout = 0", "SET LOCAL statement_timeout = 0")
# As the last statement it also takes the place of a query, whose snapshot some drivers would keep
# until the end of the transaction, while CREATE INDEX CONCURRENTLY waits for all snapshots.
_IDLE = "SET LOCAL idle_in_transaction_session_timeout = 0"


@contextmanager
def turn(database: Engine, what: str) -> Iterator[None]:
    """Let nobody else do the same in the same database meanwhile; wait until it is our turn.

    The lock belongs to a transaction on a connection of its own, so that it outlasts the
    transactions of the work, survives a pooler between them, and ends with the process.

    Args:
        database: The database.
        what: What is done, such as the name of the version table.

    Yields:
        None.
    """
    with database.connect() as connection:
        connection.execution_options(isolation_level="READ COMMITTED")
        with connection.begin():
            for setting in _UNLIMITED:
                connection.exec_driver_sql(setting)
            key = {"key": f"pgflow migrates {what}"}
            if not connection.scalar(_TRY, key):
                log.warning("Somebody else is migrating %s; waiting for them to finish.", what)
                connection.execute(_WAIT, key)
            connection.exec_driver_sql(_IDLE)
            yield
