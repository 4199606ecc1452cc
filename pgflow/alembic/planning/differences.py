"""What differs between two worlds, object by object, before anything is drawn along."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pgflow.alembic.entity import Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.planning import refusals
from pgflow.alembic.planning.route import Route, is_generated
from pgflow.alembic.statement import Change


@dataclass
class Differences:
    """What has to happen to which object.

    Attributes:
        gone: Objects that will not be there any more as they were, parts of dropped ones too.
        made: Objects that have to be made, those that were dropped before too.
        changed: How objects that stay become what they should be.
    """

    gone: set[EntityIdentifier] = field(default_factory=set)
    made: set[EntityIdentifier] = field(default_factory=set)
    changed: dict[EntityIdentifier, Change] = field(default_factory=dict)


def differences(route: Route) -> Differences:
    """Compare all that is ours.

    Args:
        route: The old and the new world.

    Raises:
        CannotChange: A table would have to be dropped and made again.
    """
    found = Differences()
    for identifier in ordered(route.ours):
        old, new = route.old.get(identifier), route.new.get(identifier)
        if old is None:
            if new is not None:
                found.made.add(identifier)
        elif new is None:
            found.gone.add(identifier)
        elif _differ(old, new):
            _change(route, found, old, new)
    return found


def ordered(identifiers: Iterable[EntityIdentifier]) -> list[EntityIdentifier]:
    """Put identities into an order that is the same in every run."""
    return sorted(identifiers, key=lambda one: one.sort_key)


def _differ(old: Entity, new: Entity) -> bool:
    return dict(old.facts) != dict(new.facts)


def _change(route: Route, found: Differences, old: Entity, new: Entity) -> None:
    change = route.kind(new.id).change(old, new, (route.old, route.new))
    if change is not None:
        if change.statements:
            found.changed[new.id] = change
        return
    if new.id.kind == "table" or (new.id.kind == "column" and _holds_data(old, new)):
        raise refusals.cannot_change(old, new)
    found.gone.add(new.id)
    found.made.add(new.id)


def _holds_data(old: Entity, new: Entity) -> bool:
    """Tell whether dropping a column and adding it again would lose what users wrote."""
    return not is_generated(old) and not is_generated(new)
