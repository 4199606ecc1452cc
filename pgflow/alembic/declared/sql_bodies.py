"""Bodies of SQL functions that are strings, which the server may read long before they run.

It puts a function into the index or check that calls it, and then reads what is in its body.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pglast import ast, parse_sql
from pglast.parser import ParseError, Token

from pgflow.alembic.declared.nodes import Occurrences, occurrences


class SqlBody(NamedTuple):
    """The body of a declared function.

    Attributes:
        start: Where its string begins in the statement.
        end: Behind its end.
        text: What is in the string.
        places: What the parser knows about it.
    """

    start: int
    end: int
    text: str
    places: Occurrences


def sql_body(node: Any, sql: str, tokens: Sequence[Token]) -> SqlBody | None:
    """Find the body of a function in SQL; None for other statements, languages and forms."""
    if not isinstance(node, ast.CreateFunctionStmt):
        return None
    options = {option.defname: option.arg for option in node.options or ()}
    parts = options.get("as")
    if _text(options.get("language")).lower() != "sql" or not isinstance(parts, tuple):
        return None
    text = _text(parts[0])
    for token in tokens:
        if token.name == "SCONST" and _content(sql[token.start : token.end + 1]) == text:
            try:
                statements = parse_sql(text)
            except ParseError:
                return None
            return SqlBody(token.start, token.end + 1, text, occurrences(statements))
    return None


def _text(given: Any) -> str:
    return given.sval or "" if isinstance(given, ast.String) else ""


def _content(written: str) -> str | None:
    if written.startswith("$"):
        tag = written[: written.index("$", 1) + 1]
        return written[len(tag) : -len(tag)]
    return written[1:-1].replace("''", "'") if written.startswith("'") else None
