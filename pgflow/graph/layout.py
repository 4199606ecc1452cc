"""Where boxes go: columns of boxes from left to right, as rows flow, with few crossings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pgflow.graph.elements import successors

#: Between one column of boxes and the next, and between boxes of one column.
GAP_X, GAP_Y = 70, 18
#: How tall the way of an arrow is that passes a column of boxes.
_LANE = 10
_SWEEPS = 8


@dataclass(frozen=True)
class Size:
    """How large a box is."""

    width: float
    height: float


@dataclass(frozen=True)
class Spot:
    """Where a box is: its upper left corner, and its size."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Layout:
    """A picture's measures.

    Attributes:
        spots: The places of the boxes; none overlaps another.
        lanes: For arrows that pass other columns of boxes: the points on their way, as x of
            the column's left and right side with y.
        width: Of the whole picture.
        height: Of the whole picture.
    """

    spots: Mapping[str, Spot]
    lanes: Mapping[tuple[str, str], tuple[tuple[float, float, float], ...]]
    width: float
    height: float


@dataclass(frozen=True)
class _Plan:
    """Cells, which are boxes or lanes, in columns, and the ways of arrows through them."""

    cells: Mapping[str, Size]
    levels: list[list[str]]
    links: Sequence[tuple[str, str]]
    ways: Mapping[tuple[str, str], list[str]]


def layout(sizes: Mapping[str, Size], arrows: Iterable[tuple[str, str]], room: float = 0) -> Layout:
    """Place boxes.

    Args:
        sizes: The boxes in the order that they have unless something speaks against it.
        arrows: From which box to which; circles are allowed.
        room: How wide the labels of arrows are, which stand between columns of boxes.

    Returns:
        Places of boxes and ways of arrows.
    """
    pairs = [pair for pair in dict.fromkeys(arrows) if pair[0] != pair[1]]
    forward = _forward(sizes, pairs)
    ranks = _ranks(sizes, forward)
    cells = dict(sizes)
    ways = _ways(forward, ranks, cells)
    links = [link for way in ways.values() for link in pairwise(way)]
    levels = _levels(cells, ranks)
    _untangle(levels, links)
    plan = _Plan(cells, levels, links, ways)
    return _placed(sizes, plan, set(pairs), max(GAP_X, room + 24))


