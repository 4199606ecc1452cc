"""A graph as a picture that stands alone: SVG, without fonts, scripts or other files."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from xml.sax.saxutils import escape

from pgflow.graph.drawing import Arrow, Box, Drawing, drawing
from pgflow.graph.elements import Graph, NodeKind
from pgflow.graph.layout import Layout, Size, Spot, layout

_FONT = 13
#: The width of a character of a fixed-width font, and a bit more, as fonts differ.
_CHARACTER = 8.6
_LINE = 18
_PADDING = 10
_MARGIN = 20
#: How far an arrow from a box to itself goes out.
_LOOP = 45

_COLOURS: dict[NodeKind, tuple[str, str]] = {
    "table": ("#e7f0fb", "#2f6db5"),
    "view": ("#eef7ea", "#4d8f3a"),
    "source": ("#f4f4f4", "#777777"),
    "pipeline": ("#fdf3e1", "#b77a1a"),
    "plugin": ("#f3ecfa", "#7a4fa8"),
    "column": ("#ffffff", "#777777"),
}


def to_svg(graph: Graph) -> str:
    """Draw a graph.

    Args:
        graph: The graph.

    Returns:
        An SVG document. No box lies on another, and every name is in its box.
    """
    drawn = drawing(graph)
    sizes = {box.id: _size(box) for box in drawn.boxes}
    room = max((_width(arrow.label) for arrow in drawn.arrows), default=0.0)
    placed = layout(sizes, ((arrow.source, arrow.target) for arrow in drawn.arrows), room)
    return "\n".join(_lines(drawn, placed))


def _lines(drawn: Drawing, placed: Layout) -> Iterator[str]:
    loops = any(arrow.source == arrow.target for arrow in drawn.arrows)
    width = placed.width + 2 * _MARGIN + (_LOOP if loops else 0)
    height = placed.height + 2 * _MARGIN
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="{-_MARGIN} {-_MARGIN} {width:.0f} {height:.0f}" font-size="{_FONT}" '
        'font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace">'
    )
    yield f"<title>{_text(drawn.title)}</title>"
    yield (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#555"/></marker></defs>'
    )
    yield (
        f'<rect x="{-_MARGIN}" y="{-_MARGIN}" width="{width:.0f}" height="{height:.0f}" '
        'fill="#fff"/>'
    )
    boxes = {box.id: box for box in drawn.boxes}
    for arrow in drawn.arrows:
        yield from _arrow(arrow, boxes, placed)
    for box in drawn.boxes:
        yield from _box(box, placed.spots[box.id])
    yield "</svg>"


def _box(box: Box, spot: Spot) -> Iterator[str]:
    fill, stroke = _COLOURS[box.kind]
    radius = 12 if box.kind == "pipeline" else 3
    dash = ' stroke-dasharray="4 3"' if box.kind in ("source", "view") else ""
    yield (
        f'<rect x="{spot.x:.1f}" y="{spot.y:.1f}" width="{spot.width:.1f}" '
        f'height="{spot.height:.1f}" rx="{radius}" fill="{fill}" stroke="{stroke}"{dash}/>'
    )
    y = spot.y + _PADDING + _FONT
    for number, line in enumerate((*box.lines, *(row.text for row in box.rows))):
        weight = ' font-weight="bold"' if not number else ""
        x = spot.x + _PADDING + (_PADDING if number >= len(box.lines) else 0)
        yield f'<text x="{x:.1f}" y="{y:.1f}"{weight}>{_text(line)}</text>'
        y += _LINE


def _arrow(arrow: Arrow, boxes: dict[str, Box], placed: Layout) -> Iterator[str]:
    source, target = placed.spots[arrow.source], placed.spots[arrow.target]
    start, end = _height(arrow, boxes, source, 0), _height(arrow, boxes, target, 1)
    dash = ' stroke-dasharray="5 4"' if arrow.dashed else ""
    if arrow.source == arrow.target:
        right = source.x + source.width
        path = f"M{right:.1f},{start:.1f} c45,-30 45,40 0,{end - start + 8:.1f}"
        tip = (right + 20, start)
    else:
        points = _points(
            source, target, start, end, placed.lanes.get((arrow.source, arrow.target), ())
        )
        path = _curve(points)
        (ax, ay), (bx, by) = points[-2:]
        tip = ((ax + bx) / 2, (ay + by) / 2)
    yield f'<path d="{path}" fill="none" stroke="#555"{dash} marker-end="url(#tip)"/>'
    if arrow.label:
        x, y = tip
        place = f'x="{x:.1f}" y="{y - 4:.1f}" text-anchor="middle" font-size="11"'
        label = _text(arrow.label)
        # Written twice: the wide white one keeps lines away from the other.
        yield f'<text {place} fill="#fff" stroke="#fff" stroke-width="4">{label}</text>'
        yield f'<text {place} fill="#333">{label}</text>'


def _points(
    source: Spot,
    target: Spot,
    start: float,
    end: float,
    lanes: tuple[tuple[float, float, float], ...],
) -> list[tuple[float, float]]:
    """The corners of an arrow's way: between boxes it bends, beside them it goes straight."""
    forward = source.x < target.x
    points = [(source.x + source.width if forward else source.x, start)]
    for left, right, y in lanes:
        points += [(left, y), (right, y)]
    return [*points, (target.x if forward else target.x + target.width, end)]


def _curve(points: list[tuple[float, float]]) -> str:
    path = f"M{points[0][0]:.1f},{points[0][1]:.1f}"
    for (ax, ay), (bx, by) in pairwise(points):
        middle = (ax + bx) / 2
        path += f" C{middle:.1f},{ay:.1f} {middle:.1f},{by:.1f} {bx:.1f},{by:.1f}"
    return path


def _height(arrow: Arrow, boxes: dict[str, Box], spot: Spot, end: int) -> float:
    """Where an arrow meets a box: at its column, or in the middle."""
    box = boxes[arrow.target if end else arrow.source]
    for number, row in enumerate(box.rows):
        if arrow.ends is not None and row.id == arrow.ends[end]:
            return spot.y + _PADDING + (len(box.lines) + number) * _LINE + _FONT / 2 + 2
    return spot.y + spot.height / 2


def _size(box: Box) -> Size:
    texts = [_width(line) for line in box.lines]
    texts += [_width(row.text) + _PADDING for row in box.rows]
    count = len(box.lines) + len(box.rows)
    return Size(max(texts) + 2 * _PADDING, count * _LINE + 2 * _PADDING - 4)


def _width(text: str) -> float:
    """How wide a text is; characters of East Asia take twice the room."""
    cells = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
    return cells * _CHARACTER


def _text(text: str) -> str:
    """A text for XML, which has no place for control characters."""
    kept = "".join(c if c.isprintable() else " " for c in text)
    return escape(kept)
