"""The kinds of checks: what must hold of the rows that a source delivers."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, Literal, Unpack, cast

from pgflow import idents
from pgflow.declare.data_check import DataCheck, Limits, Terms
from pgflow.declare.spelling import spelt_class
from pgflow.errors import InvalidCheck


@spelt_class
@dataclass(frozen=True, init=False)
class NotNull(DataCheck):
    """The columns have a value in every row.

    Args:
        *columns: The columns.
        **terms: See `DataCheck`.

    Attributes:
        columns: The columns.
    """

    columns: tuple[str, ...]
    of_rows: ClassVar[bool] = True

    def __init__(self, *columns: str, **terms: Unpack[Terms]) -> None:
        names = _columns("NotNull", columns)
        self._settle(f"{', '.join(names)} not null", terms, columns=names)

    @property
    def columns_named(self) -> tuple[str, ...]:
        """The columns."""
        return self.columns


@spelt_class
@dataclass(frozen=True, init=False)
class Unique(DataCheck):
    """No two rows of the batch have the same values in the columns; rows with a NULL pass.

    Args:
        *columns: The columns.
        **terms: See `DataCheck`; every row that shares its values counts as failing.

    Attributes:
        columns: The columns.
    """

    columns: tuple[str, ...]

    def __init__(self, *columns: str, **terms: Unpack[Terms]) -> None:
        names = _columns("Unique", columns)
        self._settle(f"{', '.join(names)} unique", terms, columns=names)

    @property
    def columns_named(self) -> tuple[str, ...]:
        """The columns."""
        return self.columns


@spelt_class
@dataclass(frozen=True, init=False)
class AcceptedValues(DataCheck):
    """A column has one of these values; NULL passes.

    Args:
        column: The column.
        values: The values, compared as the column's type compares.
        **terms: See `DataCheck`.

    Attributes:
        column: The column.
        values: The values as text.
    """

    column: str
    values: tuple[str, ...]
    of_rows: ClassVar[bool] = True

    def __init__(self, column: str, values: Iterable[Any], **terms: Unpack[Terms]) -> None:
        (name,) = _columns("AcceptedValues", (column,))
        if isinstance(values, str):
            raise InvalidCheck(f"AcceptedValues({name!r}): give the values as a list, not as text.")
        given = tuple(_text(name, value) for value in values)
        if not given:
            raise InvalidCheck(f"AcceptedValues({name!r}): give at least one value.")
        self._settle(f"{name} accepted values", terms, column=name, values=given)

    @property
    def columns_named(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)


@spelt_class
@dataclass(frozen=True, init=False)
class Relationship(DataCheck):
    """Every row has its counterpart in another table; rows with a NULL pass.

    Args:
        *columns: The columns that refer to it.
        to: A class under `@pgflow.table`, a table factory or a Core table. Of a history only
            current versions count; where it is the target itself, the batch counts too.
        to_columns: The columns there, in order; by default its key.
        **terms: See `DataCheck`.

    Attributes:
        columns: The columns.
        to: The table.
        to_columns: The columns there, or None for its key.
    """

    columns: tuple[str, ...]
    to: Any
    to_columns: tuple[str, ...] | None
    of_rows: ClassVar[bool] = True

    def __init__(
        self,
        *columns: str,
        to: Any,
        to_columns: Iterable[str] | None = None,
        **terms: Unpack[Terms],
    ) -> None:
        names = _columns("Relationship", columns)
        there = None if to_columns is None else _columns("Relationship", tuple(to_columns))
        self._settle(
            f"{', '.join(names)} relationship", terms, columns=names, to=to, to_columns=there
        )

    @property
    def columns_named(self) -> tuple[str, ...]:
        """The columns that refer."""
        return self.columns


@spelt_class
@dataclass(frozen=True, init=False)
class RowCount(DataCheck):
    """The batch has so many rows, at least or at most, or about as many as that before.

    Args:
        min: The least number.
        max: The greatest number.
        max_decrease: By which share (0 to 1) the batch may be smaller than what the last
            successful run of the pipeline has read.
        max_increase: By which share it may be larger: 1 is twice as many.
        **terms: `name` and `severity`; see `DataCheck`.

    Attributes:
        min: The least number, or None.
        max: The greatest number, or None.
        max_decrease: By which share the batch may be smaller than that before, or None.
        max_increase: By which share it may be larger, or None.
    """

    min: int | None
    max: int | None
    max_decrease: float | None
    max_increase: float | None

    def __init__(
        self,
        *,
        min: int | None = None,  # noqa: A002  # the words for it
        max: int | None = None,  # noqa: A002
        max_decrease: float | None = None,
        max_increase: float | None = None,
        **terms: Unpack[Terms],
    ) -> None:
        if min is None and max is None and max_decrease is None and max_increase is None:
            raise InvalidCheck(
                "RowCount: give min=, max=, max_decrease= or max_increase=, or several of them."
            )
        for limit in (min, max):
            if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int)):
                raise InvalidCheck(f"RowCount: {limit!r} is no number of rows.")
        if min is not None and max is not None and min > max:
            raise InvalidCheck(f"RowCount: min={min} is more than max={max}.")
        _share("max_decrease", max_decrease, 1)
        _share("max_increase", max_increase, math.inf)
        _no_limits("RowCount", terms)
        self._settle(
            "row count",
            terms,
            min=min,
            max=max,
            max_decrease=max_decrease,
            max_increase=max_increase,
        )


@spelt_class
@dataclass(frozen=True, init=False)
class Freshness(DataCheck):
    """The newest value of a column is not older than so long before the run.

    Args:
        column: A column of instants or dates.
        within: How old its newest value may be.
        timezone: The time zone of values without one, as the server calls it; by default that of
            the session.
        **terms: `name` and `severity`; see `DataCheck`.

    Attributes:
        column: The column.
        within: How old its newest value may be.
        timezone: The time zone of values without one, or None.
    """

    column: str
    within: timedelta
    timezone: str | None

    def __init__(
        self,
        column: str,
        *,
        within: timedelta,
        timezone: str | None = None,
        **terms: Unpack[Terms],
    ) -> None:
        (name,) = _columns("Freshness", (column,))
        if not isinstance(within, timedelta) or within < timedelta(0):
            raise InvalidCheck(f"Freshness({name!r}): within={within!r} must be a timedelta.")
        if timezone is not None and not (isinstance(timezone, str) and timezone.strip()):
            raise InvalidCheck(f"Freshness({name!r}): timezone={timezone!r} is no time zone.")
        _no_limits("Freshness", terms)
        self._settle(f"{name} freshness", terms, column=name, within=within, timezone=timezone)

    @property
    def columns_named(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)


@spelt_class
@dataclass(frozen=True, init=False)
class SQLCheck(DataCheck):
    """A condition holds of every row; where it is NULL the row passes, as with CHECK.

    Args:
        name: Its name.
        condition: An SQL expression on the source's columns.
        **terms: See `DataCheck`.

    Attributes:
        condition: The expression.
    """

    condition: str
    of_rows: ClassVar[bool] = True

    def __init__(self, name: str, condition: str, **terms: Unpack[Limits]) -> None:
        _sql("SQLCheck", name, condition)
        self._settle(name, _named(name, terms), condition=condition)


@spelt_class
@dataclass(frozen=True, init=False)
class QueryCheck(DataCheck):
    """A query finds nothing to complain about.

    Args:
        name: Its name.
        query: One SELECT; it reads the batch under the name `batch`, and any other table.
        returns: `rows`: each row that it returns is a failing one. `boolean`: it returns one
            column that must not be false.
        **terms: See `DataCheck`.

    Attributes:
        query: The query.
        returns: What it returns.
    """

    query: str
    returns: str

    def __init__(
        self,
        name: str,
        query: str,
        *,
        returns: Literal["rows", "boolean"] = "rows",
        **terms: Unpack[Limits],
    ) -> None:
        _sql("QueryCheck", name, query)
        if returns not in ("rows", "boolean"):
            raise InvalidCheck(
                f"QueryCheck {name!r}: returns={returns!r} must be 'rows' or 'boolean'."
            )
        self._settle(name, _named(name, terms), query=query, returns=returns)


def _columns(kind: str, columns: tuple[str, ...]) -> tuple[str, ...]:
    wrong = [column for column in columns if not isinstance(column, str)]
    if wrong or not columns:
        raise InvalidCheck(f"{kind}: give the names of columns, not {wrong[0] if wrong else ()!r}.")
    return tuple(idents.truncate(column) for column in columns)


def _text(column: str, value: object) -> str:
    plain = value.value if isinstance(value, enum.Enum) else value
    if plain is None:
        raise InvalidCheck(
            f"AcceptedValues({column!r}): NULL passes anyway; leave None out, and add NotNull "
            "where it must not."
        )
    if isinstance(plain, (list, tuple, dict, set)):
        raise InvalidCheck(
            f"AcceptedValues({column!r}): write the {type(plain).__name__} as text, as the server "
            "writes such values."
        )
    if isinstance(plain, (bytes, bytearray, memoryview)):
        return "\\x" + bytes(plain).hex()
    if isinstance(plain, timedelta):
        # Without the plus, a session with another IntervalStyle may take all of it for negative.
        return f"{plain.days} days +{plain.seconds}.{plain.microseconds:06} seconds"
    return str(plain)


def _share(name: str, value: object, most: float) -> None:
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is None or (known and 0 <= cast(float, value) <= most and value != math.inf):
        return
    wanted = "a number 0 to 1" if most == 1 else "a number that is not negative"
    raise InvalidCheck(f"RowCount: {name}={value!r} is no share: give {wanted}.")


def _no_limits(kind: str, terms: Terms) -> None:
    if "max_failures" in terms or "max_ratio" in terms:
        raise InvalidCheck(f"{kind} holds or not: max_failures= and max_ratio= do not go with it.")


def _sql(kind: str, name: object, text: object) -> None:
    if not isinstance(text, str) or not text.strip():
        raise InvalidCheck(f"{kind} {name!r}: give SQL text, not {text!r}.")


def _named(name: str, limits: Limits) -> Terms:
    return cast(Terms, {**limits, "name": name})