def _forward(names: Iterable[str], pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The arrows without circles: those that lead back are turned around."""
    after = successors(pairs)
    state: dict[str, int] = {}
    back: set[tuple[str, str]] = set()
    for root in names:
        if root in state:
            continue
        state[root] = 1
        chain = [(root, iter(after.get(root, ())))]
        while chain:
            here, left = chain[-1]
            following = next(left, None)
            if following is None:
                state[here] = 2
                chain.pop()
            elif state.get(following) == 1:
                back.add((here, following))
            elif following not in state:
                state[following] = 1
                chain.append((following, iter(after.get(following, ()))))
    turned = [(b, a) if (a, b) in back else (a, b) for a, b in pairs]
    return list(dict.fromkeys(turned))


def _ranks(names: Iterable[str], pairs: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The column of each box: one after the last of those before it."""
    after = successors(pairs)
    waiting = dict.fromkeys(names, 0)
    for _, target in pairs:
        waiting[target] += 1
    ranks = {name: 0 for name, count in waiting.items() if not count}
    left = list(ranks)
    while left:
        here = left.pop(0)
        for target in after.get(here, ()):
            ranks[target] = max(ranks.get(target, 0), ranks[here] + 1)
            waiting[target] -= 1
            if not waiting[target]:
                left.append(target)
    return ranks


def _ways(
    pairs: Sequence[tuple[str, str]], ranks: dict[str, int], cells: dict[str, Size]
) -> dict[tuple[str, str], list[str]]:
    """The cells through which arrows go; an arrow that passes a column gets a cell there."""
    ways = {}
    for source, target in pairs:
        way = [source]
        for rank in range(ranks[source] + 1, ranks[target]):
            lane = f"\0{len(cells)}"
            cells[lane], ranks[lane] = Size(0, _LANE), rank
            way.append(lane)
        ways[source, target] = [*way, target]
    return ways


def _levels(cells: Iterable[str], ranks: Mapping[str, int]) -> list[list[str]]:
    levels: list[list[str]] = [[] for _ in range(max(ranks.values(), default=-1) + 1)]
    for cell in cells:
        levels[ranks[cell]].append(cell)
    return levels


def _untangle(levels: list[list[str]], links: Sequence[tuple[str, str]]) -> None:
    """Order each column by the middle of its neighbours, forwards and backwards."""
    before = successors((target, source) for source, target in links)
    after = successors(links)
    place = {cell: float(i) for level in levels for i, cell in enumerate(level)}
    for sweep in range(_SWEEPS):
        neighbours = after if sweep % 2 else before
        for level in reversed(levels) if sweep % 2 else levels:
            middle = {
                cell: _mean([place[n] for n in neighbours.get(cell, ())], place[cell])
                for cell in level
            }
            level.sort(key=middle.__getitem__)
            place.update((cell, float(i)) for i, cell in enumerate(level))


def _placed(
    sizes: Mapping[str, Size], plan: _Plan, given: set[tuple[str, str]], gap: float
) -> Layout:
    cells = plan.cells
    tops = _tops(cells, plan.levels, plan.links)
    spots: dict[str, Spot] = {}
    x = 0.0
    for level in plan.levels:
        width = max((cells[cell].width for cell in level), default=0)
        for cell in level:
            own = cells[cell].width or width
            spots[cell] = Spot(x + (width - own) / 2, tops[cell], own, cells[cell].height)
        x += width + gap
    lanes = {}
    for (source, target), way in plan.ways.items():
        passed = [spots[cell] for cell in way[1:-1]]
        points = [(s.x, s.x + s.width, s.y + s.height / 2) for s in passed]
        if (source, target) in given:
            lanes[source, target] = tuple(points)
        if (target, source) in given:
            lanes[target, source] = tuple((right, left, y) for left, right, y in reversed(points))
    height = max((spot.y + spot.height for spot in spots.values()), default=0)
    kept = {name: spots[name] for name in sizes}
    return Layout(kept, lanes, max(x - gap, 0), height)


def _tops(
    cells: Mapping[str, Size], levels: list[list[str]], links: Sequence[tuple[str, str]]
) -> dict[str, float]:
    """The upper ends of cells: near their neighbours, and never one upon the other."""
    around = successors([*links, *((target, source) for source, target in links)])
    tops: dict[str, float] = {}

    def middle(cell: str) -> float:
        return tops[cell] + cells[cell].height / 2

    for level in levels:
        _settle(level, dict.fromkeys(level, 0.0), cells, tops)
    for sweep in range(_SWEEPS):
        for level in reversed(levels) if sweep % 2 else levels:
            wanted = {
                cell: _mean([middle(n) for n in around.get(cell, ())], middle(cell))
                - cells[cell].height / 2
                for cell in level
            }
            _settle(level, wanted, cells, tops)
    least = min(tops.values(), default=0)
    return {cell: top - least for cell, top in tops.items()}


def _settle(
    level: Sequence[str],
    wanted: Mapping[str, float],
    cells: Mapping[str, Size],
    tops: dict[str, float],
) -> None:
    """Put the cells of a column where they want to be, as far as there is room, in their order."""
    at = float("-inf")
    found = {}
    for cell in level:
        found[cell] = max(wanted[cell], at)
        at = found[cell] + cells[cell].height + GAP_Y
    # What was pushed down goes up together by half as much as the column sank on the whole.
    sunk = _mean([found[cell] - wanted[cell] for cell in level], 0)
    tops.update({cell: top - sunk for cell, top in found.items()})


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
