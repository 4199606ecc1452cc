"""In which order plugins run: each after those whose keys it reads, else in list order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pgflow.errors import PluginCycle
from pgflow.resolve.keys import Key
from pgflow.resolve.validation import validate
from pgflow.resolve.wiring import Entry, Wires


@dataclass(frozen=True)
class Edge:
    """One reason for which a plugin runs after another.

    Attributes:
        first: List index of the plugin that runs earlier.
        then: List index of the plugin that runs later.
        label: The key that goes from one to the other, or `before`, `after`.
        kind: What the later one does with the key: `needs`, `reads`, `collects` or `replaces`;
            for a wish without a key the side that asked, `before` or `after`.
    """

    first: int
    then: int
    label: str
    kind: str


@dataclass(frozen=True)
class Arrangement:
    """An order of plugins, with its reasons.

    Attributes:
        order: List indexes in the order of running.
        edges: Everything that the order had to respect.
        typed: The typed keys of each name, different ones of a name once each.
    """

    order: tuple[int, ...]
    edges: tuple[Edge, ...]
    typed: Mapping[str, tuple[Key[Any], ...]]


#: Orders that were worked out before: most factories of a project have the same plugins.
_known: dict[tuple[tuple[Wires, ...], frozenset[str]], Arrangement] = {}
_KNOWN_AT_MOST = 512


def arrange(entries: Sequence[Entry], owner: str, given: Iterable[str] = ()) -> Arrangement:
    """Check a plugin list as a whole and put it into order.

    Args:
        entries: The plugins in list order.
        owner: Name of the factory, for messages.
        given: Keys that have a value before any plugin runs.

    Returns:
        The order, the same for the same list every time.

    Raises:
        PluginError: A key has no producer or several, two plugins of one group are present, a
            key is both produced and collected, or plugins wait for each other.
    """
    wires = tuple(entry.wires for entry in entries)
    signature = (wires, frozenset(given))
    found = _known.get(signature)
    if found is None:
        validate(entries, owner, signature[1])
        edges = tuple(_edges(wires))
        found = Arrangement(_sort(entries, edges, owner), edges, _typed(wires))
        if len(_known) >= _KNOWN_AT_MOST:
            _known.clear()
        _known[signature] = found
    return found


def _typed(wires: Iterable[Wires]) -> dict[str, tuple[Key[Any], ...]]:
    found: dict[str, tuple[Key[Any], ...]] = {}
    for key in (key for wire in wires for key in wire.keys):
        known = found.get(str(key), ())
        if isinstance(key, Key) and key.type not in [other.type for other in known]:
            found[str(key)] = (*known, key)
    return found


def _edges(wires: Sequence[Wires]) -> Iterator[Edge]:
    makers, chains = _chains(wires)
    for chain in chains:
        yield from chain
    contributors = _by_key((index, w.contributes) for index, w in enumerate(wires))
    for index, wire in enumerate(wires):
        for key in wire.reads:
            yield from _sources(index, key, wire, makers.get(key), contributors[key])
    yield from _wishes(wires)


def _sources(
    index: int, key: str, wire: Wires, maker: int | None, contributors: Sequence[int]
) -> Iterator[Edge]:
    """Give the edges from those who write a key to one who reads it.

    Who needs what only it produces is in a cycle of one; who reads it optionally is not.
    """
    needs = key in wire.requires
    if maker is not None and key not in wire.overrides and (needs or maker != index):
        yield Edge(maker, index, key, "needs" if needs else "reads")
    for other in contributors:
        if other != index:
            yield Edge(other, index, key, "collects")


def _chains(wires: Sequence[Wires]) -> tuple[dict[str, int], list[list[Edge]]]:
    """Find who writes each key last, and the chains of those that replace it before."""
    last = {key: index for index, wire in enumerate(wires) for key in wire.produces}
    chains: list[list[Edge]] = []
    for key, replacing in _by_key((i, w.overrides) for i, w in enumerate(wires)).items():
        writers = [*([last[key]] if key in last else []), *replacing]
        pairs = pairwise(writers)
        chains.append([Edge(a, b, key, "replaces") for a, b in pairs])
        last[key] = writers[-1]
    return last, chains


def _by_key(keys_of: Iterable[tuple[int, tuple[str, ...]]]) -> defaultdict[str, list[int]]:
    found: defaultdict[str, list[int]] = defaultdict(list)
    for index, keys in keys_of:
        for key in keys:
            found[key].append(index)
    return found


def _wishes(wires: Sequence[Wires]) -> Iterator[Edge]:
    """Give the edges that plugins ask for by `before` and `after`, about plugins present."""
    for index, wire in enumerate(wires):
        for other, neighbour in enumerate(wires):
            if other == index:
                continue
            if any(neighbour.answers_to(wish) for wish in wire.before):
                yield Edge(index, other, "before", "before")
            if any(neighbour.answers_to(wish) for wish in wire.after):
                yield Edge(other, index, "after", "after")


def _sort(entries: Sequence[Entry], edges: Sequence[Edge], owner: str) -> tuple[int, ...]:
    import networkx as nx  # 0.1 s that a script without factories does not pay

    graph = nx.MultiDiGraph()
    graph.add_nodes_from(range(len(entries)))
    graph.add_edges_from((edge.first, edge.then, edge.label) for edge in edges)
    try:
        return tuple(nx.lexicographical_topological_sort(graph))
    except nx.NetworkXUnfeasible:
        raise _cycle(entries, nx.find_cycle(graph), owner) from None


def _cycle(
    entries: Sequence[Entry], found: Sequence[tuple[int, int, str]], owner: str
) -> PluginCycle:
    chain = [entries[found[0][0]].name]
    for _, then, label in found:
        chain += [str(label), entries[then].name]
    links = "".join(f" -[{part}]-> " if index % 2 else part for index, part in enumerate(chain))
    origins = dict.fromkeys(f"{entries[i].name} is {entries[i].origin}" for i, _, _ in found)
    return PluginCycle(
        f"Plugins of {owner!r} wait for each other: {links}. Remove one of these requirements. "
        f"({'; '.join(origins)})",
        chain=tuple(chain),
    )
