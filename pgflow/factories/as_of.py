"""Reading a history at an instant: the versions that were valid then."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Alias, ColumnElement, Select, Table
from sqlalchemy.sql import FromClause
from sqlalchemy.sql.elements import ColumnClause

from pgflow.declare.instant import check_instant
from pgflow.emit.versions import versions_of
from pgflow.errors import InvalidInstant
from pgflow.factories.simple import TableFactory

#: An instant: a datetime with its time zone, or an SQL expression of type `timestamptz`.
Instant = datetime | ColumnElement[Any]


def as_of(table: Any, instant: Instant, *, validity: bool = False) -> Select[Any]:
    """Select the versions of a history that were valid at an instant, at most one of each key.

    A version is valid from `valid_from` on and until just before `valid_to`. With a column as the
    instant the result can be joined: `as_of(Customer, orders.c.ordered_at).lateral("customer")`.

    Args:
        table: A class under `@pgflow.table`, a table factory, or its SQLAlchemy table, perhaps
            under an alias. Something must fill it in mode `scd2`.
        instant: A datetime with its time zone, or an SQL expression of type `timestamptz`.
        validity: Whether the columns of the versions' first and last instants are selected, too.

    Returns:
        A SELECT of the declared columns; pgflow's own columns are left out.

    Raises:
        NoHistory: The table keeps no history.
        InvalidInstant: The instant has no time zone.
        DeclarationError: The first argument is no table.
    """
    relation, core = _relation(table)
    versions = versions_of(core, "as_of()")
    names = [column.name for column in versions.declared]
    if validity:
        names += [name for name in (versions.valid_from, versions.valid_to) if name not in names]
    at = _instant(instant)
    began, ended = relation.c[versions.valid_from], relation.c[versions.valid_to]
    return (
        sa.select(*(relation.c[name] for name in names))
        .where(began <= at, sa.or_(ended > at, ended.is_(None)))
        # The tables of the instant stand outside, whether it is a lateral join or a subquery.
        .correlate_except(relation)
    )


def _relation(table: Any) -> tuple[FromClause, Table]:
    if isinstance(table, Table):
        return table, table
    if isinstance(table, Alias) and isinstance(table.element, Table):
        return table, table.element
    core = TableFactory.of(table).table
    return core, core


def _instant(instant: object) -> ColumnElement[Any]:
    if isinstance(instant, datetime):
        check_instant(instant, f"as_of(): {instant!r}")
        return sa.bindparam(None, instant, sa.DateTime(timezone=True), unique=True)
    found: Any = instant.__clause_element__() if hasattr(instant, "__clause_element__") else instant
    if not isinstance(found, ColumnElement):
        raise InvalidInstant(
            f"as_of(): {instant!r} is no instant. Give a datetime with its time zone, or a "
            "SQLAlchemy expression of type timestamptz, such as a column."
        )
    _refuse_local(found)
    return found


def _refuse_local(expression: ColumnElement[Any]) -> None:
    """Refuse what would mean another instant in a session with another TimeZone.

    SQLAlchemy knows the types of columns and casts; that of a function is a guess.
    """
    if isinstance(expression, sa.BindParameter):
        value = expression.value
        local = isinstance(value, datetime) and value.utcoffset() is None
    else:
        plain = expression.element if isinstance(expression, sa.Label) else expression
        kind = plain.type
        naive = isinstance(kind, sa.Date) or (isinstance(kind, sa.DateTime) and not kind.timezone)
        local = naive and isinstance(plain, (ColumnClause, sa.Cast))
    if local:
        raise InvalidInstant(
            f"as_of(): {expression} has no time zone, so what it means depends on the session's "
            "TimeZone. Say in which one it is: sa.func.timezone('UTC', column)."
        )
