"""The origins of a pipeline's columns: by its declaration, and by the text of its query."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pgflow.declare.sources import SourceTable
from pgflow.errors import InvalidSource
from pgflow.factories.pipeline import Pipeline
from pgflow.factories.sync_target import SyncTarget
from pgflow.graph.places import is_postgres
from pgflow.graph.resolution import Origins, Outputs, Schema, outputs
from pgflow.plugins.sync_keys import PLANNER, SYSTEM_COLUMNS
from pgflow.project.reading import Readable, is_beside, place, reading, sources, text

#: Gives what is known of the tables behind a connection.
Schemas = Callable[[Any], Schema]


@dataclass(frozen=True)
class ColumnOrigins:
    """One column of a target, and what it is made of.

    Attributes:
        name: The column.
        origins: Connection, schema, table and column, each once, sorted by name.
        unknown: Why there may be more; empty if these are all.
    """

    name: str
    origins: tuple[tuple[Any, str, str, str], ...]
    unknown: str = ""


def column_origins(
    pipeline: Pipeline, target: SyncTarget, schemas: Schemas
) -> tuple[ColumnOrigins, ...]:
    """Say for the columns that a pipeline fills from its source what they are made of.

    Args:
        pipeline: The pipeline. Its function is not called.
        target: One of its targets.
        schemas: Gives the columns of the tables behind a connection.

    Returns:
        The columns in the table's order. Columns that pgflow keeps by itself are left out, and
        so are those that no source delivers.
    """
    links = {link.into: link for link in target.ctx[PLANNER].draft.links}
    resolved = list(_resolved(pipeline, schemas))
    known = reading_is_known(pipeline)
    found = []
    for name in _data_columns(target):
        if name in links:
            link = links[name]
            there = _target_place(pipeline, target)
            origin = (there, link.schema or "public", link.table, link.select)
            found.append(ColumnOrigins(name, (origin,)))
            continue
        parts = [(where, own) for where, each in resolved if (own := _of(each, name)) is not None]
        if parts or not known:
            reason = "" if known else "its function does not say literally what it returns"
            found.append(_merged(name, parts, reason))
    return tuple(found)


def reading_is_known(pipeline: Pipeline) -> bool:
    """Say whether all is known of what a pipeline reads; broken SQL is not."""
    try:
        return reading(pipeline).known
    except InvalidSource:
        return False


def _merged(name: str, parts: Iterable[tuple[Any, Origins]], reason: str) -> ColumnOrigins:
    columns: dict[tuple[Any, str, str, str], None] = {}
    for where, origins in parts:
        reason = reason or origins.unknown
        columns.update(((where, *column), None) for column in origins.columns)
    return ColumnOrigins(name, tuple(columns), reason)


def _of(found: Outputs, name: str) -> Origins | None:
    if name in found.columns:
        return found.columns[name]
    return Origins((), found.rest) if found.rest else None


def _resolved(pipeline: Pipeline, schemas: Schemas) -> Iterator[tuple[Any, Outputs]]:
    """What each source of a pipeline delivers, with its connection."""
    queries, _ = sources(pipeline)
    for source, _ in queries:
        where = place(pipeline, source)
        yield where, _outputs(pipeline, source, schemas(where))
    if pipeline.spec.source is not None and not queries:
        yield None, Outputs({}, "rows and files name no columns of tables")


def _outputs(pipeline: Pipeline, source: Readable, schema: Schema) -> Outputs:
    if isinstance(source, SourceTable):
        return _renamed(pipeline, source, schema)
    if not is_beside(pipeline, source) and not is_postgres(place(pipeline, source)):
        # The grammar and rules of another kind of database are others.
        return Outputs({}, "its query runs in a database that is not known to be PostgreSQL")
    try:
        return outputs(text(pipeline, source), schema)
    except InvalidSource:
        return Outputs({}, "its SQL cannot be read")


def _renamed(pipeline: Pipeline, source: SourceTable, schema: Schema) -> Outputs:
    """A table delivers the columns of the same names, or of those that `column_map=` says."""
    path = source.path
    known = schema.get(path)
    found = {}
    for target in pipeline.sync_targets:
        for column in target.target_table.columns:
            origin = source.source_column(column.name)
            if known is None or origin in known:
                found[column.name] = Origins(((*path, origin),))
    return Outputs(found)


def _data_columns(target: SyncTarget) -> Iterator[str]:
    own = set(target.ctx[SYSTEM_COLUMNS].names)
    for column in target.target_table.columns:
        if column.name not in own and column.computed is None:
            yield column.name


def _target_place(pipeline: Pipeline, target: SyncTarget) -> Any:
    own = (target.sync_target.target_connection, pipeline.spec.target_connection)
    return next((each for each in own if each is not None), "default")
