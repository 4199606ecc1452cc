"""Pipelines as events of OpenLineage, the specification that catalogues of lineage read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import CompileError

from pgflow.declare.rows import FileSource
from pgflow.declare.sources import SourceTable
from pgflow.errors import InvalidSource
from pgflow.factories.pipeline import Pipeline
from pgflow.graph.columns import column_origins
from pgflow.graph.datasets import Dataset, Datasets
from pgflow.graph.elements import PIPELINES, Builder
from pgflow.graph.relations import Relations
from pgflow.graph.resolution import require_sqlglot
from pgflow.graph.tables import chosen_pipelines
from pgflow.project.project import Project
from pgflow.project.reading import Relation, looks_up, reading, sources, text, writes

_SPEC = "https://openlineage.io/spec"

#: Where the specification describes events; the kind of event comes after it.
EVENTS = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/"
_FACETS = {
    "columnLineage": "1-2-0/ColumnLineageDatasetFacet",
    "documentation": "1-1-0/DocumentationDatasetFacet",
    "schema": "1-2-0/SchemaDatasetFacet",
}
_JOB_FACETS = {
    "documentation": "1-1-0/DocumentationJobFacet",
    "jobType": "2-0-4/JobTypeJobFacet",
    "sql": "1-1-0/SQLJobFacet",
}


def job_events(
    project: Project,
    names: Iterable[str] | None = None,
    exclude: Iterable[str] = (),
    *,
    columns: bool = False,
    namespace: str = "pgflow",
    at: datetime | None = None,
) -> Iterator[str]:
    """Describe pipelines as JobEvents of OpenLineage: what they are, not one of their runs.

    No database is asked, and no function of a pipeline is called. Values of parameters and
    passwords are never part of it.

    Args:
        project: The project.
        names: Words that choose pipelines, as for `Project.select`; by default all.
        exclude: Words for pipelines that are left out.
        columns: Whether the origins of columns are part of it; those of which not all is known
            are left out.
        namespace: Whose jobs the pipelines are.
        at: The instant of the events, timezone-aware; by default now.

    Yields:
        One JSON object without line ends for each pipeline.

    Raises:
        UnknownPipeline: A word fits nothing.
        UnknownConnection: A connection is nowhere said, so that nobody knows the host.
        MissingExtra: Columns are asked for, and sqlglot is not installed.
    """
    if columns:
        require_sqlglot()
    writer = JobWriter(project, namespace, at or datetime.now(UTC), columns=columns)
    for pipeline in chosen_pipelines(project, names, tuple(exclude)):
        yield json.dumps(writer.event(pipeline), ensure_ascii=False)


class JobWriter:
    """Writes the events of one project.

    Args:
        project: The project.
        namespace: Whose jobs the pipelines are.
        at: The instant of the events.
        columns: Whether the origins of columns are part of it.
    """

    def __init__(self, project: Project, namespace: str, at: datetime, *, columns: bool) -> None:
        self._relations = Relations(project, Builder(PIPELINES))
        self._datasets = Datasets()
        self._namespace = namespace
        self._at = at
        self._columns = columns

    def event(self, pipeline: Pipeline) -> dict[str, Any]:
        """Describe one pipeline."""
        job = {
            "namespace": self._namespace,
            "name": pipeline.name,
            "facets": _job_facets(pipeline),
        }
        return {
            "eventTime": instant(self._at),
            "producer": producer(),
            "schemaURL": f"{EVENTS}JobEvent",
            "job": job,
            "inputs": self._inputs(pipeline),
            "outputs": self._outputs(pipeline),
        }

    def _inputs(self, pipeline: Pipeline) -> list[dict[str, Any]]:
        relations = dict.fromkeys((*_reads(pipeline), *looks_up(pipeline)))
        found = [self._described(each) for each in relations]
        if isinstance(pipeline.spec.source, FileSource):
            files = self._datasets.files(pipeline.spec.source)
            found += [{"namespace": each.namespace, "name": each.name} for each in files]
        return found

    def _outputs(self, pipeline: Pipeline) -> list[dict[str, Any]]:
        found = []
        for relation, target in zip(writes(pipeline), pipeline.sync_targets, strict=True):
            dataset = self._described(relation, target.target_table)
            if self._columns:
                fields = {
                    each.name: {"inputFields": [self._field(*origin) for origin in each.origins]}
                    for each in column_origins(pipeline, target, self._relations.schema)
                    if not each.unknown
                }
                lineage = facet(_FACETS["columnLineage"], fields=fields)
                dataset["facets"] |= {"columnLineage": lineage} if fields else {}
            found.append(dataset)
        return found

    def _described(self, relation: Relation, declared: Table | None = None) -> dict[str, Any]:
        """A table with its columns, where the project declares them."""
        where, schema, name = relation
        own = (schema or "public", name)
        if declared is None and own in self._relations.schema(where):
            declared = self._relations.tables[own]
        facets = {} if declared is None else _table_facets(declared)
        dataset = self._dataset(relation)
        return {"namespace": dataset.namespace, "name": dataset.name, "facets": facets}

    def _field(self, where: Any, schema: str, name: str, column: str) -> dict[str, str]:
        dataset = self._dataset((where, schema, name))
        return {"namespace": dataset.namespace, "name": dataset.name, "field": column}

    def _dataset(self, relation: Relation) -> Dataset:
        return self._datasets.table(relation)


def producer() -> str:
    """Return the URI that says that pgflow, and which version of it, wrote an event."""
    try:
        return f"urn:pgflow:{version('pgflow')}"
    except PackageNotFoundError:
        return "urn:pgflow:source"


def _reads(pipeline: Pipeline) -> tuple[Relation, ...]:
    try:
        return reading(pipeline).relations
    except InvalidSource:  # its run says why
        return ()


def _job_facets(pipeline: Pipeline) -> dict[str, Any]:
    kind = {"processingType": "BATCH", "integration": "PGFLOW", "jobType": "PIPELINE"}
    facets = {"jobType": facet(_JOB_FACETS["jobType"], **kind)}
    if pipeline.doc:
        facets["documentation"] = facet(_JOB_FACETS["documentation"], description=pipeline.doc)
    query = _query(pipeline)
    if query:
        facets["sql"] = facet(_JOB_FACETS["sql"], query=query)
    return facets


def _query(pipeline: Pipeline) -> str:
    """The query of a pipeline, if there is exactly one and its text is known."""
    found, known = sources(pipeline)
    queries = [source for source, _ in found if not isinstance(source, SourceTable)]
    if not known or len(found) != 1 or not queries:
        return ""
    try:
        return text(pipeline, queries[0])
    except InvalidSource:
        return ""


def _table_facets(table: Table) -> dict[str, Any]:
    fields = [
        {"name": column.name, "type": _type(column.type)}
        | ({"description": column.comment} if column.comment else {})
        for column in table.columns
    ]
    facets = {"schema": facet(_FACETS["schema"], fields=fields)}
    if table.comment:
        facets["documentation"] = facet(_FACETS["documentation"], description=table.comment)
    return facets


def _type(kind: Any) -> str:
    dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]  # untyped upstream
    try:
        return str(kind.compile(dialect=dialect))
    except CompileError:
        return type(kind).__name__


def facet(schema: str, **values: Any) -> dict[str, Any]:
    """Write a facet, with who wrote it and which version of the specification describes it.

    Args:
        schema: Version and name, such as `1-2-0/SchemaDatasetFacet`.
        **values: What it holds.
    """
    name = schema.rpartition("/")[2]
    url = f"{_SPEC}/facets/{schema}.json#/$defs/{name}"
    return {"_producer": producer(), "_schemaURL": url, **values}


def instant(at: datetime) -> str:
    """Write an instant as the specification wants it.

    Args:
        at: The instant, timezone-aware.
    """
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
