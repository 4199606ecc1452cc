"""Settings of a run's transaction; they end with it, so that transaction poolers work."""

from __future__ import annotations

from pgflow.plan.sql import bind, raw, sql
from pgflow.run.session import Session

#: A server that is busy does not see that its client was killed, unless it looks now and then.
#: Only some systems can look.
_NOTICE_DEAD_CLIENTS = (
    "set_config('client_connection_check_interval', CASE"
    " WHEN current_setting('client_connection_check_interval') = '0'"
    " AND version() ~ 'linux|darwin|solaris|illumos' THEN '1s'"
    " ELSE current_setting('client_connection_check_interval') END, true)"
)


def begin(session: Session, label: str, lock: int) -> None:
    """Make the settings, and take the lock by which other runs see that this one lives.

    Args:
        session: The session, at the beginning of the transaction.
        label: The run, as `application_name` shows it.
        lock: The run's own lock.
    """
    session.run(
        sql(
            "SELECT set_config('application_name', {label}, true),"
            " set_config('row_security', 'off', true), set_config('jit', 'off', true),"
            " {watch}, pg_advisory_xact_lock({lock}::bigint)",
            watch=raw(_NOTICE_DEAD_CLIENTS),
            label=bind(label.encode("ascii", "replace").decode()[:63], "application_name"),
            lock=bind(lock, "lock"),
        ),
        "begin the run",
    )


def keep_to_one_process(session: Session) -> None:
    """Do without parallel workers: for a plain scan they cost half as much again and gain nothing.

    Sources that join, sort or aggregate keep what the server allows them.

    Args:
        session: The session.
    """
    session.run(raw("SET LOCAL max_parallel_workers_per_gather = 0"), "keep to one process")
