"""Which statements can be done twice and leave what once would have left."""

from __future__ import annotations

import re
from typing import Any

from pglast import ast, enums
from pglast.parser import ParseError, parse_sql
from pglast.visitors import Visitor

#: Where a driver puts in a parameter.
_PARAMETER = re.compile(r"%\(\w+\)s(?:::\w+)?")

_SETTING = frozenset(
    {
        enums.AlterTableType.AT_ValidateConstraint,
        enums.AlterTableType.AT_SetNotNull,
        enums.AlterTableType.AT_DropNotNull,
        enums.AlterTableType.AT_ColumnDefault,
    }
)


class Repetition:
    """Follows the statements of a migration, and tells of each whether it can be done twice."""

    def __init__(self) -> None:
        # Constraints that the migration itself removes, if they are there, before it makes them.
        self._cleared: set[str] = set()

    def allows(self, sql: str) -> bool:
        """Tell whether a statement, after those before it, fails neither nor adds up.

        Args:
            sql: One statement.

        Returns:
            False for all of which that is not plain to see.
        """
        try:
            statements = parse_sql(_PARAMETER.sub("NULL", sql).replace("%%", "%"))
        except ParseError:
            return False
        return all(self._allows(each.stmt) for each in statements)

    def _allows(self, node: Any) -> bool:
        match node:
            case ast.VariableSetStmt() | ast.VariableShowStmt() | ast.CommentStmt():
                return True
            case ast.SelectStmt():
                return node.intoClause is None and not _calls(node)
            case ast.IndexStmt():
                return bool(node.if_not_exists)
            case ast.AlterEnumStmt():
                return bool(node.skipIfNewValExists)
            case ast.CreateSchemaStmt():
                return bool(node.if_not_exists)
            case ast.DropStmt():
                return bool(node.missing_ok)
            case ast.AlterTableStmt():
                return all(self._allows_alteration(command) for command in node.cmds or ())
            case ast.DoStmt():
                # What a failed CREATE INDEX CONCURRENTLY left is dropped, if it is there.
                return any("NOT indisvalid" in str(option.arg.sval) for option in node.args or ())
            case _:
                return False

    def _allows_alteration(self, command: Any) -> bool:
        if command.subtype == enums.AlterTableType.AT_DropConstraint:
            if command.missing_ok:
                self._cleared.add(command.name)
            return command.name in self._cleared
        if command.subtype == enums.AlterTableType.AT_AddConstraint:
            return command.def_.conname in self._cleared
        return command.subtype in _SETTING


def _calls(node: Any) -> bool:
    """Tell whether a query calls a function that could change something."""
    names = _FunctionNames()
    names(node)
    return any(not name.startswith("pg_") for name in names.found)


class _FunctionNames(Visitor):
    """Collects the unqualified names of the functions that a query calls."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def visit_FuncCall(self, _ancestors: object, node: Any) -> None:  # noqa: N802 (pglast's name)
        """Note a call."""
        self.found.append(node.funcname[-1].sval)
