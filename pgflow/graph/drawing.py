"""A graph as boxes and arrows, which is what every picture is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pgflow.graph.elements import RELATIONS, Graph, Node, NodeKind

#: What a box says where not all is known.
NOT_KNOWN = "not all is known"


@dataclass(frozen=True)
class Row:
    """A column in the box of its table.

    Attributes:
        id: The column's node.
        text: Its name, with a `?` where not all of its origins are known.
        known: Whether they are.
    """

    id: str
    text: str
    known: bool


@dataclass(frozen=True)
class Box:
    """A node to be drawn.

    Attributes:
        id: The node.
        kind: The node's kind.
        lines: What is written in it: its label, then details.
        rows: Its columns.
    """

    id: str
    kind: NodeKind
    lines: tuple[str, ...]
    rows: tuple[Row, ...] = ()


@dataclass(frozen=True)
class Arrow:
    """An edge to be drawn.

    Attributes:
        source: The box where it begins.
        target: The box where it ends.
        label: What is written on it.
        dashed: Whether it is less than a flow of rows: a lookup, or one that is known only of
            tables.
        ends: The rows where it begins and ends, or None for the boxes themselves.
    """

    source: str
    target: str
    label: str = ""
    dashed: bool = False
    ends: tuple[str, str] | None = None


@dataclass(frozen=True)
class Drawing:
    """A picture before it has places.

    Attributes:
        title: What it shows.
        boxes: The boxes.
        arrows: The arrows between them.
    """

    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


def drawing(graph: Graph) -> Drawing:
    """Say what is to be drawn of a graph.

    Args:
        graph: The graph. If it has columns, tables stand alone with their columns, and arrows bear
            the names of pipelines.

    Returns:
        Boxes and arrows.
    """
    if any(node.kind == "column" for node in graph.nodes):
        return _of_columns(graph)
    arrows = (
        Arrow(e.source, e.target, _label(e.kind, e.label), e.kind == "looks up")
        for e in graph.edges
    )
    return Drawing(graph.title, tuple(_box(node) for node in graph.nodes), tuple(arrows))


def _of_columns(graph: Graph) -> Drawing:
    rows: dict[str, list[Row]] = {}
    for node in graph.nodes:
        if node.kind == "column":
            text = node.name if node.known else f"{node.name} ?"
            rows.setdefault(node.parent, []).append(Row(node.id, text, node.known))
    boxes = tuple(
        Box(node.id, node.kind, (node.label, *node.details), tuple(rows.get(node.id, ())))
        for node in graph.nodes
        if node.kind in RELATIONS
    )
    fed = list(_of_rows(graph))
    done = {(arrow.source, arrow.target, arrow.label) for arrow in fed}
    rest = (a for a in _of_tables(graph) if (a.source, a.target, a.label) not in done)
    return Drawing(graph.title, boxes, (*_said_once(fed), *rest))


def _of_rows(graph: Graph) -> Iterator[Arrow]:
    for edge in graph.edges:
        if edge.kind == "feeds":
            source, target = graph.by_id[edge.source], graph.by_id[edge.target]
            yield Arrow(source.parent, target.parent, edge.label, ends=(source.id, target.id))


def _said_once(arrows: Iterable[Arrow]) -> Iterator[Arrow]:
    """Between two tables one arrow of a pipeline bears its name."""
    said: set[tuple[str, str, str]] = set()
    for arrow in arrows:
        key = (arrow.source, arrow.target, arrow.label)
        yield replace(arrow, label="") if key in said else arrow
        said.add(key)


def _of_tables(graph: Graph) -> Iterator[Arrow]:
    """What flows from table to table through each pipeline, or into views."""
    for into in graph.edges:
        if into.kind == "shows":
            yield Arrow(into.source, into.target, "", dashed=True)
        if into.kind not in ("reads", "looks up"):
            continue
        for out in graph.edges:
            if out.kind == "writes" and out.source == into.target:
                yield Arrow(into.source, out.target, graph.by_id[into.target].name, dashed=True)


def _box(node: Node) -> Box:
    lines = (node.label, *node.details, *(() if node.known else (NOT_KNOWN,)))
    return Box(node.id, node.kind, lines)


def _label(kind: str, label: str) -> str:
    """Only a lookup needs a word for what it is."""
    return kind if kind == "looks up" else label
