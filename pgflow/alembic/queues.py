"""Statements that stop others while they only wait for a lock, and how long each may wait.

Whoever asks for a strong lock stands in a queue, and everybody who comes after stands behind. So
these statements give up soon and ask again; those that share their table with readers and writers
may wait for long transactions to end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pglast import ast, enums
from pglast.parser import ParseError, parse_sql

from pgflow.alembic.settings import MigrationSettings
from pgflow.alembic.statement import Statement

#: What comes after the last statement outside a transaction.
RESETS = ("RESET lock_timeout", "RESET statement_timeout")

_SETTLED = (
    ast.VariableSetStmt,
    ast.VariableShowStmt,
    ast.SelectStmt,
    ast.InsertStmt,
    ast.UpdateStmt,
    ast.DeleteStmt,
    ast.MergeStmt,
    ast.CommentStmt,
    ast.AlterEnumStmt,
    # These commit on their own, so that they cannot be asked for once more.
    ast.CallStmt,
    ast.TransactionStmt,
    ast.VacuumStmt,
    ast.ReindexStmt,
    ast.ClusterStmt,
)


def stops_others(sql: str) -> bool:
    """Tell whether a statement, while it waits for its lock, makes readers or writers wait too.

    Args:
        sql: One statement. Outside a transaction it is done as a whole or not at all, if it is
            of this kind.

    Returns:
        True for what takes such locks; False for what does not, and for what may do a part of
        its work and then fail.
    """
    try:
        nodes = [each.stmt for each in parse_sql(sql)]
    except ParseError:
        return False
    return bool(nodes) and all(map(_stops_others, nodes))


def limits(statement: Statement, settings: MigrationSettings) -> str:
    """Return what sets how long a statement outside a transaction waits for its lock.

    Args:
        statement: The statement.
        settings: How migrations are run.
    """
    short = stops_others(statement.sql)
    timeout = settings.lock_timeout if short else settings.online_lock_timeout
    return f"SET lock_timeout = '{timeout}'"


def limited(
    statements: Iterable[Statement], settings: MigrationSettings
) -> Iterator[tuple[Statement | None, str]]:
    """Put between statements outside a transaction what limits their waits.

    Args:
        statements: The statements, in order.
        settings: How migrations are run.

    Yields:
        SQL, beside the statement that it is; None for what is put in.
    """
    present = None
    for statement in statements:
        if present is None:
            yield None, f"SET statement_timeout = '{settings.online_statement_timeout}'"
        wanted = limits(statement, settings)
        if wanted != present:
            yield None, wanted
            present = wanted
        yield statement, statement.sql


def _stops_others(node: Any) -> bool:
    match node:
        case ast.AlterTableStmt():
            validates = enums.AlterTableType.AT_ValidateConstraint
            return any(command.subtype != validates for command in node.cmds or ())
        case ast.IndexStmt() | ast.DropStmt():
            return not node.concurrent
        case ast.DoStmt():
            bodies = [str(option.arg.sval) for option in node.args or () if option.arg is not None]
            return not any("commit" in body.lower() for body in bodies)
        case _:
            return not isinstance(node, _SETTLED)
