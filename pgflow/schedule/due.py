"""What is due: firings since somebody last looked, thinned by the policy for missed ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pgflow.declare.body import bind_parameters
from pgflow.declare.schedule import PARAMETER, Schedule
from pgflow.errors import NotScheduled
from pgflow.factories.pipeline import Pipeline
from pgflow.schedule.calendar import Calendar

#: A firing that nobody saw for so long was missed.
MISSED_AFTER = timedelta(minutes=10)


@dataclass(frozen=True)
class Firing:
    """One occasion on which a pipeline is to run.

    Attributes:
        pipeline: The pipeline's name.
        instant: When its schedule said so, in UTC.
        after: Pipelines whose firings of the same or an earlier instant come first.
    """

    pipeline: str
    instant: datetime
    after: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "instant", self.instant.astimezone(UTC))

    @property
    def text(self) -> str:
        """The instant in ISO 8601."""
        return self.instant.isoformat()

    def __str__(self) -> str:
        # Schedules fire on the minute; who runs a firing by hand may choose any instant.
        whole = self.instant.second == self.instant.microsecond == 0
        time = f"{self.instant:%H:%M}" if whole else f"{self.instant:%H:%M:%S}"
        return f"{self.pipeline} of {self.instant:%Y-%m-%d} {time} UTC"


def due(schedule: Schedule, since: datetime | None, now: datetime) -> tuple[datetime, ...]:
    """Return the instants to fire now.

    Args:
        schedule: The schedule.
        since: The newest instant that is settled; None if there is none, and then the newest one
            before now is the only one that can be due.
        now: The present.

    Returns:
        Instants in order: by the schedule's `catch_up` all since then, or at most the newest.
    """
    calendar = Calendar(schedule)
    if schedule.catch_up == "all" and since is not None:
        return tuple(calendar.between(since, now))
    newest = calendar.newest(now)
    if since is not None and newest <= since:
        return ()
    if schedule.catch_up == "none" and now - newest > MISSED_AFTER:
        return ()
    return (newest,)


def scheduled(pipelines: Iterable[Pipeline]) -> tuple[tuple[Pipeline, Schedule], ...]:
    """Choose the pipelines that have a schedule, and make sure that they can run by themselves.

    Args:
        pipelines: In their order.

    Returns:
        Those that have one, in the same order.

    Raises:
        NotScheduled: None of them has one.
        MissingParameter: One needs a run parameter that a schedule cannot give.
    """
    given = tuple(pipelines)
    found = tuple((p, p.spec.timing) for p in given if p.spec.timing is not None)
    if not found:
        raise NotScheduled(
            f"{_lack(given)} Give it one: @pgflow.pipeline(..., schedule='0 * * * *')."
        )
    for pipeline, _ in found:
        _check_parameters(pipeline)
    return found


def check_instant(pipeline: str, schedule: Schedule, instant: datetime) -> None:
    """Make sure that a schedule fires at an instant.

    Args:
        pipeline: The name of whose schedule it is.
        schedule: The schedule.
        instant: The instant.

    Raises:
        NotScheduled: It does not; the message names the firings before and after.
    """
    calendar = Calendar(schedule)
    before = calendar.newest(instant)
    if before == instant:
        return
    at, last, following = (
        each.astimezone(schedule.zone).isoformat()
        for each in (instant, before, calendar.next(instant))
    )
    raise NotScheduled(
        f"pipeline {pipeline!r} does not fire at {at}: the firing before that is of {last}, the "
        f"one after it of {following}, by its schedule {schedule.cron!r} in {schedule.timezone}. "
        "Give one of those; `--off-schedule` runs another instant all the same."
    )


def _lack(pipelines: tuple[Pipeline, ...]) -> str:
    names = ", ".join(repr(p.name) for p in pipelines)
    if len(pipelines) == 1:
        return f"pipeline {names} has no schedule."
    return f"none of the pipelines {names} has a schedule." if names else "there is no pipeline."


def _check_parameters(pipeline: Pipeline) -> None:
    known = pipeline.spec.body.parameters if pipeline.spec.body else ()
    given = {p.name: datetime.now(UTC) for p in known if p.name == PARAMETER}
    bind_parameters(known, given, f"pipeline {pipeline.name!r}, which runs by its schedule,")
