"""When a pipeline runs by itself, and what becomes of firings that failed or were missed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from pgflow.declare.body import Body
from pgflow.declare.spelling import spelt_class
from pgflow.errors import InvalidBody, InvalidOption

#: What becomes of firings that nobody saw in time.
CATCH_UP = ("latest", "all", "none")

#: The run parameter that is given the instant of the firing.
PARAMETER = "scheduled_at"

#: What croniter would draw by lot or by a hash; every worker has to find the same instants.
_DRAWN = re.compile(r"[hr](\(|/|$)", re.IGNORECASE)


@spelt_class
@dataclass(frozen=True)
class Schedule:
    """When a pipeline runs by itself.

    Attributes:
        cron: A cron expression of five fields: minute, hour, day of month, month, day of week.
        timezone: The zone whose clocks the expression means, such as `Europe/Vienna`.
        catch_up: What becomes of firings that were missed while nothing ran pipelines: `latest`
            runs the newest of them, `all` each of them in order, `none` none.
        retries: How often a firing that failed is tried again.
        retry_delay: How long a worker waits before the first of these; twice as long before each
            further one, an hour at most.
    """

    cron: str
    timezone: str = "UTC"
    catch_up: str = "latest"
    retries: int = 3
    retry_delay: timedelta = timedelta(seconds=10)

    def __post_init__(self) -> None:
        _check_cron(self.cron)
        _check_zone(self.timezone)
        if self.catch_up not in CATCH_UP:
            raise InvalidOption(
                f"catch_up={self.catch_up!r} is none of {', '.join(map(repr, CATCH_UP))}."
            )
        whole = isinstance(self.retries, int) and not isinstance(self.retries, bool)
        if not whole or self.retries < 0:
            raise InvalidOption(f"retries={self.retries!r} must be a whole number from 0 on.")
        if not isinstance(self.retry_delay, timedelta) or self.retry_delay < timedelta(0):
            raise InvalidOption(
                f"retry_delay={self.retry_delay!r} must be a timedelta that is not negative."
            )

    @classmethod
    def of(cls, given: str | Schedule | None, owner: str) -> Schedule | None:
        """Read what `schedule=` says.

        Args:
            given: A schedule, a cron expression, or None.
            owner: Who declared it, for the message.

        Raises:
            InvalidOption: It cannot be read.
        """
        if given is None or isinstance(given, Schedule):
            return given
        try:
            return cls(given)
        except InvalidOption as error:
            raise InvalidOption(f"{owner}: {error}") from error

    @property
    def zone(self) -> ZoneInfo:
        """The zone whose clocks the expression means."""
        return ZoneInfo(self.timezone)

    def describe(self) -> dict[str, Any]:
        """Return the schedule as plain values."""
        return {
            "cron": self.cron,
            "timezone": self.timezone,
            "catch_up": self.catch_up,
            "retries": self.retries,
            "retry_delay": self.retry_delay.total_seconds(),
        }

    def __str__(self) -> str:
        return self.cron if self.timezone == "UTC" else f"{self.cron} ({self.timezone})"


def check_parameter(body: Body | None, owner: str) -> None:
    """Refuse a function whose parameter `scheduled_at` cannot be given an instant.

    Args:
        body: The pipeline's function, if it has one.
        owner: Whose it is, for the message.

    Raises:
        InvalidBody: It is not annotated as `datetime`.
    """
    for each in body.parameters if body is not None else ():
        if each.name == PARAMETER and each.type is not datetime:
            raise InvalidBody(
                f"{owner}: its parameter {PARAMETER} is given the instant of the firing, so "
                f"annotate it as datetime: *, {PARAMETER}: datetime."
            )


def _check_cron(cron: object) -> None:
    # Only pipelines with a schedule pay for the import.
    from croniter import CroniterBadDateError, croniter

    fields = cron.split() if isinstance(cron, str) else []
    drawn = any(_DRAWN.match(part) for field in fields for part in field.split(","))
    if len(fields) != 5 or drawn or not croniter.is_valid(cron):
        raise InvalidOption(
            f"schedule={cron!r} is no cron expression. Write five fields: minute, hour, day of "
            "month, month, day of week, as in '0 * * * *' for every full hour."
        )
    try:
        croniter(cron, datetime(2024, 1, 1)).get_next()
    except CroniterBadDateError:
        raise InvalidOption(f"schedule={cron!r} never fires: no year has such a day.") from None


def _check_zone(name: object) -> None:
    try:
        if isinstance(name, str) and name:
            ZoneInfo(name)
            return
    except (OSError, KeyError, ValueError):
        pass  # an unknown name, a directory's, or a path
    raise InvalidOption(
        f"timezone={name!r} is no time zone that this machine knows. Write a name such as 'UTC' "
        "or 'Europe/Vienna'; the package tzdata brings them where they are missing."
    )
