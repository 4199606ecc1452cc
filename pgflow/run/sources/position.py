"""Where an incremental run starts to read, as a value that another database compares.

The stage is left with the rows that PostgreSQL would take, so a start that is a little too early
costs time and nothing else. Where the two databases could disagree, everything is read.
"""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

from pgflow.errors import StatementFailed
from pgflow.plan.decision import Unknown
from pgflow.plan.spec import Watermark
from pgflow.plan.sql import bind, raw, sql
from pgflow.run.session import Session
from pgflow.run.sources.reader import Wanted

#: Dialects whose types hold times with an offset.
_ZONED = frozenset({"mssql", "oracle"})

#: Text with a date at its beginning sorts by days, whatever follows; an offset moves it by one.
_ONE_DAY = timedelta(days=1)


def start(
    wanted: Wanted, dialect: Dialect, time_zone: str | None
) -> tuple[str, object, Any, bool] | None:
    """Work out where to start.

    Args:
        wanted: What is read; with the position.
        dialect: The source's dialect.
        time_zone: What the source's times without a zone are meant in.

    Returns:
        The source's column, the value, its SQLAlchemy type or None, and whether rows without a
        value are read too; None where everything is read.
    """
    mark = wanted.spec.watermark
    if mark is None or mark.value is None or isinstance(mark.value, Unknown):
        return None
    column = wanted.name_of(mark.column)
    value = _value(wanted.session, mark)
    bound = None if value is None or column is None else _bound(value, dialect, time_zone)
    if bound is None or column is None:
        return None
    return column, *bound, mark.nulls != "skip"


def _value(session: Session, mark: Watermark) -> object:
    """Let the target's server take the lookback off, and read the value as Python does."""
    kind = raw("text" if isinstance(mark.type, Unknown) else mark.type)
    text = sql("{v}::text::{kind}", v=bind(mark.value, "watermark"), kind=kind)
    if mark.lookback is not None:
        text = sql("{start} - {lookback}", start=text, lookback=mark.lookback)
    try:
        rows = session.run(sql("SELECT {v} AS at", v=text), "work out where to start").rows
    except StatementFailed as error:
        if error.sqlstate is not None:
            raise
        return None  # infinity, or a year that Python does not know: everything is read
    return rows[0]["at"]


def _bound(value: object, dialect: Dialect, zone: str | None) -> tuple[object, Any] | None:
    """The value for the source, or None if comparing it there proves nothing."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float, Decimal)):
        return _number(value, dialect)
    if isinstance(value, datetime):
        return _time(value, dialect, zone)
    if isinstance(value, date):
        if dialect.name == "sqlite":
            return _text_day(value)
        return value, None
    return None  # text sorts by each database's own rules


def _number(value: float | Decimal, dialect: Dialect) -> tuple[object, Any] | None:
    if not math.isfinite(value):
        return None
    if dialect.name == "sqlite" and isinstance(value, Decimal):
        return math.floor(value), sa.Integer()
    return value, None


def _time(value: datetime, dialect: Dialect, zone: str | None) -> tuple[object, Any] | None:
    if dialect.name == "sqlite":
        return _text_day(value.date())
    if value.tzinfo is None:
        return value, None
    if zone is not None:
        return value.astimezone(ZoneInfo(zone)).replace(tzinfo=None), None
    return (value, None) if dialect.name in _ZONED else None


def _text_day(value: date) -> tuple[object, Any] | None:
    if value <= date.min + _ONE_DAY:
        return None
    return (value - _ONE_DAY).isoformat(), sa.String()
