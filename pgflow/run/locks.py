"""Transaction-scoped advisory locks: one writer a target, and a sign of life for each run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from pgflow.errors import StatementFailed, TargetLocked
from pgflow.plan.sql import Sql, bind, raw, sql
from pgflow.run.job import Job
from pgflow.run.session import Session

#: How long a run waits for another one on the same target, unless `lock_timeout=` says otherwise.
DEFAULT_TIMEOUT = timedelta(minutes=10)

#: The most milliseconds that the server takes for a timeout; almost 25 days.
_LONGEST = 2**31 - 1

_LOCK_NOT_AVAILABLE = "55P03"


def lock_key(name: str) -> int:
    """Turn a name into the number of an advisory lock: 64 bits of its SHA-256, signed."""
    digest = hashlib.sha256(f"pgflow {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def run_lock(run_id: UUID) -> int:
    """The lock that a run holds while its data's transaction lives."""
    return lock_key(f"run {run_id}")


def target_locks(target: str, scope: str) -> list[tuple[int, bool]]:
    """The locks that a run needs on its target.

    Args:
        target: The qualified name.
        scope: The scope's text, or an empty string.

    Returns:
        Lock numbers, each with whether it is shared. Runs in different scopes share the target;
        a run without scope excludes them all.
    """
    whole = lock_key(f"target {target}")
    if not scope:
        return [(whole, False)]
    return [(whole, True), (lock_key(f"target {target} scope {scope}"), False)]


def try_lock(session: Session, key: int, shared: bool) -> bool:
    """Take a lock if it is free."""
    text = "SELECT {f}({key}::bigint) AS taken"
    function = raw("pg_try_advisory_xact_lock" + ("_shared" if shared else ""))
    answer = session.run(sql(text, f=function, key=bind(key, "lock")), "take the target's lock")
    return bool(answer.rows[0]["taken"])


def wait_lock(
    session: Session, key: int, shared: bool, timeout: timedelta = DEFAULT_TIMEOUT
) -> None:
    """Wait for a lock; the server raises `lock_not_available` after the timeout."""
    milliseconds = min(_LONGEST, max(1, int(timeout.total_seconds() * 1000)))
    # A role's statement_timeout is about work. It would end the wait without naming the holder.
    before = session.run(
        sql(
            "SELECT current_setting('lock_timeout') AS lock,"
            " current_setting('statement_timeout') AS statement,"
            " set_config('lock_timeout', {ms}, true), set_config('statement_timeout', '0', true)",
            ms=bind(str(milliseconds), "lock_timeout"),
        ),
        "set the lock timeout",
    ).rows[0]
    function = raw("pg_advisory_xact_lock" + ("_shared" if shared else ""))
    session.run(
        sql("SELECT {f}({key}::bigint)", f=function, key=bind(key, "lock")),
        "wait for the target's lock",
    )
    session.run(
        sql(
            "SELECT set_config('lock_timeout', {lock}, true),"
            " set_config('statement_timeout', {statement}, true)",
            lock=bind(before["lock"], "lock_timeout"),
            statement=bind(before["statement"], "statement_timeout"),
        ),
        "restore the lock timeout",
    )


def end_former(session: Session, run_id: UUID, process: int) -> None:
    """End the server's process of a run's attempt whose connection broke, if it is still there.

    A server that has not noticed the break would keep the run's locks for as long as it takes.
    Nothing of that attempt is wanted any more: its commit was never sent, or is known to have
    failed.

    Args:
        session: The session of the next attempt.
        run_id: The run.
        process: The number of the process. It is ended only if it holds the run's own lock.
    """
    session.run(
        sql(
            "SELECT pg_terminate_backend(pid) FROM pg_locks\n"
            " WHERE locktype = 'advisory' AND objsubid = 1 AND granted\n"
            "   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())\n"
            "   AND ((classid::bigint << 32) | objid::bigint) = {key}::bigint\n"
            "   AND pid = {pid}::int AND pid <> pg_backend_pid()",
            key=bind(run_lock(run_id), "lock"),
            pid=bind(process, "pid"),
        ),
        "end the attempt whose connection broke",
    )


def lock_target(session: Session, job: Job, waiting: Callable[[tuple[str, ...]], None]) -> None:
    """Take a run's locks on its target, waiting for others if need be.

    Args:
        session: A session in the run's transaction.
        job: The job.
        waiting: Is told who holds the target, before the wait.

    Raises:
        TargetLocked: Somebody held it for longer than the job's `lock_timeout`.
    """
    # Zero is a timeout too: not to wait at all.
    timeout = DEFAULT_TIMEOUT if job.lock_timeout is None else job.lock_timeout
    for key, shared in target_locks(job.draft.target.label, job.draft.scope_name):
        if try_lock(session, key, shared):
            continue
        waiting(holders(session, key, job.runs))
        try:
            with session.connection.begin_nested():
                wait_lock(session, key, shared, timeout)
        except StatementFailed as error:
            if error.sqlstate != _LOCK_NOT_AVAILABLE:
                raise
            raise _locked(job, holders(session, key, job.runs)) from error


def _locked(job: Job, held_by: tuple[str, ...]) -> TargetLocked:
    target = job.draft.target.label
    return TargetLocked(
        f"{job.pipeline}: {target} is held by {' and '.join(held_by) or 'another run'}, "
        "longer than lock_timeout allows. Run again later, or raise lock_timeout=.",
        target=target,
        holders=held_by,
    )


def holders(session: Session, key: int, runs: Sql) -> tuple[str, ...]:
    """Say who holds a lock, by server process and run.

    Args:
        session: A session in a sound transaction.
        key: The lock's number.
        runs: The table of runs.

    Returns:
        A phrase for each holder.
    """
    held = session.run(
        sql(
            "SELECT pid, (classid::bigint << 32) | objid::bigint AS key FROM pg_locks\n"
            " WHERE locktype = 'advisory' AND objsubid = 1 AND granted\n"
            "   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            "   AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND ((classid::bigint << 32) | objid::bigint) = {key}::bigint)",
            key=bind(key, "lock"),
        ),
        "find out who holds the target",
    ).rows
    running = session.run(
        sql("SELECT run_id, pipeline, started_at FROM {runs} WHERE status = 'running'", runs=runs),
        "find out which runs are active",
    ).rows
    by_key = {run_lock(row["run_id"]): row for row in running}
    phrases: dict[int, str] = {}
    for row in held:
        phrases.setdefault(row["pid"], f"server process {row['pid']}")
        run = by_key.get(row["key"])
        if run is not None:
            phrases[row["pid"]] = (
                f"run {run['run_id']} of {run['pipeline']!r} (server process {row['pid']}, "
                f"since {run['started_at']:%Y-%m-%d %H:%M:%S %Z})"
            )
    return tuple(phrases.values())
