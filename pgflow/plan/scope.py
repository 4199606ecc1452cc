"""A scope into a condition on unqualified columns, and into a name for locks and bookkeeping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column, Table, column
from sqlalchemy.sql import visitors

from pgflow.declare.options import Scope
from pgflow.plan import query
from pgflow.plan.sql import Sql, raw


def scope_condition(
    scope: Scope | None, table: Table, values: Mapping[str, object], owner: str
) -> tuple[Sql | None, str]:
    """Turn a declared scope into SQL.

    Args:
        scope: SQL text, SQLAlchemy text or expression, or None.
        table: The target; its columns lose their qualification in expressions.
        values: The run parameters, for `:name` placeholders in text.
        owner: Who declared it, for messages.

    Returns:
        The condition in parentheses, and its text with the bound values, which names it.
    """
    if scope is None:
        return None, ""
    if isinstance(scope, str):
        condition = query.expression(scope, values, f"{owner}: scope=")
        spoken = scope.strip()
    else:
        bare: Any = visitors.replacement_traverse(scope, {}, _unqualify(table))
        inner = query.from_clause(bare, f"{owner}: scope=")
        condition = raw("(") + inner + raw(")")
        spoken = str(inner)
    bound = condition.render()[1]
    if bound:
        spoken += " with " + ", ".join(f"{b.name}={b.value}" for b in bound)
    return condition, spoken


def _unqualify(table: Table) -> Any:
    def replace(element: Any, **_: Any) -> Any:
        if isinstance(element, Column) and element.table is table:
            return column(element.name, element.type)
        return None

    return replace
