"""One direction of a migration: from one whole world to another, foreign objects included."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from pgflow.alembic.entity import Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kind import Kind
from pgflow.alembic.snapshot import Snapshot

#: Kinds that are types: what happens to them happens to the columns that have them.
TYPES = ("enum", "domain", "composite", "range")


@dataclass(frozen=True)
class Route:
    """One direction of a migration.

    Attributes:
        old: All that is there before; what is renamed has its new name already.
        new: All that is there after.
        ours: What may be changed and dropped, of both worlds.
        kinds: Every kind of object, by its name.
        forward: This is the way to what is declared. On the way back nothing is refused here:
            the server does it when that way is taken, which may be never.
        big_bytes: From which size on a table's indexes and constraints are made online.
    """

    old: Snapshot
    new: Snapshot
    ours: frozenset[EntityIdentifier]
    kinds: Mapping[str, Kind]
    forward: bool
    big_bytes: int

    def kind(self, identifier: EntityIdentifier) -> Kind:
        """Return the kind of an object."""
        return self.kinds[identifier.kind or ""]

    @cached_property
    def dependents(self) -> Mapping[EntityIdentifier, tuple[EntityIdentifier, ...]]:
        """What needs each object of the old world, foreign objects and outsiders too."""
        found: defaultdict[EntityIdentifier, list[EntityIdentifier]] = defaultdict(list)
        for edges in (self.old.depends, self.old.outsiders):
            for dependent in edges:
                for needed in needs(self.old, dependent, edges[dependent]):
                    found[needed].append(dependent)
        return {
            needed: tuple(sorted(those, key=lambda one: one.sort_key))
            for needed, those in found.items()
        }

    @cached_property
    def owned_sequences(self) -> Mapping[EntityIdentifier, tuple[EntityIdentifier, ...]]:
        """The sequences of the old world that go with each column."""
        found: defaultdict[EntityIdentifier, list[EntityIdentifier]] = defaultdict(list)
        for entity in self.old.of_kind("sequence"):
            column = owning_column(self.old, entity.id)
            if column is not None:
                found[column].append(entity.id)
        return {column: tuple(sequences) for column, sequences in found.items()}

    def is_big(self, identifier: EntityIdentifier) -> bool:
        """Tell whether the table of a part is live and so big that work on it is done online."""
        table = self.old.parent(identifier)
        size = 0 if table is None else table.notes.get("bytes", 0)
        return isinstance(size, int) and table is not None and size >= self.big_bytes


def needs(
    world: Snapshot, identifier: EntityIdentifier, edges: frozenset[EntityIdentifier] | None = None
) -> Iterator[EntityIdentifier]:
    """Give what an object needs before it can be made, as the server knows it.

    A sequence that is owned by a column is made before it, although the server lets it depend on
    the column: their bond comes last.
    """
    owned = identifier.kind == "sequence"
    for needed in world.depends.get(identifier, frozenset()) if edges is None else edges:
        if needed != identifier and not (owned and needed.kind in ("column", "table")):
            yield needed


def container(world: Snapshot, identifier: EntityIdentifier) -> Iterator[EntityIdentifier]:
    """Give what holds an object: its relation, its column (for a default), its schema."""
    parent = world.parent(identifier)
    if parent is not None:
        yield parent.id
    if identifier.kind == "default":
        yield EntityIdentifier(
            identifier.schema, identifier.name, kind="column", table=identifier.table
        )
    if identifier.kind != "schema" and identifier.schema:
        yield EntityIdentifier(identifier.schema, kind="schema")


def owning_column(world: Snapshot, sequence: EntityIdentifier) -> EntityIdentifier | None:
    """Return the column that owns a sequence and takes it along when it goes."""
    if sequence.kind != "sequence":
        return None
    for needed in world.depends.get(sequence, frozenset()):
        if needed.kind == "column":
            return needed
    return None


def is_generated(entity: Entity | None) -> bool:
    """Tell whether a column is computed from others, so that dropping it loses nothing."""
    return entity is not None and bool(entity.facts.get("generated"))
