"""Work on big live tables, done so that others read and write them meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pgflow.alembic.entity import Entity
from pgflow.alembic.kinds import columns, constraints, indexes
from pgflow.alembic.planning import titles
from pgflow.alembic.planning.order import Graph
from pgflow.alembic.planning.route import Route
from pgflow.alembic.statement import Statement
from pgflow.alembic.step import Step

#: Constraints over an index, which can be built before.
_KEYS = ("primary_key", "unique")


def created(route: Route, entity: Entity) -> Sequence[Statement] | None:
    """Return the statements that add an index or a constraint to a big table; else None.

    Args:
        route: The old and the new world.
        entity: What is added to a table that is there already.
    """
    if entity.id.kind == "index" and route.is_big(entity.id):
        return indexes.create_concurrently(entity, route.new)
    if entity.id.kind != "constraint" or not route.is_big(entity.id):
        return None
    if entity.facts.get("type") in _KEYS:
        return constraints.create_using_index(entity, route.new)
    if _is_validated_later(entity):
        return constraints.create_not_valid(entity, route.new)
    return None


def validation(entity: Entity, statements: Sequence[Statement]) -> Step | None:
    """Return the step that checks the rows for which a constraint was not checked when added.

    Args:
        entity: The constraint.
        statements: How it was added.
    """
    if not _is_validated_later(entity):
        return None
    if not any(each.sql.endswith("NOT VALID") for each in statements):
        return None
    return Step(
        entity.id,
        "alter",
        titles.validate(entity.id),
        tuple(replace(each, autocommit=True) for each in constraints.validate(entity)),
        provides=frozenset({entity.id}),
    )


def is_forbidden_later(route: Route, old: Entity, new: Entity) -> bool:
    """Tell whether a column of a big table becomes NOT NULL, which is a step of its own.

    Args:
        route: The old and the new world.
        old: The column as it is.
        new: The column as it should be.
    """
    if new.id.kind != "column" or not route.is_big(new.id):
        return False
    return bool(new.facts["not_null"]) and not old.facts["not_null"]


def tolerant(column: Entity) -> Entity:
    """Return a column that is as declared, but still takes NULL."""
    return replace(column, facts={**column.facts, "not_null": False})


def not_null(column: Entity) -> Step:
    """Return the step that makes a column of a big table NOT NULL.

    Args:
        column: The column as it should be.
    """
    return Step(
        column.id,
        "alter",
        titles.alter(tolerant(column), column),
        tuple(columns.set_not_null_online(column)),
        provides=frozenset({column.id}),
    )


def eased(route: Route, graph: Graph) -> Graph:
    """Drop indexes of big tables without a lock, where nothing else waits for it.

    Args:
        route: The old and the new world.
        graph: All steps; some are replaced.
    """
    awaited = {first for first, _ in graph.hard | graph.soft}
    graph.steps = [
        step if number in awaited else _eased(route, step)
        for number, step in enumerate(graph.steps)
    ]
    return graph


def _eased(route: Route, step: Step) -> Step:
    if step.action != "drop" or step.id.kind != "index" or not route.is_big(step.id):
        return step
    return replace(step, statements=tuple(indexes.drop_concurrently(route.old[step.id])))


def _is_validated_later(entity: Entity) -> bool:
    return bool(entity.facts.get("validated")) and constraints.may_be_not_valid(entity)
