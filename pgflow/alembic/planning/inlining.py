"""Cycles of steps, cut where a part of a table can have a step of its own."""

from __future__ import annotations

from collections.abc import Iterator

from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.planning.differences import Differences
from pgflow.alembic.planning.making import Maker
from pgflow.alembic.planning.order import Graph, graph, knots
from pgflow.alembic.planning.route import Route, needs
from pgflow.alembic.step import Step

#: What can be added to a table after it is made, and dropped before it goes.
_SEPARABLE = ("default", "constraint")

#: What is never in CREATE TABLE, but goes with the table unless it is dropped before.
_GOING = (*_SEPARABLE, "index", "statistics", "trigger", "policy", "rule")


def arranged(route: Route, found: Differences) -> Graph:
    """Write the steps, with as much in CREATE TABLE and gone by DROP TABLE as the order allows.

    Args:
        route: The old and the new world.
        found: What differs.

    Returns:
        The steps and their order; whatever waits for each other still cannot be cut.
    """
    apart: frozenset[EntityIdentifier] = frozenset()
    while True:
        steps = Maker(route, found, apart).steps()
        ordered = graph(route, steps)
        cut = frozenset(_to_cut(route, ordered)) - apart
        if not cut:
            return ordered
        apart |= cut


def _to_cut(route: Route, ordered: Graph) -> Iterator[EntityIdentifier]:
    for knot in knots(ordered, soft=True):
        steps = [ordered.steps[number] for number in knot]
        for step in steps:
            others = [other for other in steps if other is not step]
            yield from _ties(route, step, others)


def _ties(route: Route, step: Step, others: list[Step]) -> Iterator[EntityIdentifier]:
    """Give the parts of a table that tie it to other steps of the knot."""
    if step.action == "create":
        provided = {one for other in others for one in other.provides}
        for part in step.provides - {step.id}:
            if part.kind in _SEPARABLE and provided.intersection(needs(route.new, part)):
                yield part
    elif step.action == "drop":
        removed = {one for other in others for one in other.removes}
        for part in step.removes - {step.id}:
            if part.kind in _GOING and removed.intersection(needs(route.old, part)):
                yield part
