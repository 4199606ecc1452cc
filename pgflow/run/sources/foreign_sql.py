"""A query in another database's own SQL: its placeholders, its end, and a part of its rows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.elements import TextClause

from pgflow.declare.sources import Query, SourceTable
from pgflow.errors import InvalidSource

#: What a wrapped query is called; without AS, which Oracle does not take before it.
WRAPPED = "pgflow_source"

_PLAIN = r"--[^\n]*|/\*.*?(?:\*/|\Z)|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|\[[^\]\n]*\]"
_QUOTED = r"'(?:[^']|'')*'"
#: MySQL takes a backslash in text for an escape, and `#` for a comment.
_MYSQL = r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|#[^\n]*"
_COLON = re.compile(r"(?<![:\w\\]):([A-Za-z_]\w*)(?!:)")


def executable(
    given: Any, values: Mapping[str, object], dialect: Dialect, owner: str
) -> ClauseElement:
    """Turn a query as it was given into what SQLAlchemy executes.

    Args:
        given: SQL text, a `Query`, or a SQLAlchemy construct.
        values: The run parameters, which text may use as `:name`.
        dialect: The database's.
        owner: Whose query it is, for messages.

    Returns:
        The construct; nothing in the text but the placeholders means anything to SQLAlchemy.

    Raises:
        InvalidSource: The text is empty, or a value has no placeholder.
    """
    if isinstance(given, str):
        return _text(given, values, dialect, owner)[0]
    if isinstance(given, Query) and isinstance(given.sql, str):
        made, used = _text(given.sql, given.params, dialect, owner)
        unused = [name for name in given.params if name not in used]
        if unused:
            raise InvalidSource(
                f"{owner}: no placeholder :{unused[0]} stands in its SQL; remove it from params, "
                "or write it into the query."
            )
        return made
    if isinstance(given, Query):
        clause: Any = given.sql
        bound: ClauseElement = clause.params(**given.params) if given.params else clause
        return bound
    if isinstance(given, SourceTable) or not isinstance(given, ClauseElement):
        raise TypeError(f"{given!r} is no query")  # tables are read by their columns
    return given


def part(
    query: ClauseElement, dialect: Dialect, condition: tuple[str, object, Any, bool] | None
) -> ClauseElement:
    """Read a part of a query's rows.

    Args:
        query: The query.
        dialect: The database's.
        condition: A column, the value from which on it is read, that value's SQLAlchemy type or
            None, and whether NULLs are read too. None: no row at all, which tells the columns.

    Returns:
        The query, wrapped.
    """
    if isinstance(query, TextClause):
        return _part_of_text(query, dialect, condition)
    inner: Any = query
    wrapped = inner.subquery(WRAPPED)
    made = sa.select(wrapped)
    if condition is None:
        return made.where(sa.literal_column("1") == sa.literal_column("0"))
    name, value, kind, nulls = condition
    column = next(c for c in wrapped.columns if c.name == name)
    start = column >= sa.bindparam("pgflow_since", value, type_=kind)
    return made.where(sa.or_(start, column.is_(None)) if nulls else start)


def _part_of_text(
    query: TextClause, dialect: Dialect, condition: tuple[str, object, Any, bool] | None
) -> TextClause:
    head = f"SELECT * FROM (\n{query.text}\n) {WRAPPED} WHERE "  # noqa: S608  # the user's query
    known = list(query._bindparams.values())
    if condition is None:
        return sa.text(f"{head}1 = 0").bindparams(*known)
    name, value, kind, nulls = condition
    column = dialect.identifier_preparer.quote(name).replace(":", "\\:")
    rest = f" OR {column} IS NULL" if nulls else ""
    made = sa.text(f"{head}{column} >= :pgflow_since{rest}")
    return made.bindparams(*known, sa.bindparam("pgflow_since", value, type_=kind))


def _text(
    text: str, values: Mapping[str, object], dialect: Dialect, owner: str
) -> tuple[TextClause, set[str]]:
    """Bind the placeholders that have a value; escape every other colon."""
    pieces: list[str] = []
    used: set[str] = set()
    at = end = 0
    for skipped in _skipped(dialect).finditer(text):
        piece = text[at : skipped.start()]
        pieces.append(_bound(piece, values, used))
        end = _significant(pieces, end)
        quoted = skipped.group()
        pieces.append(quoted.replace(":", "\\:"))
        if quoted[:2] not in ("--", "/*") and quoted[0] != "#":
            end = len("".join(pieces))
        at = skipped.end()
    pieces.append(_bound(text[at:], values, used))
    end = _significant(pieces, end)
    made = "".join(pieces)[:end].rstrip().rstrip(";").rstrip()
    if not made:
        raise InvalidSource(f"{owner}: its SQL is empty.")
    return sa.text(made).bindparams(**{name: values[name] for name in used}), used


def _significant(pieces: list[str], end: int) -> int:
    """Where the text ends that is neither blank nor a semicolon nor a comment."""
    whole = len("".join(pieces))
    last = pieces[-1].rstrip().rstrip("; \t\r\n")
    return whole - len(pieces[-1]) + len(last) if last else end


def _bound(piece: str, values: Mapping[str, object], used: set[str]) -> str:
    made: list[str] = []
    at = 0
    for found in _COLON.finditer(piece):
        if found.group(1) not in values:
            continue
        used.add(found.group(1))
        made += [piece[at : found.start()].replace(":", "\\:"), found.group()]
        at = found.end()
    return "".join([*made, piece[at:].replace(":", "\\:")])


def _skipped(dialect: Dialect) -> re.Pattern[str]:
    """What is no code: quoted text and names, and comments."""
    quoted = _MYSQL if dialect.name in ("mysql", "mariadb") else _QUOTED
    return re.compile(f"{quoted}|{_PLAIN}", re.DOTALL)
