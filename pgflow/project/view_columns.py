"""The columns of declared views, as far as their queries name them; never by guessing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import MetaData

from pgflow.project.views import Path, definitions

#: Columns by table or view.
Columns = Mapping[Path, Sequence[str]]


def view_columns(metadatas: Iterable[MetaData], tables: Columns) -> Columns:
    """Say which columns the declared views have, in their order.

    Args:
        metadatas: The MetaData on which they are declared.
        tables: The columns of the declared tables, each with its schema.

    Returns:
        The views whose columns all have names that their text tells, by themselves or by `*` of
        tables and views that are known.
    """
    known = dict(tables)
    left = {view: (query, names) for view, query, names in definitions(metadatas)}
    while True:
        found: dict[Path, Sequence[str]] = {}
        for view, (query, names) in left.items():
            columns = _named(_Query(query, known).columns(), names)
            if columns is not None:
                found[view] = columns
        if not found:
            return {path: columns for path, columns in known.items() if path not in tables}
        known.update({path: columns for path, columns in found.items() if path not in tables})
        left = {view: each for view, each in left.items() if view not in found}


def _named(columns: Sequence[str] | None, names: Sequence[str]) -> tuple[str, ...] | None:
    """Give columns the names that stand behind the view's own, which may be fewer."""
    if columns is None or len(names) > len(columns):
        return None
    found = (*names, *columns[len(names) :])
    return found if all(found) and len(set(found)) == len(found) else None


class _Query:
    """One query, as pglast reads it."""

    def __init__(self, node: Any, known: Columns) -> None:
        self._node = node
        self._known = known

    def columns(self) -> list[str] | None:
        """The names of its columns, empty where one has none; None if it is not known which."""
        from pglast import ast
        from pglast.enums import SetOperation

        if not isinstance(self._node, ast.SelectStmt):
            return None
        if self._node.op != SetOperation.SETOP_NONE:
            return _Query(self._node.larg, self._known).columns()
        found: list[str] = []
        for target in self._node.targetList or ():
            names = [target.name] if target.name else self._of(target.val)
            if names is None:
                return None
            found += names
        return found or None

    def _of(self, value: Any) -> Sequence[str] | None:
        """The names that an expression without `AS` gives."""
        from pglast import ast

        if not isinstance(value, ast.ColumnRef):
            return [""]  # the server makes one up
        fields: Any = value.fields
        if isinstance(fields[-1], ast.String):
            return [str(fields[-1].sval)]
        return self._star([each.sval for each in fields[:-1]])

    def _star(self, qualifier: Sequence[str]) -> Sequence[str] | None:
        """The columns of `*` or `name.*`; those of joins without a name are not looked for."""
        from pglast import ast

        items = self._node.fromClause or ()
        if self._node.withClause is not None or len(qualifier) > 1:
            return None
        if not qualifier:
            if not all(isinstance(each, ast.RangeVar) for each in items):
                return None
            parts = [self._table(each) for each in items]
            return None if None in parts else [name for part in parts for name in part or ()]
        fitting = [each for each in _tables(items) if _alias(each) == qualifier[0]]
        return self._table(fitting[0]) if len(fitting) == 1 else None

    def _table(self, table: Any) -> Sequence[str] | None:
        if table.alias is not None and table.alias.colnames:
            return None
        return self._known.get((table.schemaname or "public", table.relname))


def _tables(items: Iterable[Any]) -> Iterator[Any]:
    """The tables of a FROM, also those that are joined."""
    from pglast import ast

    for each in items:
        if isinstance(each, ast.RangeVar):
            yield each
        elif isinstance(each, ast.JoinExpr):
            yield from _tables((each.larg, each.rarg))


def _alias(table: Any) -> str:
    return str(table.relname if table.alias is None else table.alias.aliasname)
