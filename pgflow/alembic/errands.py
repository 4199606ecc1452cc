"""Statements run in a savepoint that is rolled back, in few round trips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from pglast import ast
from pglast.parser import scan
from sqlalchemy import Connection, NestedTransaction
from sqlalchemy.exc import DBAPIError

from pgflow.alembic.concealment import concealed
from pgflow.alembic.declared.declaration import Declaration
from pgflow.alembic.sending import joins, send, send_all
from pgflow.errors import DeclarationRefused

#: What is not run as it is written: schemas have other names, roles and extensions exist.
_NOT_RUN = (
    ast.CreateSchemaStmt,
    ast.CreateExtensionStmt,
    ast.CreateRoleStmt,
    ast.AlterRoleStmt,
    ast.AlterRoleSetStmt,
    ast.GrantRoleStmt,
)


class Errand(NamedTuple):
    """One statement to run.

    Attributes:
        sql: Its text.
        declaration: Where it comes from; None for what pgflow itself needs.
        way_out: What to do if the server refuses it.
    """

    sql: str
    declaration: Declaration | None = None
    way_out: str = ""


def declared_errand(declaration: Declaration, sql: str) -> Errand | None:
    """Return how a declared statement is tried out; None if it is not.

    Args:
        declaration: The statement.
        sql: Its text, with the names to use.
    """
    node = declaration.node
    if isinstance(node, _NOT_RUN) or _is_about_global(declaration):
        return None
    if isinstance(node, ast.CreateTableAsStmt) and not _is_empty(node):
        sql = _without_data(sql)
    return Errand(sql, declaration)


def _is_about_global(declaration: Declaration) -> bool:
    kinds = {altered.kind for altered in declaration.subject.alters}
    return bool(kinds & {"role", "extension"})


def _is_empty(node: ast.CreateTableAsStmt) -> bool:
    return node.into is not None and bool(node.into.skipData)


def _without_data(sql: str) -> str:
    """Let a materialized view stay empty: its query may be expensive, or call functions."""
    tokens = [token for token in scan(sql) if token.name not in ("SQL_COMMENT", "C_COMMENT")]
    last = tokens[-1]
    if last.name == "DATA_P" and tokens[-2].name in ("WITH", "WITH_LA"):
        return f"{sql[: last.start]}NO {sql[last.start : last.end + 1]}"
    return f"{sql[: last.end + 1]} WITH NO DATA"


@contextmanager
def run(
    connection: Connection, errands: Sequence[Errand], told: Callable[[str], str] = str
) -> Iterator[None]:
    """Run statements in a savepoint, which is rolled back when the block ends.

    Args:
        connection: An open connection in a transaction.
        errands: The statements, in order.
        told: Makes the server's messages readable.

    Raises:
        DeclarationRefused: The server does not accept one of them.
    """
    savepoint = connection.begin_nested()
    try:
        if joins(connection):
            try:
                send_all(connection, [errand.sql for errand in errands])
            except DBAPIError:
                # Once more, one by one, to learn which of them it is.
                savepoint.rollback()
                savepoint = connection.begin_nested()
                _run_singly(connection, errands, told)
        else:
            _run_singly(connection, errands, told)
        yield
    finally:
        _undo(savepoint)


def _undo(savepoint: NestedTransaction) -> None:
    if savepoint.is_active:
        savepoint.rollback()


def _run_singly(
    connection: Connection, errands: Sequence[Errand], told: Callable[[str], str]
) -> None:
    for errand in errands:
        try:
            send(connection, errand.sql)
        except DBAPIError as error:
            if errand.declaration is None:
                raise
            raise _refusal(errand, errand.declaration, told(_message(error))) from error


def _message(error: DBAPIError) -> str:
    diagnosis = getattr(error.orig, "diag", None)
    if diagnosis is None or not diagnosis.message_primary:
        return str(error.orig).strip()
    parts = (diagnosis.message_primary, diagnosis.message_detail, diagnosis.message_hint)
    return ". ".join(str(part).rstrip(".") for part in parts if part)


def _refusal(errand: Errand, declaration: Declaration, message: str) -> DeclarationRefused:
    made = declaration.subject.makes
    what = str(made) if made is not None else "a declared statement"
    way_out = f" {errand.way_out}" if errand.way_out else ""
    return DeclarationRefused(
        f"PostgreSQL does not accept {what}: {message}. It is declared by {declaration.origin}, "
        f"and the statement begins with {declaration.first_line!r}.{way_out}",
        sql=concealed(declaration.sql),
        origin=declaration.origin,
    )
