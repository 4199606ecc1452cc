"""Which names exclude each other: what must be gone before something else can have its name."""

from __future__ import annotations

from typing import TypeAlias

from pgflow.alembic.entity import Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.planning.route import TYPES
from pgflow.alembic.snapshot import RELATIONS, Snapshot

#: A name in one space of names.
Place: TypeAlias = "tuple[str | None, ...]"

#: Constraints with an index.
_INDEXED = ("primary_key", "unique", "exclude")

_ROUTINES = ("function", "procedure", "aggregate")


def places(entity: Entity, identifier: EntityIdentifier | None = None) -> tuple[Place, ...]:
    """Return the names that an object takes: a table also that of its row type.

    Args:
        entity: The object.
        identifier: Another name for it; its own if it is None.
    """
    identifier = identifier or entity.id
    kind, schema, name = identifier.kind, identifier.schema, identifier.name
    if kind in ("index", "sequence"):
        return (("relation", schema, name),)
    if kind in RELATIONS or kind == "composite":
        return (("relation", schema, name), ("type", schema, name))
    if kind in TYPES:
        return (("type", schema, name),)
    if kind in _ROUTINES:
        return (("routine", schema, name, identifier.arguments),)
    own = (kind, schema, identifier.table, name)
    if kind == "constraint" and entity.facts.get("type") in _INDEXED:
        # The index behind a key has the constraint's name.
        return (own, ("relation", schema, name))
    return (own,)


def identity_places(world: Snapshot, identifier: EntityIdentifier) -> tuple[Place, ...]:
    """Return the name that the sequence of an identity column takes."""
    column = world.get(identifier) if identifier.kind == "column" else None
    name = None if column is None else column.notes.get("identity_sequence")
    return () if name is None else (("relation", identifier.schema, str(name)),)
