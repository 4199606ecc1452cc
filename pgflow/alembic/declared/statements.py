"""Declared SQL texts: taken apart, checked, and kept on a MetaData."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pglast import ast, parse_sql
from pglast.parser import ParseError
from sqlalchemy import MetaData

from pgflow.alembic.concealment import concealed, first_line, is_concealed
from pgflow.alembic.declared.declaration import Declaration
from pgflow.alembic.declared.subjects import Unsupported, subject
from pgflow.alembic.kinds import role_statements
from pgflow.emit.sql_objects import emitted_sql
from pgflow.errors import InvalidDeclaration

_INFO_KEY = "pgflow_declared_sql"


@dataclass(frozen=True)
class DeclaredText:
    """One text given to `declare_sql`.

    Attributes:
        sql: The text.
        renamed_from: The former name of the object that it makes.
        emitted_by: The plugin that says it, where it was not `declare_sql`.
    """

    sql: str = field(repr=False)
    renamed_from: str | None = None
    emitted_by: str = ""

    @property
    def origin(self) -> str:
        """Where it was declared, as an error names it."""
        return self.emitted_by or f"declare_sql({first_line(self.sql)!r})"


def declare_sql(metadata: MetaData, sql: str, *, renamed_from: str | None = None) -> None:
    """Declare objects by SQL, for what SQLAlchemy cannot say: functions, triggers, policies, ...

    Migrations then make, change and drop these objects like the tables of the MetaData. The text
    says what is to be there, so it holds CREATE, COMMENT, GRANT, ALTER TABLE ... ENABLE ROW LEVEL
    SECURITY and the like, and never DROP, data or commands.

    Args:
        metadata: The MetaData that migrations read.
        sql: One or several statements. A name without a schema means the schema in which the
            database connection makes its tables, usually `public`.
        renamed_from: The name that the one object in this text has had until now.

    Raises:
        InvalidDeclaration: The text is no SQL, or holds a statement that cannot be declared.
        PasswordDeclared: It gives a role a password.
    """
    text = DeclaredText(sql, renamed_from)
    made = [d for d in parse(text.sql, text.origin, "public") if d.subject.makes is not None]
    if renamed_from is not None and len(made) != 1:
        raise InvalidDeclaration(
            f"{text.origin} says renamed_from={renamed_from!r} and makes {len(made)} objects. "
            "Declare the renamed object in a text of its own.",
            sql=concealed(sql),
        )
    texts: list[DeclaredText] = metadata.info.setdefault(_INFO_KEY, [])
    texts.append(text)


def declared_texts(metadata: MetaData) -> tuple[DeclaredText, ...]:
    """Return all texts that `declare_sql` and plugins put onto a MetaData, in order."""
    emitted = (DeclaredText(sql, emitted_by=by) for sql, by in emitted_sql(metadata).items())
    return (*metadata.info.get(_INFO_KEY, ()), *emitted)


def parse(
    sql: str, origin: str, default_schema: str, renamed_from: str | None = None
) -> Iterator[Declaration]:
    """Take a text apart into its statements.

    Args:
        sql: One or several statements.
        origin: Where they were declared, for messages.
        default_schema: The schema of names that are written without one.
        renamed_from: The former name of what they make.

    Yields:
        Each statement, in order.

    Raises:
        InvalidDeclaration: The text is no SQL, or holds a statement that cannot be declared.
        PasswordDeclared: It gives a role a password.
    """
    for statement in _parsed(sql, origin):
        node: Any = statement.stmt
        text = _slice(sql, statement)
        try:
            what = subject(node, default_schema)
        except Unsupported as reason:
            raise InvalidDeclaration(
                f"{origin} cannot be declared: it holds {reason}. The statement begins with "
                f"{first_line(text)!r}. Declare what is to be there (CREATE, COMMENT, GRANT, "
                "ALTER TABLE ... ENABLE ROW LEVEL SECURITY, ...); run everything else with "
                "op.execute() in a migration.",
                sql=concealed(text),
            ) from reason
        if isinstance(node, (ast.CreateRoleStmt, ast.AlterRoleStmt)):
            role_statements.refuse_password(node)
        # Parsed alone, so that places in the tree are places in the text.
        node = node if text == sql else parse_sql(text)[0].stmt
        yield Declaration(text, node, what, origin, renamed_from)


def _parsed(sql: str, origin: str) -> tuple[ast.RawStmt, ...]:
    try:
        return parse_sql(sql)
    except ParseError as error:
        refusal = InvalidDeclaration(_syntax_error(sql, origin, error), sql=concealed(sql))
    # Not within the handler: the parser's own message repeats what it stumbled over.
    raise refusal


def _slice(sql: str, statement: ast.RawStmt) -> str:
    start = statement.stmt_location or 0
    end = start + statement.stmt_len if statement.stmt_len else len(sql)
    return sql[start:end].strip()


def _syntax_error(sql: str, origin: str, error: ParseError) -> str:
    message = str(error.args[0])
    position = _position(sql, message, error)
    if position is None:
        return f"{origin} is not valid SQL: {_unquoted(message)}."
    line = sql.count("\n", 0, position) + 1
    column = position - (sql.rfind("\n", 0, position) + 1) + 1
    place = f"at line {line}, column {column}"
    begin = position - column + 1
    end = sql.find("\n", position)
    if is_concealed(sql, position, position + len(_near(message))):
        message = _unquoted(message)
    shown = concealed(sql, begin, len(sql) if end < 0 else end).strip()
    return f"{origin} is not valid SQL: {message}, {place}: {shown!r}."


def _unquoted(message: str) -> str:
    """Leave out what a message repeats of the text."""
    return re.sub(r'(?: at or near)? ".*"', "", message, flags=re.DOTALL)


def _near(message: str) -> str:
    found = re.search(r'at or near "(.+)"', message, re.DOTALL)
    return found[1] if found else " "


def _position(sql: str, message: str, error: ParseError) -> int | None:
    given = error.args[1] if len(error.args) > 1 else None
    if not isinstance(given, int) or given < 0:
        return None
    # The parser's place is a little too early behind letters that are not ASCII.
    found = sql.find(_near(message), given)
    return min(given if found < 0 else found, max(len(sql) - 1, 0))
