"""The graph of a factory: its plugins, and the keys that they hand each other."""

from __future__ import annotations

from collections import Counter

from pgflow.factory import ResourceFactory
from pgflow.graph.elements import Builder, Edge, Graph, Node
from pgflow.resolve.explain import Explanation, Step

_GIVEN = "plugin:given"


def plugin_graph(factory: ResourceFactory) -> Graph:
    """Draw the plugins of a table or of a pipeline's target.

    Args:
        factory: A table factory, a pipeline, or one of its `sync_targets`.

    Returns:
        A node for each plugin in the order in which they ran, and an edge for all keys that one
        gives to another. What the factory itself gives has a node too.
    """
    told = factory.explain()
    builder = Builder(f"plugins of {told.name}")
    holders: dict[str, list[str]] = {}
    if told.given:
        given = Node(_GIVEN, "source", "given by the factory")
        holders = {key: [builder.node(given)] for key in told.given}
    keys: dict[tuple[str, str], dict[str, None]] = {}
    for node, step in zip(_nodes(told), told.steps, strict=True):
        own = builder.node(node)
        for key in (*step.requires, *step.optional, *step.overrides):
            for holder in holders.get(key, ()):
                keys.setdefault((holder, own), {})[key] = None
        _hand_over(step, own, holders)
    for (holder, own), handed in keys.items():
        builder.edge(Edge(holder, own, "gives", ", ".join(handed)))
    return builder.graph()


def _hand_over(step: Step, own: str, holders: dict[str, list[str]]) -> None:
    """Note the keys that a plugin has from now on."""
    for key in (*step.produces, *step.overrides):
        holders[key] = [own]
    for key in step.contributes:
        holders.setdefault(key, []).append(own)


def _nodes(told: Explanation) -> list[Node]:
    """A node for each step; plugins of one class are told apart by where they come from."""
    counts = Counter(step.plugin for step in told.steps)
    return [
        Node(
            f"plugin:{number}:{step.plugin}",
            "plugin",
            step.plugin,
            details=(step.origin,) if counts[step.plugin] > 1 else (),
        )
        for number, step in enumerate(told.steps, 1)
    ]
