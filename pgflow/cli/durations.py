"""Spans of time and instants before now, as they are written on the command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import typer

from pgflow.cli.options import instant

_SPAN = re.compile(r"([0-9]{1,9})\s*([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def span(text: str) -> timedelta:
    """Read a span of time.

    Args:
        text: A number and a unit: `30m`, `12h`, `90d`, `4w`.
    """
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(
            f"{text!r} is no span of time; write a number and m, h, d or w, such as 30m, 12h, 90d "
            "or 4w."
        )
    try:
        return timedelta(**{_UNITS[found[2]]: int(found[1])})
    except OverflowError:
        raise typer.BadParameter(f"{text!r} is longer than time has been counted.") from None


def read_span(text: str | None) -> str | None:
    """Refuse an option that is no span of time, with the option's name."""
    if text is not None:
        span(text)
    return text


def read_moment(text: str | None) -> str | None:
    """Refuse an option that is neither an instant nor a span of time, with the option's name."""
    if text is not None:
        moment(text)
    return text


def moment(text: str, now: datetime | None = None) -> datetime:
    """Read an instant, or how long ago it was.

    Args:
        text: An instant with its time zone, or a span as `span` reads it.
        now: What the span is counted from.
    """
    if _SPAN.fullmatch(text.strip()) is None:
        return _instant(text)
    try:
        return (now or datetime.now(UTC)) - span(text)
    except OverflowError:
        raise typer.BadParameter(f"{text!r} ago is longer than time has been counted.") from None


def _instant(text: str) -> datetime:
    """Read an instant; what is none might have been meant as a span."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} says no time. Write how long ago, such as 30m, 12h, 7d or 4w, or an instant "
            "with its time zone, such as 2013-01-02T00:00:00Z."
        ) from None
    return instant(text)
