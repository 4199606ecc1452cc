"""What a pipeline's declaration says of its two ends: the source, and who connects to which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.sql import ClauseElement

from pgflow.connections.registry import check_connectable
from pgflow.declare.options import nearest
from pgflow.declare.pipeline import PipelineSpec
from pgflow.declare.rows import Rows, RowSource
from pgflow.declare.sources import Query, Source, SourceTable, check_text
from pgflow.errors import DeclarationError, InvalidOption
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
        InvalidSource: The text is a table's name or a file's path.
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
    if isinstance(source, (str, ClauseElement)):
        return Query(source)  # type: ignore[arg-type]  # it refuses clauses that are no query
    return Rows(source)


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


def of_source(given: Any, both: Any, target: Any) -> Any:
    """Return the source's connection where it is not the targets'.

    Args:
        given: What `source_connection=` says.
        both: What `connection=` says, which alone says one place.
        target: What `target_connection=` says.
    """
    return both if given is None and target is not None else given
