"""The order of pipelines: whoever reads a table comes after those that write it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pgflow.declare.rows import RowSource
from pgflow.declare.sources import Query, SourceTable
from pgflow.errors import DeclarationError, InvalidSource, PipelineCycle
from pgflow.factories.pipeline import Pipeline
from pgflow.plan.query import from_clause, from_text
from pgflow.plugins.sync_keys import PLANNER
from pgflow.project.contents import path

#: A connection as declared, a schema and a table.
Relation = tuple[Any, str | None, str]


def ordered(pipelines: Iterable[Pipeline]) -> tuple[Pipeline, ...]:
    """Order pipelines so that each comes after those whose targets its source reads.

    What a source reads is taken from `source=` and `source_table=`. A pipeline whose function
    makes the SQL is not called, because functions may have side effects: it keeps its place in
    the order of declaration. Names without a schema are taken to be in `public`. The dimensions
    that a pipeline's lookups read count in any case.

    Args:
        pipelines: In the order of declaration.

    Returns:
        The same pipelines.

    Raises:
        PipelineCycle: Pipelines read what the others write.
        InvalidSource: A source's SQL cannot be read.
    """
    given = tuple(pipelines)
    writers: dict[Relation, list[Pipeline]] = {}
    for pipeline in given:
        for relation in writes(pipeline):
            writers.setdefault(relation, []).append(pipeline)
    done: dict[str, Pipeline] = {}
    for pipeline in given:
        _visit(pipeline, writers, done, [])
    return tuple(done.values())


def _visit(
    pipeline: Pipeline,
    writers: dict[Relation, list[Pipeline]],
    done: dict[str, Pipeline],
    chain: list[str],
) -> None:
    """Add a pipeline after those that it depends on."""
    if pipeline.name in done:
        return
    if pipeline.name in chain:
        raise _cycle([*chain[chain.index(pipeline.name) :], pipeline.name])
    for relation in (*reads(pipeline), *looks_up(pipeline)):
        for writer in writers.get(relation, ()):
            if writer is not pipeline:
                _visit(writer, writers, done, [*chain, pipeline.name])
    done[pipeline.name] = pipeline


def writes(pipeline: Pipeline) -> tuple[Relation, ...]:
    """Return the targets of a pipeline."""
    targets = zip(_connections(pipeline), pipeline.spec.targets, strict=True)
    return tuple((connection, *path(target.table)) for connection, target in targets)


def reads(pipeline: Pipeline) -> tuple[Relation, ...]:
    """Return the tables that a pipeline's declared source names, none if its function says it."""
    spec = pipeline.spec
    if spec.source is None or isinstance(spec.source, RowSource):
        return ()
    given = _first(spec.source_connection, spec.source.connection)
    connections = _connections(pipeline) if given is None else [given]
    try:
        found = _relations(spec.source, spec.name)
    except InvalidSource:
        if given is None:
            raise
        return ()  # another kind of database has another grammar, and no target is there
    return tuple((connection, *relation) for connection in connections for relation in found)


def looks_up(pipeline: Pipeline) -> tuple[Relation, ...]:
    """Return the dimensions of a pipeline's lookups, which are beside its targets."""
    targets = zip(_connections(pipeline), pipeline.sync_targets, strict=True)
    return tuple(
        (connection, link.schema, link.table)
        for connection, target in targets
        for link in target.ctx[PLANNER].draft.links
    )


def _relations(source: Query | SourceTable, owner: str) -> list[tuple[str, str]]:
    if isinstance(source, SourceTable):
        return [source.path]
    if isinstance(source.sql, str):
        text = from_text(source.sql, source.params, owner).render()[0]
    else:
        text = from_clause(source.sql, owner).render()[0]
    # Parsing needs pglast, which only projects with such sources pay for.
    from pglast.visitors import referenced_relations

    names = sorted(referenced_relations(text))
    return [_path(name) for name in names]


def _path(name: str) -> tuple[str, str]:
    """Take a qualified name apart, as pglast writes it."""
    try:
        return SourceTable(name).path
    except DeclarationError:
        return SourceTable(f"public.{name}").path


def _connections(pipeline: Pipeline) -> list[Any]:
    """The connection of each target, as it was declared: two names of one database are two."""
    spec = pipeline.spec
    return [
        _first(target.target_connection, spec.target_connection, "default")
        for target in spec.targets
    ]


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _cycle(chain: list[str]) -> PipelineCycle:
    spoken = " reads from ".join(repr(name) for name in chain)
    return PipelineCycle(
        f"these pipelines wait for each other: {spoken}. Sync them by name in the order that is "
        "right, or let one of them read something else.",
        chain=tuple(chain),
    )
