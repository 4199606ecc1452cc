"""What a run does for the target after its commit: fresh statistics where it has changed much.

The server's own autovacuum would do it too, but up to a minute later; whoever reads or syncs the
target before that would get plans made for another table.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from pgflow.errors import StatementFailed
from pgflow.plan.sql import Sql, bind, sql
from pgflow.run.recovery.interrupts import uncovered
from pgflow.run.result import TargetResult
from pgflow.run.session import Session

_log = logging.getLogger("pgflow.run")

#: Fewer written rows than this never make statistics wrong enough to matter.
LEAST_ROWS = 10_000

#: The share of the target that a run must have written; that of the server's own autovacuum.
LEAST_SHARE = 0.1

# The server keeps what a backend has counted for up to a second. It would add the run's rows to
# those that were written since ANALYZE, and look again.
_MAY_ANALYZE = (
    "SELECT c.reltuples AS known_rows, pg_stat_force_next_flush() FROM pg_class AS c\n"
    " WHERE c.oid = {target}::regclass AND (pg_has_role(c.relowner, 'USAGE')\n"
    "    OR (current_setting('server_version_num')::int >= 170000\n"
    "        AND has_table_privilege(c.oid, CASE WHEN current_setting('server_version_num')::int\n"
    "              >= 170000 THEN 'MAINTAIN' ELSE 'SELECT' END)))"
)


def refresh_statistics(
    connection: Connection, session: Callable[[], Session], target: Sql, result: TargetResult
) -> bool:
    """Analyze the target if the run has changed a good part of it, and its role may.

    It runs in a transaction of its own, so that neither its locks nor its failure touch the data.

    Args:
        connection: The run's connection, after its commit.
        session: Opens a session on it.
        target: The target's name as a fragment.
        result: What the run did.

    Returns:
        Whether the target was analyzed.
    """
    written = result.inserted + result.updated + result.closed + result.deleted
    if written < LEAST_ROWS:
        return False
    try:
        with uncovered(), connection.begin():
            question = sql(_MAY_ANALYZE, target=bind(result.target, "target"))
            rows = session().run(question, "look whether the statistics are old").rows
        if not rows or written <= LEAST_SHARE * rows[0]["known_rows"]:
            return False
        with uncovered(), connection.begin():
            here = session()
            # Whoever holds the lock is analyzing or changing the table: nothing to wait for.
            here.run(sql("SET LOCAL lock_timeout = '1s'"), "do not wait for others")
            here.run(sql("ANALYZE {t}", t=target), "refresh the target's statistics")
    except (StatementFailed, DBAPIError) as error:
        _log.info("%s: the statistics were not refreshed: %s", result.target, error)
        return False
    return True
