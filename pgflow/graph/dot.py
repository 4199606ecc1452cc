"""A graph for Graphviz."""

from __future__ import annotations

from pgflow.graph.drawing import Arrow, Box, drawing
from pgflow.graph.elements import Graph

_SHAPES = {
    "table": "cylinder",
    "view": "ellipse",
    "source": "parallelogram",
    "pipeline": "box",
    "plugin": "box",
    "column": "box",
}


def to_dot(graph: Graph) -> str:
    """Write a graph in the language of Graphviz.

    Args:
        graph: The graph.

    Returns:
        A digraph; `dot -Tpng` makes a picture of it.
    """
    drawn = drawing(graph)
    lines = [f"digraph {_quoted(drawn.title)} {{", "  rankdir=LR;", "  compound=true;"]
    for number, box in enumerate(drawn.boxes):
        lines += _box(box, number)
    anchors = {box.id: box.rows[0].id for box in drawn.boxes if box.rows}
    clusters = {box.id: f"cluster_{n}" for n, box in enumerate(drawn.boxes) if box.rows}
    lines += [_arrow(arrow, anchors, clusters) for arrow in drawn.arrows]
    return "\n".join([*lines, "}"])


def _box(box: Box, number: int) -> list[str]:
    label = _quoted("\n".join(box.lines))
    if not box.rows:
        return [f"  {_quoted(box.id)} [shape={_SHAPES[box.kind]}, label={label}];"]
    rows = [f"    {_quoted(row.id)} [shape=box, label={_quoted(row.text)}];" for row in box.rows]
    return [f"  subgraph cluster_{number} {{", f"    label={label};", *rows, "  }"]


def _arrow(arrow: Arrow, anchors: dict[str, str], clusters: dict[str, str]) -> str:
    """An arrow between boxes with columns ends at the border of their clusters."""
    said = [f"label={_quoted(arrow.label)}"] if arrow.label else []
    said += ["style=dashed"] if arrow.dashed else []
    source, target = arrow.ends or (arrow.source, arrow.target)
    if arrow.ends is None:
        said += [f"ltail={clusters[source]}"] if source in clusters else []
        said += [f"lhead={clusters[target]}"] if target in clusters else []
        source, target = anchors.get(source, source), anchors.get(target, target)
    options = f" [{', '.join(said)}]" if said else ""
    return f"  {_quoted(source)} -> {_quoted(target)}{options};"


def _quoted(text: str) -> str:
    """A string of Graphviz: only the line ends in it mean something."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{"".join(c if c.isprintable() else " " for c in escaped)}"'
