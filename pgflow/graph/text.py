"""A graph as text: a tree along the flow of rows, then columns, then what is not known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pgflow import idents
from pgflow.graph.drawing import NOT_KNOWN
from pgflow.graph.elements import PIPELINES, Edge, Graph, Node


def to_text(graph: Graph) -> str:
    """Write a graph as a tree of what flows where.

    Args:
        graph: The graph. A node with several ways to it stands in full at the first place, and
            with `(above)` at the others.

    Returns:
        Lines of text without a line end at the last one.
    """
    head = [] if graph.title == PIPELINES else [graph.title]
    parts = ["\n".join([*head, *_tree(graph)]) or f"no {graph.title}"]
    columns = "\n".join(_columns(graph))
    if columns:
        parts.append(f"columns\n{columns}")
    if graph.notes:
        parts.append("\n".join(f"note: {note}" for note in graph.notes))
    return "\n\n".join(parts)


def _tree(graph: Graph) -> Iterator[str]:
    nodes = [node for node in graph.nodes if node.kind != "column"]
    after: dict[str, list[Edge]] = {node.id: [] for node in nodes}
    for edge in graph.edges:
        if edge.kind != "feeds":
            after[edge.source].append(edge)
    targets = {e.target for e in graph.edges if e.source != e.target}
    roots = [node for node in nodes if node.id not in targets]
    done: set[str] = set()
    # Circles have no root: what is left afterwards begins anywhere.
    for root in (*roots, *nodes):
        if root.id not in done:
            yield _words(root)
            yield from _below(graph, root.id, after, done)


def _below(
    graph: Graph, root: str, after: Mapping[str, list[Edge]], done: set[str]
) -> Iterator[str]:
    """The branches of a node, as deep as they go, without recursion."""
    done.add(root)
    left = _branches(after[root], "")
    while left:
        edge, indent, last = left.pop()
        again = edge.target in done
        words = _words(graph.by_id[edge.target], edge)
        yield f"{indent}{'└─' if last else '├─'} {words}{' (above)' if again else ''}"
        if not again:
            done.add(edge.target)
            left += _branches(after[edge.target], indent + ("   " if last else "│  "))


def _branches(edges: list[Edge], indent: str) -> list[tuple[Edge, str, bool]]:
    """The branches to be written next, the first one at the end."""
    return [(edge, indent, edge is edges[-1]) for edge in reversed(edges)]


def _words(node: Node, edge: Edge | None = None) -> str:
    """A node on one line: what it is, and how one got to it."""
    said: list[str] = [node.kind] if node.kind not in ("table", "plugin") else []
    if edge is not None and edge.kind not in ("reads", "shows"):
        said += {"looks up": ["by lookup"], "gives": []}.get(edge.kind, [])
        said += [edge.label] if edge.label else []
    said += [*node.details, *(() if node.known else (NOT_KNOWN,))]
    return f"{node.label}  [{', '.join(said)}]" if said else node.label


def _columns(graph: Graph) -> Iterator[str]:
    """Each column that a pipeline fills, with its origins."""
    origins: dict[str, list[str]] = {}
    for edge in graph.edges:
        if edge.kind == "feeds":
            origins.setdefault(edge.target, []).append(_column(graph, edge.source))
    filled = {edge.target for edge in graph.edges if edge.kind == "writes"}
    fed = [n for n in graph.nodes if n.kind == "column" and (n.parent in filled or not n.known)]
    names = [_column(graph, node.id) for node in fed]
    width = max(map(len, names), default=0)
    for name, node in zip(names, fed, strict=True):
        found = list(dict.fromkeys(origins.get(node.id, [])))
        if not node.known:
            told = f"from {', '.join(found)}, and not all is known" if found else "not known"
        else:
            told = f"from {', '.join(found)}" if found else "from no column"
        yield f"  {name:<{width}}  {told}"


def _column(graph: Graph, node_id: str) -> str:
    node = graph.by_id[node_id]
    parent = graph.by_id[node.parent]
    place = parent.label.removeprefix(parent.name)
    return f"{parent.name}.{idents.quote(node.name)}{place}"
