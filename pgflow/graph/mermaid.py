"""A graph for Mermaid, which draws it in Markdown."""

from __future__ import annotations

import re

from pgflow.graph.drawing import Arrow, Box, Drawing, drawing
from pgflow.graph.elements import Graph

#: What stands for itself between quotes; everything else is written as a number.
_PLAIN = re.compile(r"[^\w .,:/()?=-]|_(?=_)", re.ASCII)

_SHAPES = {
    "table": ("[(", ")]"),
    "view": ("([", "])"),
    "source": ("[/", "/]"),
    "pipeline": ("[", "]"),
    "plugin": ("[", "]"),
    "column": ("[", "]"),
}


def to_mermaid(graph: Graph) -> str:
    """Write a graph as a flowchart of Mermaid.

    Args:
        graph: The graph. Names of any kind are safe: what could be syntax is written as numbers.

    Returns:
        Text to stand in a Markdown block of the language `mermaid`.
    """
    drawn = drawing(graph)
    names = _names(drawn)
    lines = ["flowchart LR"]
    for box in drawn.boxes:
        lines += _box(box, names)
    lines += [_arrow(arrow, names) for arrow in drawn.arrows]
    return "\n".join(lines)


def _names(drawn: Drawing) -> dict[str, str]:
    ids = [each for box in drawn.boxes for each in (box.id, *(row.id for row in box.rows))]
    return {each: f"n{number}" for number, each in enumerate(dict.fromkeys(ids))}


def _box(box: Box, names: dict[str, str]) -> list[str]:
    label = "<br/>".join(_escaped(line) for line in box.lines)
    if not box.rows:
        before, after = _SHAPES[box.kind]
        return [f'  {names[box.id]}{before}"{label}"{after}']
    rows = [f'    {names[row.id]}["{_escaped(row.text)}"]' for row in box.rows]
    return [f'  subgraph {names[box.id]}["{label}"]', "    direction TB", *rows, "  end"]


def _arrow(arrow: Arrow, names: dict[str, str]) -> str:
    source, target = arrow.ends or (arrow.source, arrow.target)
    line = "-.->" if arrow.dashed else "-->"
    label = f'|"{_escaped(arrow.label)}"|' if arrow.label else ""
    return f"  {names[source]} {line}{label} {names[target]}"


def _escaped(text: str) -> str:
    """Write what could be Mermaid, HTML or Markdown as character numbers."""
    words = " ".join(text.split())
    return _PLAIN.sub(lambda match: "".join(f"#{ord(c)};" for c in match.group()), words)
