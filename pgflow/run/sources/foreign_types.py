"""What another database says of a column's type, as a kind of values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

from pgflow.run.sources.reader import Found

#: SQLAlchemy's types, the narrower ones first, with a PostgreSQL type that holds them.
_KINDS: tuple[tuple[type[TypeEngine[Any]], str, str | None], ...] = (
    (sa.Boolean, "boolean", "boolean"),
    (sa.Integer, "whole", "numeric"),
    (sa.Float, "float", "double precision"),
    (sa.Numeric, "exact", "numeric"),
    (sa.Date, "date", "date"),
    (sa.Time, "time", "time"),
    (sa.Interval, "interval", "interval"),
    (sa.JSON, "json", "jsonb"),
    (sa.Uuid, "uuid", "uuid"),
    (sa.Enum, "text", "text"),
    (sa.String, "text", "text"),
    (sa.LargeBinary, "bytes", "bytea"),
)

#: The DB-API's own names for kinds of columns.
_CODES = (("NUMBER", "number", "numeric"), ("DATETIME", "moment", None), ("STRING", "text", "text"))


def of_type(name: str, kind: TypeEngine[Any], dialect: Dialect, *, raw: bool) -> Found:
    """Describe a column whose SQLAlchemy type is known.

    Args:
        name: Its name.
        kind: The type.
        dialect: The database's.
        raw: Whether values come as the driver gives them, not as the type would make them.
    """
    if raw and dialect.name == "sqlite":
        # A column's type is a hint there: dates are text, and any column can hold any value.
        number = isinstance(kind, (sa.Integer, sa.Numeric)) and not isinstance(kind, sa.Boolean)
        return Found(name, "number", "numeric") if number else Found(name)
    if raw and isinstance(kind, (sa.Boolean, sa.JSON, sa.Uuid, sa.Interval)):
        return Found(name)
    if isinstance(kind, sa.DateTime):
        zoned = bool(kind.timezone)
        return Found(name, *(("instant", "timestamptz") if zoned else ("timestamp", "timestamp")))
    for known, values, holds in _KINDS:
        if isinstance(kind, known):
            return Found(name, values, holds)
    return Found(name)


def of_description(
    names: Sequence[str], description: Sequence[Sequence[Any]] | None, dialect: Dialect
) -> tuple[Found, ...]:
    """Describe columns by what the driver says of a result.

    Args:
        names: Their names.
        description: PEP 249's description of the result, or None.
        dialect: The database's.
    """
    codes = [None] * len(names) if description is None else [d[1] for d in description]
    return tuple(_of_code(n, c, dialect) for n, c in zip(names, codes, strict=True))


def _of_code(name: str, code: Any, dialect: Dialect) -> Found:
    module = dialect.dbapi
    if code is None or module is None:
        return Found(name)
    for attribute, kind, holds in _CODES:
        known = getattr(module, attribute, None)
        # Text of any length, and bytes, share a code with some drivers: only numbers and times
        # are told apart for sure.
        if known is not None and bool(code == known) and kind != "text":
            return Found(name, kind, holds)
    return Found(name)
