"""Every format is valid for names of every kind, and readable."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest

from pgflow.errors import InvalidOption
from pgflow.graph import Edge, Graph, Node, draw
from pgflow.graph.layout import Size, layout
from tests.sync.preview_schema import check

HOSTILE = [
    'q"; DROP',
    "a]b[c",
    "<b>&amp;</b>",
    "%%{init: {}}%%",
    "`code` **b** __c__",
    "#35;",
    "a|b",
    "two\nlines --> x",
    "end",
    "日本語",
    "\\N \\",
    "bell\x07",
    "]]>",
]
SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "graph-schema.json"


def hostile_graph() -> Graph:
    """A circle of nodes with such names, with columns."""
    nodes = tuple(Node(f"relation:default:{h}", "table", h, details=(h,)) for h in HOSTILE)
    edges = [
        Edge(a.id, b.id, "reads", a.name)
        for a, b in zip(nodes, (*nodes[1:], nodes[0]), strict=True)
    ]
    edges.append(Edge(nodes[0].id, nodes[0].id, "reads", "itself"))
    return Graph("<hostile>", nodes, tuple(edges), ("a note",))


def test_mermaid_writes_nothing_but_plain_characters_between_quotes() -> None:
    """Every line is a node or an arrow, and no name can end its quotes or be markup."""
    line = r'(n\d+\[\("[^"`<>\[\]{}|%;&*\\]*"\)\]|n\d+ -->\|"[^"`<>\[\]{}|%&*\\]*"\| n\d+)'
    lines = draw(hostile_graph(), "mermaid").splitlines()
    assert lines[0] == "flowchart LR"
    for each in lines[1:]:
        plain = re.sub(r"#\d+;", "", each.strip()).replace("<br/>", "")
        assert re.fullmatch(line, plain), each
    assert len(lines) == 1 + len(HOSTILE) * 2 + 1


def test_dot_quotes_every_name() -> None:
    """Outside of strings there is only the syntax of Graphviz."""
    text = draw(hostile_graph(), "dot")
    outside = re.sub(r'"(?:[^"\\]|\\.)*"', "S", text)
    for each in outside.splitlines()[3:-1]:
        assert re.fullmatch(r"  S (\[shape=\w+, label=S\]|-> S \[label=S\]);", each), each


def test_svg_is_one_document_in_which_every_name_is_in_its_box() -> None:
    """It is well-formed, names are whole, and no text is wider than what is around it."""
    graph = hostile_graph()
    root = ET.fromstring(draw(graph, "svg"))
    space = "{http://www.w3.org/2000/svg}"
    texts = [each.text or "" for each in root.iter(f"{space}text")]
    for name in HOSTILE:
        shown = "".join(c if c.isprintable() else " " for c in name)
        assert shown in texts
    boxes = [r for r in root.iter(f"{space}rect") if r.get("rx")]
    assert len(boxes) == len(HOSTILE)
    widest = max(float(box.get("width", 0)) for box in boxes)
    assert widest > 8 * len("`code` **b** __c__")


def test_json_follows_its_schema_and_is_always_the_same() -> None:
    """The documented schema allows nothing else."""
    graph = hostile_graph()
    text = draw(graph, "json")
    assert text == draw(hostile_graph(), "json")
    check(json.loads(text), json.loads(SCHEMA.read_text()))


def test_text_shows_a_node_once_in_full() -> None:
    """A second way to a node ends with `(above)`; circles end too."""
    lines = draw(hostile_graph()).splitlines()
    assert sum("(above)" in line for line in lines) == 2
    assert lines[-1] == "note: a note"


def test_an_unknown_format_is_refused() -> None:
    """The error lists the formats."""
    with pytest.raises(InvalidOption, match="formats are text, mermaid, dot, svg, json"):
        draw(hostile_graph(), "png")


@pytest.mark.parametrize("step", [2, 3, 7])
def test_no_box_lies_on_another(step: int) -> None:
    """Thirty boxes of different sizes, with circles and long arrows, have places of their own."""
    sizes = {f"b{n}": Size(40 + 13 * (n % 7), 20 + 11 * (n % 5)) for n in range(30)}
    arrows = [(f"b{n}", f"b{(n * step + 1) % 30}") for n in range(30)]
    arrows += [(f"b{n}", f"b{(n + step) % 30}") for n in range(0, 30, 2)]
    found = layout(sizes, arrows)
    for one, two in combinations(found.spots.values(), 2):
        beside = one.x + one.width <= two.x or two.x + two.width <= one.x
        over = one.y + one.height <= two.y or two.y + two.height <= one.y
        assert beside or over
    assert all(s.x >= 0 and s.y >= 0 for s in found.spots.values())
    assert all(s.x + s.width <= found.width + 0.01 for s in found.spots.values())
    assert all(s.y + s.height <= found.height + 0.01 for s in found.spots.values())


def test_a_long_chain_needs_no_deep_recursion() -> None:
    """A thousand boxes in a row are no trouble."""
    nodes: Any = [Node(f"n{n}", "table", f"t{n}") for n in range(1500)]
    edges = [Edge(a.id, b.id, "reads") for a, b in pairwise(nodes)]
    graph = Graph("pipelines", tuple(nodes), tuple(edges))
    assert draw(graph).count("\n") == 1499
    assert draw(graph, "svg").endswith("</svg>")
