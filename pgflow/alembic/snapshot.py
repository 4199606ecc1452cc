"""All objects of a database that matter for a migration, and what depends on what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pgflow.alembic.entity import Entity
from pgflow.alembic.identifiers import EntityIdentifier

Edges = Mapping[EntityIdentifier, frozenset[EntityIdentifier]]

#: Kinds that can have columns, indexes, triggers, rules or policies.
RELATIONS = ("table", "view", "materialized_view", "foreign_table")


@dataclass(frozen=True)
class Snapshot:
    """What a database holds, or would hold if it were as declared.

    Attributes:
        version: The server's version, as 180006.
        entities: Every object, by its identity.
        depends: What each object needs, as the server knows it (`pg_depend`): down to columns,
            so that a view needs `column app.t.a` and not only `table app.t`.
        mentions: What the text bodies of functions name; the server does not check these.
        outsiders: Objects outside the schemas that were read, described in words by their
            identity's name (kind "outsider"), and what they need of the entities here.
        user: The role that read it.
    """

    version: int
    entities: Mapping[EntityIdentifier, Entity]
    depends: Edges = field(default_factory=dict)
    mentions: Edges = field(default_factory=dict)
    outsiders: Edges = field(default_factory=dict)
    user: str = ""

    def __getitem__(self, identifier: EntityIdentifier) -> Entity:
        return self.entities[identifier]

    def __contains__(self, identifier: object) -> bool:
        return identifier in self.entities

    def get(self, identifier: EntityIdentifier) -> Entity | None:
        """Return an object, or None."""
        return self.entities.get(identifier)

    def of_kind(self, *kinds: str) -> Iterator[Entity]:
        """Give the objects of some kinds, in the order in which they were read."""
        if len(kinds) == 1:
            return iter(self._by_kind.get(kinds[0], ()))
        return (entity for entity in self.entities.values() if entity.id.kind in kinds)

    def parent(self, identifier: EntityIdentifier) -> Entity | None:
        """Return the relation that a column, index, trigger, ... belongs to."""
        if identifier.table is None:
            return None
        for kind in RELATIONS:
            found = self.get(EntityIdentifier(identifier.schema, identifier.table, kind=kind))
            if found is not None:
                return found
        return None

    def parts(self, identifier: EntityIdentifier, *kinds: str) -> list[Entity]:
        """Give what belongs to a relation: its columns, indexes, triggers, in reading order.

        Args:
            identifier: The relation.
            *kinds: Only these kinds; all if none is given.
        """
        return [
            entity
            for entity in self._by_table.get((identifier.schema, identifier.name), ())
            if not kinds or entity.id.kind in kinds
        ]

    @property
    def _by_kind(self) -> dict[str | None, list[Entity]]:
        found: dict[str | None, list[Entity]] | None = self.__dict__.get("_kinds")
        if found is None:
            found = {}
            for entity in self.entities.values():
                found.setdefault(entity.id.kind, []).append(entity)
            self.__dict__["_kinds"] = found
        return found

    @property
    def _by_table(self) -> dict[tuple[str, str | None], list[Entity]]:
        found: dict[tuple[str, str | None], list[Entity]] | None = self.__dict__.get("_parts")
        if found is None:
            found = {}
            for entity in self.entities.values():
                if entity.id.table is not None:
                    found.setdefault((entity.id.schema, entity.id.table), []).append(entity)
            self.__dict__["_parts"] = found
        return found
