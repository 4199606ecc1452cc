"""Views that a project declares: whoever reads one reads the tables below it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import MetaData
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from pgflow.project.named_tables import named_tables
from pgflow.project.reading import Relation

#: A schema and a name.
Path = tuple[str | None, str]

#: What a MetaData holds if views can be among it: those who declare it have imported the rest.
_BY_SQL, _BY_OBJECT = "pgflow_declared_sql", "views"


def declared_views(metadatas: Iterable[MetaData]) -> Mapping[Path, tuple[Path, ...]]:
    """Say what the declared views read, materialized ones too.

    Args:
        metadatas: The MetaData on which they are declared.

    Returns:
        For each view the tables and views in its query. What cannot be parsed is left out; a
        migration says why.
    """
    return {view: tuple(named_tables(query)) for view, query, _ in definitions(metadatas)}


def definitions(metadatas: Iterable[MetaData]) -> Iterator[tuple[Path, Any, tuple[str, ...]]]:
    """Give the declared views, materialized ones too.

    Args:
        metadatas: The MetaData on which they are declared.

    Yields:
        Each view, its query as pglast reads it, and the names that are given to its columns.
    """
    for metadata in metadatas:
        for text in _texts(metadata):
            yield from _views(text)


def below(relation: Relation, views: Mapping[Path, tuple[Path, ...]]) -> Iterator[Relation]:
    """Give a table or view, and everything that it shows.

    Args:
        relation: The table or view.
        views: What `declared_views` returned.
    """
    connection, schema, name = relation
    left: list[Path] = [(schema, name)]
    seen: set[Path] = set()
    while left:
        each = left.pop()
        if each not in seen:
            seen.add(each)
            yield (connection, *each)
            left.extend(views.get(each, ()))


def _texts(metadata: MetaData) -> Iterator[str]:
    if metadata.info.get(_BY_SQL):
        from pgflow.alembic.declared.statements import declared_texts

        yield from (each.sql for each in declared_texts(metadata))
    if metadata.info.get(_BY_OBJECT):
        from pgflow.alembic.declared.views import view_sql

        dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]  # untyped upstream
        for view in metadata.info[_BY_OBJECT]:
            yield from view_sql(view, metadata, dialect)


def _views(text: str) -> Iterator[tuple[Path, Any, tuple[str, ...]]]:
    if "view" not in text.lower():
        return
    from pglast import ast, parse_sql
    from pglast.enums import ObjectType
    from pglast.parser import ParseError

    try:
        statements: Any = parse_sql(text)
    except ParseError:
        return
    for statement in statements:
        node: Any = statement.stmt
        made: Any
        names: Any
        if isinstance(node, ast.ViewStmt):
            made, names = node.view, node.aliases
        elif isinstance(node, ast.CreateTableAsStmt) and node.objtype == ObjectType.OBJECT_MATVIEW:
            into: Any = node.into
            made, names = into.rel, into.colNames
        else:
            continue
        given = tuple(str(each.sval) for each in names or ())
        yield (made.schemaname or "public", made.relname), node.query, given
