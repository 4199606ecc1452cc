"""The order of operations that pgflow did not plan, for users who put them together themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeAlias

import networkx as nx
from sqlalchemy import MetaData
from sqlalchemy_declarative_extensions.function import compare as functions
from sqlalchemy_declarative_extensions.procedure import compare as procedures
from sqlalchemy_declarative_extensions.trigger import compare as triggers
from sqlalchemy_declarative_extensions.view import compare as views

from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.subjects import Subject, subject, table

#: The tables that each table references.
ForeignKeyGraph: TypeAlias = Mapping[EntityIdentifier, AbstractSet[EntityIdentifier]]

#: Relations share one space of names: whoever needs `app.t` needs the view `app.t` as well.
_RELATIONS = ("table", "view")
_ROUTINES = ("function", "procedure")


def build_fk_graph_from_metadata(
    metadata: MetaData,
) -> dict[EntityIdentifier, set[EntityIdentifier]]:
    """Say which tables each table references by foreign keys.

    Args:
        metadata: The declared tables.

    Returns:
        The referenced tables by table, itself left out; tables without schema are in `public`.
    """
    graph: dict[EntityIdentifier, set[EntityIdentifier]] = {}
    for each in metadata.tables.values():
        own = table(each.schema, each.name)
        targets = {
            table(key.referred_table.schema, key.referred_table.name)
            for key in each.foreign_key_constraints
        }
        graph[own] = targets - {own}
    return graph


def expand_update_ops(operations: Sequence[Any]) -> list[Any]:
    """Split updates of views, functions, procedures and triggers into a drop and a create.

    `CREATE OR REPLACE VIEW` fails where columns of a view go while another view shows them. Two
    operations leave room to drop that one before and create it after.

    Args:
        operations: Any operations; all others stay as they are.

    Returns:
        The same operations, each update as two.
    """
    return [part for each in operations for part in _expanded(each)]


def sort_migration_ops(
    operations: Sequence[Any], *, fk_graph: ForeignKeyGraph | None = None
) -> list[Any]:
    """Put operations into an order in which each finds what it needs.

    What is made comes after what it needs, what is dropped before that. None is ever lost, also
    not where two are about the same object or wait for each other: then they stay as they came.

    Args:
        operations: Operations of Alembic, of sqlalchemy-declarative-extensions and of pgflow.
        fk_graph: What `build_fk_graph_from_metadata` returned; foreign keys of tables in the
            operations themselves are seen without it.

    Returns:
        A new list with the same operations.
    """
    subjects = [_with_keys(subject(each), fk_graph or {}) for each in operations]
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(subjects)))
    graph.add_edges_from(_edges(subjects))
    while not nx.is_directed_acyclic_graph(graph):
        # Tables that reference each other and functions that call each other have no order.
        _cut(graph)
    order = list(nx.lexicographical_topological_sort(graph, key=lambda n: (subjects[n].rank, n)))
    if sorted(order) != list(range(len(operations))):
        raise AssertionError("an operation was lost while sorting")
    return [operations[number] for number in order]


def _with_keys(found: Subject, fk_graph: ForeignKeyGraph) -> Subject:
    if found.id.kind != "table":
        return found
    own = found.id.at(None)
    return replace(found, needs=found.needs | (frozenset(fk_graph.get(own, ())) - {own}))


def _edges(subjects: Sequence[Subject]) -> Iterator[tuple[int, int]]:
    planned = [number for number, one in enumerate(subjects) if one.planned]
    yield from pairwise(planned)
    made, gone = _by_place(subjects, "create"), _by_place(subjects, "drop")
    for number, one in enumerate(subjects):
        own = gone if one.id.phase == "drop" else made
        for needed in one.needs:
            for other in own.get(_place(needed), ()):
                if other == number:
                    continue
                # What is dropped goes before what it needs, what is made comes after.
                yield (number, other) if one.id.phase == "drop" else (other, number)
            if one.id.phase == "create":
                for other in gone.get(_place(needed), ()):
                    if _place(needed) in made:
                        yield other, number
    for place, drops in gone.items():
        for drop in drops:
            for other in made.get(place, ()):
                yield drop, other


def _by_place(subjects: Sequence[Subject], phase: str) -> dict[object, list[int]]:
    found: dict[object, list[int]] = {}
    for number, one in enumerate(subjects):
        if one.id.phase == phase:
            found.setdefault(_place(one.id), []).append(number)
    return found


def _place(identifier: EntityIdentifier) -> object:
    """Return what a reference finds: it cannot tell tables from views, nor overloads apart."""
    kind = identifier.kind
    if kind in _RELATIONS:
        return "relation", identifier.schema, identifier.name
    if kind in _ROUTINES:
        return "routine", identifier.schema, identifier.name
    return identifier.at(None)


def _cut(graph: nx.DiGraph) -> None:
    """Give up, in one cycle, the edge that goes back furthest in the order of arrival."""
    cycle = nx.find_cycle(graph)
    first, then = max(cycle, key=lambda edge: edge[0] - edge[1])[:2]
    graph.remove_edge(first, then)


def _expanded(operation: Any) -> tuple[Any, ...]:
    if isinstance(operation, views.UpdateViewOp):
        return views.DropViewOp(operation.from_view), views.CreateViewOp(operation.view)
    if isinstance(operation, functions.UpdateFunctionOp):
        old, new = operation.from_function, operation.function
        return functions.DropFunctionOp(old), functions.CreateFunctionOp(new)
    if isinstance(operation, procedures.UpdateProcedureOp):
        gone, made = operation.from_procedure, operation.procedure
        return procedures.DropProcedureOp(gone), procedures.CreateProcedureOp(made)
    if isinstance(operation, triggers.UpdateTriggerOp):
        before, after = operation.from_trigger, operation.trigger
        return triggers.DropTriggerOp(before), triggers.CreateTriggerOp(after)
    return (operation,)
