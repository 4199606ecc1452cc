"""The tables that a query names, each name read in the scope of the WITH clauses around it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

#: A schema and a name.
Path = tuple[str, str]


def named_tables(query: Any) -> list[Path]:
    """Return the tables and views that a query names; those without a schema are in public.

    A name that a WITH clause defines is a table outside of that clause's own query: PostgreSQL
    reads it so, and what is taken for a common table expression would be a lost dependency.

    Args:
        query: SQL text, or what pglast has made of it.

    Returns:
        Schema and name of each, once, sorted.
    """
    # Parsing needs pglast, which only projects with such sources pay for.
    from pglast import ast, parse_sql

    found: set[Path] = set()
    left: list[tuple[Any, frozenset[str]]] = [
        (parse_sql(query) if isinstance(query, str) else query, frozenset())
    ]
    # No recursion: a query may have a thousand branches, one inside the other.
    while left:
        node, defined = left.pop()
        if isinstance(node, tuple):
            left.extend((each, defined) for each in node)
        elif isinstance(node, ast.RangeVar):
            if node.schemaname or node.relname not in defined:
                found.add((str(node.schemaname or "public"), str(node.relname)))
        elif isinstance(node, ast.Node) and not isinstance(node, ast.LockingClause):
            # FOR UPDATE OF names what stands in FROM already, by its alias.
            clause = getattr(node, "withClause", None)
            if clause is not None:
                left.extend(_definitions(clause, defined))
                defined |= {str(each.ctename) for each in clause.ctes}
            left.extend((getattr(node, each), defined) for each in node if each != "withClause")
    return sorted(found)


def _definitions(clause: Any, defined: frozenset[str]) -> Iterator[tuple[Any, frozenset[str]]]:
    """The queries of a WITH clause, each with the names that it can use."""
    if clause.recursive:
        defined |= {str(each.ctename) for each in clause.ctes}
    for each in clause.ctes:
        yield each.ctequery, defined
        defined |= {str(each.ctename)}
