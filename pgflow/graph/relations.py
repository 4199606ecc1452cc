"""Tables, views and sources as nodes: one for each name on each connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path as FilePath
from typing import Any

from sqlalchemy import Table

from pgflow import idents
from pgflow.declare.rows import FileSource, Rows, RowSource
from pgflow.graph.elements import Builder, Node, NodeKind
from pgflow.graph.places import Places
from pgflow.graph.resolution import Path, Schema
from pgflow.project.contents import path
from pgflow.project.project import Project
from pgflow.project.reading import Relation, writes
from pgflow.project.view_columns import Columns, view_columns
from pgflow.project.views import declared_views


class Relations:
    """Makes the nodes of tables, and knows what the project declares of them.

    Args:
        project: The project.
        builder: Where the nodes go.
    """

    def __init__(self, project: Project, builder: Builder) -> None:
        self._builder = builder
        self._places = Places()
        self._where: dict[str, tuple[Any, Path]] = {}
        self.tables = _declared(project)
        self.views = {_path(*view): below for view, below in _views(project).items()}
        columns: Columns = {
            own: [c.name for c in table.columns] for own, table in self.tables.items()
        }
        self._view_columns = view_columns(project.metadatas, columns)
        self._written = {relation[0]: set[Path]() for p in _all(project) for relation in writes(p)}
        self._homes: dict[int, set[Any]] = {}
        for pipeline in _all(project):
            for (where, schema, name), target in zip(
                writes(pipeline), pipeline.sync_targets, strict=True
            ):
                self._written[where].add(_path(schema, name))
                self._homes.setdefault(id(target.target_table.metadata), set()).add(where)

    def node(self, relation: Relation) -> str:
        """Add a table, a view or a source, and return the id of its node."""
        where, schema, name = relation
        own = _path(schema, name)
        place = self._places.name(where)
        label = idents.qualify(*own)
        node = Node(f"relation:{place}:{label}", self._kind(where, own), label, place)
        self._where.setdefault(node.id, (where, own))
        return self._builder.node(node)

    def anywhere(self, own: Path) -> tuple[str, ...]:
        """Return the nodes of a declared name on all connections, a new one if there is none."""
        found = tuple(each for each, (_, other) in self._where.items() if other == own)
        return found or (self.node((self._home(own), *own)),)

    def whereabouts(self, node_id: str) -> tuple[Any, Path]:
        """Return the connection of a node, with schema and name."""
        return self._where[node_id]

    def rows(self, pipeline: str, source: object) -> str:
        """Add files, or rows that Python makes, and return the id of the node."""
        declared = isinstance(source, RowSource) and not isinstance(source, Rows)
        details = (type(source).__name__ if declared else "rows from Python",)
        if isinstance(source, FileSource):
            paths = source.path if isinstance(source.path, (list, tuple)) else [source.path]
            name = ", ".join(FilePath(str(each)).as_posix() for each in paths)
            return self._builder.node(Node(f"files:{name}", "source", name, details=details))
        name = f"rows of {pipeline}"
        return self._builder.node(Node(f"rows:{pipeline}", "source", name, details=details))

    def column(self, parent: str, name: str, *, known: bool = True) -> str:
        """Add a column of a table, and return the id of its node."""
        node = Node(
            f"column:{parent.partition(':')[2]}:{name}", "column", name, "", (), parent, known
        )
        return self._builder.node(node)

    def schema(self, where: Any) -> Schema:
        """Return the columns of what is declared and surely behind a connection."""
        tables = {
            own: [column.name for column in table.columns]
            for own, table in self.tables.items()
            if self._is_declared(where, own)
        }
        views = {
            _path(*own): columns
            for own, columns in self._view_columns.items()
            if self._kind(where, _path(*own)) == "view"
        }
        return {**views, **tables}

    def _kind(self, where: Any, own: Path) -> NodeKind:
        if own in self.views and where in {*self._written, "default"}:
            return "view"
        return "table" if self._is_declared(where, own) else "source"

    def _is_declared(self, where: Any, own: Path) -> bool:
        if own in self._written.get(where, ()):
            return True
        return own in self.tables and where in self._homes_of(own)

    def _homes_of(self, own: Path) -> Iterable[Any]:
        """The connections of other tables of the same MetaData; `default` if none is written."""
        return self._homes.get(id(self.tables[own].metadata), {"default"})

    def _home(self, own: Path) -> Any:
        homes = self._homes_of(own) if own in self.tables else self._written
        # A name first, and always the same one.
        return min(homes, key=lambda each: (each != "default", str(each)), default="default")


def _all(project: Project) -> Iterable[Any]:
    return project.pipelines.values()


def _path(schema: str | None, name: str) -> Path:
    return (schema or "public", name)


def _declared(project: Project) -> Mapping[Path, Table]:
    return {_path(*path(factory)): factory.table for factory in project.tables.values()}


def _views(project: Project) -> Mapping[Any, Any]:
    return declared_views(project.metadatas)
