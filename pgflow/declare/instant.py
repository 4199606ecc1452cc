"""Instants as users give them: a datetime that says in which zone it is meant."""

from __future__ import annotations

from datetime import datetime

from pgflow.errors import InvalidInstant

#: What to write instead, as messages show it.
WANTED = "datetime(2024, 1, 1, tzinfo=timezone.utc)"


def check_instant(value: object, given: str) -> None:
    """Refuse what names no instant: text, a date, a datetime without a zone.

    Args:
        value: What was given, or None.
        given: It as the message calls it, such as `effective_at='2024-01-01'`.

    Raises:
        InvalidInstant: It is no datetime, or has no time zone.
    """
    if value is None:
        return
    if not isinstance(value, datetime):
        raise InvalidInstant(
            f"{given} is {type(value).__name__}, and an instant is a datetime with a time zone. "
            f"Give for instance {WANTED}."
        )
    if value.utcoffset() is None:
        raise InvalidInstant(
            f"{given} has no time zone, so it names no instant. Give for instance {WANTED}."
        )
