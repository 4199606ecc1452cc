"""The formats in which graphs are written."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from pgflow.errors import InvalidOption
from pgflow.graph.dot import to_dot
from pgflow.graph.elements import Graph
from pgflow.graph.mermaid import to_mermaid
from pgflow.graph.svg import to_svg
from pgflow.graph.text import to_text


def to_json(graph: Graph) -> str:
    """Write a graph as JSON; the same project always gives the same bytes."""
    return json.dumps(graph.to_dict(), indent=2, ensure_ascii=False)


#: What writes each format.
FORMATS: Mapping[str, Callable[[Graph], str]] = {
    "text": to_text,
    "mermaid": to_mermaid,
    "dot": to_dot,
    "svg": to_svg,
    "json": to_json,
}


def draw(graph: Graph, format: str = "text") -> str:  # noqa: A002  # as on the command line
    """Write a graph.

    Args:
        graph: What `project_graph` or `plugin_graph` returned.
        format: `text`, `mermaid`, `dot`, `svg` or `json`.

    Returns:
        The text of a file, without a line end at its last line.

    Raises:
        InvalidOption: There is no such format.
    """
    if format not in FORMATS:
        raise InvalidOption(f"there is no format {format!r}; formats are {', '.join(FORMATS)}.")
    return FORMATS[format](graph)
