"""What pipelines read and write, as far as their declarations and their functions' texts tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import ForeignKey
from sqlalchemy.exc import NoReferenceError
from sqlalchemy.sql import ClauseElement

from pgflow.declare.rows import FileSource
from pgflow.declare.sources import Query, SourceTable
from pgflow.errors import InvalidSource
from pgflow.factories.pipeline import Pipeline
from pgflow.plan.query import from_clause, from_text, from_text_and_parameters
from pgflow.plugins.sync_keys import PLANNER
from pgflow.project.contents import path
from pgflow.project.literal_files import NO_FILES, Files, files_of
from pgflow.project.literal_sql import asks, returned
from pgflow.project.named_tables import named_tables

#: A connection as declared, a schema and a table.
Relation = tuple[Any, str | None, str]

#: Sources whose text names tables.
Readable = str | Query | SourceTable | ClauseElement


@dataclass(frozen=True)
class Reading:
    """What a pipeline reads.

    Attributes:
        relations: The tables that its source names, each once.
        known: Whether its source can name no other. What views and functions of a database read
            is never known.
        connections: The connections that it takes for reading, as declared, each once.
        asks: Whether its function uses a connection, the run's or one that it opens by itself:
            what it reads by it is not known.
        files: The files that it reads, as they are declared or returned.
    """

    relations: tuple[Relation, ...]
    known: bool
    connections: tuple[Any, ...]
    asks: bool = False
    files: Files = NO_FILES

    @property
    def complete(self) -> bool:
        """Whether the pipeline reads the tables that are known, and surely no others."""
        return self.known and not self.asks


_known: WeakKeyDictionary[Pipeline, Reading] = WeakKeyDictionary()


def reading(pipeline: Pipeline) -> Reading:
    """Say what a pipeline reads: by its `source=`, and by the text of its function.

    Args:
        pipeline: The pipeline. Its function is not called. What was found once is kept.

    Raises:
        InvalidSource: A declared source's SQL cannot be read.
    """
    found = _known.get(pipeline)
    if found is None:
        found = _known[pipeline] = _read(pipeline)
    return found


def sources(pipeline: Pipeline) -> tuple[list[tuple[Readable, bool]], bool]:
    """Return what a pipeline may read, each with whether it is declared, and whether that is all.

    Args:
        pipeline: The pipeline. Its function is not called.
    """
    spec = pipeline.spec
    told = None if spec.body is None else returned(spec.body.function)
    found: list[tuple[Readable, bool]] = []
    if told is not None:
        found = [(source, False) for source in told.sources]
    if (told is None or told.may_be_none) and isinstance(spec.source, (Query, SourceTable)):
        found.append((spec.source, True))
    return found, told is None or told.known


def returns_rows(pipeline: Pipeline) -> bool:
    """Say whether a pipeline's function makes rows by itself, as far as its text tells."""
    body = pipeline.spec.body
    return body is not None and returned(body.function).rows is not None


def _read(pipeline: Pipeline) -> Reading:
    relations: dict[Relation, None] = {}
    connections: dict[Any, None] = {}
    found, known = sources(pipeline)
    for source, declared in found:
        connection = place(pipeline, source)
        connections[connection] = None
        try:
            relations.update(((connection, *r), None) for r in _relations(pipeline, source))
        except InvalidSource:
            if is_beside(pipeline, source) and declared:
                raise
            # Another kind of database has another grammar, and no target is there. Text of a
            # function is refused when the function returns it.
            known = known and not is_beside(pipeline, source)
    body = pipeline.spec.body
    asking = body is not None and asks(body.function, body.connections)
    if asking:
        connections[_first(*_ends(pipeline))] = None
    return Reading(tuple(relations), known, tuple(connections), asking, _files(pipeline))


def _files(pipeline: Pipeline) -> Files:
    source, body = pipeline.spec.source, pipeline.spec.body
    told = None if body is None else returned(body.function)
    found = [] if told is None else [told.files]
    if isinstance(source, FileSource) and (told is None or told.may_be_none):
        found.append(files_of(source))
    return Files.all(found)


def reads(pipeline: Pipeline) -> tuple[Relation, ...]:
    """Return the tables that a pipeline's source names, as far as that is known."""
    return reading(pipeline).relations


def writes(pipeline: Pipeline) -> tuple[Relation, ...]:
    """Return the targets of a pipeline."""
    targets = zip(_connections(pipeline), pipeline.spec.targets, strict=True)
    return tuple((connection, *path(target.table)) for connection, target in targets)


def looks_up(pipeline: Pipeline) -> tuple[Relation, ...]:
    """Return the dimensions of a pipeline's lookups, which are beside its targets."""
    targets = zip(_connections(pipeline), pipeline.sync_targets, strict=True)
    return tuple(
        (connection, link.schema, link.table)
        for connection, target in targets
        for link in target.ctx[PLANNER].draft.links
    )


def refers_to(pipeline: Pipeline) -> tuple[Relation, ...]:
    """Return the tables that foreign keys of a pipeline's targets lead to."""
    return tuple(dict.fromkeys(_foreign(pipeline)))


def _foreign(pipeline: Pipeline) -> Iterator[Relation]:
    for connection, target in zip(_connections(pipeline), pipeline.sync_targets, strict=True):
        for key in target.target_table.foreign_keys:
            yield (connection, *_referred(key))


def _referred(key: ForeignKey) -> tuple[str | None, str]:
    """Return schema and name of the table that a foreign key leads to."""
    try:
        table: Any = key.column.table
    except NoReferenceError:  # it is declared elsewhere, and only its text is known
        schema, _, name = key.target_fullname.rpartition(".")[0].rpartition(".")
        return schema or None, name
    return table.schema, table.name


def _relations(pipeline: Pipeline, source: Readable) -> list[tuple[str, str]]:
    if isinstance(source, SourceTable):
        return [source.path]
    return named_tables(text(pipeline, source))


def text(pipeline: Pipeline, source: str | Query | ClauseElement) -> str:
    """Return the SQL that the server would see, without the values."""
    owner, spec = pipeline.name, pipeline.spec
    if isinstance(source, str):
        parameters = spec.body.parameters if spec.body else ()
        values = dict.fromkeys(p.name for p in parameters)
        return from_text_and_parameters(source, values, owner).render()[0]
    if isinstance(source, Query):
        if isinstance(source.sql, str):
            return from_text(source.sql, source.params, owner).render()[0]
        source = source.sql
    return from_clause(source, owner).render()[0]


def place(pipeline: Pipeline, source: Readable) -> Any:
    """Return the connection that a source is read on, as it was declared."""
    own = source.connection if isinstance(source, (Query, SourceTable)) else None
    return _first(own, *_ends(pipeline))


def _ends(pipeline: Pipeline) -> tuple[Any, ...]:
    return pipeline.spec.source_connection, pipeline.spec.target_connection, "default"


def is_beside(pipeline: Pipeline, source: Readable) -> bool:
    """Say whether a source is on a connection of the targets, and so surely PostgreSQL."""
    return place(pipeline, source) in _connections(pipeline)


def _connections(pipeline: Pipeline) -> list[Any]:
    """The connection of each target, as it was declared: two names of one database are two."""
    spec = pipeline.spec
    return [
        _first(target.target_connection, spec.target_connection, "default")
        for target in spec.targets
    ]


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)
