"""Whether a firing that failed is tried again, and after how long."""

from __future__ import annotations

from pgflow.declare.schedule import Schedule
from pgflow.errors import DeclarationError, MissingParameter, TargetsFailed

#: The longest wait, in seconds.
LONGEST = 3600.0

#: What another attempt would meet again: the project has to be mended first.
_HOPELESS = (DeclarationError, MissingParameter, ImportError)


def pause(schedule: Schedule, error: BaseException, tried: int) -> float | None:
    """Say how long to wait before the next attempt.

    Args:
        schedule: Whose firing it is.
        error: What ended the attempt.
        tried: How many attempts there were before it.

    Returns:
        Seconds, or None if there is no next attempt.
    """
    if isinstance(error, TargetsFailed) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, _HOPELESS) or tried >= schedule.retries:
        return None
    return wait(schedule, tried)


def wait(schedule: Schedule, tried: int) -> float:
    """Say how long to wait before the next attempt, if there is one.

    Args:
        schedule: Whose firing it is.
        tried: How many attempts there were before the one that failed.

    Returns:
        Seconds.
    """
    # Beyond a few doublings the longest wait is reached; more would overflow.
    return min(LONGEST, schedule.retry_delay.total_seconds() * 2.0 ** min(tried, 30))


def given_up(attempts: int) -> str:
    """Say that a firing is not tried again.

    Args:
        attempts: How many there were.
    """
    return f"given up after {attempts} attempt{'' if attempts == 1 else 's'}"
