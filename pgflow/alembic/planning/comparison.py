"""What differs between two worlds where no migration can be planned from one to the other."""

from __future__ import annotations

from contextlib import suppress

from pgflow.alembic import registry
from pgflow.alembic.entity import Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.planning import ownership, renames
from pgflow.alembic.planning.differences import ordered
from pgflow.alembic.planning.renames import Round
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.step import Step
from pgflow.errors import AmbiguousRename


def unplanned(live: Snapshot, declared: Snapshot, *, owner: str = "") -> tuple[Step, ...]:
    """Name what would have to be done, in no order that it could be done in, and without SQL.

    Nothing is refused here: a difference can be told even if it cannot be removed.

    Args:
        live: All that the schemas hold now, ours and foreign.
        declared: What is declared.
        owner: The name of this migration history, as it stands in marks.
    """
    rounds: tuple[Round, ...] = ()
    moved = live
    # Where it is not clear what was renamed, old names are surplus, and new ones missing.
    with suppress(AmbiguousRename):
        rounds, moved = renames.find(live, declared, owner, registry.KINDS)
    own = ownership.ours(moved, declared, owner)
    target = ownership.target(moved, declared, own)
    found = [
        Step(old, "rename", "", (), provides=frozenset({new}), removes=frozenset({old}))
        for one in rounds
        for old, new in one.pairs
    ]
    for identifier in ordered(own):
        old, new = moved.get(identifier), target.get(identifier)
        if old is None and new is not None:
            found.append(Step(identifier, "create", "", ()))
        elif old is not None and new is None:
            found.append(Step(identifier, "drop", "", ()))
        elif old is not None and new is not None and _differ(identifier, old, new, (moved, target)):
            found.append(Step(identifier, "alter", "", ()))
    return tuple(found)


def _differ(
    identifier: EntityIdentifier, old: Entity, new: Entity, worlds: tuple[Snapshot, Snapshot]
) -> bool:
    if old.comment != new.comment or old.privileges != new.privileges:
        return True
    if dict(old.facts) == dict(new.facts):
        return False
    change = registry.KINDS[identifier.kind or ""].change(old, new, worlds)
    return change is None or bool(change.statements)
