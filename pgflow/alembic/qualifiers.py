"""Where SQL text names a schema, by the server's own scanner and parser."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from pglast import parse_sql
from pglast.parser import Token
from pglast.visitors import Visitor

_DOLLAR = re.compile(r"\$[^$]*\$")


class _Aliases(Visitor):
    """Collects where `a.b` is an alias or a column with a part of it, and no schema."""

    def __init__(self) -> None:
        super().__init__()
        self.places: set[int] = set()

    def visit_ColumnRef(self, _ancestors: Any, node: Any) -> None:  # noqa: N802  # pglast's name
        if len(node.fields) == 2:
            self.places.add(node.location or 0)

    def visit_ResTarget(self, _ancestors: Any, node: Any) -> None:  # noqa: N802  # pglast's name
        if node.indirection:
            self.places.add(node.location or 0)


def aliases_in(statements: Sequence[Any]) -> frozenset[int]:
    """Find where `a.b` is a column of an alias, or a part of a column, and `a` no schema.

    Args:
        statements: Parsed statements of one text.

    Returns:
        The positions of `a` in the text.
    """
    visitor = _Aliases()
    for statement in statements:
        visitor(statement)
    return frozenset(visitor.places)


def qualifiers(tokens: Sequence[Token], sql: str, aliases: frozenset[int]) -> Iterator[int]:
    """Give the tokens that name a schema: before a dot, or after the word SCHEMA.

    Args:
        tokens: The text's tokens, comments left out.
        sql: The text.
        aliases: Positions of names before a dot that are no schemas.

    Yields:
        Places in `tokens`.
    """
    listing = False
    for at, token in enumerate(tokens):
        before = tokens[at - 1].name if at else ""
        after = tokens[at + 1].name if at + 1 < len(tokens) else ""
        if token.name == "SCHEMA":
            listing = True
        elif listing and token.name in ("IF_P", "NOT", "EXISTS", "ASCII_44"):
            continue
        elif listing and before != "IDENT" and _isname(token) and sql[token.start] != ".":
            yield at
            listing = after == "ASCII_44"
        else:
            listing = False
            if (
                after == "ASCII_46"
                and before != "ASCII_46"
                and _isname(token)
                and token.start not in aliases
            ):
                yield at


def _isname(token: Token) -> bool:
    return token.name == "IDENT" or token.kind in ("UNRESERVED_KEYWORD", "COL_NAME_KEYWORD")


def name(written: str) -> str:
    """Return the name that an identifier in SQL text stands for.

    Args:
        written: The identifier, with or without double quotes.
    """
    if written.startswith('"'):
        return written[1:-1].replace('""', '"')
    return written.lower()


def unquoted(written: str) -> str:
    """Return what a string constant stands for.

    Args:
        written: The constant as it stands in SQL text, quotes included.
    """
    if tag := _DOLLAR.match(written):
        return written[tag.end() : -tag.end()]
    select: Any = parse_sql(f"SELECT {written}")[0].stmt
    return str(select.targetList[0].val.val.sval)
