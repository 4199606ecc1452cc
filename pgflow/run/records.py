"""The history, as runs write it: `running` before, `success` with the data, `failed` after."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

from pgflow.bookkeeping import ADDED, COUNTS, VERSION
from pgflow.errors import RunLost
from pgflow.plan.sql import Sql, bind, join, name, raw, sql
from pgflow.run.failures import reason
from pgflow.run.locks import run_lock, wait_lock
from pgflow.run.session import Session

#: A `running` row younger than this is never taken for dead: between its two transactions a run
#: holds no lock.
GRACE_SECONDS = 10


@dataclass(frozen=True)
class Record:
    """What is known of a run before it does anything.

    Attributes:
        run_id: Its id.
        pipeline: The pipeline's name.
        target: The target's qualified name.
        scope: The scope's text, or an empty string.
        mode: The mode's name.
        parameters: The run parameters.
        effective_at: The instant that the caller gave.
        details: What is worth keeping from the beginning, as plain data by subject.
    """

    run_id: UUID
    pipeline: str
    target: str
    scope: str
    mode: str
    parameters: Mapping[str, object]
    effective_at: datetime | None
    details: Mapping[str, object] = field(default_factory=dict)


def announce(session: Session, runs: Sql, record: Record) -> None:
    """Write a run as `running`."""
    parameters = json.dumps({k: plain(v) for k, v in record.parameters.items()})
    values = {
        "run_id": sql("{v}::uuid", v=bind(record.run_id, "run_id")),
        "pipeline": sql("{v}::text", v=bind(record.pipeline, "pipeline")),
        "target": sql("{v}::text", v=bind(record.target, "target")),
        "scope": sql("nullif({v}::text, '')", v=bind(record.scope, "scope")),
        "mode": sql("{v}::text", v=bind(record.mode, "mode")),
        "status": raw("'running'"),
        "effective_at": sql("{v}::timestamptz", v=bind(record.effective_at, "effective_at")),
        "parameters": sql("{v}::jsonb", v=bind(parameters, "parameters")),
    }
    if record.details:
        values["details"] = sql("{v}::jsonb", v=bind(json.dumps(dict(record.details)), "details"))
    text = sql(
        # A first try may have arrived although its answer did not.
        "INSERT INTO {runs} ({columns}) SELECT {values} ON CONFLICT DO NOTHING",
        runs=runs,
        columns=join(", ", (name(c) for c in values)),
        values=join(", ", values.values()),
    )
    session.run(text, "record the run")


def abandon_dead(session: Session, runs: Sql) -> int:
    """Mark runs whose process is gone.

    A living run holds an advisory lock on its own id; a `running` row older than the grace period
    whose lock can be taken belongs to nobody.

    Returns:
        How many were marked.
    """
    old = session.run(
        sql(
            "SELECT run_id FROM {runs} WHERE status = 'running'"
            " AND started_at < clock_timestamp() - make_interval(secs => {grace}::int)",
            runs=runs,
            grace=bind(GRACE_SECONDS, "seconds"),
        ),
        "look for runs that died",
    ).rows
    if not old:
        return 0
    ids = [row["run_id"] for row in old]
    text = sql(
        "UPDATE {runs} AS r SET status = 'abandoned', finished_at = clock_timestamp(),\n"
        "       error = 'the process ended before the run did'\n"
        "  FROM unnest({ids}::uuid[], {locks}::bigint[]) AS dead(run_id, lock)\n"
        " WHERE r.run_id = dead.run_id AND r.status = 'running'"
        " AND pg_try_advisory_xact_lock(dead.lock)",
        runs=runs,
        ids=bind(ids, "run_ids"),
        locks=bind([run_lock(i) for i in ids], "locks"),
    )
    return session.run(text, "mark runs that died").count


def succeed(
    session: Session,
    runs: Sql,
    record: Record,
    counts: Mapping[str, int],
    *,
    attempts: int,
    watermark: tuple[str | None, str | None],
    effective_at: datetime | None,
    details: Mapping[str, object] = MappingProxyType({}),
    layout: int = VERSION,
) -> None:
    """Complete a run, inside the data's own transaction.

    Args:
        session: The session.
        runs: The table of runs.
        record: The run.
        counts: Rows by what became of them.
        attempts: How often it was tried.
        watermark: Where it began to read, and how far it read.
        effective_at: The instant of the run, where it has one.
        details: What else is worth keeping, as plain data by subject.
        layout: The layout that the table has; what it lacks is left out.

    Raises:
        RunLost: The run's row is gone, so the data must not be committed either.
    """
    assignments = [
        *(
            sql("{c} = {v}::bigint", c=name(c), v=bind(counts[c], c))
            for c in COUNTS
            if _has(c, layout)
        ),
        sql("attempts = {v}::int", v=bind(attempts, "attempts")),
        sql("watermark_from = {v}::text", v=bind(watermark[0], "from")),
        sql("watermark_to = {v}::text", v=bind(watermark[1], "to")),
        sql("effective_at = {v}::timestamptz", v=bind(effective_at, "effective_at")),
        raw("error = NULL"),
    ]
    assignments += _kept(details, layout)
    if not _finish(session, runs, record.run_id, "success", assignments):
        raise RunLost(
            f"the record of run {record.run_id} is gone from the history; nothing was written."
        )


def fail(
    session: Session,
    runs: Sql,
    run_id: UUID,
    error: BaseException,
    attempts: int,
    layout: int = VERSION,
) -> None:
    """Record that a run failed; its data was rolled back.

    A run whose commit arrived although it was interrupted stays what it is: a success.

    Args:
        session: The session.
        runs: The table of runs.
        run_id: The run.
        error: What went wrong; what the run had found out before is kept too.
        attempts: How often it was tried.
        layout: The layout that the table has.
    """
    assignments = [
        sql("attempts = {v}::int", v=bind(attempts, "attempts")),
        sql("error_type = {v}::text", v=bind(type(error).__name__, "error_type")),
        sql("error = {v}::text", v=bind(_message(error), "error")),
        *_kept(getattr(error, "details", None), layout),
    ]
    _finish(session, runs, run_id, "failed", assignments)


def settled(session: Session, runs: Sql, run_id: UUID) -> str | None:
    """Read a run's status once its transaction is over, however long the server needs for that.

    Returns:
        The status, or None if the run's row is gone.
    """
    wait_lock(session, run_lock(run_id), False)
    text = sql(
        "SELECT status FROM {runs} WHERE run_id = {run_id}::uuid",
        runs=runs,
        run_id=bind(run_id, "run_id"),
    )
    rows = session.run(text, "ask whether the run was committed").rows
    return rows[0]["status"] if rows else None


def _finish(session: Session, runs: Sql, run_id: UUID, status: str, assignments: list[Sql]) -> int:
    text = sql(
        "UPDATE {runs} SET status = {status}::text, finished_at = clock_timestamp(),\n"
        "       seconds = extract(epoch FROM clock_timestamp() - started_at),\n"
        "       {assignments}\n WHERE run_id = {run_id}::uuid AND status <> 'success'",
        runs=runs,
        status=bind(status, "status"),
        assignments=join(", ", assignments),
        run_id=bind(run_id, "run_id"),
    )
    return session.run(text, "complete the run's record").count


def _kept(details: Mapping[str, object] | None, layout: int) -> list[Sql]:
    if not details or not _has("details", layout):
        return []
    text = json.dumps(details, default=str)
    # What stood there from the beginning stays.
    return [
        sql("details = coalesce(details, '{{}}'::jsonb) || {v}::jsonb", v=bind(text, "details"))
    ]


def _has(column: str, layout: int) -> bool:
    return ADDED.get(column, layout) <= layout


def _message(error: BaseException) -> str:
    return reason(error).replace("\0", "")[:10_000]


def plain(value: object) -> object:
    """Return a value of a parameter as the history keeps it: what JSON has no word for as text."""
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)
