"""Runs that a schedule asked for: each firing succeeds once, however often it is begun.

The instant of its firing stands in a run's line of the history, which becomes `success` in the
transaction of the data. Whoever begins the same firing again finds it there, under a lock that both
would need, and does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from pgflow.bookkeeping import ADDED
from pgflow.declare.instant import check_instant
from pgflow.errors import InvalidInstant, OtherLayout
from pgflow.plan.sql import Sql, bind, sql
from pgflow.run.facts import require_tables
from pgflow.run.job import Job
from pgflow.run.locks import lock_key, wait_lock
from pgflow.run.records import abandon_dead
from pgflow.run.session import Session

#: What a run's details call the instant of its firing.
SUBJECT = "firing"

#: How far the clock that fired may be ahead of the server's. Runs of a firing are looked for no
#: longer than this before its instant.
AHEAD = timedelta(days=1)

#: Runs of firings that are looked at in all; older ones are settled.
_MOST = 1000


def firing_text(firing: datetime) -> str:
    """Return the instant of a firing as the history has it.

    Args:
        firing: The instant.

    Raises:
        InvalidInstant: It has no time zone.
    """
    check_instant(firing, f"firing={firing!r}")
    return firing.astimezone(UTC).isoformat()


def noted(job: Job, layout: int) -> dict[str, object]:
    """Return what a run's line in the history says of its firing; nothing where there is none.

    Args:
        job: The job.
        layout: The layout of the history.

    Raises:
        OtherLayout: The history is of a layout that cannot hold it.
    """
    if job.firing is None:
        return {}
    needed = ADDED["details"]
    if layout < needed:
        raise OtherLayout(
            f"{job.pipeline}: pgflow's own table of runs has layout {layout}, and firings of "
            f"schedules need layout {needed}. Migrate it: `alembic revision --autogenerate` and "
            "`alembic upgrade head`, or `pgflow migrate`.",
            table="runs",
            found=layout,
            expected=needed,
        )
    return {SUBJECT: firing_text(job.firing)}


def settled_by(session: Session, job: Job) -> UUID | None:
    """Look whether a firing has been run to success on the job's target.

    Args:
        session: The session, in the transaction of the data. It holds the firing's lock from now
            on, so that nobody else runs it meanwhile.
        job: The job, which has a firing.

    Returns:
        The run that did it, or None.

    Raises:
        InvalidInstant: The firing lies too far ahead.
    """
    if job.firing is None:
        return None
    text, target = firing_text(job.firing), job.draft.target.label
    _refuse_future(session, job, job.firing)
    wait_lock(session, lock_key(f"firing {job.pipeline} {target} {text}"), False)
    found = session.run(
        sql(
            "SELECT run_id FROM {runs} WHERE pipeline = {pipeline}::text"
            " AND started_at > {firing}::timestamptz - {ahead}::interval"
            " AND target = {target}::text AND status = 'success'"
            " AND details ->> 'firing' = {text}::text LIMIT 1",
            runs=job.runs,
            pipeline=bind(job.pipeline, "pipeline"),
            firing=bind(job.firing, "firing"),
            ahead=bind(AHEAD, "ahead"),
            target=bind(target, "target"),
            text=bind(text, "firing"),
        ),
        "look whether the firing was run before",
    ).rows
    return found[0]["run_id"] if found else None


@dataclass(frozen=True)
class Known:
    """What the history knows of one firing on one target.

    Attributes:
        instant: The firing's instant.
        done: Whether a run of it has succeeded.
        running: Whether a run of it is going on.
        failures: How many runs of it have failed, or died.
    """

    instant: datetime
    done: bool
    running: bool
    failures: int


def known(session: Session, job: Job) -> tuple[Known, ...]:
    """Read what the history knows of a pipeline's newest firings on the job's target.

    Args:
        session: The session, in a transaction. Runs that have died are marked in it.
        job: The job.

    Returns:
        Firings, newest first.

    Raises:
        MissingTable: The database has no history.
        OtherLayout: The history is of a layout that cannot hold firings.
    """
    noted(replace(job, firing=datetime.now(UTC)), require_tables(session, job, target=False))
    abandon_dead(session, job.runs)
    rows = session.run(
        sql(
            "SELECT (r.details ->> 'firing')::timestamptz AS instant,\n"
            "       bool_or(r.status = 'success') AS done,\n"
            "       bool_or(r.status = 'running') AS running,\n"
            "       count(*) FILTER (WHERE r.status IN ('failed', 'abandoned'))::int AS failures\n"
            "  FROM (SELECT status, details FROM {runs}\n"
            "         WHERE pipeline = {pipeline}::text AND target = {target}::text\n"
            "           AND details ? 'firing'\n"
            "         ORDER BY started_at DESC LIMIT {most}::int) AS r\n"
            " GROUP BY 1 ORDER BY 1 DESC",
            runs=job.runs,
            pipeline=bind(job.pipeline, "pipeline"),
            target=bind(job.draft.target.label, "target"),
            most=bind(_MOST, "limit"),
        ),
        "read what became of firings",
    ).rows
    return tuple(Known(**row) for row in rows)


def withdraw(session: Session, runs: Sql, run_id: UUID, done_by: UUID) -> None:
    """Note that a run did nothing, because another one had settled its firing.

    Args:
        session: The session, in the run's transaction.
        runs: The table of runs.
        run_id: The run that did nothing.
        done_by: The run that settled the firing.
    """
    text = sql(
        "UPDATE {runs} SET status = 'abandoned', finished_at = clock_timestamp(),"
        " seconds = extract(epoch FROM clock_timestamp() - started_at), error = {why}::text"
        " WHERE run_id = {run_id}::uuid",
        runs=runs,
        why=bind(f"run {done_by} had settled this firing; nothing was to be done", "error"),
        run_id=bind(run_id, "run_id"),
    )
    session.run(text, "withdraw the run")


def _refuse_future(session: Session, job: Job, firing: datetime) -> None:
    early = sql(
        "SELECT {firing}::timestamptz > clock_timestamp() + {ahead}::interval AS early",
        firing=bind(firing, "firing"),
        ahead=bind(AHEAD, "ahead"),
    )
    if session.run(early, "compare the firing with the clock").rows[0]["early"]:
        raise InvalidInstant(
            f"{job.pipeline}: firing={firing_text(firing)} lies more than a day ahead of the "
            "server's clock. A firing is run when its time has come."
        )
