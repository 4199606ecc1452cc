"""What tables get besides themselves: sequences, keys and the indexes behind them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pglast import ast, enums

from pgflow import idents

_SERIALS = frozenset({"serial", "serial2", "serial4", "serial8", "smallserial", "bigserial"})
_KEYS = frozenset(
    {
        enums.ConstrType.CONSTR_PRIMARY,
        enums.ConstrType.CONSTR_UNIQUE,
        enums.ConstrType.CONSTR_EXCLUSION,
    }
)


def implied(node: Any) -> Iterator[tuple[str, str]]:
    """Give the kind and name of what a CREATE TABLE makes under names of the server's choice.

    Names that the server has to shorten or number are not foreseen.

    Args:
        node: The parsed statement.
    """
    table = node.relation.relname
    for element in node.tableElts or ():
        column = getattr(element, "colname", None)
        constraints = [element] if column is None else list(element.constraints or ())
        if column is not None and _has_sequence(element, constraints):
            yield from _fitting("sequence", f"{table}_{column}_seq")
        for constraint in constraints:
            if getattr(constraint, "contype", None) in _KEYS:
                yield from _key(table, column, constraint)


def adds_key(node: Any) -> bool:
    """Tell whether a statement gives a table that is there a key to which others can point.

    Args:
        node: The parsed statement.
    """
    if isinstance(node, ast.IndexStmt):
        return bool(node.unique)
    if not isinstance(node, ast.AlterTableStmt):
        return False
    added = (command.def_ for command in node.cmds or ())
    return any(isinstance(one, ast.Constraint) and one.contype in _KEYS for one in added)


def _has_sequence(column: Any, constraints: list[Any]) -> bool:
    names = column.typeName.names if column.typeName is not None else ()
    is_identity = any(c.contype == enums.ConstrType.CONSTR_IDENTITY for c in constraints)
    return is_identity or bool(names and names[-1].sval in _SERIALS)


def _key(table: str, column: str | None, constraint: Any) -> Iterator[tuple[str, str]]:
    if constraint.conname:
        yield "index", constraint.conname
    elif constraint.contype == enums.ConstrType.CONSTR_PRIMARY:
        yield from _fitting("index", f"{table}_pkey")
    elif constraint.contype == enums.ConstrType.CONSTR_UNIQUE:
        columns = [key.sval for key in constraint.keys or ()] or [column or ""]
        yield from _fitting("index", "_".join([table, *columns, "key"]))


def _fitting(kind: str, name: str) -> Iterator[tuple[str, str]]:
    if len(name.encode()) <= idents.MAX_BYTES:
        yield kind, name
