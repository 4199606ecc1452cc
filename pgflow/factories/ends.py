"""What a pipeline's declaration says of its two ends: the source, and who connects to which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Table
from sqlalchemy.sql import ClauseElement

from pgflow import idents
from pgflow.connections.registry import check_connectable
from pgflow.declare.options import nearest
from pgflow.declare.pipeline import PipelineSpec
from pgflow.declare.rows import Rows, RowSource
from pgflow.declare.sources import Query, Source, SourceTable, check_text
from pgflow.declare.targets import Target
from pgflow.errors import DeclarationError, InvalidOption, InvalidSource
from pgflow.factories.simple import TableFactory


def source_of(
    source: Any, source_table: str | None, column_map: Mapping[str, str] | None, owner: str
) -> Source | None:
    """Return what is given as a pipeline's source, in one of the forms that can be read.

    Args:
        source: What `source=` says.
        source_table: What `source_table=` says.
        column_map: Target column to source column, with `source_table`.
        owner: The pipeline, for messages.

    Raises:
        InvalidOption: Two of them contradict each other.
        InvalidSource: The text is a table's name or a file's path, or it is a table's object.
    """
    if source is not None and source_table is not None:
        raise InvalidOption(f"{owner}: give source= or source_table=, not both.")
    if column_map is not None and source_table is None:
        raise InvalidOption(f"{owner}: column_map= goes with source_table=, which is not given.")
    if source_table is not None:
        return SourceTable(source_table, column_map or {})
    if source is None or isinstance(source, (Query, SourceTable, RowSource)):
        return source
    if isinstance(source, str):
        check_text(source, owner)
    own = source.table if isinstance(source, TableFactory) else source
    own = getattr(own, "__table__", own)
    if isinstance(own, Table):
        label = idents.qualify(own.schema or "public", own.name)
        raise InvalidSource(
            f"{owner}: source= is the table {label} itself. Give source_table={label!r}, which "
            "takes column_map= as well, or a select() of what is wanted of it."
        )
    if isinstance(source, (str, ClauseElement)):
        return Query(source)  # type: ignore[arg-type]  # it refuses clauses that are no query
    return Rows(source)


def factory_of(target: Target, owner: str) -> TableFactory:
    """Return the factory of a target's table.

    Args:
        target: The target.
        owner: The pipeline, for the message.

    Raises:
        DeclarationError: It is no table.
    """
    given = target.table
    is_class = isinstance(given, type) and "__factory__" not in vars(given)
    if is_class or not isinstance(given, (type, TableFactory, Table)):
        raise DeclarationError(
            f"{owner}: its target {given!r} is no table. Give a class under @pgflow.table, or a "
            "table factory."
        )
    return TableFactory.of(given)


def check_column_map(spec: PipelineSpec, owner: str) -> None:
    """Refuse renames of columns that no target has.

    Args:
        spec: The pipeline.
        owner: Its name, for the message.

    Raises:
        DeclarationError: There is such a rename.
    """
    if not isinstance(spec.source, SourceTable):
        return
    for target in spec.targets:
        factory = TableFactory.of(target.table)
        columns = list(factory.table.columns.keys())
        for column in spec.source.column_map:
            if column not in columns:
                raise DeclarationError(
                    f"{owner}: column_map= names {column!r}, which is no column of "
                    f"{factory.spec.label}.{nearest(column, columns)}"
                )


def check_connections(spec: PipelineSpec, owner: str) -> None:
    """Refuse what could never lead to a database, while the pipeline is declared.

    Args:
        spec: The pipeline.
        owner: Its name, for the message.

    Raises:
        NotAConnection: A connection is no name, no URL and no engine.
    """
    check_connectable(spec.target_connection, owner)
    check_connectable(spec.source_connection, f"{owner}: source_connection=")
    check_connectable(
        getattr(spec.source, "connection", None), f"{owner}: its source's connection="
    )
    for target in spec.targets:
        check_connectable(target.target_connection, f"{owner}: target_connection=")


def check_targets(spec: PipelineSpec, owner: str) -> None:
    """Refuse a table that is listed twice: the second target would only do again what was done.

    It may be, on several connections, or with a scope each.

    Args:
        spec: The pipeline.
        owner: Its name, for the message.

    Raises:
        InvalidOption: Two targets are the same part of one table on one connection.
    """
    seen: set[tuple[int, str, str]] = set()
    for target in spec.targets:
        factory = TableFactory.of(target.table)
        given = target.target_connection
        where = spec.target_connection if given is None else given
        place = "default" if where is None else str(where)
        part = (id(factory.table), place, str(target.options.scope))
        if part in seen:
            raise InvalidOption(
                f"{owner}: targets= lists {factory.spec.label} twice on one connection, and the "
                "second would only do again what the first has done. List it once, or give each a "
                "scope=, or a target_connection=, of its own."
            )
        seen.add(part)


def of_source(given: Any, both: Any, target: Any) -> Any:
    """Return the source's connection where it is not the targets'.

    Args:
        given: What `source_connection=` says.
        both: What `connection=` says, which alone says one place.
        target: What `target_connection=` says.
    """
    return both if given is None and target is not None else given
