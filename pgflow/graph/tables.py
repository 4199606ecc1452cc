"""The graph of a project: tables, views, sources, and the pipelines between them."""

from __future__ import annotations

from collections.abc import Iterable

from pgflow import idents
from pgflow.declare.rows import RowSource
from pgflow.errors import InvalidSource
from pgflow.factories.pipeline import Pipeline
from pgflow.graph.columns import column_origins, reading_is_known
from pgflow.graph.elements import PIPELINES, Builder, Edge, Graph, Node
from pgflow.graph.relations import Relations
from pgflow.graph.resolution import require_sqlglot
from pgflow.project.project import Project
from pgflow.project.reading import Relation, looks_up, reading, returns_rows, writes
from pgflow.project.selection import Selection


def project_graph(
    project: Project,
    names: Iterable[str] | None = None,
    exclude: Iterable[str] = (),
    *,
    columns: bool = False,
) -> Graph:
    """Draw a project: what its pipelines read and write, and the views that it declares.

    No database is asked, unless words ask for a state, and no function of a pipeline is called.

    Args:
        project: The project.
        names: Words that choose pipelines, as for `Project.select`; by default all pipelines, and
            all tables and views that the project declares.
        exclude: Words for pipelines that are left out.
        columns: Whether columns are part of it, each with its origins.

    Returns:
        The graph. It may have circles, which `sync_all` would refuse.

    Raises:
        UnknownPipeline: A word fits nothing.
        MissingExtra: Columns are asked for, and sqlglot is not installed.
    """
    if columns:
        require_sqlglot()
    out = tuple(exclude)
    chosen = chosen_pipelines(project, names, out)
    drawing = _Drawing(project)
    for pipeline in chosen:
        drawing.add(pipeline)
    if names is None and not out:
        drawing.add_rest()
    drawing.add_views()
    if columns:
        for pipeline in chosen:
            drawing.add_columns(pipeline)
    return drawing.graph()


def chosen_pipelines(
    project: Project, names: Iterable[str] | None, exclude: Iterable[str]
) -> tuple[Pipeline, ...]:
    """Return what words choose, in the order of declaration; circles are no obstacle."""
    words = project.pipelines if names is None else names
    chosen = Selection(project.pipelines).chosen(words, exclude)
    return tuple(p for p in project.pipelines.values() if p.name in chosen)


class _Drawing:
    """Collects the graph of some pipelines of a project."""

    def __init__(self, project: Project) -> None:
        self._builder = Builder(PIPELINES)
        self._relations = Relations(project, self._builder)

    def graph(self) -> Graph:
        """Return what was collected."""
        return self._builder.graph()

    def add(self, pipeline: Pipeline) -> None:
        """Add a pipeline with what it reads and writes."""
        spec = pipeline.spec
        details = (spec.schedule or "", *(f"tag:{tag}" for tag in spec.tags))
        own = self._builder.node(
            Node(
                f"pipeline:{pipeline.name}",
                "pipeline",
                pipeline.name,
                details=tuple(each for each in details if each),
                known=reading_is_known(pipeline),
            )
        )
        for relation in self._reads(pipeline):
            self._builder.edge(Edge(self._relations.node(relation), own, "reads"))
        if isinstance(spec.source, RowSource) or returns_rows(pipeline):
            rows = self._relations.rows(pipeline.name, spec.source)
            self._builder.edge(Edge(rows, own, "reads"))
        for relation in looks_up(pipeline):
            self._builder.edge(Edge(self._relations.node(relation), own, "looks up"))
        for relation, target in zip(writes(pipeline), spec.targets, strict=True):
            mode = target.options.mode or ""
            self._builder.edge(Edge(own, self._relations.node(relation), "writes", mode))

    def add_rest(self) -> None:
        """Add the tables and views that no pipeline reads or writes."""
        for own in (*self._relations.tables, *self._relations.views):
            self._relations.anywhere(own)

    def add_views(self) -> None:
        """Add what the views of the graph show."""
        left = [node.id for node in self._builder if node.kind == "view"]
        done: set[str] = set()
        while left:
            view = left.pop(0)
            if view in done:
                continue
            done.add(view)
            where, own = self._relations.whereabouts(view)
            for schema, name in self._relations.views.get(own, ()):
                below = self._relations.node((where, schema, name))
                self._builder.edge(Edge(below, view, "shows"))
                left.append(below)

    def add_columns(self, pipeline: Pipeline) -> None:
        """Add the columns that a pipeline fills, and what they are made of."""
        for relation, target in zip(writes(pipeline), pipeline.sync_targets, strict=True):
            table = self._relations.node(relation)
            unknown: dict[str, list[str]] = {}
            for each in column_origins(pipeline, target, self._relations.schema):
                column = self._relations.column(table, each.name, known=not each.unknown)
                for where, schema, name, origin in each.origins:
                    source = self._relations.node((where, schema, name))
                    feeding = self._relations.column(source, origin)
                    self._builder.edge(Edge(feeding, column, "feeds", pipeline.name))
                if each.unknown:
                    unknown.setdefault(each.unknown, []).append(idents.quote(each.name))
            for reason, names in unknown.items():
                self._builder.note(
                    f"{idents.qualify(*relation[1:])}: not known, or not all, of what pipeline "
                    f"{pipeline.name!r} makes {', '.join(names)}: {reason}."
                )

    def _reads(self, pipeline: Pipeline) -> tuple[Relation, ...]:
        try:
            found = reading(pipeline)
        except InvalidSource as error:
            self._builder.note(f"pipeline {pipeline.name!r}: not known what it reads: {error}")
            return ()
        if not found.known:
            why = (
                "makes rows from Python, perhaps of what it reads"
                if returns_rows(pipeline)
                else "does not say literally what it returns"
            )
            self._builder.note(
                f"pipeline {pipeline.name!r}: not known what it reads, or not all: its function "
                f"{why}."
            )
        elif found.asks:
            self._builder.note(
                f"pipeline {pipeline.name!r}: not known what its function reads by a connection."
            )
        return found.relations
