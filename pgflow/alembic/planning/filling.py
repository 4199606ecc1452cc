"""Columns that are added to tables with rows: what the rows get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pglast import ast, parse_sql
from pglast.parser import ParseError
from pglast.visitors import Visitor

from pgflow.alembic.entity import Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds import columns
from pgflow.alembic.planning import refusals
from pgflow.alembic.planning.route import Route
from pgflow.alembic.statement import Statement


def added(route: Route, column: Entity, default: EntityIdentifier | None) -> Sequence[Statement]:
    """Add a column to a live table.

    Args:
        route: The old and the new world.
        column: The column as it should be.
        default: Its default, if it has one.

    Raises:
        MissingValue: It is NOT NULL, the table has rows, and nothing says what they get.
    """
    kind = route.kind(column.id)
    if not is_missing(route, column, default):
        return kind.create(column, route.new)
    if route.forward:
        raise refusals.missing_value(column)
    # On the way back the values are lost: the column comes first, so that whoever goes this way
    # can fill it before it forbids NULL.
    nullable = replace(column, facts={**column.facts, "not_null": False})
    change = kind.change(nullable, column, (route.old, route.new))
    after = () if change is None else change.statements
    return (*kind.create(nullable, route.new), *after)


def is_missing(route: Route, column: Entity, default: EntityIdentifier | None) -> bool:
    """Tell whether nothing says what existing rows get in a new column that forbids NULL.

    Args:
        route: The old and the new world.
        column: The column as it should be.
        default: Its default, if it has one.
    """
    if not _lacks_value(column, default) or columns.first_values(column) is not None:
        return False
    return _has_rows(route, column.id)


def sources(column: Entity | None) -> frozenset[EntityIdentifier]:
    """Return the columns of the same table that the values of a column are made from.

    Args:
        column: Any object; only columns that are filled have such sources.
    """
    if column is None or column.id.kind != "column":
        return frozenset()
    text = columns.first_values(column)
    if not isinstance(text, str):
        return frozenset()
    try:
        found = _Names(parse_sql(f"SELECT ({text})")).found
    except ParseError:
        # The server will say it better, with the table's name.
        return frozenset()
    return frozenset(replace(column.id, name=name) for name in found)


class _Names(Visitor):
    """The names of columns in a statement."""

    def __init__(self, tree: Any) -> None:
        self.found: set[str] = set()
        self(tree)

    def visit_ColumnRef(self, _: Any, node: Any) -> None:  # noqa: N802 (the name that pglast calls)
        last = node.fields[-1]
        if isinstance(last, ast.String):
            self.found.add(last.sval or "")


def _lacks_value(column: Entity, default: EntityIdentifier | None) -> bool:
    facts = column.facts
    if not facts.get("not_null") or default is not None:
        return False
    return not facts.get("identity") and not facts.get("generated")


def _has_rows(route: Route, column: EntityIdentifier) -> bool:
    table = route.old.parent(column)
    return table is not None and bool(table.notes.get("rows") or table.notes.get("bytes"))
