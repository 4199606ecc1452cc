"""Two states of a database into the steps from one to the other, and back."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pgflow.alembic import registry
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kind import Kind
from pgflow.alembic.planning import inlining, online, order, ownership, rebuilding, renames, titles
from pgflow.alembic.planning.differences import differences
from pgflow.alembic.planning.renames import Round
from pgflow.alembic.planning.route import Route
from pgflow.alembic.planning.translation import translate
from pgflow.alembic.snapshot import RELATIONS, Snapshot
from pgflow.alembic.statement import Hazard
from pgflow.alembic.step import Migration, Step

#: Tables from this size on are changed while they are in use.
BIG_BYTES = 32 * 1024 * 1024


def migration(
    live: Snapshot,
    declared: Snapshot,
    *,
    owner: str = "",
    big_bytes: int = BIG_BYTES,
    adopt: bool = False,
    kinds: Mapping[str, Kind] | None = None,
) -> Migration:
    """Plan the way from a live database to what is declared, and the way back.

    Args:
        live: All that the schemas hold now, ours and foreign.
        declared: What is declared.
        owner: The name of this migration history, as it stands in marks.
        big_bytes: From which size on a table's indexes and constraints are made online; nothing
            is, where something gets another name that stands in other definitions.
        adopt: Mark what is declared and was not made by a migration, so that it can be dropped
            once it is not declared any more.
        kinds: The kinds of objects; all that pgflow knows if it is None.

    Returns:
        The steps in order, both ways; no steps at all if everything is as declared.

    Raises:
        MigrationRefused: There is no way that loses no data and spares what is not ours.
    """
    known = registry.KINDS if kinds is None else kinds
    rounds, moved = renames.find(live, declared, owner, known)
    if any(one.changes_texts for one in rounds):
        # What is done online gets files of its own, which could not be taken back one by one:
        # the way back begins with the old names.
        big_bytes = sys.maxsize
    own = ownership.ours(moved, declared, owner)
    target = ownership.target(moved, declared, own, adopt=adopt)
    there = Route(moved, target, own, known, forward=True, big_bytes=big_bytes)
    upgrade = _joined(rounds, plan(there), known)
    back: list[Round] = []
    for one in reversed(rounds):
        back.append(one.reversed(target))
        target = translate(target, back[-1].names)
        own = frozenset(back[-1].names.of(identifier) for identifier in own)
    home = Route(target, live, own, known, forward=False, big_bytes=big_bytes)
    return Migration(upgrade, _joined(back, plan(home), known))


def plan(route: Route) -> tuple[Step, ...]:
    """Plan one direction, renames done.

    Args:
        route: The old and the new world.
    """
    found = differences(route)
    rebuilding.close(route, found)
    graph = online.eased(route, inlining.arranged(route, found))
    numbers = order.sort(graph, route)
    if sorted(numbers) != list(range(len(graph.steps))):
        raise AssertionError("a step of the migration was lost")
    return tuple(_unhurried(graph.steps[number], route) for number in numbers)


def _unhurried(step: Step, route: Route) -> Step:
    """Leave out what a step would do to a table in use, where the table is made only now."""
    table = step.id.name if step.id.kind in RELATIONS else step.id.table
    if table is None or any(
        EntityIdentifier(step.id.schema, table, kind=kind) in route.old for kind in RELATIONS
    ):
        return step
    kept = (Hazard.DELETES, Hazard.NO_TRANSACTION)
    statements = (
        replace(each, hazards=tuple(hazard for hazard in each.hazards if hazard in kept))
        for each in step.statements
    )
    return replace(step, statements=tuple(statements))


def _joined(
    rounds: Sequence[Round], steps: Sequence[Step], kinds: Mapping[str, Kind]
) -> tuple[Step, ...]:
    """Put renames first; before them new schemas, and what need not share their transaction."""
    renamed = tuple(_renamed(rounds, kinds))
    touched = {new for one in rounds for _, new in one.pairs}
    alone = [
        step
        for step in steps
        if step.id.kind == "enum" and any(each.autocommit for each in step.statements)
    ]
    arrivals = {new.schema for new in touched if new.kind != "schema"}
    entered = [
        step
        for step in steps
        if step.action == "create" and step.id.kind == "schema" and step.id.schema in arrivals
    ]
    rest = (step for step in steps if step not in alone and step not in entered)
    first = (_under_old_name(rounds, step, kinds) for step in alone)
    return (*first, *entered, *renamed, *rest)


def _under_old_name(rounds: Sequence[Round], step: Step, kinds: Mapping[str, Kind]) -> Step:
    """Return a step as it is done before the renames."""
    identifier = step.id
    for one in reversed(rounds):
        identifier = one.former.of(identifier)
    if identifier == step.id:
        return step
    label = kinds[step.id.kind or ""].label
    now, before = label(step.id), label(identifier)
    return replace(
        step,
        id=identifier,
        title=step.title.replace(titles.named(step.id), titles.named(identifier), 1),
        # The object is the first thing that each of its statements names.
        statements=tuple(replace(s, sql=s.sql.replace(now, before, 1)) for s in step.statements),
        provides=frozenset({identifier}),
    )


def _renamed(rounds: Iterable[Round], kinds: Mapping[str, Kind]) -> Iterable[Step]:
    for one in rounds:
        for old, new in one.pairs:
            statements = kinds[old.kind or ""].rename(old, new)
            if statements:
                yield Step(
                    old,
                    "rename",
                    titles.rename(old, new),
                    tuple(statements),
                    provides=frozenset({new}),
                    removes=frozenset({old}),
                )
