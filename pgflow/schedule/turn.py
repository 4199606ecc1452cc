"""A pipeline's turn, by its history: for cron and others who call now and then, without a queue."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from pgflow.declare.body import bind_parameters
from pgflow.declare.schedule import Schedule
from pgflow.factories.firing import with_instant
from pgflow.factories.pipeline import Pipeline
from pgflow.factories.sync_target import SyncTarget
from pgflow.run.firings import Known, known
from pgflow.run.session import Session
from pgflow.schedule.due import MISSED_AFTER, Firing, due


@dataclass(frozen=True)
class Turn:
    """What is to be done about one pipeline.

    Attributes:
        pipeline: The pipeline.
        firings: What is to be run, in order.
        why: Why nothing is to be run, or an empty string.
    """

    pipeline: Pipeline
    firings: tuple[Firing, ...]
    why: str = ""


def turn_of(
    pipeline: Pipeline, schedule: Schedule, *, since: datetime | None, now: datetime
) -> Turn:
    """Ask the history which firings of a pipeline are due.

    Args:
        pipeline: The pipeline.
        schedule: Its schedule.
        since: Fire what came after this instant and has not been run; by default after the newest
            firing of the history.
        now: The present.

    Returns:
        Its turn. A firing that failed is due again until its retries are used up.

    Raises:
        MissingTable: The database has no history.
    """
    seen = _seen(pipeline, schedule)
    if any(each.running for each in seen.values()):
        return Turn(pipeline, (), "a run of it is going on")
    # What ran while the clock was ahead hides nothing when it has been set back.
    seen = {i: each for i, each in seen.items() if i <= now + MISSED_AFTER}
    newest = max(seen, default=None)
    fresh = due(schedule, since or newest, now)
    again = [i for i, each in seen.items() if not each.done and each.failures <= schedule.retries]
    if since is not None:
        again = [instant for instant in again if instant > since]
    if schedule.catch_up == "all":
        wanted = {*fresh, *again}
    else:
        wanted = set(fresh or [i for i in again if i == newest])
    left = sorted(i for i in wanted if i not in seen or i in again)
    if left:
        return Turn(pipeline, tuple(Firing(pipeline.name, instant) for instant in left))
    return Turn(pipeline, (), _why(seen, newest))


def server_now(pipeline: Pipeline) -> datetime:
    """Return the clock of the server that a pipeline's first target is on.

    Args:
        pipeline: The pipeline.
    """
    with pipeline.transaction() as live:
        moment: datetime = live.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
    return moment.astimezone(UTC)


def _seen(pipeline: Pipeline, schedule: Schedule) -> dict[datetime, Known]:
    """What became of each firing: done if every target has it, failed as often as the worst."""
    by_target = [_known(target, pipeline, schedule) for target in pipeline.sync_targets]
    seen: dict[datetime, Known] = {}
    for instant in {each for target in by_target for each in target}:
        on = [target.get(instant) for target in by_target]
        seen[instant] = Known(
            instant,
            done=all(each is not None and each.done for each in on),
            running=any(each is not None and each.running for each in on),
            failures=max(each.failures for each in on if each is not None),
        )
    return seen


def _known(target: SyncTarget, pipeline: Pipeline, schedule: Schedule) -> dict[datetime, Known]:
    at = datetime.now(schedule.zone)
    body = pipeline.spec.body
    given = with_instant(pipeline.spec, at, {})
    values = bind_parameters(
        body.parameters if body is not None else (), given, f"pipeline {pipeline.name!r}"
    )
    with target.transaction() as live:
        found = known(Session(live, owner=pipeline.name), target.job(values))
    return {each.instant.astimezone(UTC): each for each in found}


def _why(seen: dict[datetime, Known], newest: datetime | None) -> str:
    if newest is None or seen[newest].done:
        return "nothing is due"
    return f"its firing of {newest:%Y-%m-%d %H:%M} UTC failed {seen[newest].failures} times"
