"""A graph as data: nodes, edges in the direction in which rows flow, and what is not known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal

#: What a node can be.
NodeKind = Literal["table", "view", "source", "pipeline", "plugin", "column"]

#: What an edge can say.
EdgeKind = Literal["reads", "looks up", "writes", "shows", "feeds", "gives"]

#: The title of a project's graph.
PIPELINES = "pipelines"

#: The kinds of nodes that hold rows.
RELATIONS: tuple[NodeKind, ...] = ("table", "view", "source")


@dataclass(frozen=True)
class Node:
    """One thing of a graph.

    Attributes:
        id: Its name in the graph, the same whenever the graph is made.
        kind: `table`, `view`, `source`, `pipeline`, `plugin` or `column`. A source is whatever
            pipelines read that the project neither declares nor writes.
        name: What people call it; tables are qualified, and quoted where they need it.
        place: The connection of a table, view or source; empty for the rest.
        details: What else is to be said, such as `merge`, or `0 6 * * *`.
        parent: For a column the id of what it is a column of; empty for the rest.
        known: Whether all is known of which it is made: for a pipeline what it reads, for a
            column its origins.
    """

    id: str
    kind: NodeKind
    name: str
    place: str = ""
    details: tuple[str, ...] = ()
    parent: str = ""
    known: bool = True

    @property
    def label(self) -> str:
        """The name, with the connection where it is not `default`."""
        return self.name if self.place in ("", "default") else f"{self.name} ({self.place})"


@dataclass(frozen=True)
class Edge:
    """From one node to another, as rows flow.

    Attributes:
        source: The id of the node where it begins.
        target: The id of the node where it ends.
        kind: `reads` and `looks up` lead to a pipeline, `writes` from it; `shows` leads to a
            view, `feeds` from column to column, `gives` from plugin to plugin.
        label: What else is to be said: the mode of `writes`, the pipeline of `feeds`, the keys of
            `gives`.
    """

    source: str
    target: str
    kind: EdgeKind
    label: str = ""


@dataclass(frozen=True)
class Graph:
    """Nodes and edges, each once and in a stable order.

    Attributes:
        title: What is shown.
        nodes: The nodes.
        edges: The edges; they may form circles.
        notes: Sentences about what is not known.
    """

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    notes: tuple[str, ...] = ()

    @cached_property
    def by_id(self) -> Mapping[str, Node]:
        """The nodes by id."""
        return {node.id: node for node in self.nodes}

    def columns(self, parent: str) -> tuple[Node, ...]:
        """Return the columns of a table, as far as they are part of the graph."""
        return tuple(node for node in self.nodes if node.parent == parent)

    def to_dict(self) -> dict[str, Any]:
        """Give the graph as plain data.

        Returns:
            Strings, lists, dicts and booleans only, ready for `json.dumps`.
        """
        return {
            "version": 1,
            "title": self.title,
            "nodes": [{**asdict(node), "details": list(node.details)} for node in self.nodes],
            "edges": [asdict(edge) for edge in self.edges],
            "notes": list(self.notes),
        }


class Builder:
    """Collects nodes and edges; what comes twice counts once.

    Args:
        title: What the graph shows.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._nodes: dict[str, Node] = {}
        self._edges: dict[tuple[str, str, str, str], Edge] = {}
        self._notes: dict[str, None] = {}

    def __contains__(self, node_id: str) -> bool:
        return node_id in self._nodes

    def __iter__(self) -> Iterator[Node]:
        return iter(tuple(self._nodes.values()))

    def node(self, node: Node) -> str:
        """Add a node unless there is one of its id, and return the id.

        A node of which somebody does not know all stays so.
        """
        present = self._nodes.setdefault(node.id, node)
        if present.known and not node.known:
            self._nodes[node.id] = replace(present, known=False)
        return node.id

    def edge(self, edge: Edge) -> None:
        """Add an edge between nodes that are there."""
        self._edges.setdefault((edge.source, edge.target, edge.kind, edge.label), edge)

    def note(self, *sentences: str) -> None:
        """Add sentences about what is not known."""
        self._notes.update(dict.fromkeys(sentences))

    def graph(self) -> Graph:
        """Return what was collected."""
        nodes, edges = tuple(self._nodes.values()), tuple(self._edges.values())
        return Graph(self._title, nodes, edges, tuple(self._notes))


def successors(edges: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return for each node where its edges lead, each once."""
    found: dict[str, dict[str, None]] = {}
    for source, target in edges:
        found.setdefault(source, {})[target] = None
    return {source: list(targets) for source, targets in found.items()}
