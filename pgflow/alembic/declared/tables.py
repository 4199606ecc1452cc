"""The tables, types and sequences of a MetaData as the SQL that SQLAlchemy itself would run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import BindParameter, MetaData, TextClause
from sqlalchemy.dialects.postgresql.base import PGCompiler, PGDialect
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.mock import MockConnection
from sqlalchemy.exc import CompileError
from sqlalchemy.sql.ddl import ExecutableDDLElement

from pgflow import idents
from pgflow.alembic.declared.declaration import Declaration
from pgflow.alembic.declared.statements import parse
from pgflow.errors import InvalidDeclaration


class _VerbatimCompiler(PGCompiler):
    """Leaves what looks like a bind parameter in DDL as the user wrote it: `'10:30'`, `:name`.

    DDL has no parameters, so a `:name` in a check expression or a default is text.
    """

    def bindparam_string(self, name: str, *_: Any, **__: Any) -> str:
        return f":{name}"

    def visit_textclause(self, textclause: TextClause, *args: Any, **kw: Any) -> str:
        given: dict[str, BindParameter[Any]] = getattr(textclause, "_bindparams", {})
        without = {name: bound for name, bound in given.items() if bound.required}
        if not without:
            return self._text(textclause, *args, **kw)
        plain = TextClause(textclause.text)
        plain._bindparams = {n: b for n, b in given.items() if n not in without}
        return self._text(plain, *args, **kw)

    def _text(self, textclause: TextClause, *args: Any, **kw: Any) -> str:
        # SQLAlchemy's compilers have no types.
        written: str = super().visit_textclause(textclause, *args, **kw)  # type: ignore[no-untyped-call]
        return written


def writing_dialect(dialect: Dialect) -> PGDialect:
    """Return a dialect that writes SQL as it is to be read, for the server of another dialect.

    Args:
        dialect: The dialect of the connection, which knows the server's version.

    Returns:
        A dialect that neither doubles `%` nor sees bind parameters.
    """
    writing = PGDialect(paramstyle="named")  # type: ignore[no-untyped-call]  # has no types
    writing.statement_compiler = _VerbatimCompiler
    # From version 15 on, which is the oldest supported one, DDL is the same.
    writing.server_version_info = dialect.server_version_info or (15, 0)
    writing._supports_create_index_concurrently = True
    writing.supports_identity_columns = True
    # SQLAlchemy 2.0 doubles backslashes until it has asked a server, which has no need of it.
    writing._backslash_escapes = False
    return writing


def table_declarations(
    metadata: MetaData, dialect: Dialect, default_schema: str
) -> Iterator[Declaration]:
    """Give the statements that make the tables of a MetaData, with their types and indexes.

    Args:
        metadata: The declared tables.
        dialect: The dialect of the connection.
        default_schema: The schema of tables that are declared without one.

    Yields:
        The statements, in SQLAlchemy's order.

    Raises:
        InvalidDeclaration: Something in the MetaData cannot be written as SQL.
    """
    writing = writing_dialect(dialect)
    elements: list[ExecutableDDLElement] = []

    def collect(element: Any, *_: Any, **__: Any) -> None:
        elements.append(element)

    try:
        metadata.create_all(MockConnection(writing, collect), checkfirst=False)
    except CompileError as error:
        raise InvalidDeclaration(f"The MetaData cannot be written as SQL: {error}.") from error
    for element in elements:
        origin = _origin(element)
        try:
            sql = str(element.compile(dialect=writing))
        except CompileError as error:
            raise InvalidDeclaration(f"{origin} cannot be written as SQL: {error}.") from error
        yield from parse(sql, origin, default_schema)


def _origin(element: Any) -> str:
    made = getattr(element, "element", None)
    name = getattr(made, "name", None)
    what = type(made).__name__
    if not isinstance(name, str):
        return f"{what} of the MetaData"
    table = getattr(made, "table", None)
    if table is not None:
        return f"{what} {idents.quote(name)} of Table {idents.qualify(table.schema, table.name)}"
    return f"{what} {idents.qualify(getattr(made, 'schema', None), name)}"
